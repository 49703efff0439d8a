//! Runs the real program in a separate process and measures only that process.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The cost of a run of the program, and its report.
pub(crate) struct Measured {
    /// Seconds from start to end.
    pub(crate) seconds: f64,
    /// Processor time of the process, user and system, in seconds. `None` if `/proc` does not report
    /// it.
    pub(crate) cpu: Option<f64>,
    /// Peak resident memory in MiB. `None` if `/proc` does not report it.
    pub(crate) peak_mib: Option<f64>,
    /// The highest resident memory that is not of mapped files, sampled every few milliseconds, in MiB. What is
    /// mapped (the program, packs of repositories) the kernel can drop at any time. `None` if `/proc` does not
    /// report it.
    pub(crate) own_mib: Option<f64>,
    /// Bytes that the process had written to disk, in millions. `None` if `/proc` does not report them.
    pub(crate) written_mb: Option<f64>,
    /// Maximum numbers of open files (sockets included) and of threads, sampled every few milliseconds.
    /// Zero if `/proc` does not report them.
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    /// The output of `apply --json`.
    pub(crate) report: Value,
}

impl Measured {
    /// A counter of the report, summed over all projects.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let projects = self.report["projects"].as_array().map_or(&[][..], Vec::as_slice);
        projects.iter().filter_map(|project| project["counts"][name].as_u64()).sum()
    }
}

/// Runs `apply --json` in a folder; anything but success fails the benchmark.
pub(crate) fn apply(program: &Path, folder: &Path) -> Measured {
    apply_with(program, folder, &[])
}

/// The same with further options.
pub(crate) fn apply_with(program: &Path, folder: &Path, more: &[&str]) -> Measured {
    // A report on a thousand repositories exceeds the buffer of a pipe.
    let path = folder.join("report.json");
    let report = File::create(&path).expect("a file");
    let began = Instant::now();
    let mut child = Command::new(program)
        .args(["apply", "--json", "--quiet"])
        .args(more)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("SSL_CERT_FILE", super::services::tls::authority())
        .stdin(Stdio::null())
        .stdout(report)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
    let (mut peak_mib, mut own_mib, mut written_mb, mut descriptors, mut threads) = (None, None, None, 0, 0);
    let cpu = loop {
        let (ended, cpu) = look(&mut child);
        if ended {
            break cpu;
        }
        peak_mib = memory(child.id(), "VmHWM:").or(peak_mib);
        own_mib = memory(child.id(), "RssAnon:").into_iter().chain(own_mib).reduce(f64::max);
        written_mb = written(child.id()).or(written_mb);
        descriptors = descriptors.max(entries(child.id(), "fd"));
        threads = threads.max(entries(child.id(), "task"));
        std::thread::sleep(Duration::from_millis(2));
    };
    let seconds = began.elapsed().as_secs_f64();
    let status = child.wait().expect("a child");
    assert!(status.success(), "the program ended with {status}");
    let report = serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("a report");
    Measured { seconds, cpu, peak_mib, own_mib, written_mb, descriptors, threads, report }
}

/// A number of a table, or a dash for one that is not known.
pub(crate) fn or_none(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// Whether the process has ended, and its processor time until now. A zombie process still reports its
/// times.
fn look(child: &mut Child) -> (bool, Option<f64>) {
    /// Linux reports hundredths of a second here, whatever its clock.
    const TICKS: f64 = 100.0;
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", child.id())) else {
        return (child.try_wait().expect("a child").is_some(), None);
    };
    // The name, in parentheses, may contain anything; after it: state, …, utime (14th), stime (15th).
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    let cpu = ticks(11).zip(ticks(12)).map(|(user, system)| (user + system) / TICKS);
    (fields.first() == Some(&"Z"), cpu)
}

/// Number of entries in a folder of `/proc/PID`.
fn entries(id: u32, folder: &str) -> usize {
    std::fs::read_dir(format!("/proc/{id}/{folder}")).map_or(0, Iterator::count)
}

/// Bytes handed to the disk, in millions; an ended process has none.
fn written(id: u32) -> Option<f64> {
    let io = std::fs::read_to_string(format!("/proc/{id}/io")).ok()?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?;
    line.trim().parse::<f64>().ok().map(|bytes| bytes / 1e6)
}

/// A line of the process's status in MiB; an ended process has none.
fn memory(id: u32, line: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let kib: f64 = status
        .lines()
        .find_map(|found| found.strip_prefix(line))?
        .trim()
        .strip_suffix(" kB")?
        .trim()
        .parse()
        .ok()?;
    Some(kib / 1024.0)
}
