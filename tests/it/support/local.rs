//! A project over a local repository with the built-in model and store, run by the real program. With
//! [`Local::paid`] an embedding service, whose vectors are cached, takes the place of the model.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde_json::Value;

use super::git_repo::GitRepo;
use super::openai::{FakeOpenAi, Options};
use super::world::{Ran, World};

/// Stages that need no network.
pub(crate) const STAGES: &str = r#"
[stages.local]
kind = "git"
[stages.prose]
kind = "sentence"
max_chunk_size = 200
chunk_overlap = 0
[stages.model]
kind = "local"
[stages.index]
kind = "sqlite"
"#;

/// A project `docs` over the repository `docs`, with the keys `more` in its table.
pub(crate) fn project(more: &str) -> String {
    format!(
        "{STAGES}\n[projects.docs]\npipeline = [\"local\", \"prose\", \"model\", \"index\"]\nrepositories = [\"docs\"]\n{more}\n"
    )
}

/// The index by namespace and id: metadata without `commit_sha` and `url`, text, vector.
pub(crate) type Index = BTreeMap<(String, String), (Value, String, Vec<u8>)>;

/// A world with a repository of three short files, and a configuration for it.
pub(crate) struct Local {
    pub(crate) world: World,
    pub(crate) repo: GitRepo,
    /// Takes the place of the built-in model in every configuration.
    pub(crate) service: Option<FakeOpenAi>,
}

impl Local {
    pub(crate) fn new() -> Self {
        Self::with(None)
    }

    /// With an embedding service instead of the built-in model.
    pub(crate) fn paid() -> Self {
        Self::with(Some(FakeOpenAi::start(Options {
            key: None,
            model: "nomic".into(),
            ..Options::default()
        })))
    }

    fn with(service: Option<FakeOpenAi>) -> Self {
        let world = World::new();
        let repo = world.repo("docs");
        repo.write("README.md", "The readme says what it is about.\n")
            .write("guide/start.md", "Start here and read on.\n")
            .write("guide/end.md", "Stop there and go home.\n")
            .commit("first");
        let local = Self { world, repo, service };
        local.config(&project(""));
        local
    }

    /// The same, already applied.
    pub(crate) fn applied() -> Self {
        Self::new().after_a_run()
    }

    /// The same with an embedding service.
    pub(crate) fn paid_and_applied() -> Self {
        Self::paid().after_a_run()
    }

    fn after_a_run(self) -> Self {
        self.apply(&[]).exits(0);
        self
    }

    pub(crate) fn config(&self, text: &str) {
        self.world.config(&self.with_service(text));
    }

    fn with_service(&self, config: &str) -> String {
        let Some(service) = &self.service else { return config.to_owned() };
        let stage = format!("kind = \"openai\"\nbase_url = \"{}\"\nmodel = \"nomic\"\n", service.url());
        config.replace("kind = \"local\"\n", &stage)
    }

    /// `apply --json` with these arguments.
    pub(crate) fn apply(&self, args: &[&str]) -> Applied {
        let ran = self.world.run(&[&["apply", "--json"], args].concat());
        Applied { report: serde_json::from_str(&ran.stdout).unwrap_or(Value::Null), ran }
    }

    /// The index of this world.
    pub(crate) fn index(&self) -> Index {
        read_index(&self.world.path(".reposync/index.db"))
    }

    /// Panics unless the index equals that of a fresh build from the same configuration and
    /// repositories.
    #[track_caller]
    pub(crate) fn assert_as_fresh(&self) {
        let fresh = self.fresh();
        assert_eq!(self.index(), fresh);
    }

    /// Panics unless the index equals that of a fresh build from this configuration.
    #[track_caller]
    pub(crate) fn assert_as_built_from(&self, config: &str) {
        let fresh = self.build(config);
        assert_eq!(self.index(), fresh);
    }

    /// The index of a fresh build from the same configuration and repositories.
    pub(crate) fn fresh(&self) -> Index {
        self.build(&self.world.read("reposync.toml"))
    }

    fn build(&self, config: &str) -> Index {
        let text = self.with_service(config).replace("repositories = [\"", "repositories = [\"../");
        drop(std::fs::remove_dir_all(self.world.path("fresh")));
        self.world.write("fresh/reposync.toml", text);
        self.world.run(&["apply", "--config", "fresh/reposync.toml"]).exits(0);
        read_index(&self.world.path("fresh/.reposync/index.db"))
    }
}

/// The counters of a run's work on texts and vectors.
pub(crate) const WORK: [&str; 4] = ["texts_embedded", "texts_cached", "vectors_written", "vectors_deleted"];

/// The outcome of `apply`.
pub(crate) struct Applied {
    pub(crate) report: Value,
    pub(crate) ran: Ran,
}

impl Applied {
    #[track_caller]
    pub(crate) fn exits(mut self, code: i32) -> Self {
        self.ran = self.ran.exits(code);
        self
    }

    /// A counter of the first project.
    #[track_caller]
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.report["projects"][0]["counts"][name].as_u64().expect(name)
    }

    /// Several counters.
    #[track_caller]
    pub(crate) fn counts<const N: usize>(&self, names: [&str; N]) -> [u64; N] {
        names.map(|name| self.count(name))
    }

    /// All notes of all projects and everything withheld by guards, one per line.
    pub(crate) fn notes(&self) -> String {
        let projects = self.report["projects"].as_array().map_or(&[] as &[Value], Vec::as_slice);
        let list = |key| projects.iter().filter_map(move |project: &Value| project[key].as_array()).flatten();
        let withheld = list("withheld").filter_map(|withheld| withheld["message"].as_str());
        list("notes").filter_map(Value::as_str).chain(withheld).collect::<Vec<_>>().join("\n")
    }
}

/// The content of an index file.
pub(crate) fn read_index(path: &std::path::Path) -> Index {
    let db = Connection::open(path).expect("an index");
    let mut statement = db
        .prepare(
            "SELECT name, id, facts, text, vector FROM records
             JOIN namespaces ON namespace = number JOIN vectors ON vectors.row = records.row",
        )
        .expect("the index's tables");
    let rows = statement.query_map([], |row| {
        let facts: String = row.get(2)?;
        let mut facts: Value = serde_json::from_str(&facts).expect("metadata");
        let map = facts.as_object_mut().expect("an object");
        map.retain(|key, _| !matches!(key.as_str(), "commit_sha" | "url"));
        Ok(((row.get(0)?, row.get(1)?), (facts, row.get(3)?, row.get(4)?)))
    });
    rows.expect("rows").collect::<Result<_, _>>().expect("rows")
}
