//! Classifies the changes between two configurations: which parts of a project are updated live,
//! which require a new plan, and which keys require a restart. No I/O.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Config, Project, StageSettings};
use crate::model::SecretsMode;
use crate::stage::Edits;

/// The differences between two resolved configurations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigDiff {
    /// Projects that differ, in the order of the new file, followed by removed ones.
    pub projects: Vec<ProjectDiff>,
    /// Names of stages to build: new ones and those with changed settings. Other stages keep their
    /// clients, pools and rate limits.
    pub rebuilt_stages: BTreeSet<String>,
    /// Keys outside of projects that take effect immediately, such as `api.token`.
    pub live: Vec<&'static str>,
    /// Keys that take effect only after a restart, such as `engine.state`.
    pub restart: Vec<&'static str>,
}

/// The change of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectDiff {
    /// Its name.
    pub name: String,
    /// The kind of change.
    pub change: ProjectChange,
}

/// A kind of change of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectChange {
    /// It is new.
    Added,
    /// It was removed: its vectors are orphans.
    Removed,
    /// It was disabled before and is now enabled.
    Enabled,
    /// It was enabled before and is now disabled.
    Disabled,
    /// It is still enabled, and these parts differ.
    Changed(BTreeSet<Part>),
}

/// The parts of a project that can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The source and its view: kind, endpoint, forks, archived.
    Source,
    /// Organization, repositories, keyword.
    Selection,
    /// The branch.
    Branch,
    /// Extensions, excluded patterns, the size limit of files, the limits per repository.
    Files,
    /// The treatment of secrets in files.
    Secrets,
    /// Chunkers and their settings.
    Chunkers,
    /// What determines vectors: kind, endpoint, model, dimensions.
    Embedder,
    /// What determines the location of vectors: kind, host, index.
    Store,
    /// The namespace.
    Namespace,
    /// Notifiers and their settings.
    Notifiers,
    /// The maximum cost of a run. Withheld work is decided on again.
    MaxCost,
    /// The schedule.
    Schedule,
    /// Rates, batch sizes, prices, limits of a component.
    Limits,
    /// Keys and tokens of source, embedder or store. Others may see more repositories or another
    /// account's index, and what was refused before may succeed.
    Credentials,
    /// Only names of stages.
    Names,
}

impl Part {
    /// True if the index may differ, so that the project must be planned and run again. Other parts
    /// take effect without a run.
    pub fn replans(self) -> bool {
        !matches!(self, Self::Notifiers | Self::Schedule | Self::Limits | Self::Names)
    }
}

impl ProjectChange {
    /// True if the project must be planned and run.
    pub fn replans(&self) -> bool {
        match self {
            Self::Added | Self::Enabled => true,
            Self::Removed | Self::Disabled => false,
            Self::Changed(parts) => parts.iter().any(|part| part.replans()),
        }
    }
}

impl ConfigDiff {
    /// True if nothing differs.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The change of a project; `None` if it did not change.
    pub fn project(&self, name: &str) -> Option<&ProjectChange> {
        self.projects.iter().find(|project| project.name == name).map(|project| &project.change)
    }
}

/// Compares two configurations.
pub fn diff(old: &Config, new: &Config) -> ConfigDiff {
    let mut out = ConfigDiff::default();
    for project in &new.projects {
        let change = match old.project(&project.name) {
            None if project.enabled => Some(ProjectChange::Added),
            None => None,
            Some(before) => match (before.enabled, project.enabled) {
                (false, true) => Some(ProjectChange::Enabled),
                (true, false) => Some(ProjectChange::Disabled),
                (false, false) => None,
                (true, true) => {
                    let parts = parts(old, before, new, project);
                    (!parts.is_empty()).then_some(ProjectChange::Changed(parts))
                }
            },
        };
        out.projects.extend(change.map(|change| ProjectDiff { name: project.name.clone(), change }));
    }
    for project in &old.projects {
        if new.project(&project.name).is_none() {
            out.projects.push(ProjectDiff { name: project.name.clone(), change: ProjectChange::Removed });
        }
    }
    let rebuilt = new.stages.iter().filter(|stage| old.stage(&stage.name) != Some(*stage));
    out.rebuilt_stages = rebuilt.map(|stage| stage.name.clone()).collect();
    process(old, new, &mut out);
    out
}

