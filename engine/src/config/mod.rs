//! Reads `reposync.toml` into a [`Config`]: parses, substitutes, resolves and checks it. All
//! problems are reported at once, with their position. Depends on what stages declare
//! (`registry.rs`), not on the stages.

mod api;
mod costs;
mod diff;
mod find;
mod limits;
mod load;
mod names;
mod pipeline;
mod place;
mod places;
mod problems;
mod projects;
mod raw;
mod registries;
mod schema;
mod show;
mod stages;
mod state_place;
#[cfg(test)]
mod tests;
mod tokens;
mod unmatched;
mod values;
mod workers;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::chunk::secrets::SecretRules;
use crate::model::{
    BranchRef, ByteSize, DeclaredProject, HumanDuration, Secret, SecretsMode, WorkerSettings,
};
use crate::source::{Limits, Selection};

pub use diff::{ConfigDiff, Part, ProjectChange, ProjectDiff, diff};
pub use find::find;
pub use load::{FILE_NAME, GivenComponent, Need, load, load_text, parse_str};
pub use names::project_names;
pub use place::{component_files, line_of, problems_at};
pub use problems::{Problems, Salvaged};
pub use registries::{Registries, Registry};
pub use schema::{add_component, schema};
pub use show::{show, show_project};
pub use state_place::{CachePlace, PostgresState, StatePlace, service_folder};
pub use tokens::{NamedToken, TokenDigest, token_digest};
pub use unmatched::unmatched_globs;
pub use values::parse_schedule;

pub use crate::registry::{StageSettings, webhooks};
pub use crate::settings::{Env, Problem};
pub use crate::source::{Webhook, WebhookEvent};
pub use crate::stage::Role;

/// A valid configuration with defaults filled in, absolute paths and resolved secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// `[engine]`.
    pub engine: EngineSettings,
    /// The stages that enabled or selected projects use, in the order of the file. If projects are
    /// selected by name, this includes the stages of other projects that lack no variable or file,
    /// and stores that no project uses.
    pub stages: Vec<Stage>,
    /// All projects, including disabled ones, in the order of the file.
    pub projects: Vec<Project>,
    /// `[secrets]`: rules for secrets in addition to the built-in ones.
    pub secrets: SecretRules,
    /// `[registries."HOST"]`: logins of the registries from which components come.
    pub registries: Registries,
    /// `[api]`.
    pub api: Api,
    /// `[workers]`.
    pub workers: WorkerSettings,
    /// The text that it was read from.
    pub text: FileText,
}

/// The text of a file, with references unresolved. It may hold secrets that are written out, so `Debug` leaves it out.
/// Configurations that say the same in other words are equal, so all texts are.
#[derive(Clone)]
pub struct FileText(Arc<str>);

impl FileText {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for FileText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl PartialEq for FileText {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Config {
    /// A stage by its name.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// The names of all projects. Other projects in the state are orphans.
    pub fn project_names(&self) -> Vec<String> {
        self.projects.iter().map(|project| project.name.clone()).collect()
    }

    /// All projects in the form that the status uses.
    pub fn declared(&self) -> Vec<DeclaredProject> {
        let named = |project: &Project| match &project.selection {
            Selection::Named(repositories) => repositories.iter().map(|repo| repo.name.clone()).collect(),
            Selection::Owner { .. } => Vec::new(),
        };
        let declared = |project: &Project| DeclaredProject {
            name: project.name.clone(),
            enabled: project.enabled,
            repositories: named(project),
        };
        self.projects.iter().map(declared).collect()
    }

