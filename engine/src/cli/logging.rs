//! Logging: readable lines on standard error, JSON lines with rotation in `[engine].log_dir`, and
//! spans to an OpenTelemetry collector if the environment names one. Only RepoSync's own modules
//! log below `warn`, so that traces of requests by dependencies do not appear.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Context as _;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

use super::masked::Masked;
use super::progress::Progress;
use super::telemetry::Export;

/// Number of daily log files that are kept.
const MAX_FILES: usize = 14;

/// The target of the API's audit entries.
const AUDIT: &str = "audit";

/// Flushes the log file and exports remaining spans on drop.
#[derive(Debug)]
pub(super) struct LogGuard {
    _worker: Option<WorkerGuard>,
    _export: Option<Export>,
}

/// Starts logging. `verbose` is `None` for `-q`.
pub(super) fn start(
    verbose: Option<u8>,
    log_dir: Option<&Path>,
    progress: Progress,
) -> anyhow::Result<LogGuard> {
    let human = tracing_subscriber::fmt::layer()
        .with_writer(Masked(AboveProgress(progress)))
        .with_ansi(false)
        .with_target(false)
        .with_filter(filter(level(verbose)).with_target(AUDIT, audit(verbose)));
    let (json, worker) = match log_dir {
        None => (None, None),
        Some(folder) => {
            let (writer, worker) = tracing_appender::non_blocking(files(folder)?);
            // `spans` has the current span, too.
            let layer = tracing_subscriber::fmt::layer().json().with_current_span(false);
            let layer = layer.with_writer(Masked(writer)).with_filter(
                filter(level(verbose).max(LevelFilter::INFO)).with_target(AUDIT, LevelFilter::INFO),
            );
            (Some(layer), Some(worker))
        }
    };
    let export = Export::from_environment()?;
    let spans = export.as_ref().map(|export| {
        // Spans have level `info` and contain the events logged in them. Those of dependencies are
        // left out.
        export.layer().with_filter(Targets::new().with_target("reposync", LevelFilter::INFO))
    });
    // Fails if a subscriber is set already, which is then used.
    drop(tracing_subscriber::registry().with(human).with(json).with(spans).try_init());
    Ok(LogGuard { _worker: worker, _export: export })
}

fn files(folder: &Path) -> anyhow::Result<RollingFileAppender> {
    crate::state_folder::make(folder)
        .and_then(|()| {
            let builder = RollingFileAppender::builder()
                .rotation(Rotation::DAILY)
                .filename_prefix("reposync")
                .filename_suffix("jsonl")
                .max_log_files(MAX_FILES);
            let files = builder.build(folder).map_err(io::Error::other)?;
            // The library creates world-readable files, but log lines contain repository names and
            // paths.
            for file in std::fs::read_dir(folder)? {
                crate::private::narrow(&file?.path())?;
            }
            Ok(files)
        })
        .with_context(|| format!("failed to open a log in `{}` (`[engine] log_dir`)", folder.display()))
}

/// The level on standard error: errors with `-q`, otherwise warnings, more with each `-v`.
fn level(verbose: Option<u8>) -> LevelFilter {
    match verbose {
        None => LevelFilter::ERROR,
        Some(0) => LevelFilter::WARN,
        Some(1) => LevelFilter::INFO,
        Some(2) => LevelFilter::DEBUG,
        Some(_) => LevelFilter::TRACE,
    }
}

/// Audit entries have level `info` but are shown without `-v`, so that no option is needed to get them.
fn audit(verbose: Option<u8>) -> LevelFilter {
    if verbose.is_some() { LevelFilter::INFO } else { LevelFilter::OFF }
}

fn filter(own: LevelFilter) -> Targets {
    // It warns of every call that a client gets wrong; the client has got the error already.
    let client_errors = own.min(LevelFilter::ERROR);
    let all = Targets::new().with_default(own.min(LevelFilter::WARN));
    all.with_target("rmcp", client_errors).with_target("reposync", own)
}

/// Writes to standard error while the live view is hidden.
#[derive(Debug, Clone)]
struct AboveProgress(Progress);

impl<'a> MakeWriter<'a> for AboveProgress {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { progress: &self.0, text: Vec::new() }
    }
}

/// A log line, printed as a whole.
struct Line<'a> {
    progress: &'a Progress,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        for line in text.lines() {
            self.progress.print(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn dependencies_log_only_from_warn() {
        let filter = filter(level(Some(9)));
        assert!(filter.would_enable("reposync::sync", &Level::TRACE));
        assert!(filter.would_enable("hyper_util::client", &Level::WARN));
        assert!(!filter.would_enable("hyper_util::client", &Level::INFO));
    }

    #[test]
    fn quiet_leaves_errors_alone() {
        let filter = filter(level(None));
        assert!(filter.would_enable("reposync::sync", &Level::ERROR));
        assert!(!filter.would_enable("reposync::sync", &Level::WARN));
        assert!(!filter.would_enable("hyper_util::client", &Level::WARN));
    }
}
