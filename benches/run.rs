//! Whole runs of the real program: from GitHub through an embedding service to Pinecone, each served by
//! this process on a loopback port, so that only RepoSync's own work is measured.
//!
//! `cargo bench --bench run` (`-- --quick` for small sizes, `-- --help` for options);
//! `docs/performance.md` explains the rows.

#![expect(clippy::print_stdout, reason = "prints a table")]

#[path = "run/growth.rs"]
mod growth;
#[path = "run/load.rs"]
mod load;
#[path = "run/local.rs"]
mod local;
#[path = "run/program.rs"]
mod program;
#[path = "run/repository.rs"]
mod repository;
#[expect(dead_code, reason = "the benchmark of workers uses more of it")]
#[path = "run/services.rs"]
mod services;

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Parser;
use tokio::runtime::Runtime;

use program::Measured;
use repository::{Commit, Repository};
use services::{DIMENSIONS, Services};

/// Texts in a call to the embedding service.
const BATCH: u64 = 100;
/// Characters of a file with three chunks, and of one with about eight.
const THREE_CHUNKS: usize = 2_000;
const EIGHT_CHUNKS: usize = 5_950;

#[derive(Parser)]
#[command(about = "Measures whole runs of the program", long_about = None)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct Args {
    /// A twenty-fifth of the files and of the latency, to check within seconds that the benchmark works
    #[arg(long)]
    quick: bool,
    /// Measure growth with size instead: many repositories, files and projects, all services local
    #[arg(long)]
    load: bool,
    /// Measure growth over three magnitudes instead: files, chunks, repositories, projects, queries
    #[arg(long, conflicts_with = "load")]
    growth: bool,
    /// Factor on the number of files
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Latency of the embedding service in the first row, in milliseconds
    #[arg(long, default_value_t = 750)]
    latency: u64,
    /// Calls in flight to each service
    #[arg(long, default_value_t = 8)]
    concurrency: u64,
    /// Only serve the services, until the standard input ends; `GET /counts` tells what was asked since the last
    /// time
    #[arg(long)]
    serve: bool,
    /// Components of a vector
    #[arg(long, default_value_t = DIMENSIONS)]
    dimensions: usize,
    /// Put the services behind TLS
    #[arg(long)]
    tls: bool,
    /// Only cases whose name starts with this
    #[arg(long, default_value = "")]
    case: String,
    /// Path of another build of the program
    #[arg(long, default_value = env!("CARGO_BIN_EXE_reposync"))]
    program: PathBuf,
    /// Passed by `cargo bench` to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// The least work that any program must do for one text.
struct Least {
    /// Seconds to decode the base64 of an answer to numbers.
    decode: f64,
    /// Seconds to write a vector's numbers as JSON.
    write: f64,
}

/// State of the benchmark.
struct Bench {
    args: Args,
    runtime: Runtime,
    least: Least,
    cores: f64,
}

fn main() {
    let mut args = Args::parse();
    if args.quick {
        args.scale /= 25.0;
        args.latency /= 25;
    }
    if args.serve {
        return serve(&args);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kind = if cfg!(debug_assertions) { "unoptimised, its bounds say little" } else { "optimised" };
    println!("program: {}", args.program.display());
    println!("{cores} cores; {} calls at once; this benchmark is {kind}\n", args.concurrency);
    if args.load {
        return load::measure(&args);
    }
    if args.growth {
        return growth::measure(&args);
    }
    let least = Least::measure(args.dimensions);
    println!(
        "lower bound for 100 texts: {:.2} ms to decode the vectors, {:.2} ms to write them as JSON\n",
        least.decode * 1e5,
        least.write * 1e5
    );
    println!(
        "{:<34}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}{:>16}{:>9}{:>9}",
        "run",
        "time s",
        "ideal s",
        "CPU s",
        "least s",
        "MiB",
        "chunks",
        "requests g+e+s",
        "embedded",
        "written"
    );
    let bench = Bench { args, runtime: Runtime::new().expect("a runtime"), least, cores: cores as f64 };
    let latency = Duration::from_millis(bench.args.latency);
    bench.case("500 files, slow", 500, THREE_CHUNKS, latency, false);
    bench.case("2,700 files", 2_700, EIGHT_CHUNKS, Duration::ZERO, true);
    for (name, files) in [("500 files", 500), ("5,000 files", 5_000), ("25,000 files", 25_000)] {
        bench.case(name, files, THREE_CHUNKS, Duration::ZERO, true);
    }
}

/// Serves programs that are measured elsewhere: `benches/peers`.
fn serve(args: &Args) {
    let runtime = Runtime::new().expect("a runtime");
    let commit = Repository::new(1, THREE_CHUNKS).commit();
    let latency = Duration::from_millis(args.latency);
    let services = runtime.block_on(Services::start(commit, latency, args.tls, args.dimensions));
    println!("{}", services.url);
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).expect("the standard input");
}

