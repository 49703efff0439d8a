//! What every command has at hand: output, the configuration file, logging, the runtime.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::config::Config;

use super::Global;
use super::error::CommandError;
use super::exit::Exit;
use super::logging::{self, LogGuard};
use super::output::Output;
use super::progress::{Display, Progress};

/// The file's name where nobody gives another.
pub(super) const FILE: &str = "reposync.toml";

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

    /// Runs a command to its end.
    pub(super) fn block_on<T>(
        &self,
        command: impl Future<Output = Result<T, CommandError>>,
    ) -> Result<T, CommandError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
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

    /// The file: as given, or the nearest `reposync.toml` from here upwards.
    pub(super) fn config_path(&self) -> Result<PathBuf, CommandError> {
        if let Some(path) = &self.global.config {
            return Ok(path.clone());
        }
        let here = std::env::current_dir()?;
        nearest(&here).ok_or_else(|| {
            CommandError::invalid(format!("there is no `{FILE}` here or in a folder above"))
                .hint("`reposync init` writes a starter file, `--config FILE` names another")
        })
    }

    /// Loads the file for a command that is about these projects (none: all enabled ones), and
    /// starts logging as the file says.
    pub(super) fn load(&self, selected: &[String]) -> Result<Config, CommandError> {
        let path = self.config_path()?;
        let config = super::engine::load(&path, selected).map_err(|problems| {
            let style = &self.out.error_style;
            CommandError::rendered(Exit::Invalid, problems.render(style.color(), style.width))
        })?;
        self.start_logging(config.engine.log_dir.as_deref())?;
        Ok(config)
    }

    /// Starts logging; the first call of a process counts.
    pub(super) fn start_logging(&self, log_dir: Option<&Path>) -> Result<(), CommandError> {
        if self.log.get().is_none() {
            let level = if self.global.quiet { None } else { Some(self.global.verbose) };
            let guard = logging::start(level, log_dir, self.progress.clone())?;
            drop(self.log.set(guard));
        }
        Ok(())
    }
}

fn nearest(from: &Path) -> Option<PathBuf> {
    from.ancestors().map(|folder| folder.join(FILE)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_file_upwards_is_taken() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let deep = root.path().join("a/b");
        std::fs::create_dir_all(&deep).expect("folders");
        std::fs::create_dir(deep.join(FILE)).expect("a folder of that name is no file");
        std::fs::write(root.path().join(FILE), "").expect("written");
        assert_eq!(nearest(&deep), Some(root.path().join(FILE)));
        std::fs::write(root.path().join("a").join(FILE), "").expect("written");
        assert_eq!(nearest(&deep), Some(root.path().join("a").join(FILE)));
    }
}
