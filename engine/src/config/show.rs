//! Renders a resolved configuration as TOML, with defaults filled in and secrets masked.

use toml::Value;

use super::shape::quoted;
use super::{Config, Engine, Project, Stage, StageKind};
use crate::chunk::OnError;
use crate::chunk::secrets::SecretRules;
use crate::model::{BranchRef, Secret};
use crate::notify::When;
use crate::source::Selection;
use crate::store::Metric;

/// The configuration as TOML. Secrets are shown as `***`.
pub fn show(config: &Config) -> String {
    let mut out = Lines(String::new());
    engine(&mut out, &config.engine);
    for one in &config.stages {
        out.header(&format!("stages.{}", quoted(&one.name)));
        stage(&mut out, one);
    }
    for one in &config.projects {
        out.header(&format!("projects.{}", quoted(&one.name)));
        project(&mut out, one);
    }
    if config.secrets != SecretRules::default()
        && let Ok(Value::Table(rules)) = Value::try_from(&config.secrets)
    {
        out.header("secrets");
        for (key, value) in rules {
            out.put(&key, value);
        }
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
    if let Some(tls) = &config.api.tls {
        out.path("tls_cert", &tls.cert);
        out.path("tls_key", &tls.key);
    }
    out.0
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

    fn chunker(&mut self, patterns: Option<&Vec<String>>, size: usize, tokens: Option<usize>) {
        self.list("match", patterns);
        if tokens.is_none() {
            self.count("max_chunk_size", size);
        }
        self.maybe("max_tokens", tokens.and_then(|n| i64::try_from(n).ok()));
    }

    fn rates(&mut self, requests: Option<u32>, tokens: Option<u32>, price: Option<f64>) {
        self.maybe("requests_per_minute", requests);
        self.maybe("tokens_per_minute", tokens);
        self.maybe("price_per_million_tokens", price);
    }

    fn on(&mut self, on: &[When]) {
        let word = |when: &When| match when {
            When::Changes => "changes",
            When::Failure => "failure",
            When::Always => "always",
        };
        self.put("on", on.iter().map(word).collect::<Vec<_>>());
    }
}

fn engine(out: &mut Lines, engine: &Engine) {
    out.header("engine");
    out.path("state", &engine.state);
    out.path("cache", &engine.cache);
    if let Some(path) = &engine.compiled_cache {
        out.path("compiled_cache", path);
    }
    out.text("cache_size", &engine.cache_size);
    out.count("concurrency", engine.concurrency);
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
    out.put("kind", stage.kind.name());
    match &stage.kind {
        StageKind::Github(s) => {
            out.secret("token", s.token.as_ref());
            out.maybe("app_id", s.app_id.and_then(|n| i64::try_from(n).ok()));
            out.maybe("installation_id", s.installation_id.and_then(|n| i64::try_from(n).ok()));
            out.secret("private_key", s.private_key.as_ref());
            out.text("api_url", &s.api_url);
            out.put("forks", s.forks);
            out.put("archived", s.archived);
        }
        StageKind::Git(s) => {
            let folders = s.alternates.iter().map(|path| path.to_string_lossy().into_owned());
            out.list("alternates", Some(&folders.collect()).filter(|folders: &&Vec<_>| !folders.is_empty()));
        }
        StageKind::Sentence(s) => {
            out.chunker(s.patterns.as_ref(), s.max_chunk_size, s.max_tokens);
            let key = if s.max_tokens.is_some() { "overlap_tokens" } else { "chunk_overlap" };
            out.count(key, s.overlap());
            out.put("normalize_whitespace", s.normalize_whitespace);
        }
        StageKind::Markdown(s) => out.chunker(s.patterns.as_ref(), s.max_chunk_size, s.max_tokens),
        StageKind::Code(s) => out.chunker(s.patterns.as_ref(), s.max_chunk_size, s.max_tokens),
        StageKind::Wasm(s) => {
            out.path("component", &s.component);
            out.maybe("sha256", s.sha256.clone());
            out.list("match", s.patterns.as_ref());
            if let Ok(config) = Value::try_from(s.shown_config()) {
                out.put("config", config);
            }
            out.maybe("on_error", s.on_error.map(OnError::word));
            out.text("memory", &s.memory);
            out.text("deadline", &s.deadline);
            out.text("output", &s.output);
        }
        StageKind::AzureOpenAi(s) => {
            out.text("endpoint", &s.endpoint);
            out.text("deployment", &s.deployment);
            out.maybe("api_version", s.api_version.clone());
            out.secret("api_key", s.api_key.as_ref());
            out.secret("bearer_token", s.bearer_token.as_ref());
            out.maybe("dimensions", s.dimensions);
            out.count("batch_size", s.batch_size);
            out.rates(s.requests_per_minute, s.tokens_per_minute, s.price_per_million_tokens);
        }
        StageKind::OpenAi(s) => {
            out.text("base_url", &s.base_url);
            out.text("model", &s.model);
            out.secret("api_key", s.api_key.as_ref());
            out.maybe("dimensions", s.dimensions);
            out.count("batch_size", s.batch_size);
            out.count("max_input_tokens", s.max_input_tokens);
            out.rates(s.requests_per_minute, s.tokens_per_minute, s.price_per_million_tokens);
        }
        StageKind::Local(s) => {
            if let Some(path) = &s.path {
                out.path("path", path);
            }
        }
        StageKind::Pinecone(s) => {
            out.text("index", &s.index);
            out.secret("api_key", Some(&s.api_key));
            out.text("api_url", &s.api_url);
            out.maybe("host", s.host.clone());
            if let Some(create) = &s.create {
                let metric = match create.metric {
                    Metric::Cosine => "cosine",
                    Metric::Dotproduct => "dotproduct",
                    Metric::Euclidean => "euclidean",
                };
                let entries =
                    [("cloud", create.cloud.as_str()), ("region", &create.region), ("metric", metric)];
                out.put(
                    "create",
                    entries
                        .map(|(key, value)| (key.to_owned(), value.into()))
                        .into_iter()
                        .collect::<toml::Table>(),
                );
            }
            out.text("api_version", &s.api_version);
        }
        StageKind::Sqlite(s) => {
            out.path("path", &s.path);
            out.put("vector_weight", s.vector_weight);
            out.put("text_weight", s.text_weight);
        }
        StageKind::Slack(s) => {
            out.secret("webhook_url", Some(&s.webhook_url));
            out.on(&s.on);
        }
        StageKind::Webhook(s) => {
            out.secret("url", Some(&s.url));
            out.secret("secret", s.secret.as_ref());
            out.on(&s.on);
        }
    }
}

fn project(out: &mut Lines, project: &Project) {
    out.put("pipeline", project.stages().map(str::to_owned).collect::<Vec<_>>());
    match &project.selection {
        Selection::Owner { owner, keyword } => {
            out.text("organization", owner);
            out.maybe("filter_keyword", keyword.clone());
        }
        Selection::Named(repositories) => {
            let one = |repo: &crate::model::RepoRef| -> Value {
                if repo.key.is_empty() {
                    return repo.name.as_str().into();
                }
                let entries = [("path", &repo.key), ("name", &repo.name)];
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
    out.put("enabled", project.enabled);
}