/// Compares `[engine]` and `[api]`. Listener, ledger, caches and logs are opened once per process.
fn process(old: &Config, new: &Config, out: &mut ConfigDiff) {
    let mut compare = |key, differs: bool, restart: bool| {
        if differs {
            if restart { out.restart.push(key) } else { out.live.push(key) }
        }
    };
    let (a, b) = (&old.engine, &new.engine);
    compare("engine.state", a.state != b.state, true);
    compare("engine.vector_cache", a.vector_cache != b.vector_cache, true);
    compare("engine.cache", a.cache != b.cache, true);
    compare("engine.compiled_cache", a.compiled_cache != b.compiled_cache, true);
    compare("engine.log_dir", a.log_dir != b.log_dir, true);
    compare("engine.cache_size", a.cache_size != b.cache_size, true);
    compare("engine.concurrency", a.concurrency != b.concurrency, false);
    compare("engine.memory", a.memory != b.memory, false);
    compare("engine.timeout", a.timeout != b.timeout, false);
    compare("engine.history", a.history != b.history, false);
    compare("engine.retries", a.retries != b.retries, false);
    compare("engine.max_file_bytes", a.max_file_bytes != b.max_file_bytes, false);
    compare("engine.max_delete_ratio", a.max_delete_ratio.to_bits() != b.max_delete_ratio.to_bits(), false);
    let ratio = |engine: &super::EngineSettings| engine.max_new_texts_ratio.to_bits();
    compare("engine.max_new_texts_ratio", ratio(a) != ratio(b), false);
    compare("engine.limits", a.limits != b.limits, false);
    compare("engine.prune", a.prune != b.prune, false);
    compare("workers", old.workers != new.workers, false);
    compare("api.listen", old.api.listen != new.api.listen, true);
    compare("api.token", old.api.token != new.api.token, false);
    compare("api.tokens", old.api.tokens != new.api.tokens, false);
    let (a, b) = (&old.api, &new.api);
    compare("api.webhook_secret", a.webhook_secret != b.webhook_secret, false);
    compare("api.webhook_max_body", a.webhook_max_body != b.webhook_max_body, false);
    compare("api.max_connections", a.max_connections != b.max_connections, false);
    compare("api.public_url", a.public_url != b.public_url, false);
    compare("api.probe_listen", a.probe_listen != b.probe_listen, true);
    let path = |api: &super::Api, file: fn(&super::TlsFiles) -> &PathBuf| api.tls.as_ref().map(file).cloned();
    compare("api.tls_cert", path(a, |tls| &tls.cert) != path(b, |tls| &tls.cert), true);
    compare("api.tls_key", path(a, |tls| &tls.key) != path(b, |tls| &tls.key), true);
}

