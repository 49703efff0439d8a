//! Starts the daemon in a folder, calls it over HTTP, and measures its process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder};
use serde_json::Value;

/// Any wait beyond this fails the benchmark.
const PATIENCE: Duration = Duration::from_secs(120);

/// `[api] token` in the daemons' configuration.
const TOKEN: &str = "a-token-of-the-benchmark";

/// A running daemon; it ends when dropped.
pub(crate) struct Process {
    child: Child,
    client: Client,
    url: String,
}

/// Resources of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Footprint {
    pub(crate) resident_mib: f64,
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    /// Processor time in seconds, user and system.
    pub(crate) cpu: f64,
}

impl Process {
    /// Starts the daemon in this folder and waits until no run is active.
    pub(crate) async fn start(program: &Path, folder: &Path) -> Self {
        let child = Command::new(program)
            .args(["daemon", "--quiet"])
            .current_dir(folder)
            .env_clear()
            .env("HOME", folder)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let record = folder.join(".reposync/state.db.daemon");
        let address = until("the daemon's record", async || {
            let record: Value = serde_json::from_slice(&std::fs::read(&record).ok()?).ok()?;
            (record["process"] == child.id()).then(|| record["listen"].as_str().map(str::to_owned))?
        })
        .await;
        reposync::net::install_tls_provider();
        let client = Client::builder().no_proxy().build().expect("a client");
        let daemon = Self { child, client, url: format!("http://{address}") };
        daemon.until_idle().await;
        daemon
    }

    /// The address at which it listens: `host:port`.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url)).bearer_auth(TOKEN)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url)).bearer_auth(TOKEN)
    }

    /// The value of a gauge or counter in `/metrics`.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").send().await.expect("an answer").text().await.expect("text");
        let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        found.unwrap_or_else(|| panic!("no {series}"))
    }

    /// Waits until no run is active or queued.
    pub(crate) async fn until_idle(&self) {
        until("an idle daemon", async || {
            let health = self.get("/health").send().await.ok()?;
            let health: Value = health.json().await.ok()?;
            let ended = |project: &Value| project["running"].is_null() && project["queued"].is_null();
            health["projects"].as_array()?.iter().all(ended).then_some(())
        })
        .await;
    }

    pub(crate) fn footprint(&self) -> Footprint {
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let entries = |name: &str| std::fs::read_dir(process.join(name)).map_or(0, Iterator::count);
        let read = |name: &str| std::fs::read_to_string(process.join(name)).unwrap_or_default();
        let status = read("status");
        let resident = status.lines().find_map(|line| {
            line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()
        });
        // The name, in parentheses, may contain anything; after it: state, …, utime (14th), stime
        // (15th), in hundredths of a second.
        let stat = read("stat");
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let ticks =
            |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
        Footprint {
            resident_mib: resident.unwrap_or_default() / 1024.0,
            descriptors: entries("fd"),
            threads: entries("task"),
            cpu: (ticks(11) + ticks(12)) / 100.0,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; its output is discarded with its folder.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Idle time of all cores since boot in seconds, including I/O wait.
pub(crate) fn idle() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let times = stat.lines().next().unwrap_or_default().split_whitespace();
    // The word `cpu`; user, nice, system; idle (4th), iowait (5th), in hundredths of a second.
    times.skip(4).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Retries until there is an answer.
pub(crate) async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "no {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
