//! A component's voice.

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Every step.
    Trace,
    /// For the component's author.
    Debug,
    /// For the person who runs the engine.
    Info,
    /// Something looks wrong.
    Warn,
    /// Something is wrong.
    Error,
}

/// Writes a line to the engine's log; beyond 64 KiB for one document lines are left out.
/// In tests on the host it does nothing.
pub fn log(level: Level, message: &str) {
    #[cfg(target_family = "wasm")]
    crate::export::write_log(level, message);
    #[cfg(not(target_family = "wasm"))]
    let _: (Level, &str) = (level, message);
}
