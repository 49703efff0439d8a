//! Renders a resolved configuration as TOML, with defaults filled in and secrets masked.

use toml::Value;

use super::{Config, EngineSettings, Project, Stage};
use crate::chunk::secrets::SecretRules;
use crate::model::{BranchRef, HumanDuration, Secret, WorkerSettings};
use crate::settings::quoted;
use crate::source::Selection;

/// The configuration as TOML. Secrets are shown as `***`.
pub fn show(config: &Config) -> String {
    let mut out = Lines(String::new());
    engine(&mut out, &config.engine);
    if config.engine.state.file().is_none() {
        workers(&mut out, config.workers);
    }
    for one in &config.stages {
        stage(&mut out, one);
    }
    for one in &config.projects {
        project(&mut out, config, one);
    }
    if config.secrets != SecretRules::default()
        && let Ok(Value::Table(rules)) = Value::try_from(&config.secrets)
    {
        out.header("secrets");
        for (key, value) in rules {
            out.put(&key, value);
        }
    }
    for login in config.registries.iter() {
        out.header(&format!("registries.{}", quoted(&login.host)));
        out.maybe("username", login.password().map(|(username, _)| username));
        out.secret("password", login.password().map(|(_, password)| password));
        out.secret("token", login.token.as_ref());
        out.maybe("realm", login.realm.as_deref());
    }
    out.header("api");
    out.text("listen", &config.api.listen);
    out.secret("token", config.api.token.as_ref());
    out.secret("webhook_secret", config.api.webhook_secret.as_ref());
    out.text("webhook_max_body", &config.api.webhook_max_body);
    out.count("max_connections", config.api.max_connections);
    if let Some(probe) = &config.api.probe_listen {
        out.text("probe_listen", probe);
    }
    out.maybe("public_url", config.api.public_url.as_deref());
    if let Some(tls) = &config.api.tls {
        out.path("tls_cert", &tls.cert);
        out.path("tls_key", &tls.key);
    }
    for token in &config.api.tokens {
        out.header(&format!("api.tokens.{}", quoted(&token.name)));
        out.put("token", "***");
        out.list("projects", token.projects.as_ref());
        out.list("repositories", token.repositories.as_ref());
        out.put("scopes", token.scopes.iter().map(|scope| scope.as_str().to_owned()).collect::<Vec<_>>());
        out.maybe("requests_per_minute", token.requests_per_minute.map(i64::from));
    }
    out.0
}

/// The same of one project; `with_stages`: and of the stages in its pipeline. `None`: the file does not declare it.
pub fn show_project(config: &Config, name: &str, with_stages: bool) -> Option<String> {
    let declared = config.project(name)?;
    let mut out = Lines(String::new());
    project(&mut out, config, declared);
    if with_stages {
        for one in declared.stages().filter_map(|name| config.stage(name)) {
            stage(&mut out, one);
        }
    }
    Some(out.0)
}

struct Lines(String);

impl Lines {
    fn header(&mut self, name: &str) {
        let blank = if self.0.is_empty() { "" } else { "\n" };
        self.0.extend([blank, "[", name, "]\n"]);
    }

    fn put(&mut self, key: &str, value: impl Into<Value>) {
        let value: Value = value.into();
        self.0.extend([key, " = ", &value.to_string(), "\n"]);
    }

    fn text(&mut self, key: &str, value: &impl ToString) {
        self.put(key, value.to_string());
    }

    fn path(&mut self, key: &str, value: &std::path::Path) {
        self.put(key, value.to_string_lossy().into_owned());
    }

    fn count(&mut self, key: &str, value: usize) {
        self.put(key, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn secret(&mut self, key: &str, value: Option<&Secret>) {
        self.maybe(key, value.map(|_| "***"));
    }

    fn maybe<V: Into<Value>>(&mut self, key: &str, value: Option<V>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    fn list(&mut self, key: &str, values: Option<&Vec<String>>) {
        self.maybe(key, values.cloned());
    }
}

fn workers(out: &mut Lines, workers: WorkerSettings) {
    let WorkerSettings { local, units, lease, renew, grace, attempts, stuck, poll } = workers;
    out.header("workers");
    out.put("local", local);
    out.count("units", units);
    for (key, value) in
        [("lease", lease), ("renew", renew), ("grace", grace), ("stuck", stuck), ("poll", poll)]
    {
        out.text(key, &HumanDuration(value));
    }
    out.put("attempts", i64::from(attempts));
}

fn engine(out: &mut Lines, engine: &EngineSettings) {
    out.header("engine");
    out.put("state", engine.state.shown());
    out.put("vector_cache", engine.vector_cache.as_str());
    out.path("cache", &engine.cache);
    if let Some(path) = &engine.compiled_cache {
        out.path("compiled_cache", path);
    }
    out.text("cache_size", &engine.cache_size);
    out.count("concurrency", engine.concurrency);
    out.text("memory", &engine.memory);
    out.text("timeout", &engine.timeout);
    out.put("retries", i64::from(engine.retries));
    out.text("max_file_bytes", &engine.max_file_bytes);
    out.put("max_delete_ratio", engine.max_delete_ratio);
    out.put("max_new_texts_ratio", engine.max_new_texts_ratio);
    out.put("prune", engine.prune);
    out.text("history", &engine.history);
    if let Some(path) = &engine.log_dir {
        out.path("log_dir", path);
    }
    out.header("engine.limits");
    let limits = &engine.limits;
    out.count("files", limits.files);
    out.count("path_bytes", limits.path_bytes);
    out.count("depth", limits.depth);
    out.text("object_bytes", &limits.object_bytes);
    out.count("tree_requests", limits.tree_requests);
}

fn stage(out: &mut Lines, stage: &Stage) {
    out.header(&format!("stages.{}", quoted(&stage.name)));
    out.put("kind", stage.settings.kind());
    for (key, value) in stage.settings.any().shown() {
        if let Ok(value) = Value::try_from(value) {
            out.put(&key, value);
        }
    }
}

fn project(out: &mut Lines, config: &Config, project: &Project) {
    out.header(&format!("projects.{}", quoted(&project.name)));
    out.put("pipeline", project.stages().map(str::to_owned).collect::<Vec<_>>());
    match &project.selection {
        Selection::Owner { owner, keyword } => {
            out.text("organization", owner);
            out.maybe("filter_keyword", keyword.clone());
        }
        Selection::Named(repositories) => {
            let source = config.stage(&project.source).and_then(|stage| stage.settings.source());
            let place = source.map_or("path", |source| source.repository_key());
            let one = |repo: &crate::model::RepoRef| -> Value {
                if repo.key.is_empty() {
                    return repo.name.as_str().into();
                }
                let entries = [(place, &repo.key), ("name", &repo.name)];
                Value::Table(
                    entries.map(|(key, value)| (key.to_owned(), value.as_str().into())).into_iter().collect(),
                )
            };
            out.put("repositories", repositories.iter().map(one).collect::<Vec<_>>());
        }
    }
    if let BranchRef::Named(branch) = &project.branch {
        out.text("branch", branch);
    }
    out.text("namespace", &project.namespace);
    out.list("allowed_extensions", project.allowed_extensions.as_ref());
    out.put("exclude_patterns", project.exclude_patterns.clone());
    out.maybe("schedule", project.schedule.clone());
    out.put("secrets", project.secrets.as_str());
    out.maybe("max_cost", project.max_cost);
    out.maybe("golden", project.golden.as_ref().map(|path| path.to_string_lossy().into_owned()));
    out.maybe("min_mrr", project.min_mrr);
    out.put("enabled", project.enabled);
}
