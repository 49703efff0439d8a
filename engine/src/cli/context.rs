//! The environment of a command: output, configuration file, logging, runtime.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::config::{self, Config, Need, Problems};
use crate::factory::refuse_tracked_state;

use super::error::CommandError;
use super::exit::Exit;
use super::global::Global;
use super::logging::{self, LogGuard};
use super::output::{Output, escape};
use super::progress::{Display, Progress};
use super::serving::{Basis, Serving};

/// Maximum number of blocking threads. Each kind of blocking work has its own limit
/// (`blocking.rs`), about forty together. Half of the threads are for unpacking archives, the only
/// work that waits for other work.
const BLOCKING_THREADS: usize = 192;

/// Increase of niceness of the daemon's worker threads relative to the API's thread, which then has
/// three times their weight. With equal niceness, the 99th percentile of probe latency was 7.0 ms
/// with two busy cores; with 5 it is 4.9 ms, with 10 it is 4.5 ms. More would starve the work when
/// other programs run.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;

/// On Linux niceness is per thread; on other systems it is per process.
#[cfg(target_os = "linux")]
fn lower_priority(runtime: &mut tokio::runtime::Builder) {
    let own = rustix::process::getpriority_process(None).unwrap_or_default();
    runtime.on_thread_start(move || {
        // If the kernel refuses, the thread keeps its niceness.
        let _accepted = rustix::process::setpriority_process(None, own + NICENESS);
    });
}

#[cfg(not(target_os = "linux"))]
fn lower_priority(_: &mut tokio::runtime::Builder) {}

/// The environment of a command.
pub(crate) struct Context {
    pub(super) out: Output,
    /// The live view, which log lines must not disturb.
    pub(super) progress: Progress,
    global: Global,
    log: OnceLock<LogGuard>,
}

impl Context {
    pub(super) fn new(out: Output, global: Global) -> Self {
        Self { progress: Progress::new(&out), out, global, log: OnceLock::new() }
    }

    /// Runs a command to its end. With `low_priority`, worker threads get a lower priority than threads
    /// that this thread starts itself.
    pub(super) fn block_on<T>(
        low_priority: bool,
        command: impl Future<Output = Result<T, CommandError>>,
    ) -> Result<T, CommandError> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.enable_all().max_blocking_threads(BLOCKING_THREADS);
        if low_priority {
            lower_priority(&mut runtime);
        }
        let runtime = runtime.build()?;
        let result = runtime.block_on(command);
        // Blocking work that is still running (a file being chunked) is abandoned; the ledger is
        // closed.
        runtime.shutdown_background();
        result
    }

    /// True with `-q`.
    pub(super) fn quiet(&self) -> bool {
        self.global.quiet
    }

    /// How progress is shown; not at all with `--json` or `-q`.
    pub(super) fn display(&self, json: bool) -> Display {
        match (json || self.global.quiet, self.out.interactive) {
            (true, _) => Display::Nothing,
            (false, true) => Display::Live,
            (false, false) => Display::Lines,
        }
    }

    /// Adds the folders for secrets from the command line.
    pub(super) fn need(&self, need: &Need) -> Need {
        need.clone().with_secrets_dirs(&self.global.secrets_dir)
    }

    /// The path of the file: as given, or the nearest `reposync.toml` in this folder or a parent
    /// folder.
    pub(super) fn config_path(&self) -> Result<PathBuf, CommandError> {
        let here = std::env::current_dir()?;
        config::find(&here, self.global.config.as_deref()).map_err(|problems| self.invalid(&problems))
    }

    fn read(&self, need: &Need) -> Result<Config, CommandError> {
        let config = config::load(&self.config_path()?, &self.need(need))
            .map_err(|problems| self.invalid(&problems))?;
        refuse_tracked_state(&config)?;
        Ok(config)
    }

    /// Loads the file and starts logging as it says.
    pub(super) fn load(&self, need: &Need) -> Result<Config, CommandError> {
        let config = self.read(need)?;
        self.start_logging(config.engine.log_dir.as_deref())?;
        Ok(config)
    }

    /// Like `load`, for a command that only reads.
    pub(super) fn load_to_read(&self, need: &Need) -> Result<Config, CommandError> {
        let config = self.read(need)?;
        self.log_if_possible(config)
    }

    /// Like `load`, for a command that a daemon can serve: if the file is refused and a daemon runs
    /// on an earlier version of it, that daemon is used.
    pub(super) fn load_or_serving(&self, need: &Need) -> Result<Basis, CommandError> {
        match config::load(&self.config_path()?, &self.need(need)) {
            Ok(config) => {
                refuse_tracked_state(&config)?;
                self.log_if_possible(config).map(Box::new).map(Basis::File)
            }
            Err(problems) => {
                let serving = Serving::of(&problems).ok_or_else(|| self.invalid(&problems))?;
                self.start_logging(None)?;
                let label = self.out.error_style.warning("the file is refused:");
                self.out.message(&format!(
                    "{label} {}\nThis is of the running daemon (process {}), which goes by the file as it was.\n\n",
                    escape(&problems.one_line()),
                    serving.record.process
                ));
                Ok(Basis::Daemon(Box::new(serving)))
            }
        }
    }

    /// A read-only command works without a log file if that is not writable.
    fn log_if_possible(&self, config: Config) -> Result<Config, CommandError> {
        if self.start_logging(config.engine.log_dir.as_deref()).is_err() {
            self.start_logging(None)?;
            tracing::info!("no log is written: `[engine] log_dir` is not writable");
        }
        Ok(config)
    }

    /// Like `load`, for a long-running command whose log is its output: logs at `info`.
    pub(super) fn load_to_follow(&self, need: &Need) -> Result<Config, CommandError> {
        let config = self.read(need)?;
        let verbose = (!self.global.quiet).then(|| self.global.verbose.max(1));
        self.log_at(verbose, config.engine.log_dir.as_deref())?;
        Ok(config)
    }

    /// Logs at `info`, for a long-running command without a file.
    pub(super) fn follow(&self) -> Result<(), CommandError> {
        let verbose = (!self.global.quiet).then(|| self.global.verbose.max(1));
        self.log_at(verbose, None)
    }

    /// The problems of the file as an error (exit 2).
    pub(super) fn invalid(&self, problems: &Problems) -> CommandError {
        let style = &self.out.error_style;
        CommandError::rendered(Exit::Invalid, problems.render(style.color(), style.width))
    }

    /// Starts logging. Only the first call in a process has an effect.
    pub(super) fn start_logging(&self, log_dir: Option<&Path>) -> Result<(), CommandError> {
        self.log_at((!self.global.quiet).then_some(self.global.verbose), log_dir)
    }

    fn log_at(&self, level: Option<u8>, log_dir: Option<&Path>) -> Result<(), CommandError> {
        if self.log.get().is_none() {
            let guard = logging::start(level, log_dir, self.progress.clone())?;
            drop(self.log.set(guard));
        }
        Ok(())
    }
}