fn parts(old: &Config, before: &Project, new: &Config, after: &Project) -> BTreeSet<Part> {
    let mut parts = BTreeSet::new();
    let mut note = |part, differs: bool| {
        if differs {
            parts.insert(part);
        }
    };
    note(Part::Selection, before.selection != after.selection);
    note(Part::Branch, before.branch != after.branch);
    note(
        Part::Files,
        before.allowed_extensions != after.allowed_extensions
            || before.exclude_patterns != after.exclude_patterns
            || old.engine.max_file_bytes != new.engine.max_file_bytes
            || old.engine.limits != new.engine.limits,
    );
    let rules = old.secrets != new.secrets && after.secrets != SecretsMode::Off;
    note(Part::Secrets, before.secrets != after.secrets || rules);
    note(Part::MaxCost, before.max_cost != after.max_cost);
    note(Part::Namespace, before.namespace != after.namespace);
    note(Part::Schedule, before.schedule != after.schedule);
    note(Part::Names, !before.stages().eq(after.stages()));

    let settings = |config: &Config, names: &[String]| -> Vec<StageSettings> {
        names.iter().filter_map(|name| config.stage(name)).map(|stage| stage.settings.clone()).collect()
    };
    note(Part::Notifiers, settings(old, &before.notifiers) != settings(new, &after.notifiers));
    let one = std::slice::from_ref::<String>;
    for (part, before, after) in [
        (Part::Source, one(&before.source), one(&after.source)),
        (Part::Chunkers, before.chunkers.as_slice(), after.chunkers.as_slice()),
        (Part::Embedder, one(&before.embedder), one(&after.embedder)),
        (Part::Store, one(&before.store), one(&after.store)),
    ] {
        let edits = edits(&settings(old, before), &settings(new, after));
        note(part, edits.index);
        note(Part::Limits, edits.limits && !edits.index);
        note(Part::Credentials, edits.credentials);
    }
    parts
}

/// What differs between the stages of one role before and after.
fn edits(before: &[StageSettings], after: &[StageSettings]) -> Edits {
    let mut edits = Edits::default();
    for (before, after) in before.iter().zip(after) {
        edits |= before.any().edits_to(after.any());
    }
    if before.len() != after.len() {
        edits.index = true;
        edits.credentials |= before.iter().chain(after).any(|stage| stage.any().any_credentials());
    }
    edits
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Need, Role, parse_str};

    const FILE: &str = r#"
