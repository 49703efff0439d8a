//! Runs that several processes share, over a real PostgreSQL server: how much faster they are, and what the queue
//! itself costs. The services are served by this process, so that only RepoSync's own work is measured.
//!
//! `cargo bench --bench workers` (`-- --quick` for a check that it works). docs/performance.md explains the rows.

#![expect(clippy::print_stdout, reason = "prints a table")]

#[path = "../tests/it/support/postgres.rs"]
mod postgres;
#[path = "run/program.rs"]
#[expect(dead_code, reason = "`run.rs` uses more of it")]
mod program;
#[path = "run/repository.rs"]
#[expect(dead_code, reason = "`run.rs` uses more of it")]
mod repository;
#[path = "run/services.rs"]
#[expect(dead_code, reason = "`run.rs` uses more of it")]
mod services;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::Value;
use tokio::runtime::Runtime;

use postgres::Postgres;
use repository::Repository;
use services::Services;

/// Calls in flight of each process.
const CALLS: u64 = 2;
/// Texts in a call.
const BATCH: u64 = 10;
/// Files of a repository, with three chunks each.
const FILES: usize = 20;
const CHARACTERS: usize = 2_000;

#[derive(Parser)]
#[command(about = "Measures runs that several processes share", long_about = None)]
struct Args {
    /// A tenth of the repositories and of the latency, to check within seconds that the benchmark works
    #[arg(long)]
    quick: bool,
    /// Latency of the embedding service in milliseconds
    #[arg(long, default_value_t = 300)]
    latency: u64,
    /// Repositories
    #[arg(long, default_value_t = 40)]
    repositories: u64,
    /// Path of another build of the program
    #[arg(long, default_value = env!("CARGO_BIN_EXE_reposync"))]
    program: PathBuf,
    /// Passed by `cargo bench` to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let mut args = Args::parse();
    if args.quick {
        args.latency /= 10;
        args.repositories /= 10;
    }
    let Some(server) = Postgres::start() else { return };
    let runtime = Runtime::new().expect("a runtime");
    println!("program: {}", args.program.display());
    println!(
        "{} repositories of {FILES} files; {CALLS} calls of {BATCH} texts at once in each process, {} ms each\n",
        args.repositories, args.latency
    );
    let bench = Bench { args, runtime, server };
    bench.scaling();
    bench.states();
}

struct Bench {
    args: Args,
    runtime: Runtime,
    server: &'static Postgres,
}

impl Bench {
    /// The same first run by one worker and by more.
    fn scaling(&self) {
        println!("{:<12}{:>9}{:>9}{:>9}{:>9}", "workers", "time s", "times", "texts", "CPU s");
        let mut alone = None;
        for workers in [1, 2, 4, 8] {
            let url = self.server.database();
            let world = self.world(&format!("state = \"{url}\""), "[workers]\nlocal = false\n");
            let started: Vec<Worker> = (0..workers).map(|n| world.worker(&url, n)).collect();
            world.until_workers(workers);
            let measured = program::apply(&self.args.program, world.folder.path());
            let times = *alone.get_or_insert(measured.seconds) / measured.seconds;
            println!(
                "{workers:<12}{:>9.2}{times:>9.2}{:>9}{:>9.2}",
                measured.seconds,
                world.texts(),
                measured.cpu.unwrap_or_default()
            );
            drop(started);
        }
        println!();
    }

    /// One process with its state in a file, and in a database.
    fn states(&self) {
        println!("{:<34}{:>12}{:>12}{:>9}", "run of one process", "file s", "database s", "ratio");
        let file = self.world("", "");
        let url = self.server.database();
        let database = self.world(&format!("state = \"{url}\""), "");
        for run in ["first", "nothing changed", "nothing changed, again"] {
            let seconds = |world: &World| program::apply(&self.args.program, world.folder.path()).seconds;
            let (a, b) = (seconds(&file), seconds(&database));
            println!("{run:<34}{a:>12.2}{b:>12.2}{:>9.2}", b / a);
        }
    }

    /// A folder with a configuration of one project for each repository. `state`: a line of `[engine]`.
    fn world(&self, state: &str, more: &str) -> World {
        let latency = Duration::from_millis(self.args.latency);
        let services: Vec<Services> = (1..=self.args.repositories)
            .map(|seed| {
                let commit = Repository::seeded(FILES, CHARACTERS, seed * 7919).commit();
                self.runtime.block_on(Services::start(commit, latency, false, services::DIMENSIONS))
            })
            .collect();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let text = configuration(&services, state, more);
        std::fs::write(folder.path().join("reposync.toml"), text).expect("a file");
        World { folder, services, program: self.args.program.clone() }
    }
}

/// A configuration with its services.
struct World {
    folder: tempfile::TempDir,
    services: Vec<Services>,
    program: PathBuf,
}

/// A running worker; killed when dropped.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("a child");
    }
}

impl World {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        let folder: &Path = self.folder.path();
        command.args(args).current_dir(folder).env_clear().env("HOME", folder).stdin(Stdio::null());
        command
    }

    fn worker(&self, url: &str, number: usize) -> Worker {
        let label = format!("w{number}");
        let mut command = self.command(&["worker", "--quiet", "--state", url, "--label", &label]);
        // Each has a folder of its own, as on a machine of its own.
        let child = command.env("STATE_DIRECTORY", self.folder.path().join(&label)).spawn();
        Worker(child.expect("the program starts"))
    }

    fn until_workers(&self, wanted: usize) {
        let began = Instant::now();
        loop {
            let listed = self.command(&["queue", "list", "--json", "--quiet"]).output().expect("it runs");
            let listed: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
            if listed["workers"].as_array().map(Vec::len) == Some(wanted) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "the workers do not come: {listed}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Texts that were embedded.
    fn texts(&self) -> u64 {
        self.services.iter().map(|services| services.take_asked().texts).sum()
    }
}

/// One project for each service, all with the first one's model and index.
fn configuration(services: &[Services], state: &str, more: &str) -> String {
    let stages = services::stages(&services[0].url, BATCH, services::DIMENSIONS);
    let mut text = format!(
        r"[engine]
concurrency = {CALLS}
{state}

{more}
{stages}
"
    );
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
    text
}
