//! What every command has at hand: output, the configuration file, logging, the runtime.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::config::{self, Config, Need, Problems};
use crate::wire::refuse_tracked_state;

use super::error::CommandError;
use super::exit::Exit;
use super::global::Global;
use super::logging::{self, LogGuard};
use super::output::{Output, escape};
use super::progress::{Display, Progress};
use super::serving::{Basis, Serving};

/// Threads that block at most. Each kind of blocking work is bounded by itself (`blocking.rs`), to
/// some forty together; half of this is for archives that are being unpacked, which alone wait for
/// other work.
const BLOCKING_THREADS: usize = 192;

/// Niceness of a daemon's working threads, above that of the program: a third of the weight of the
/// API's thread. With the same weight, 99 of 100 answers to a probe took 7.0 ms while both cores of
/// a machine were busy, with this 4.9, with twice as much 4.5; what else runs on the machine is to
/// leave the work a fair share.
#[cfg(target_os = "linux")]
const BEHIND: i32 = 5;

/// Linux knows a niceness for each thread; elsewhere it would be the process's.
#[cfg(target_os = "linux")]
fn stand_behind(runtime: &mut tokio::runtime::Builder) {
    let own = rustix::process::getpriority_process(None).unwrap_or_default();
    runtime.on_thread_start(move || {
        // A thread that may not be nicer works as it is.
        let _accepted = rustix::process::setpriority_process(None, own + BEHIND);
    });
}

#[cfg(not(target_os = "linux"))]
fn stand_behind(_: &mut tokio::runtime::Builder) {}

/// What every command has at hand.
pub(crate) struct Context {
    /// Where output goes.
    pub(super) out: Output,
    /// The live view that log lines must not disturb.
    pub(super) progress: Progress,
    global: Global,
    log: OnceLock<LogGuard>,
}

impl Context {
    /// For this command line.
    pub(super) fn new(out: Output, global: Global) -> Self {
        Self { progress: Progress::new(&out), out, global, log: OnceLock::new() }
    }

    /// Runs a command to its end. With `behind`, its work stands behind what this thread starts
    /// by itself.
    pub(super) fn block_on<T>(
        behind: bool,
        command: impl Future<Output = Result<T, CommandError>>,
    ) -> Result<T, CommandError> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.enable_all().max_blocking_threads(BLOCKING_THREADS);
        if behind {
            stand_behind(&mut runtime);
        }
        let runtime = runtime.build()?;
        let result = runtime.block_on(command);
        // What still blocks (a file being chunked) is not worth waiting for: the ledger is closed.
        runtime.shutdown_background();
        result
    }

    /// True with `-q`.
    pub(super) fn quiet(&self) -> bool {
        self.global.quiet
    }

    /// How progress is shown: nobody follows `--json` or `-q`.
    pub(super) fn display(&self, json: bool) -> Display {
        match (json || self.global.quiet, self.out.interactive) {
            (true, _) => Display::Nothing,
            (false, true) => Display::Live,
            (false, false) => Display::Lines,
        }
    }

    /// What a command uses of the file, with the folders for secrets that the command line names.
    pub(super) fn need(&self, need: &Need) -> Need {
        need.clone().with_secrets_dirs(&self.global.secrets_dir)
    }

    /// Where the file is: as given, or the nearest `reposync.toml` from here upwards.
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

    /// Loads the file for a command that uses so much of it, and starts logging as it says.
    pub(super) fn load(&self, need: &Need) -> Result<Config, CommandError> {
        let config = self.read(need)?;
        self.start_logging(config.engine.log_dir.as_deref())?;
        Ok(config)
    }

    /// The same for a command that only reads.
    pub(super) fn load_to_read(&self, need: &Need) -> Result<Config, CommandError> {
        let config = self.read(need)?;
        self.log_if_possible(config)
    }

    /// The same for a command that a daemon can serve: where the file is refused and a daemon runs on an
    /// earlier state of it, that daemon is the basis.
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

    /// A reading command works without its log where that cannot be written.
    fn log_if_possible(&self, config: Config) -> Result<Config, CommandError> {
        if self.start_logging(config.engine.log_dir.as_deref()).is_err() {
            self.start_logging(None)?;
            tracing::info!("no log is written: `[engine] log_dir` is not writable");
        }
        Ok(config)
    }

    /// The same for a command that runs for long and whose log is what people see of it.
    pub(super) fn load_to_follow(&self, need: &Need) -> Result<Config, CommandError> {
        let config = self.read(need)?;
        let verbose = (!self.global.quiet).then(|| self.global.verbose.max(1));
        self.log_at(verbose, config.engine.log_dir.as_deref())?;
        Ok(config)
    }

    /// Every problem of the file, with its place (exit 2).
    pub(super) fn invalid(&self, problems: &Problems) -> CommandError {
        let style = &self.out.error_style;
        CommandError::rendered(Exit::Invalid, problems.render(style.color(), style.width))
    }

    /// Starts logging; the first call of a process counts.
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
