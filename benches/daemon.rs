//! The daemon as a process: the time from an edit to its plan and from a push to searchable vectors,
//! the effect of reload and webhook storms, the cost of an idle daemon, and its latency under load.
//!
//! `cargo bench --bench daemon` (`-- --quick` for small sizes, `-- --help` for options);
//! `docs/performance.md` explains the rows.

#![expect(clippy::print_stdout, reason = "prints a table")]

#[path = "daemon/probe.rs"]
mod probe;
#[path = "daemon/process.rs"]
mod process;
#[path = "run/push.rs"]
mod push;
#[expect(dead_code, reason = "the benchmark of runs uses more of it")]
#[path = "run/repository.rs"]
mod repository;
#[expect(dead_code, reason = "the benchmark of runs uses more of it")]
#[path = "run/services.rs"]
mod services;
#[path = "daemon/storm.rs"]
mod storm;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use futures::future::join_all;
use serde_json::json;
use tempfile::TempDir;

use probe::Probe;
use process::{Footprint, Process, until};
use repository::Repository;
use services::Services;

const SECRET: &str = "It's a Secret to Everybody";

#[derive(Parser)]
#[command(about = "Measures the daemon", long_about = None)]
struct Args {
    /// A twentieth of all sizes, to check within seconds that the benchmark works
    #[arg(long)]
    quick: bool,
    /// Only cases with this in their name
    #[arg(long, default_value = "")]
    case: String,
    /// Path of another build of the program
    #[arg(long, default_value = env!("CARGO_BIN_EXE_reposync"))]
    program: PathBuf,
    /// Passed by `cargo bench` to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    fn wants(&self, case: &str) -> bool {
        case.contains(&self.case)
    }

    fn times(&self, n: usize) -> usize {
        if self.quick { n.div_ceil(20) } else { n }
    }
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let kind = if cfg!(debug_assertions) { "unoptimised" } else { "optimised" };
    println!("program: {}; this benchmark is {kind}\n", args.program.display());
    println!("{:<38}{:>14}{:>14}  details", "case", "measured", "asked");
    if args.wants("edit") || args.wants("idle") || args.wants("reloads") {
        many_projects(&args).await;
    }
    if args.wants("push") || args.wants("webhooks") {
        pushes(&args).await;
    }
    if args.wants("health") {
        health(&args).await;
    }
    if args.wants("storm") {
        unfinished(&args).await;
    }
}

fn row(case: &str, measured: &str, asked: &str, details: &str) {
    println!("{case:<38}{measured:>14}{asked:>14}  {details}");
}

/// The given percentile of the times.
fn percentile(times: &mut [Duration], hundredths: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * hundredths / 100).min(times.len() - 1)]
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn growth(before: Footprint, after: Footprint) -> String {
    format!(
        "{:.1} to {:.1} MiB, descriptors {} to {}, threads {} to {}, {:.2} CPU s",
        before.resident_mib,
        after.resident_mib,
        before.descriptors,
        after.descriptors,
        before.threads,
        after.threads,
        after.cpu - before.cpu
    )
}

/// Creates a repository of these files with one commit.
fn git_repository(folder: &Path, files: &[(String, String)]) {
    std::fs::create_dir_all(folder).expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.join(name), text).expect("a file");
    }
    let script = "git init -q -b main . && git add -A && \
         git -c user.name=a -c user.email=a@example.com -c commit.gpgsign=false commit -q -m first";
    let status = Command::new("sh").args(["-c", script]).current_dir(folder).status().expect("a shell");
    assert!(status.success(), "git in {}", folder.display());
}

const LOCAL: &str = concat!(
    "[api]\nlisten = \"127.0.0.1:0\"\ntoken = \"a-token-of-the-benchmark\"\n",
    include_str!("../tests/it/fixtures/local.toml")
);

/// A hundred projects with one repository each; the first has the keys `more` in its table.
fn hundred(more: &str) -> String {
    let mut text = LOCAL.to_owned();
    for n in 0..100 {
        let more = if n == 0 { more } else { "" };
        text.push_str(&format!(
            "[projects.p{n}]\npipeline = [\"here\", \"prose\", \"model\", \"index\"]\n\
             repositories = [\"repos/r{n}\"]\nschedule = \"0 8 * * *\"\n{more}\n"
        ));
    }
    text
}

fn write(folder: &TempDir, text: &str) {
    std::fs::write(folder.path().join("reposync.toml"), text).expect("a file");
}

