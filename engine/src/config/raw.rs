//! The fixed tables as they are written: `[engine]`, `[api]`, `[projects.…]`.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::model::SecretsMode;
use crate::model::{ByteSize, HumanDuration, Secret};
use crate::source::Limits;

/// Where the ledger is if the file does not say.
pub(super) const DEFAULT_STATE: &str = ".reposync/state.db";

/// The program itself.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawEngine {
    /// The ledger's file, relative to this file.
    pub(super) state: PathBuf,
    /// The folder of the vector cache, relative to this file.
    pub(super) cache: PathBuf,
    /// The folder of compiled components, relative to this file; left out: the user's own,
    /// `$XDG_CACHE_HOME/reposync/components`.
    pub(super) compiled_cache: Option<PathBuf>,
    /// The vector cache's size at most.
    pub(super) cache_size: ByteSize,
    /// Calls in flight to each service.
    pub(super) concurrency: usize,
    /// How long a call of a service may take; for downloads: how long nothing may come.
    pub(super) timeout: HumanDuration,
    /// How often a call that failed for a passing reason is tried again.
    pub(super) retries: u32,
    /// A file of exactly this size is indexed, a larger one is not.
    pub(super) max_file_bytes: ByteSize,
    /// The deletion guard: removals beyond this share of a project's vectors (0 to 1) are withheld.
    pub(super) max_delete_ratio: f64,
    /// The spending guard: a run that would embed more texts than this share of a project's chunks
    /// (0 to 1), and more than 10,000, embeds nothing of it until that is allowed.
    pub(super) max_new_texts_ratio: f64,
    /// For the daemon what `--prune` is for `apply`: what nothing declares any more is removed.
    pub(super) prune: bool,
    /// How long runs are kept in the history; the newest run of each project is kept for ever.
    pub(super) history: HumanDuration,
    /// Where logs are written as JSON lines, relative to this file; left out: to the terminal only.
    pub(super) log_dir: Option<PathBuf>,
    /// Bounds on one repository. One that is beyond them is refused; the others of its project go on.
    pub(super) limits: Limits,
}

impl Default for RawEngine {
    fn default() -> Self {
        Self {
            state: DEFAULT_STATE.into(),
            cache: ".reposync".into(),
            compiled_cache: None,
            cache_size: ByteSize::mib(4096),
            concurrency: 8,
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
    /// The bearer token that requests must carry; left out: loopback only, with a token that the daemon
    /// makes and keeps beside the ledger.
    pub(super) token: Option<Secret>,
    /// The secret of GitHub's webhooks; left out: no webhook route.
    pub(super) webhook_secret: Option<Secret>,
    /// Largest body of a webhook delivery that is read; at most 25 MiB, GitHub's own limit.
    pub(super) webhook_max_body: ByteSize,
    /// Connections with an authorized request, event streams included, that are open at once.
    pub(super) max_connections: usize,
    /// Address and port of a second listener that serves `/health` and `/metrics` without a token;
    /// left out: there is none.
    pub(super) probe_listen: Option<String>,
    /// The TLS certificate chain, a PEM file relative to this file; left out: plain HTTP.
    pub(super) tls_cert: Option<PathBuf>,
    /// The private key of `tls_cert`, a PEM file relative to this file.
    pub(super) tls_key: Option<PathBuf>,
}

impl Default for RawApi {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            token: None,
            webhook_secret: None,
            webhook_max_body: ByteSize::mib(25),
            max_connections: 1024,
            probe_listen: None,
            tls_cert: None,
            tls_key: None,
        }
    }
}

/// What is indexed, through which stages, into which namespace.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProject {
    /// Names of stages: one source, chunkers, one embedder, one store, any notifiers, in this order.
    #[expect(dead_code, reason = "read with its places by `pipeline::split`; here for type and schema")]
    pub(super) pipeline: Vec<String>,
    /// A GitHub organisation or user: all its repositories. Or `repositories`.
    #[serde(default)]
    pub(super) organization: Option<String>,
    /// Single repositories: `owner/name`; for kind `git` paths relative to this file.
    #[serde(default)]
    pub(super) repositories: Option<Vec<RawRepository>>,
    /// Narrows an organisation to repositories with this in name, description or topics.
    #[serde(default)]
    pub(super) filter_keyword: Option<String>,
    /// The branch to index; left out: each repository's default branch.
    #[serde(default)]
    pub(super) branch: Option<String>,
    /// The namespace in the store; left out: the project's name.
    #[serde(default)]
    pub(super) namespace: Option<String>,
    /// Which files, by extension: `[".md", ".rst"]`; left out: every text file.
    #[serde(default)]
    pub(super) allowed_extensions: Option<Vec<String>>,
    /// Globs of files that are not indexed.
    #[serde(default)]
    pub(super) exclude_patterns: Vec<String>,
    /// When the daemon syncs: a cron expression, UTC.
    #[serde(default)]
    pub(super) schedule: Option<String>,
    /// What happens to keys and tokens found in files.
    #[serde(default)]
    pub(super) secrets: SecretsMode,
    /// The spending guard: what the embeddings of one run may cost, in the currency of the
    /// embedder's `price_per_million_tokens`; left out: no bound.
    #[serde(default)]
    pub(super) max_cost: Option<f64>,
    /// A disabled project is left alone.
    #[serde(default = "yes")]
    pub(super) enabled: bool,
}

fn yes() -> bool {
    true
}

/// One repository.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "Repository")]
pub(super) enum RawRepository {
    /// `owner/name`, or a path for kind `git`.
    Plain(String),
    /// A path with a name of its own, for kind `git`.
    Named(NamedRepository),
}

/// A local repository with a name of its own.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NamedRepository {
    /// Its folder, relative to this file.
    pub(super) path: String,
    /// The name it is known by; left out: the folder's name without `.git`.
    #[serde(default)]
    pub(super) name: Option<String>,
}

// By hand, not `untagged`: errors keep their place.
impl<'de> Deserialize<'de> for RawRepository {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RawRepository;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a repository such as \"owner/name\" or { path = \"…\", name = \"…\" }")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<RawRepository, E> {
                Ok(RawRepository::Plain(text.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawRepository, A::Error> {
                NamedRepository::deserialize(MapAccessDeserializer::new(map)).map(RawRepository::Named)
            }
        }
        deserializer.deserialize_any(Either)
    }
}
