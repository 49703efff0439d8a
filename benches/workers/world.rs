//! A folder with a configuration, its services, and the processes that are started in it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::Bench;
use super::program::{self, Measured};
use super::repository::Repository;
use super::services::{self, Services};

/// Calls in flight of each process.
pub(crate) const CALLS: u64 = 2;
/// Texts in a call.
pub(crate) const BATCH: u64 = 10;
/// Files of a repository, with three chunks each.
pub(crate) const FILES: usize = 20;
const CHARACTERS: usize = 2_000;
/// Any wait beyond this fails the benchmark.
const PATIENCE: Duration = Duration::from_secs(120);

/// A configuration with its services.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) services: Vec<Services>,
    program: PathBuf,
}

/// A running process; killed when dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Ends it at once, as a machine that dies.
    pub(crate) fn kill(&mut self) {
        self.0.kill().expect("it runs");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.0.kill());
        self.0.wait().expect("a child");
    }
}

impl World {
    /// One project for each of some repositories, all with the first one's model and index, and [`CALLS`] at once.
    /// `state`: a line of `[engine]`; `more`: further tables.
    pub(crate) fn new(bench: &Bench, repositories: u64, latency: Duration, state: &str, more: &str) -> Self {
        let engine = format!("concurrency = {CALLS}\n{state}");
        Self::with(bench, (repositories, FILES), latency, &engine, more)
    }

    /// The same with `files` files in each repository. `engine`: the lines of `[engine]`.
    pub(crate) fn with(
        bench: &Bench,
        (repositories, files): (u64, usize),
        latency: Duration,
        engine: &str,
        more: &str,
    ) -> Self {
        let services: Vec<Services> = (1..=repositories)
            .map(|seed| {
                let commit = Repository::seeded(files, CHARACTERS, seed * 7919).commit();
                bench.runtime.block_on(Services::start(commit, latency, false, services::DIMENSIONS))
            })
            .collect();
        let mut text = file(&services[0], engine, more);
        for (n, services) in services.iter().enumerate() {
            text.push_str(&format!(
                r#"
[stages.github{n}]
kind = "github"
api_url = "{}/github"

[projects.p{n}]
pipeline = ["github{n}", "prose", "model", "pinecone"]
repositories = ["acme/docs"]
"#,
                services.url
            ));
        }
        Self::of(bench, services, &text)
    }

    /// One project with all repositories of an organization, which have the same small content.
    pub(crate) fn organization(bench: &Bench, repositories: u64, state: &str, more: &str) -> Self {
        let commit = Repository::new(1, 300).commit();
        let services = bench.runtime.block_on(Services::organization(commit, repositories));
        let mut text = file(&services, &format!("concurrency = {CALLS}\n{state}"), more);
        text.push_str(&format!(
            r#"
[stages.github]
kind = "github"
api_url = "{}/github"
token = "a-token-of-the-benchmark"

[projects.docs]
pipeline = ["github", "prose", "model", "pinecone"]
organization = "acme"
"#,
            services.url
        ));
        Self::of(bench, vec![services], &text)
    }

    fn of(bench: &Bench, services: Vec<Services>, text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("reposync.toml"), text).expect("a file");
        Self { folder, services, program: bench.args.program.clone() }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        let folder: &Path = self.folder.path();
        command.args(args).current_dir(folder).env_clear().env("HOME", folder).stdin(Stdio::null());
        command
    }

    pub(crate) fn apply(&self, more: &[&str]) -> Measured {
        program::apply_with(&self.program, self.folder.path(), more)
    }

    /// A process that goes on.
    pub(crate) fn start(&self, args: &[&str], folder: &str) -> Process {
        let mut command = self.command(args);
        command.stdout(Stdio::null());
        // Each has a folder of its own, as on a machine of its own.
        let child = command.env("STATE_DIRECTORY", self.folder.path().join(folder)).spawn();
        Process(child.expect("the program starts"))
    }

    pub(crate) fn worker(&self, url: &str, number: usize) -> Process {
        let label = format!("w{number}");
        self.start(&["worker", "--quiet", "--state", url, "--label", &label], &label)
    }

    pub(crate) fn until_workers(&self, wanted: usize) {
        until("workers", || {
            let listed = self.command(&["queue", "list", "--json", "--quiet"]).output().expect("it runs");
            let listed: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
            (listed["workers"].as_array().map(Vec::len) == Some(wanted)).then_some(())
        });
    }

    /// Texts that were embedded since the last call.
    pub(crate) fn texts(&self) -> u64 {
        self.services.iter().map(|services| services.take_asked().texts).sum()
    }
}

/// Asks until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "no {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn file(services: &Services, engine: &str, more: &str) -> String {
    let stages = services::stages(&services.url, BATCH, services::DIMENSIONS);
    format!(
        r"[engine]
{engine}

{more}
{stages}
"
    )
}