async fn many_projects(args: &Args) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for n in 0..100 {
        let files = [("a.md".to_owned(), format!("Page {n} of a repository.\n"))];
        git_repository(&folder.path().join(format!("repos/r{n}")), &files);
    }
    write(&folder, &hundred(""));
    let daemon = Process::start(&args.program, folder.path()).await;
    if args.wants("edit") {
        let mut times = Vec::new();
        for n in 0..args.times(20) {
            let before = daemon.metric("reposync_runs_total{outcome=\"done\"}").await;
            let began = Instant::now();
            write(&folder, &hundred(&format!("exclude_patterns = [\"none{n}\"]")));
            until("the edit's run", async || {
                (daemon.metric("reposync_runs_total{outcome=\"done\"}").await > before).then_some(())
            })
            .await;
            times.push(began.elapsed());
        }
        let details =
            format!("slowest {}; half a second of quiet is in it", milliseconds(percentile(&mut times, 100)));
        row(
            "edit planned and run, 100 projects",
            &milliseconds(percentile(&mut times, 50)),
            "< 1000 ms",
            &details,
        );
    }
    if args.wants("idle") {
        let time = Duration::from_secs(args.times(40) as u64);
        let before = daemon.footprint();
        tokio::time::sleep(time).await;
        let share = (daemon.footprint().cpu - before.cpu) / time.as_secs_f64();
        let details = format!("{} s, 100 projects, {:.1} MiB", time.as_secs(), before.resident_mib);
        row("idle", &format!("{:.2} %", share * 100.0), "< 0.5 %", &details);
    }
    if args.wants("reloads") {
        let times = args.times(1000);
        let (mut before, began) = (daemon.footprint(), Instant::now());
        for n in 0..times {
            if n == times / 5 {
                // By now it has opened everything it needs.
                before = daemon.footprint();
            }
            let text = hundred("").replace("0 8 * * *", &format!("{} 8 * * *", n % 60));
            write(&folder, &text);
            let answer = daemon.post("/reload").send().await.expect("an answer");
            assert!(answer.status().is_success(), "{}", answer.text().await.expect("text"));
        }
        let each = began.elapsed() / u32::try_from(times).expect("a few");
        let details =
            format!("after {} and after {times}: {}", times / 5, growth(before, daemon.footprint()));
        row(&format!("{times} reloads, 100 projects, each"), &milliseconds(each), "no growth", &details);
    }
}

/// GitHub as a fake without latency; everything else built in, so that a query can be answered.
async fn pushes(args: &Args) {
    let mut repository = Repository::new(args.times(200).max(20), 2000);
    let services = Services::start(repository.commit(), Duration::ZERO, false, services::DIMENSIONS).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = format!(
        "{LOCAL}[stages.github]\nkind = \"github\"\napi_url = \"{}/github\"\n\
         [projects.docs]\npipeline = [\"github\", \"prose\", \"model\", \"index\"]\nrepositories = [\"acme/docs\"]\n",
        services.url
    );
    let secret = format!("[api]\nwebhook_secret = \"{SECRET}\"");
    write(&folder, &config.replace("[api]", &secret));
    let daemon = Arc::new(Process::start(&args.program, folder.path()).await);
    if args.wants("push") {
        let mut times = Vec::new();
        for _ in 0..args.times(40) {
            let before = daemon.metric("reposync_files_processed_total").await;
            repository.edit(1);
            services.push(repository.commit());
            let began = Instant::now();
            deliver(&daemon).await;
            until("the push", async || {
                (daemon.metric("reposync_files_processed_total").await > before).then_some(())
            })
            .await;
            let found =
                daemon.post("/query").json(&json!({ "query": "page" })).send().await.expect("an answer");
            assert!(found.status().is_success());
            times.push(began.elapsed());
            daemon.until_idle().await;
        }
        let details =
            format!("slowest {}; the answer to a query is in it", milliseconds(percentile(&mut times, 100)));
        row("push to searchable", &milliseconds(percentile(&mut times, 50)), "< 1000 ms", &details);
    }
    if args.wants("webhooks") {
        let (total, clients) = (args.times(10_000), 8);
        let runs = daemon.metric("reposync_runs_total{outcome=\"done\"}").await;
        deliver(&daemon).await;
        daemon.until_idle().await;
        let (before, began) = (daemon.footprint(), Instant::now());
        let sent = Arc::new(AtomicU64::new(0));
        let client = async || {
            let mut times = Vec::new();
            while sent.fetch_add(1, Ordering::Relaxed) < total as u64 {
                let began = Instant::now();
                deliver(&daemon).await;
                times.push(began.elapsed());
            }
            times
        };
        let mut times: Vec<Duration> = join_all((0..clients).map(|_| client())).await.concat();
        let seconds = began.elapsed().as_secs_f64();
        daemon.until_idle().await;
        let runs = daemon.metric("reposync_runs_total{outcome=\"done\"}").await - runs;
        let details = format!(
            "{runs} runs meanwhile; answers: half in {}, slowest {}; {}",
            milliseconds(percentile(&mut times, 50)),
            milliseconds(percentile(&mut times, 100)),
            growth(before, daemon.footprint())
        );
        row(&format!("{total} webhooks"), &format!("{seconds:.1} s"), "< 60 s", &details);
    }
}

/// Sends one signed push.
async fn deliver(daemon: &Process) {
    let answer = push::signed(daemon.post("/webhooks/github"), SECRET).send().await.expect("an answer");
    assert_eq!(answer.status(), 202);
}

