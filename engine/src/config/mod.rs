//! `reposync.toml` into a [`Config`]: read, substituted, resolved, checked. Every problem is
//! reported at once, with its place. Knows the stages' settings, never the stages.

mod api;
mod check;
mod costs;
mod diff;
mod env;
mod explain;
mod find;
mod kinds;
mod limits;
mod load;
mod mask;
mod names;
mod pipeline;
mod place;
mod places;
mod problem;
mod projects;
mod raw;
mod schema;
mod secret_files;
mod secret_values;
mod shape;
mod show;
mod stages;
mod substitute;
mod surroundings;
mod table;
#[cfg(test)]
mod tests;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::chunk::secrets::SecretRules;
use crate::chunk::{CodeSettings, MarkdownSettings, SentenceSettings, WasmSettings};
use crate::embed::{AzureSettings, LocalSettings, OpenAiSettings};
use crate::model::{BranchRef, ByteSize, DeclaredProject, HumanDuration, Secret, SecretsMode};
use crate::notify::{SlackSettings, WebhookSettings};
use crate::source::{GitSettings, GithubSettings, Limits, Selection};
use crate::store::{PineconeSettings, SqliteSettings};

pub use diff::{ConfigDiff, Part, ProjectChange, ProjectDiff, diff};
pub use env::Env;
pub use find::find;
pub use kinds::Role;
pub use load::{FILE_NAME, Need, load, parse_str};
pub use names::project_names;
pub use place::{component_files, line_of, problems_at};
pub use problem::{Problem, Problems, Salvaged};
pub use schema::{add_component, schema};
pub use show::show;
pub use values::parse_schedule;

/// The file, resolved: valid, defaults filled in, paths absolute, secrets substituted.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// `[engine]`.
    pub engine: Engine,
    /// The stages that enabled or selected projects use, in the order of the file. With projects
    /// selected by name, those of other projects are here as far as their variables and files are there;
    /// so are stores that no project uses.
    pub stages: Vec<Stage>,
    /// All projects, in the order of the file; disabled ones too.
    pub projects: Vec<Project>,
    /// `[secrets]`: what counts as a secret besides the program's own rules.
    pub secrets: SecretRules,
    /// `[api]`.
    pub api: Api,
}

impl Config {
    /// A stage by its name.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// All projects, as the status shows them.
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
pub struct Engine {
    /// The ledger's file.
    pub state: PathBuf,
    /// The folder of the vector cache.
    pub cache: PathBuf,
    /// The folder of compiled components. `None`: the file names none and the environment no folder
    /// of this user's, so they are compiled in memory.
    pub compiled_cache: Option<PathBuf>,
    /// The vector cache's size at most.
    pub cache_size: ByteSize,
    /// Calls in flight to each service.
    pub concurrency: usize,
    /// How long a call of a service may take.
    pub timeout: HumanDuration,
    /// How often a call that failed for a passing reason is tried again.
    pub retries: u32,
    /// A file of exactly this size is indexed, a larger one is not.
    pub max_file_bytes: ByteSize,
    /// The deletion guard: share of a project's vectors, 0 to 1.
    pub max_delete_ratio: f64,
    /// The spending guard: texts of one run as a share of a project's chunks, 0 to 1.
    pub max_new_texts_ratio: f64,
    /// For the daemon what `--prune` is for `apply`.
    pub prune: bool,
    /// How long runs are kept in the history.
    pub history: HumanDuration,
    /// Where JSON logs go.
    pub log_dir: Option<PathBuf>,
    /// Bounds on one repository.
    pub limits: Limits,
}

/// One stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Its name in the file.
    pub name: String,
    /// What it is, with its settings.
    pub kind: StageKind,
}

/// Every kind of stage.
#[derive(Debug, Clone, PartialEq)]
pub enum StageKind {
    /// `github`
    Github(GithubSettings),
    /// `git`
    Git(GitSettings),
    /// `sentence`
    Sentence(SentenceSettings),
    /// `markdown`
    Markdown(MarkdownSettings),
    /// `code`
    Code(CodeSettings),
    /// `wasm`
    Wasm(WasmSettings),
    /// `azure-openai`
    AzureOpenAi(AzureSettings),
    /// `openai`
    OpenAi(OpenAiSettings),
    /// `local`
    Local(LocalSettings),
    /// `pinecone`
    Pinecone(PineconeSettings),
    /// `sqlite`
    Sqlite(SqliteSettings),
    /// `slack`
    Slack(SlackSettings),
    /// `webhook`
    Webhook(WebhookSettings),
}

/// One project. Its pipeline is split by role; the names point into [`Config::stages`].
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
    /// Which repositories. For local Git the key is the absolute path, for GitHub it is empty.
    pub selection: Selection,
    /// Which branch.
    pub branch: BranchRef,
    /// The namespace in the store.
    pub namespace: String,
    /// Lower case, with the dot; none: every text file.
    pub allowed_extensions: Option<Vec<String>>,
    /// Globs of files that are not indexed.
    pub exclude_patterns: Vec<String>,
    /// A cron expression, UTC.
    pub schedule: Option<String>,
    /// What happens to secrets found in files.
    pub secrets: SecretsMode,
    /// What the embeddings of one run may cost.
    pub max_cost: Option<f64>,
    /// Disabled projects are left alone.
    pub enabled: bool,
}

impl Project {
    /// True where a GitHub repository (`owner/name`; none: any) of this owner may be among those
    /// selected. A keyword is for the listing to judge.
    pub fn may_select(&self, owner: &str, repository: Option<&str>) -> bool {
        match (&self.selection, repository) {
            (Selection::Owner { owner: own, .. }, _) => own.eq_ignore_ascii_case(owner),
            (Selection::Named(repos), Some(name)) => {
                repos.iter().any(|repo| repo.name.eq_ignore_ascii_case(name))
            }
            (Selection::Named(repos), None) => repos
                .iter()
                .any(|repo| repo.name.split('/').next().is_some_and(|own| own.eq_ignore_ascii_case(owner))),
        }
    }

    /// The names of its stages, in the pipeline's order.
    pub fn stages(&self) -> impl Iterator<Item = &str> {
        self.stages_of(Role::ALL)
    }

    /// The names of its stages in these roles, in the pipeline's order.
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
    /// Where the daemon listens.
    pub listen: SocketAddr,
    /// The bearer token; none: loopback only, with a token that the daemon makes.
    pub token: Option<Secret>,
    /// The secret of GitHub's webhooks; none: no webhook route.
    pub webhook_secret: Option<Secret>,
    /// Largest webhook body that is read.
    pub webhook_max_body: ByteSize,
    /// Connections with an authorized request that are open at once.
    pub max_connections: usize,
    /// Where `/health` and `/metrics` are served without a token; none: nowhere.
    pub probe_listen: Option<SocketAddr>,
    /// Certificate chain and private key, as absolute paths of PEM files; none: plain HTTP.
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
