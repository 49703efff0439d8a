//! Runs that several processes share, over a real PostgreSQL server: how much faster they are, what the queue itself
//! costs, what a death and a push cost, and how the state answers when it is large. The services are served by this
//! process, so that only RepoSync's own work is measured.
//!
//! `cargo bench --bench workers` (`-- --quick` for small sizes, `-- --case WORD` for some cases). docs/performance.md
//! explains the rows.

#![expect(clippy::print_stdout, reason = "prints a table")]

#[path = "workers/death.rs"]
mod death;
#[path = "workers/large.rs"]
mod large;
#[path = "../tests/it/support/postgres.rs"]
#[expect(dead_code, reason = "the tests share a server")]
mod postgres;
#[path = "run/program.rs"]
#[expect(dead_code, reason = "`run.rs` uses more of it")]
mod program;
#[path = "run/push.rs"]
mod push;
#[path = "workers/pushes.rs"]
mod pushes;
#[path = "workers/queue.rs"]
mod queue;
#[path = "run/repository.rs"]
#[expect(dead_code, reason = "`run.rs` uses more of it")]
mod repository;
#[path = "workers/scaling.rs"]
mod scaling;
#[path = "run/services.rs"]
#[expect(dead_code, reason = "`run.rs` uses more of it")]
mod services;
#[path = "workers/slow.rs"]
mod slow;
#[path = "workers/states.rs"]
mod states;
#[path = "workers/unchanged.rs"]
mod unchanged;
#[path = "workers/world.rs"]
mod world;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use tokio::runtime::Runtime;

use postgres::{Postgres, Setup, installed, place};

/// The server keeps what it has answered for, as one at work does; that of the tests is in a hurry.
const DURABLE: &[&str] = &["fsync=on", "full_page_writes=on"];

#[derive(Parser)]
#[command(about = "Measures runs that several processes share", long_about = None)]
struct Args {
    /// A tenth of the sizes and of the latency, to check within seconds that the benchmark works
    #[arg(long)]
    quick: bool,
    /// Only cases with this in their name: scaling, states, unchanged, death, pushes, queue, large
    #[arg(long, default_value = "")]
    case: String,
    /// Latency of the embedding service in milliseconds, where it matters
    #[arg(long, default_value_t = 300)]
    latency: u64,
    /// Repositories of the runs that are shared
    #[arg(long, default_value_t = 80)]
    repositories: u64,
    /// Path of another build of the program
    #[arg(long, default_value = env!("CARGO_BIN_EXE_reposync"))]
    program: PathBuf,
    /// Passed by `cargo bench` to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// What the cases share.
struct Bench {
    args: Args,
    runtime: Runtime,
    server: Postgres,
}

type Case = (&'static str, fn(&Bench));

const CASES: [Case; 7] = [
    ("scaling", scaling::measure),
    ("states", states::measure),
    ("unchanged", unchanged::measure),
    ("death", death::measure),
    ("pushes", pushes::measure),
    ("queue", queue::measure),
    ("large", large::measure),
];

fn main() {
    let args = Args::parse();
    let Some(bin) = place("REPOSYNC_TEST_POSTGRES", installed) else { return };
    let server = Postgres::run(bin, &Setup { settings: DURABLE, ..Setup::default() });
    let kind = if cfg!(debug_assertions) { "unoptimised" } else { "optimised" };
    println!("program: {}; this benchmark is {kind}\n", args.program.display());
    println!("{:<54}{:>14}{:>12}  details", "case", "measured", "asked");
    let bench = Bench { args, runtime: Runtime::new().expect("a runtime"), server };
    for (_, measure) in CASES.iter().filter(|(name, _)| name.contains(&bench.args.case)) {
        measure(&bench);
    }
}

impl Bench {
    /// A size, or a tenth of it.
    fn of(&self, size: u64) -> u64 {
        if self.args.quick { size.div_ceil(10) } else { size }
    }

    fn latency(&self) -> Duration {
        Duration::from_millis(self.of(self.args.latency))
    }
}

fn row(case: &str, measured: &str, asked: &str, details: &str) {
    println!("{case:<54}{measured:>14}{asked:>12}  {details}");
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// The given percentile of the times.
fn percentile(times: &mut [Duration], hundredths: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * hundredths / 100).min(times.len() - 1)]
}