/// Latency of `/health` while the first runs of two projects parse, embed and write on every core: for
/// a probe without a token, and with the list of projects, which reads the ledger.
async fn health(args: &Args) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut projects = String::new();
    for (n, repository) in ["one", "two"].into_iter().enumerate() {
        let files: Vec<(String, String)> =
            (0..args.times(5000)).map(|file| (format!("f{file}.rs"), code(n, file))).collect();
        git_repository(&folder.path().join(repository), &files);
        projects.push_str(&format!(
            "[projects.{repository}]\npipeline = [\"here\", \"code\", \"model\", \"index\"]\n\
             repositories = [\"{repository}\"]\nenabled = false\n"
        ));
    }
    let config = format!("{LOCAL}[stages.code]\nkind = \"code\"\n{projects}");
    write(&folder, &config);
    let daemon = Process::start(&args.program, folder.path()).await;
    write(&folder, &config.replace("enabled = false", ""));
    let answer = daemon.post("/reload").send().await.expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.text().await.expect("text"));
    until("the runs", async || (daemon.metric("reposync_runs_active").await >= 2.0).then_some(())).await;
    let (before, idle, began) = (daemon.footprint(), process::idle(), Instant::now());
    let probe = Probe::start(daemon.address());
    let mut full = Vec::new();
    while daemon.metric("reposync_runs_active").await >= 2.0 && began.elapsed() < Duration::from_secs(60) {
        for _ in 0..20 {
            full.push(answered(daemon.get("/health")).await);
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
    let probes = probe.stop();
    let seconds = began.elapsed().as_secs_f64();
    let busy = (daemon.footprint().cpu - before.cpu) / seconds;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let idle = (process::idle() - idle) / seconds / cores as f64 * 100.0;
    for (what, asked, mut times) in
        [("a probe's /health, 99 of 100", "< 5 ms", probes), ("/health with projects, 99 of 100", "", full)]
    {
        let details = format!(
            "half in {}, slowest of {} {}; the daemon kept {busy:.2} of {cores} cores busy, {idle:.0} % were idle",
            milliseconds(percentile(&mut times, 50)),
            times.len(),
            milliseconds(percentile(&mut times, 100))
        );
        row(what, &milliseconds(percentile(&mut times, 99)), asked, &details);
    }
}

/// What clients that never finish cost an idle daemon, and the latency of `/health` meanwhile.
async fn unfinished(args: &Args) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    git_repository(&folder.path().join("docs"), &[("a.md".to_owned(), "A page.\n".to_owned())]);
    let secret = format!("[api]\nwebhook_secret = \"{SECRET}\"");
    let config = format!(
        "{LOCAL}[projects.docs]\npipeline = [\"here\", \"prose\", \"model\", \"index\"]\n\
         repositories = [\"docs\"]\n"
    );
    write(&folder, &config.replace("[api]", &secret));
    let daemon = Process::start(&args.program, folder.path()).await;
    let (deliveries, heads) = (args.times(60), args.times(600));
    let probe = Probe::start(daemon.address());
    let storm = storm::storm(&daemon, deliveries, heads).await;
    let mut probes = probe.stop();
    let growth = storm.peak_mib - storm.before.resident_mib;
    let kept = storm.after.resident_mib - storm.before.resident_mib;
    let details = format!(
        "{deliveries} deliveries of 25 MiB, {heads} half-sent heads; {:.1} MiB before, {:.1} at most, {:.1} after; \
         {} refused, {} without progress; descriptors {} to {}; /health: half in {}, slowest of {} {}",
        storm.before.resident_mib,
        storm.peak_mib,
        storm.after.resident_mib,
        storm.busy,
        storm.timeout,
        storm.before.descriptors,
        storm.after.descriptors,
        milliseconds(percentile(&mut probes, 50)),
        probes.len(),
        milliseconds(percentile(&mut probes, 100)),
    );
    row("storm of unfinished requests, growth", &format!("{growth:.1} MiB"), "< 200 MiB", &details);
    assert!(growth < 200.0, "it grew by {growth:.1} MiB");
    assert!(kept < 40.0, "{kept:.1} MiB were not released");
}

/// A unique file of about 20 KB: work for a parser.
fn code(repository: usize, file: usize) -> String {
    let mut text = format!("//! Module {file} of {repository}.\n\n");
    for n in 0..40 {
        text.push_str(&format!(
            "/// Folds what `f{n}` of module {file} was given, in repository {repository}.\n\
             pub fn f{n}_{file}(values: &[u32], limit: u32) -> Option<u32> {{\n    \
                 let mut sum = {n}u32.wrapping_mul({file});\n    \
                 for (at, value) in values.iter().enumerate() {{\n        \
                     if *value > limit && at % {} == 0 {{\n            \
                         sum = sum.checked_add(value.rotate_left({n} % 32))?;\n        \
                     }} else {{\n            \
                         sum ^= match value {{ 0 => {file}, 1..=9 => value * 3, _ => value >> 1 }};\n        \
                     }}\n    \
                 }}\n    \
                 Some(sum % (limit + {n}))\n}}\n\n",
            n + 2
        ));
    }
    text
}

/// Time until the whole answer has arrived.
async fn answered(request: reqwest::RequestBuilder) -> Duration {
    let began = Instant::now();
    request.send().await.expect("an answer").bytes().await.expect("a body");
    began.elapsed()
}
