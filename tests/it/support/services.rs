//! The four services as fakes, and a world whose configuration uses them like the example of the
//! documentation.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::git_repo::GitRepo;
use super::github::{FakeGithub, TOKEN};
use super::local::Applied;
use super::openai::{FakeOpenAi, Options};
use super::pinecone::{KEY as PINECONE_KEY, Pinecone};
use super::slack::Slack;
use super::world::World;

/// Components of a vector.
pub(crate) const DIMENSIONS: usize = 64;
/// The key that the fake of Azure accepts.
pub(crate) const AZURE_KEY: &str = "azure-key-0123456789-of-the-tests";

pub(crate) struct Services {
    pub(crate) world: World,
    pub(crate) github: FakeGithub,
    pub(crate) ada: FakeOpenAi,
    pub(crate) pinecone: Pinecone,
    pub(crate) slack: Slack,
}

impl Services {
    pub(crate) fn start() -> Self {
        Self::with(Options::default())
    }

    /// With an embedding service of another kind.
    pub(crate) fn with(options: Options) -> Self {
        let ada =
            FakeOpenAi::start(Options { key: Some(AZURE_KEY.into()), dimensions: DIMENSIONS, ..options });
        let slack = Slack::start();
        let world = World::new()
            .env("GITHUB_TOKEN", TOKEN)
            .env("AZURE_OPENAI_API_KEY", AZURE_KEY)
            .env("PINECONE_API_KEY", PINECONE_KEY)
            .env("SLACK_WEBHOOK_URL", &slack.url());
        let services = Self {
            world,
            github: FakeGithub::start(),
            ada,
            pinecone: Pinecone::start(Some(DIMENSIONS)),
            slack,
        };
        services.world.config(&services.file());
        services
    }

    /// The example of the documentation, with the addresses of the fakes.
    pub(crate) fn file(&self) -> String {
        format!(
            r#"[engine]
log_dir = "logs"

[stages.github]
kind = "github"
token = "${{GITHUB_TOKEN}}"
api_url = "{github}"

[stages.prose]
kind = "sentence"
match = ["**/*.md", "**/*.rst"]
max_chunk_size = 1000
chunk_overlap = 200

[stages.ada]
kind = "azure-openai"
endpoint = "{ada}"
deployment = "text-embedding-3-small"
api_version = "2024-10-21"
api_key = "${{AZURE_OPENAI_API_KEY}}"
dimensions = {DIMENSIONS}
batch_size = 100
price_per_million_tokens = 0.02

[stages.pinecone]
kind = "pinecone"
index = "docs"
api_key = "${{PINECONE_API_KEY}}"
api_url = "{pinecone}"

[stages.team]
kind = "slack"
webhook_url = "${{SLACK_WEBHOOK_URL}}"
on = ["changes", "failure"]

[projects.handbook]
pipeline = ["github", "prose", "ada", "pinecone", "team"]
organization = "acme"
namespace = "handbook"
allowed_extensions = [".md", ".rst"]
exclude_patterns = ["**/node_modules/**"]
"#,
            github = self.github.api_url(),
            ada = self.ada.url(),
            pinecone = self.pinecone.server.url(),
        )
    }

    /// Adds a repository with these files to the organization.
    pub(crate) fn repository(&self, name: &str, files: &[(&str, String)]) -> GitRepo {
        let repo = self.world.repo(&format!("repos/{name}"));
        for (path, text) in files {
            repo.write(path, text);
        }
        repo.commit("first");
        self.github.repository(&format!("acme/{name}"), Some(repo.path()));
        repo
    }

    /// Adds a repository of `pages` pages with different texts.
    pub(crate) fn with_pages(&self, name: &str, pages: usize) -> GitRepo {
        let paths: Vec<_> = (0..pages).map(|n| format!("docs/page-{n}.md")).collect();
        let text = |n| format!("# Page {n}\n\nWhat page {n} says.\n");
        let files: Vec<_> = paths.iter().enumerate().map(|(n, path)| (path.as_str(), text(n))).collect();
        self.repository(name, &files)
    }

    /// Commits everything and announces the push to GitHub.
    pub(crate) fn push(&self, name: &str, repo: &GitRepo) {
        repo.commit("push");
        self.pushed(name);
    }

    /// Sets `pushed_at` to a past time that is different at each call.
    pub(crate) fn pushed(&self, name: &str) {
        self.github.edit(&format!("acme/{name}"), |repo| {
            let minute: u32 = repo.pushed_at.as_ref().and_then(|at| at[14..16].parse().ok()).unwrap_or(0);
            repo.pushed_at = Some(format!("2026-01-02T03:{:02}:00Z", (minute + 1) % 60));
        });
    }

    /// Writes the configuration with these keys added to `[engine]`.
    pub(crate) fn engine(&self, keys: &str) {
        self.world.config(&self.file().replace("[engine]\n", &format!("[engine]\n{keys}\n")));
    }

    /// Panics unless the index has the repository as it is in the work tree; every file must be a
    /// single chunk.
    #[track_caller]
    pub(crate) fn assert_holds(&self, repo: &GitRepo, what: &str) {
        let files = repo.git(&["ls-files"]);
        let wanted: BTreeSet<(String, String)> = files
            .lines()
            .map(|path| {
                let text = std::fs::read_to_string(repo.path().join(path)).expect("a text");
                (path.to_owned(), text.trim().to_owned())
            })
            .collect();
        let held: BTreeSet<(String, String)> = self
            .index()
            .into_values()
            .map(|(_, metadata)| {
                let text = |key: &str| metadata[key].as_str().expect(key).trim().to_owned();
                (text("file_path"), text("text"))
            })
            .collect();
        assert_eq!(held, wanted, "{what}");
    }

    /// `apply --json` with these arguments.
    pub(crate) fn apply(&self, args: &[&str]) -> Applied {
        let ran = self.world.run(&[&["apply", "--json"], args].concat());
        Applied { report: serde_json::from_str(&ran.stdout).unwrap_or(Value::Null), ran }
    }

    /// The project's records in the index.
    pub(crate) fn index(&self) -> BTreeMap<String, (Vec<f32>, Map<String, Value>)> {
        self.pinecone.records("handbook")
    }

    /// Number of different texts paid for, and of all texts paid for.
    pub(crate) fn paid(&self) -> (usize, usize) {
        let embedded = self.ada.embedded();
        (embedded.len(), embedded.values().sum())
    }

    /// Panics unless the index equals that of a fresh build.
    #[track_caller]
    pub(crate) fn assert_as_fresh(&self) {
        let other = Pinecone::start(Some(DIMENSIONS));
        let text = self.world.read("reposync.toml").replace(&self.pinecone.server.url(), &other.server.url());
        drop(std::fs::remove_dir_all(self.world.path("fresh")));
        self.world.write("fresh/reposync.toml", text.replace("\"team\"]", "]").replace(", ]", "]"));
        // Files that the configuration refers to are in the first world's folder.
        self.world.run(&["apply", "--config", "fresh/reposync.toml", "--secrets-dir", "."]).exits(0);
        assert_eq!(self.index(), other.records("handbook"));
    }
}