impl Least {
    fn measure(dimensions: usize) -> Self {
        let vector = services::vector(0, dimensions);
        let text = services::encoded(&vector);
        let decode = timed(|| {
            let bytes = BASE64_STANDARD.decode(black_box(&text)).expect("base64");
            let (numbers, _) = bytes.as_chunks::<4>();
            black_box(numbers.iter().map(|&number| f32::from_le_bytes(number)).collect::<Vec<f32>>());
        });
        let mut out = Vec::with_capacity(dimensions * 16);
        let write = timed(|| {
            out.clear();
            serde_json::to_writer(&mut out, black_box(&vector)).expect("memory takes it");
            black_box(&out);
        });
        Self { decode, write }
    }
}

/// Seconds of one execution: the minimum of several rounds, since other processes use the machine too.
fn timed(mut work: impl FnMut()) -> f64 {
    const ROUNDS: u32 = 20;
    const TIMES: u32 = 20;
    let round = |_| {
        let began = Instant::now();
        (0..TIMES).for_each(|_| work());
        began.elapsed() / TIMES
    };
    (0..ROUNDS).map(round).min().unwrap_or_default().as_secs_f64()
}

impl Bench {
    /// A first run over a new repository; with `again` also runs after changes.
    fn case(&self, name: &str, files: u32, characters: usize, latency: Duration, again: bool) {
        if !name.starts_with(&self.args.case) {
            return;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of files")]
        let files = ((f64::from(files) * self.args.scale) as usize).max(2);
        let mut repository = Repository::new(files, characters);
        let services = self.start(repository.commit(), latency);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = configuration(&services.url, &self.args);
        std::fs::write(folder.path().join("reposync.toml"), config).expect("a file");
        let run = |name: &str| {
            let measured = program::apply(&self.args.program, folder.path());
            self.row(name, &measured, &services, latency);
        };
        run(&format!("{name}: first"));
        if !again {
            return;
        }
        run(&format!("{name}: nothing changed"));
        for (what, edited) in [("one file", 1), ("1 % of the files", repository.len().div_ceil(100))] {
            repository.edit(edited);
            services.push(repository.commit());
            run(&format!("{name}: {what}"));
        }
    }

    fn start(&self, commit: Commit, latency: Duration) -> Services {
        let Args { tls, dimensions, .. } = self.args;
        self.runtime.block_on(Services::start(commit, latency, tls, dimensions))
    }

    fn row(&self, name: &str, measured: &Measured, services: &Services, latency: Duration) {
        let asked = services.take_asked();
        assert_eq!(asked.texts, measured.count("texts_embedded"), "the report counts the texts paid for");
        assert!(asked.at_once <= self.args.concurrency, "{} calls were in flight at once", asked.at_once);
        let written = measured.count("vectors_written");
        let least = asked.texts as f64 * self.least.decode + written as f64 * self.least.write;
        let rounds = asked.texts.div_ceil(BATCH).div_ceil(self.args.concurrency);
        let waiting = rounds as f64 * latency.as_secs_f64();
        println!(
            "{name:<34}{:>8.2}{:>8.2}{:>8}{least:>8.2}{:>8}{:>8}{:>16}{:>9}{written:>9}",
            measured.seconds,
            waiting.max(least / self.cores),
            program::or_none(measured.cpu, 2),
            program::or_none(measured.peak_mib, 0),
            measured.count("chunks"),
            format!("{}+{}+{}", asked.github, asked.embed, asked.store),
            asked.texts,
        );
    }
}

/// The configuration of the README with the addresses of these services.
fn configuration(url: &str, args: &Args) -> String {
    let concurrency = args.concurrency;
    let stages = services::stages(url, BATCH, args.dimensions);
    format!(
        r#"[engine]
concurrency = {concurrency}

[stages.github]
kind = "github"
api_url = "{url}/github"

{stages}

[projects.docs]
pipeline = ["github", "prose", "model", "pinecone"]
repositories = ["acme/docs"]
"#
    )
}
