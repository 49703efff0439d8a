//! Where the state is: `[engine].state` and `[engine.postgres]`.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Fingerprint, register_secrets};
use crate::postgres::{PostgresUrl, Tls};
use crate::settings::{Problem, Table, absolute};
use crate::state_folder;

/// The folder next to a configuration file.
pub(super) const DEFAULT_FOLDER: &str = ".reposync";
/// The values of environment variables.
type Env<'a> = &'a dyn Fn(&str) -> Option<String>;
/// Connections of a command that names its state itself.
const COMMAND_POOL: usize = 4;

/// Where the state is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatePlace {
    /// In an SQLite file.
    File(PathBuf),
    /// In a PostgreSQL database.
    Postgres(Box<PostgresState>),
}

/// A state in a PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresState {
    /// The database.
    pub(crate) url: PostgresUrl,
    /// Maximum number of connections of a process, half of them for the vector cache.
    pub(crate) pool: usize,
    /// Next to which files of this machine are kept, as next to an SQLite file.
    local: PathBuf,
}

impl StatePlace {
    /// A state that is named on the command line: a path, or an address. `password`: that of an address without one.
    pub fn of_argument(text: &str, no_tls: bool, password: Option<&str>) -> Result<Self, String> {
        if !PostgresUrl::is_meant(text) {
            return std::path::absolute(text).map(Self::File).map_err(|error| error.to_string());
        }
        let url = PostgresUrl::parse(text, if no_tls { Tls::Disable } else { Tls::VerifyFull })?;
        let url = url.with_password(password);
        register_secrets(url.password());
        Ok(Self::Postgres(Box::new(PostgresState { url, pool: COMMAND_POOL, local: PathBuf::new() })))
    }

    /// The same; `listens`: whether the server can send notifications.
    #[must_use]
    pub fn listening(self, listens: bool) -> Self {
        match self {
            Self::Postgres(mut postgres) => {
                postgres.url = postgres.url.listening(listens);
                Self::Postgres(postgres)
            }
            file @ Self::File(_) => file,
        }
    }

    /// The folder of files of this machine while the state is in a database.
    pub(super) fn machine_folder(&self) -> Option<&Path> {
        match self {
            Self::File(_) => None,
            Self::Postgres(postgres) => postgres.local.parent(),
        }
    }

    /// The path next to which the daemon keeps its files of this machine: the ledger itself, if it is a file.
    pub fn local(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Postgres(postgres) => &postgres.local,
        }
    }

    /// The ledger's file; `None`: the state is in a database.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }

    /// As messages name it, without a password.
    pub fn shown(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Postgres(postgres) => postgres.url.to_string(),
        }
    }
}

impl Default for StatePlace {
    fn default() -> Self {
        Self::File(PathBuf::new())
    }
}

/// Where the vector cache is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CachePlace {
    /// In the database of the state.
    State,
    /// In a file of this machine.
    Local,
}

impl CachePlace {
    /// The word in the file.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Local => "local",
        }
    }
}

/// How a state in a PostgreSQL database is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPostgres {
    /// Maximum number of connections of a process.
    pub(super) pool: usize,
    /// `disable` is only for loopback addresses and sockets.
    pub(super) tls: Tls,
    /// False behind a pooler such as PgBouncer, through which the server cannot notify: the queue is polled.
    pub(super) listen: bool,
}

impl Default for RawPostgres {
    fn default() -> Self {
        Self { pool: 16, tls: Tls::default(), listen: true }
    }
}

/// The folder for a process's files of this machine while its state is in a database and it has no configuration file.
pub fn service_folder(state: &str, env: Env<'_>) -> Option<PathBuf> {
    state_folder::of_service(&id_of(state), env)
}

/// What distinguishes the folders of several states.
fn id_of(state: &str) -> String {
    Fingerprint::of([state]).as_str().chars().take(16).collect()
}

/// Reads `state`; `None`: it is wrong, and reported.
pub(super) fn read(
    table: &Table<'_>,
    state: &Path,
    postgres: Option<RawPostgres>,
    (folder, env): (&Path, Env<'_>),
    found: impl FnMut(String),
    problems: &mut Vec<Problem>,
) -> Option<StatePlace> {
    let address = state.to_str().filter(|text| PostgresUrl::is_meant(text));
    let Some(address) = address else {
        if postgres.is_some() {
            let hint = "it is for `state = \"postgres://…\"`";
            table.flag(problems, "postgres", "the state is no PostgreSQL database", hint);
        }
        return Some(StatePlace::File(absolute(folder, state)));
    };
    let RawPostgres { pool, tls, listen } = postgres.unwrap_or_default();
    if !(2..=1000).contains(&pool) {
        table.flag(problems, "postgres", "`pool` is outside 2 to 1000", "16 is the default");
    }
    match PostgresUrl::parse(address, tls) {
        Ok(url) => {
            let url = url.listening(listen);
            url.password().into_iter().for_each(found);
            let local = state_folder::of_machine(&id_of(&url.to_string()), &folder.join(DEFAULT_FOLDER), env)
                .join("postgres");
            Some(StatePlace::Postgres(Box::new(PostgresState { url, pool, local })))
        }
        Err(why) => {
            let hint =
                "write \"postgres://USER:${PASSWORD}@HOST/DATABASE\"; `tls` is a key of `[engine.postgres]`";
            table.flag(problems, "state", why, hint);
            None
        }
    }
}
