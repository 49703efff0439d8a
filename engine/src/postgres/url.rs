//! The address of a database.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_postgres::config::{Host, SslMode};

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// A silent connection is asked for a sign of life after this time.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// And again after this time. The system looks at [`UNACKNOWLEDGED`] only then, and its own pause is 75 s.
const KEEP_ALIVE_AGAIN: Duration = Duration::from_secs(5);
/// How long data or a question for a sign of life may stay unacknowledged before the connection counts as broken.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

/// How the connection is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Tls {
    /// TLS; the server's certificate must be of an authority that the system trusts, and name the host.
    #[default]
    VerifyFull,
    /// None. Only for loopback addresses and sockets.
    Disable,
}

/// The address of a database, with user and password: `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. For a socket,
/// `HOST` is its folder, percent-encoded.
///
/// `Display` and `Debug` leave the password out.
#[derive(Clone)]
pub(crate) struct PostgresUrl {
    config: tokio_postgres::Config,
    tls: Tls,
    shown: String,
    listens: bool,
}

impl PostgresUrl {
    /// Whether a text is meant as an address of this kind.
    pub(crate) fn is_meant(text: &str) -> bool {
        text.starts_with("postgres://") || text.starts_with("postgresql://")
    }

    /// Parses an address. The error says what is wrong, without the password.
    pub(crate) fn parse(text: &str, tls: Tls) -> Result<Self, String> {
        if !Self::is_meant(text) {
            return Err("it does not begin with `postgres://`".into());
        }
        let mut config: tokio_postgres::Config = text.parse().map_err(|error: tokio_postgres::Error| {
            let why = std::error::Error::source(&error).map(ToString::to_string);
            format!("it is no PostgreSQL address: {}", why.unwrap_or_else(|| error.to_string()))
        })?;
        if text.contains("sslmode=") {
            return Err("`sslmode` is not read: set `tls`".into());
        }
        if config.get_hosts().is_empty() {
            return Err("it names no host".into());
        }
        if config.get_dbname().is_none_or(str::is_empty) {
            return Err("it names no database: `postgres://USER@HOST/DATABASE`".into());
        }
        if config.get_user().is_none_or(str::is_empty) {
            return Err("it names no user: `postgres://USER@HOST/DATABASE`".into());
        }
        let has_socket = config.get_hosts().iter().any(|host| !matches!(host, Host::Tcp(_)));
        let is_local =
            config.get_hosts().iter().all(is_local) && config.get_hostaddrs().iter().all(IpAddr::is_loopback);
        if tls == Tls::Disable && !is_local {
            return Err("`tls = \"disable\"` is only for loopback addresses and sockets".into());
        }
        config
            .ssl_mode(if tls == Tls::Disable || has_socket { SslMode::Disable } else { SslMode::Require })
            .application_name("reposync")
            .connect_timeout(CONNECT)
            .keepalives_idle(KEEP_ALIVE)
            .keepalives_interval(KEEP_ALIVE_AGAIN)
            .tcp_user_timeout(UNACKNOWLEDGED);
        Ok(Self { shown: shown(&config), config, tls, listens: true })
    }

    /// The same with a password, unless it has one.
    #[must_use]
    pub(crate) fn with_password(mut self, password: Option<&str>) -> Self {
        if let (None, Some(password)) = (self.config.get_password(), password) {
            self.config.password(password);
        }
        self
    }

    /// The same; `listens`: whether the server can send notifications, which a pooler between may prevent.
    #[must_use]
    pub(crate) fn listening(self, listens: bool) -> Self {
        Self { listens, ..self }
    }

    /// Whether the server can send notifications.
    pub(crate) fn listens(&self) -> bool {
        self.listens
    }

    /// How to connect.
    pub(super) fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }

    /// Whether connections are encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        self.config.get_ssl_mode() == SslMode::Require
    }

    /// Hosts and database, without the user: where the data is.
    pub(crate) fn location(&self) -> String {
        location(&self.config)
    }

    /// The password, to be masked.
    pub(crate) fn password(&self) -> Option<String> {
        self.config.get_password().map(|password| String::from_utf8_lossy(password).into_owned())
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl PartialEq for PostgresUrl {
    fn eq(&self, other: &Self) -> bool {
        self.config == other.config && self.tls == other.tls
    }
}

impl Eq for PostgresUrl {}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

/// The address without the password and without parameters.
fn shown(config: &tokio_postgres::Config) -> String {
    let user = config.get_user().unwrap_or_default();
    format!("postgres://{user}@{}", location(config))
}

/// Hosts and database.
fn location(config: &tokio_postgres::Config) -> String {
    let (hosts, ports) = (config.get_hosts(), config.get_ports());
    let hosts = hosts.iter().enumerate().map(|(n, host)| {
        let name = match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
            Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            Host::Unix(folder) => folder.display().to_string(),
        };
        match ports.get(n).or(ports.first()) {
            Some(5432) | None => name,
            Some(port) => format!("{name}:{port}"),
        }
    });
    let hosts: Vec<String> = hosts.collect();
    format!("{}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (text, shown) in [
            ("postgres://ann:hunter2@127.0.0.1/db", "postgres://ann@127.0.0.1/db"),
            (
                "postgresql://ann:hunter2@localhost:6000/db?connect_timeout=3",
                "postgres://ann@localhost:6000/db",
            ),
            ("postgres://ann:hunter2@%2Frun%2Fpostgresql/db", "postgres://ann@/run/postgresql/db"),
        ] {
            let url = PostgresUrl::parse(text, Tls::Disable).expect(text);
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
            assert_eq!(url.password().as_deref(), Some("hunter2"));
        }
        let url = PostgresUrl::parse("postgres://ann@a,b:6000/db", Tls::VerifyFull).expect("two hosts");
        assert_eq!(url.to_string(), "postgres://ann@a,b:6000/db");
        assert_eq!(url.location(), "a,b:6000/db");
        assert!(url.is_encrypted());
        let socket = PostgresUrl::parse("postgres://ann@%2Frun/db", Tls::VerifyFull).expect("a socket");
        assert!(!socket.is_encrypted());
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said_without_the_password() {
        for (text, tls, expected) in [
            ("mysql://ann@db/x", Tls::VerifyFull, "does not begin with `postgres://`"),
            ("postgres://ann:hunter2@db", Tls::VerifyFull, "names no database"),
            ("postgres://db/reposync", Tls::VerifyFull, "names no user"),
            ("postgres://ann:hunter2@db:port/x", Tls::VerifyFull, "no PostgreSQL address"),
            ("postgres://ann:hunter2@db/x?colour=red", Tls::VerifyFull, "no PostgreSQL address"),
            ("postgres://ann:hunter2@db/x?sslmode=disable", Tls::VerifyFull, "set `tls`"),
            ("postgres://ann:hunter2@db/x", Tls::Disable, "only for loopback"),
            ("postgres://ann:hunter2@localhost/x?hostaddr=192.0.2.1", Tls::Disable, "only for loopback"),
        ] {
            let why = PostgresUrl::parse(text, tls).expect_err(text);
            assert!(why.contains(expected), "{text}: {why}");
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
