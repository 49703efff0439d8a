//! Logging to the engine.

/// Log level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Single steps.
    Trace,
    /// For the component's author.
    Debug,
    /// For the user of RepoSync.
    Info,
    /// Something may be wrong.
    Warn,
    /// Something is wrong.
    Error,
}

/// Writes a line to the engine's log. Lines beyond 64 KiB per document are dropped. Does nothing in
/// native tests.
pub fn log(level: Level, message: &str) {
    #[cfg(target_family = "wasm")]
    crate::export::write_log(level, message);
    #[cfg(not(target_family = "wasm"))]
    let _: (Level, &str) = (level, message);
}