    /// A project by its name.
    pub fn project(&self, name: &str) -> Option<&Project> {
        self.projects.iter().find(|project| project.name == name)
    }
}

/// `[engine]`.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineSettings {
    /// Where the state is.
    pub state: StatePlace,
    /// Where the vector cache is.
    pub vector_cache: CachePlace,
    /// The folder of the vector cache.
    pub cache: PathBuf,
    /// The folder of compiled components. `None`: compiled in memory, since neither the file nor
    /// the environment names a folder of this user.
    pub compiled_cache: Option<PathBuf>,
    /// Maximum size of the vector cache.
    pub cache_size: ByteSize,
    /// Maximum number of concurrent calls to each service.
    pub concurrency: usize,
    /// Maximum size of what is under way at once, of all projects.
    pub memory: ByteSize,
    /// Time-out of a call to a service.
    pub timeout: HumanDuration,
    /// Maximum number of retries of a call that failed for a transient reason.
    pub retries: u32,
    /// Maximum size of a file that is indexed, inclusive.
    pub max_file_bytes: ByteSize,
    /// The deletion guard: maximum share of a project's vectors that a run may remove, 0 to 1.
    pub max_delete_ratio: f64,
    /// The spending guard: maximum number of texts to embed in a run, as a share of a project's
    /// chunks, 0 to 1.
    pub max_new_texts_ratio: f64,
    /// The daemon's equivalent of `apply --prune`.
    pub prune: bool,
    /// How long runs are kept in the history.
    pub history: HumanDuration,
    /// The folder of JSON logs.
    pub log_dir: Option<PathBuf>,
    /// Limits per repository.
    pub limits: Limits,
}

/// A stage of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Its name in the file.
    pub name: String,
    /// Its settings, of any kind.
    pub settings: StageSettings,
}

/// A project, with its pipeline split by role. Stage names refer to [`Config::stages`].
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// The source stage.
    pub source: String,
    /// The chunker stages, in order.
    pub chunkers: Vec<String>,
    /// The embedder stage.
    pub embedder: String,
    /// The store stage.
    pub store: String,
    /// The notifier stages.
    pub notifiers: Vec<String>,
    /// The selected repositories. Their key is the absolute path for local Git, and empty for
    /// GitHub.
    pub selection: Selection,
    /// The branch to index.
    pub branch: BranchRef,
    /// The namespace in the store.
    pub namespace: String,
    /// Lower case, with the dot; `None`: every text file.
    pub allowed_extensions: Option<Vec<String>>,
    /// Globs of files that are not indexed.
    pub exclude_patterns: Vec<String>,
    /// A cron expression in UTC; `None`: not scheduled.
    pub schedule: Option<String>,
    /// How secrets in files are treated.
    pub secrets: SecretsMode,
    /// Maximum cost of a run's embeddings; `None`: unlimited.
    pub max_cost: Option<f64>,
    /// The questions of `reposync eval`.
    pub golden: Option<PathBuf>,
    /// The mean reciprocal rank that an evaluation must reach.
    pub min_mrr: Option<f64>,
    /// Disabled projects are ignored.
    pub enabled: bool,
}

impl Project {
    /// The names of its stages in pipeline order.
    pub fn stages(&self) -> impl Iterator<Item = &str> {
        self.stages_of(Role::ALL)
    }

    /// The names of its stages in these roles, in pipeline order.
    pub fn stages_of(&self, roles: &'static [Role]) -> impl Iterator<Item = &str> {
        let one = std::slice::from_ref::<String>;
        let by_role: [(Role, &[String]); 5] = [
            (Role::Source, one(&self.source)),
            (Role::Chunker, &self.chunkers),
            (Role::Embedder, one(&self.embedder)),
            (Role::Store, one(&self.store)),
            (Role::Notifier, &self.notifiers),
        ];
        by_role
            .into_iter()
            .filter(move |(role, _)| roles.contains(role))
            .flat_map(|(_, names)| names)
            .map(String::as_str)
    }
}

/// `[api]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Api {
    /// The address of the API.
    pub listen: SocketAddr,
    /// The bearer token that may do everything; `None`: the daemon generates one, which it accepts from this machine
    /// alone.
    pub token: Option<Secret>,
    /// `[api.tokens]`, in the order of the file.
    pub tokens: Vec<NamedToken>,
    /// The secret of GitHub's webhooks; `None`: no webhook route.
    pub webhook_secret: Option<Secret>,
    /// Maximum size of a webhook's body.
    pub webhook_max_body: ByteSize,
    /// Maximum number of concurrent connections with an authorized request.
    pub max_connections: usize,
    /// The address that serves `/health` and `/metrics` without a token; `None`: there is none.
    pub probe_listen: Option<SocketAddr>,
    /// The origin at which people reach the API, such as `https://sync.example.com`; `None`: not known.
    pub public_url: Option<String>,
    /// TLS certificate and key; `None`: plain HTTP.
    pub tls: Option<TlsFiles>,
}

/// The PEM files of `[api] tls_cert` and `tls_key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}
