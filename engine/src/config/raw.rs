//! The fixed tables before checks: `[engine]`, `[api]`, `[projects.…]`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::tokens::RawToken;
use crate::model::{ByteSize, HumanDuration, Secret, SecretsMode};
use crate::source::{Limits, WrittenRepository};

use super::state_place::{CachePlace, DEFAULT_FOLDER, RawPostgres};

/// The default path of the ledger.
pub(super) const DEFAULT_STATE: &str = ".reposync/state.db";

/// Settings of the program itself.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawEngine {
    /// The ledger: a file, relative to this file, or the address of a PostgreSQL database,
    /// `postgres://USER:PASSWORD@HOST/DATABASE`.
    pub(super) state: PathBuf,
    /// For a state in a PostgreSQL database.
    pub(super) postgres: Option<RawPostgres>,
    /// Where the vector cache is: `state` or `local`. Default: in the database if the state is in one, otherwise
    /// `local`.
    pub(super) vector_cache: Option<CachePlace>,
    /// The folder of the vector cache, relative to this file.
    pub(super) cache: PathBuf,
    /// The folder of compiled components, relative to this file. Default:
    /// `$XDG_CACHE_HOME/reposync/components`.
    pub(super) compiled_cache: Option<PathBuf>,
    /// Maximum size of the vector cache.
    pub(super) cache_size: ByteSize,
    /// Maximum number of concurrent calls to each service.
    pub(super) concurrency: usize,
    /// Maximum size of the contents, texts and vectors that are under way at once, of all projects. Less is used
    /// where fewer calls are made at once.
    pub(super) memory: ByteSize,
    /// Time-out of a call to a service. For downloads: of the wait for more data.
    pub(super) timeout: HumanDuration,
    /// Maximum number of retries of a call that failed for a transient reason.
    pub(super) retries: u32,
    /// Maximum size of a file that is indexed, inclusive.
    pub(super) max_file_bytes: ByteSize,
    /// The deletion guard: removals beyond this share of a project's vectors (0 to 1) are withheld.
    pub(super) max_delete_ratio: f64,
    /// The spending guard: a run that would embed more than this share of a project's chunks (0 to
    /// 1), and more than 10,000 texts, embeds none of them until that is allowed.
    pub(super) max_new_texts_ratio: f64,
    /// Like `apply --prune` for the daemon: removes what no project declares any more.
    pub(super) prune: bool,
    /// How long runs are kept in the history. The newest run of each project is always kept.
    pub(super) history: HumanDuration,
    /// Folder for logs as JSON lines, relative to this file. Default: only the terminal.
    pub(super) log_dir: Option<PathBuf>,
    /// Limits per repository. A repository beyond them is refused; the others of its project are
    /// indexed.
    pub(super) limits: Limits,
}

impl Default for RawEngine {
    fn default() -> Self {
        Self {
            state: DEFAULT_STATE.into(),
            postgres: None,
            vector_cache: None,
            cache: DEFAULT_FOLDER.into(),
            compiled_cache: None,
            cache_size: ByteSize::mib(4096),
            concurrency: 8,
            memory: ByteSize::mib(256),
            timeout: HumanDuration(Duration::from_secs(60)),
            retries: 5,
            max_file_bytes: ByteSize::mib(1),
            max_delete_ratio: 0.5,
            max_new_texts_ratio: 0.5,
            prune: false,
            history: HumanDuration(Duration::from_secs(90 * 24 * 3600)),
            log_dir: None,
            limits: Limits::default(),
        }
    }
}

/// The daemon's HTTP API.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawApi {
    /// Address and port.
    pub(super) listen: String,
    /// The bearer token that requests must carry. Default: loopback only, with a token that the
    /// daemon generates and stores next to the ledger.
    pub(super) token: Option<Secret>,
    /// Further tokens, by name, each for a part of what the API can do and show.
    pub(super) tokens: BTreeMap<String, RawToken>,
    /// The secret of GitHub's webhooks. Default: no webhook route.
    pub(super) webhook_secret: Option<Secret>,
    /// Maximum size of a webhook's body, at most 25 MiB, GitHub's own limit.
    pub(super) webhook_max_body: ByteSize,
    /// Maximum number of concurrent connections with an authorized request, event streams included.
    pub(super) max_connections: usize,
    /// Address and port of a second listener that serves `/health` and `/metrics` without a token.
    /// Default: none.
    pub(super) probe_listen: Option<String>,
    /// The address at which people and services reach the API, such as `https://sync.example.com`: for links, and
    /// for the check that forms come from the console. Default: none.
    pub(super) public_url: Option<String>,
    /// The TLS certificate chain, a PEM file relative to this file. Default: plain HTTP.
    pub(super) tls_cert: Option<PathBuf>,
    /// The private key of `tls_cert`, a PEM file relative to this file.
    pub(super) tls_key: Option<PathBuf>,
}

impl Default for RawApi {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            token: None,
            tokens: BTreeMap::new(),
            webhook_secret: None,
            webhook_max_body: ByteSize::mib(25),
            max_connections: 1024,
            probe_listen: None,
            public_url: None,
            tls_cert: None,
            tls_key: None,
        }
    }
}

/// What is indexed, by which stages, into which namespace.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProject {
    /// Names of stages: one source, chunkers, one embedder, one store, any notifiers, in this
    /// order.
    #[expect(dead_code, reason = "read with its places by `pipeline::split`; here for type and schema")]
    pub(super) pipeline: Vec<String>,
    /// A GitHub organization or user: all its repositories. Alternative to `repositories`.
    #[serde(default)]
    pub(super) organization: Option<String>,
    /// Single repositories: `owner/name`; for kind `git`, paths relative to this file; for kind `git-remote`,
    /// paths on the server.
    #[serde(default)]
    pub(super) repositories: Option<Vec<WrittenRepository>>,
    /// Restricts an organization to repositories with this in their name, description or topics.
    #[serde(default)]
    pub(super) filter_keyword: Option<String>,
    /// The branch to index. Default: each repository's default branch.
    #[serde(default)]
    pub(super) branch: Option<String>,
    /// The namespace in the store. Default: the project's name.
    #[serde(default)]
    pub(super) namespace: Option<String>,
    /// File extensions to index, such as `[".md", ".rst"]`. Default: every text file.
    #[serde(default)]
    pub(super) allowed_extensions: Option<Vec<String>>,
    /// Globs of files that are not indexed.
    #[serde(default)]
    pub(super) exclude_patterns: Vec<String>,
    /// When the daemon starts runs: a cron expression in UTC.
    #[serde(default)]
    pub(super) schedule: Option<String>,
    /// How keys and tokens found in files are treated.
    #[serde(default)]
    pub(super) secrets: SecretsMode,
    /// The spending guard: maximum cost of a run's embeddings, in the currency of the embedder's
    /// `price_per_million_tokens`. Default: no limit.
    #[serde(default)]
    pub(super) max_cost: Option<f64>,
    /// The questions of `reposync eval`, in a file relative to `reposync.toml`.
    #[serde(default)]
    pub(super) golden: Option<PathBuf>,
    /// The mean reciprocal rank below which `reposync eval` exits with 3.
    #[serde(default)]
    pub(super) min_mrr: Option<f64>,
    /// A disabled project is ignored.
    #[serde(default = "yes")]
    pub(super) enabled: bool,
}

fn yes() -> bool {
    true
}
