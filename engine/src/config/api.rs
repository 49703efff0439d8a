//! Reads and checks `[api]`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use url::Url;

use super::raw::RawApi;
use super::tokens::check_apart;
use super::{Api, NamedToken, TlsFiles};
use crate::settings::{Problem, Shape, Table, absolute};

/// Allowed range of `webhook_max_body` in bytes. GitHub delivers at most 25 MiB.
const WEBHOOK_BODIES: RangeInclusive<u64> = 1 << 10..=25 << 20;

/// Reads and checks `[api]`. Unresolved references are problems only if the table is `needed`.
pub(super) fn read_api(
    mut table: Table<'_>,
    tokens: Vec<NamedToken>,
    folder: &Path,
    needed: bool,
    problems: &mut Vec<Problem>,
) -> Option<Api> {
    let raw: RawApi = table.read(&Shape::of::<RawApi>(), problems)?;
    if needed {
        problems.append(&mut table.unresolved);
    }
    for (key, secret) in [("token", &raw.token), ("webhook_secret", &raw.webhook_secret)] {
        if secret.as_ref().is_some_and(|secret| secret.expose().trim().is_empty()) {
            table.flag(problems, key, "must not be empty", "leave it out, or name a variable: \"${NAME}\"");
        }
    }
    check_apart(&table, raw.token.as_ref(), &tokens, problems);
    let listen = address(&table, "listen", &raw.listen, problems);
    let probe_listen = raw.probe_listen.map(|text| address(&table, "probe_listen", &text, problems));
    if !listen.ip().is_loopback() && !table.has("token") && tokens.is_empty() {
        let hint = "add token = \"${REPOSYNC_API_TOKEN}\" to [api], or listen on 127.0.0.1";
        table.flag(problems, "listen", "without a token the daemon listens on loopback only", hint);
    }
    if listen.port() != 0 && probe_listen == Some(listen) {
        let hint = "give the probes a port of their own, such as \"127.0.0.1:8081\"";
        table.flag(problems, "probe_listen", "the same address as `listen`", hint);
    }
    if !WEBHOOK_BODIES.contains(&raw.webhook_max_body.0) {
        let hint = "\"25 MiB\" is the default, and the largest that GitHub delivers";
        table.flag(problems, "webhook_max_body", "outside 1 KiB to 25 MiB", hint);
    }
    if !(1..=65_536).contains(&raw.max_connections) {
        table.flag(problems, "max_connections", "outside 1 to 65536", "1024 is the default");
    }
    Some(Api {
        listen,
        token: raw.token,
        tokens,
        webhook_secret: raw.webhook_secret,
        webhook_max_body: raw.webhook_max_body,
        max_connections: raw.max_connections,
        probe_listen,
        public_url: raw.public_url.and_then(|text| public_url(&table, &text, problems)),
        tls: tls_files(&table, folder, raw.tls_cert, raw.tls_key, problems),
    })
}

fn address(table: &Table<'_>, key: &str, text: &str, problems: &mut Vec<Problem>) -> SocketAddr {
    text.replace("localhost:", "127.0.0.1:").parse().unwrap_or_else(|_| {
        let hint = "write it like \"127.0.0.1:8080\", \"0.0.0.0:8080\" or \"[::1]:8080\"";
        table.flag(problems, key, "not an address with a port", hint);
        SocketAddr::from(([127, 0, 0, 1], 0))
    })
}

/// An origin: scheme, host and maybe a port.
fn public_url(table: &Table<'_>, text: &str, problems: &mut Vec<Problem>) -> Option<String> {
    let is_origin = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
    };
    let url = Url::parse(text.trim()).ok().filter(is_origin);
    if url.is_none() {
        let hint = "write it like \"https://sync.example.com\", without a path";
        table.flag(problems, "public_url", "not the address of a site", hint);
    }
    Some(url?.origin().ascii_serialization())
}

/// Both files or neither: TLS needs the certificate chain and its private key.
fn tls_files(
    table: &Table<'_>,
    folder: &Path,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    problems: &mut Vec<Problem>,
) -> Option<TlsFiles> {
    for (name, path) in [("tls_cert", &cert), ("tls_key", &key)] {
        if path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            table.flag(problems, name, "must not be empty", "leave both out for plain HTTP");
        }
    }
    let (given, absent) = match (cert, key) {
        (Some(cert), Some(key)) => {
            return Some(TlsFiles { cert: absolute(folder, &cert), key: absolute(folder, &key) });
        }
        (None, None) => return None,
        (Some(_), None) => ("tls_cert", "tls_key"),
        (None, Some(_)) => ("tls_key", "tls_cert"),
    };
    let hint =
        format!("add `{absent}`: TLS needs the certificate chain and its private key, both as PEM files");
    table.flag(problems, given, format!("`{absent}` is missing"), hint);
    None
}