[engine]
state = "state.db"
[stages.github]
kind = "github"
token = "old"
[stages.prose]
kind = "sentence"
max_chunk_size = 1000
[stages.ada]
kind = "azure-openai"
endpoint = "https://a.example"
deployment = "d"
api_key = "old"
batch_size = 100
[stages.index]
kind = "sqlite"
path = "index.db"
[stages.team]
kind = "slack"
webhook_url = "https://old.example"
[projects.docs]
pipeline = ["github", "prose", "ada", "index", "team"]
organization = "acme"
namespace = "docs"
schedule = "0 8 * * *"
enabled = true
[projects.code]
pipeline = ["github", "prose", "ada", "index"]
repositories = ["acme/api"]
[api]
listen = "127.0.0.1:8080"
token = "api"
"#;

    fn read(text: &str) -> Config {
        let need = Need::enabled().with_api().with_env(|_| None);
        parse_str(Path::new("/example/reposync.toml"), text, &need)
            .unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// The differences in one line; `!` marks projects that are planned again.
    fn summary(diff: &ConfigDiff) -> String {
        let mut out: Vec<String> = diff
            .projects
            .iter()
            .map(|one| {
                format!("{} {:?}{}", one.name, one.change, if one.change.replans() { "!" } else { "" })
            })
            .collect();
        if !diff.rebuilt_stages.is_empty() {
            out.push(format!("stages {:?}", diff.rebuilt_stages));
        }
        out.extend(diff.live.iter().map(|key| format!("live {key}")));
        out.extend(diff.restart.iter().map(|key| format!("restart {key}")));
        out.join("; ")
    }

    #[test]
    fn edits_are_classed() {
        let both = |part: &str, mark: &str, stage: &str| {
            format!("docs Changed({{{part}}}){mark}; code Changed({{{part}}}){mark}; stages {{\"{stage}\"}}")
        };
        for (from, to, what) in [
            ("[engine]", "# a comment\n[engine]\nconcurrency = 8", String::new()),
            ("\nmax_chunk_size = 1000", "", String::new()),
            ("state = \"state.db\"", "state = \"other.db\"", "restart engine.state".into()),
            ("[engine]", "[engine]\nprune = true", "live engine.prune".into()),
            ("token = \"old\"", "token = \"new\"", both("Credentials", "!", "github")),
            ("\"github\"\ntoken", "\"github\"\nforks = false\ntoken", both("Source", "!", "github")),
            ("= 1000", "= 900", both("Chunkers", "!", "prose")),
            ("= 100\n", "= 50\n", both("Limits", "", "ada")),
            ("\"d\"", "\"e\"", both("Embedder", "!", "ada")),
            ("\"index.db\"", "\"new.db\"", both("Store", "!", "index")),
            ("old.example", "new.example", "docs Changed({Notifiers}); stages {\"team\"}".into()),
            ("\"acme\"", "\"acme2\"", "docs Changed({Selection})!".into()),
            ("\"acme/api\"", "\"acme/api\", \"acme/web\"", "code Changed({Selection})!".into()),
            ("namespace = \"docs\"", "namespace = \"new\"", "docs Changed({Namespace})!".into()),
            ("namespace = \"docs\"", "allowed_extensions = [\".md\"]", "docs Changed({Files})!".into()),
            (
                "namespace = \"docs\"",
                "secrets = \"skip\"\nbranch = \"b\"",
                "docs Changed({Branch, Secrets})!".into(),
            ),
            ("0 8", "0 9", "docs Changed({Schedule})".into()),
            ("enabled = true", "enabled = false", "docs Disabled".into()),
            ("[projects.code]", "[projects.renamed]", "renamed Added!; code Removed".into()),
            ("8080", "9090", "restart api.listen".into()),
            ("[api]", "[api]\nwebhook_max_body = \"1 MiB\"", "live api.webhook_max_body".into()),
            ("[api]", "[api]\nmax_connections = 9", "live api.max_connections".into()),
            ("[api]", "[api]\npublic_url = \"https://a.example\"", "live api.public_url".into()),
            ("[api]", "[api]\nprobe_listen = \"0.0.0.0:1\"", "restart api.probe_listen".into()),
            (
                "[api]",
                "[api]\ntls_cert = \"c\"\ntls_key = \"k\"",
                "restart api.tls_cert; restart api.tls_key".into(),
            ),
            ("\"api\"", "\"new\"", "live api.token".into()),
            ("[api]", "[api.tokens.ci]\ntoken = \"c\"\n[api]", "live api.tokens".into()),
            (
                "[engine]",
                "[engine]\nmax_file_bytes = \"2 MiB\"",
                "docs Changed({Files})!; code Changed({Files})!; live engine.max_file_bytes".into(),
            ),
        ] {
            assert!(FILE.contains(from), "{from}");
            let diff = diff(&read(FILE), &read(&FILE.replacen(from, to, 1)));
            assert_eq!(summary(&diff), what, "{from} -> {to}");
            assert_eq!(diff.is_empty(), what.is_empty());
        }
    }

    /// The settings of a stage in a project whose other stages are the simplest.
    fn settings(role: Role, table: &str) -> StageSettings {
        let others = [
            (Role::Source, "git"),
            (Role::Chunker, "code"),
            (Role::Embedder, "local"),
            (Role::Store, "sqlite"),
        ];
        let names = others.map(|(other, kind)| if other == role { "x" } else { kind });
        let declared = others.map(|(_, kind)| format!("[stages.{kind}]\nkind = \"{kind}\"\n")).concat();
        let selection = match table {
            github if github.contains("\"github\"") => "organization = \"a\"",
            remote if remote.contains("\"git-remote\"") => "repositories = [\"a\"]",
            _ => "repositories = [\".\"]",
        };
        let text =
            format!("{declared}[stages.x]\n{table}\n[projects.p]\npipeline = {names:?}\n{selection}\n");
        read(&text).stage("x").expect("used").settings.clone()
    }

    fn cost(role: Role, before: &str, after: &str) -> String {
        let edits = edits(&[settings(role, before)], &[settings(role, after)]);
        let named = [(edits.index, "index"), (edits.limits, "limits"), (edits.credentials, "credentials")];
        named.into_iter().filter(|(differs, _)| *differs).map(|(_, name)| name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_edit_of_a_stage_costs_what_its_keys_declare() {
        let azure = "kind = \"azure-openai\"\nendpoint = \"a.example\"\ndeployment = \"d\"\napi_key = \"k\"";
        let openai = "kind = \"openai\"\nmodel = \"m\"\napi_key = \"k\"";
        let pinecone = "kind = \"pinecone\"\nindex = \"docs\"\napi_key = \"k\"";
        let folder = env!("CARGO_MANIFEST_DIR");
        let wasm = &format!("kind = \"wasm\"\ncomponent = \"{folder}/Cargo.toml\"");
        let model = &format!("path = \"{folder}\"");
        let (github, local) = ("kind = \"github\"", "kind = \"local\"");
        let remote = "kind = \"git-remote\"\nbase_url = \"https://git.example\"";
        let app = "app_id = 1\ninstallation_id = 2\nprivate_key = \"-----BEGIN\"";
        for (role, stage, edit, expected) in [
            (Role::Source, github, app, "credentials"),
            (Role::Source, github, "archived = false", "index"),
            (Role::Source, github, "forks = false\ntoken = \"t\"", "index credentials"),
            (Role::Source, remote, "links = \"gitlab\"", "index"),
            (Role::Source, remote, "clones = \"1 GiB\"", "limits"),
            (Role::Source, remote, "username = \"u\"\ntoken = \"t\"", "credentials"),
            (Role::Embedder, azure, "dimensions = 8", "index"),
            (Role::Embedder, azure, "api_version = \"2024-10-21\"", "limits"),
            (Role::Embedder, azure, "batch_size = 8\ndimensions = 8", "index limits"),
            (Role::Embedder, openai, "max_input_tokens = 8", "index"),
            (Role::Embedder, openai, "tokens_per_minute = 8\nrequests_per_minute = 8", "limits"),
            (Role::Embedder, openai, "price_per_million_tokens = 0.1", "limits"),
            (Role::Embedder, local, model, "index"),
            (Role::Store, pinecone, "create = { cloud = \"aws\", region = \"r\" }", "limits"),
            (Role::Store, pinecone, "api_version = \"2026-01\"", "limits"),
            (Role::Store, pinecone, "host = \"h.example\"", "index"),
            (Role::Chunker, wasm, "on_error = \"fail\"", "index"),
            (Role::Chunker, wasm, "config = { a = 1 }", "index"),
            (Role::Chunker, wasm, "memory = \"1 MiB\"\ndeadline = \"1s\"\noutput = \"1 MiB\"", "limits"),
        ] {
            assert_eq!(cost(role, stage, &format!("{stage}\n{edit}")), expected, "{stage} -> {edit}");
        }
        let other_key = openai.replace("\"k\"", "\"new\"");
        for (role, before, after, expected) in [
            (Role::Source, "kind = \"git\"", github, "index credentials"),
            (Role::Embedder, openai, local, "index credentials"),
            (Role::Embedder, openai, &other_key, "credentials"),
            (Role::Store, pinecone, "kind = \"sqlite\"", "index credentials"),
            (Role::Chunker, "kind = \"sentence\"", "kind = \"code\"", "index"),
        ] {
            assert_eq!(cost(role, before, after), expected, "{before} -> {after}");
        }
    }

    #[test]
    fn a_renamed_stage_changes_names_alone() {
        let renamed = read(&FILE.replace("ada", "embedder"));
        let summary = summary(&diff(&read(FILE), &renamed));
        assert_eq!(summary, "docs Changed({Names}); code Changed({Names}); stages {\"embedder\"}");
    }

    #[test]
    fn disabled_projects_are_left_alone() {
        let disabled = FILE.replace("enabled = true", "enabled = false");
        let edited = disabled.replace("\"acme\"", "\"other\"");
        assert!(diff(&read(&disabled), &read(&edited)).is_empty());
        assert_eq!(summary(&diff(&read(&disabled), &read(FILE))), "docs Enabled!; stages {\"team\"}");
        let disabled = diff(&read(FILE), &read(&disabled));
        assert_eq!(disabled.project("docs"), Some(&ProjectChange::Disabled));
    }
}
