//! Classifies the ways in which a component can fail, with a hint for each. After any of them the
//! store must not be used again.

use std::time::Duration;

use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::limits::{MAX_TABLE_ELEMENTS, Refusal, WASM_STACK};
use super::said::{one_line, printable};
use super::sandbox::State;
use super::uncaught::Uncaught;
use crate::model::ByteSize;

/// Hint for a fault before the first document.
pub(super) const START_REMEDY: &str =
    "fix what the component does at start-up and in `describe`; both must be fast and need little memory";

/// A call that failed without returning a result.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    /// The component's stack frames, innermost first, demangled.
    frames: Vec<String>,
    stderr: String,
    log: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// A trap: a panic, an abort, an out-of-bounds access.
    Trap(String),
    /// The component called `exit`.
    Exit(i32),
    Deadline(Duration),
    Memory {
        allowed: usize,
    },
    Table,
    Stack,
    Output {
        allowed: usize,
    },
    Fuel,
    /// Its result, or its instantiation, violates the rules of the component model.
    Broken(String),
}

impl FaultKind {
    /// True if the outcome may differ on a slower or busier machine.
    pub(super) fn depends_on_the_machine(&self) -> bool {
        match self {
            Self::Deadline(_) | Self::Fuel => true,
            Self::Trap(_)
            | Self::Exit(_)
            | Self::Memory { .. }
            | Self::Table
            | Self::Stack
            | Self::Output { .. }
            | Self::Broken(_) => false,
        }
    }
}

/// The limits of one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) deadline: Duration,
    pub(super) memory: usize,
    pub(super) output: usize,
}

impl Fault {
    pub(super) fn of(error: &wasmtime::Error, state: &State, bounds: &Bounds) -> Self {
        let frames = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
        let kind = kind(error, state, bounds);
        Self { kind, frames, stderr: printable(&state.stderr()), log: state.said.text() }
    }

    /// A result that violates the contract without a trap.
    pub(super) fn broken(reason: &str) -> Self {
        let kind = FaultKind::Broken(reason.to_owned());
        Self { kind, frames: Vec::new(), stderr: String::new(), log: String::new() }
    }

    /// What happened, in one line.
    pub(super) fn what(&self) -> String {
        if matches!(self.kind, FaultKind::Trap(_) | FaultKind::Exit(_))
            && let Some(uncaught) = Uncaught::find(&self.stderr).or_else(|| Uncaught::find(&self.log))
        {
            return one_line(&uncaught.line());
        }
        let mut line = match &self.kind {
            FaultKind::Trap(reason) => format!("it trapped ({reason})"),
            FaultKind::Exit(code) => format!("it called `exit` with code {code}"),
            FaultKind::Deadline(deadline) => {
                format!("it ran longer than its deadline of {}", seconds(*deadline))
            }
            FaultKind::Memory { allowed } => {
                format!("it exceeded its memory limit of {}", ByteSize(*allowed as u64))
            }
            FaultKind::Table => format!("it wanted a table of more than {MAX_TABLE_ELEMENTS} elements"),
            FaultKind::Stack => format!("it exceeded its stack limit of {}", ByteSize(WASM_STACK as u64)),
            FaultKind::Output { allowed } => {
                format!("it exceeded its output limit of {}", ByteSize(*allowed as u64))
            }
            FaultKind::Fuel => "it exceeded its instruction limit".to_owned(),
            FaultKind::Broken(reason) => format!("its result violates the contract: {reason}"),
        };
        if matches!(self.kind, FaultKind::Trap(_) | FaultKind::Stack | FaultKind::Exit(_)) {
            if let [first, ..] = self.frames.as_slice() {
                line.push_str(&format!(" in `{first}`"));
            }
            if let Some(last) = self.last_words() {
                line.push_str(&format!("; it said: {}", one_line(last)));
            }
        }
        line
    }

    /// What the user of the stage can do.
    pub(super) fn remedy(&self, stage: &str) -> String {
        match &self.kind {
            FaultKind::Deadline(_) => {
                format!(
                    "raise `deadline` of the stage `{stage}`, or look for an infinite loop in the component"
                )
            }
            FaultKind::Memory { .. } => {
                format!("raise `memory` of the stage `{stage}`, or make the component use less memory")
            }
            FaultKind::Output { .. } => {
                format!(
                    "raise `output` of the stage `{stage}`, or make the component return ranges instead of texts"
                )
            }
            FaultKind::Stack => "look for infinite recursion in the component".to_owned(),
            FaultKind::Table => "make the component use smaller tables".to_owned(),
            FaultKind::Trap(_) | FaultKind::Exit(_) | FaultKind::Fuel | FaultKind::Broken(_) => {
                "this is a bug in the component; report it to its author".to_owned()
            }
        }
    }

    /// What the component's author can do, who runs it with `reposync plugin`.
    pub(super) fn author_remedy(&self, stage: &str) -> String {
        match &self.kind {
            FaultKind::Trap(_) | FaultKind::Exit(_) => {
                "fix the component there, or return a `chunk-error` for documents it cannot split".to_owned()
            }
            FaultKind::Fuel => "look for an infinite loop in the component".to_owned(),
            FaultKind::Broken(_) => "fix what the component returns".to_owned(),
            FaultKind::Deadline(_)
            | FaultKind::Memory { .. }
            | FaultKind::Output { .. }
            | FaultKind::Table
            | FaultKind::Stack => self.remedy(stage),
        }
    }

    /// The last line of standard error, else of the log: panics and tracebacks end with the reason.
    fn last_words(&self) -> Option<&str> {
        let last = |text: &'_ str| text.lines().rev().find(|line| !line.trim().is_empty()).map(str::len);
        let source = if last(&self.stderr).is_some() { &self.stderr } else { &self.log };
        // Rust ends a panic message with advice about `RUST_BACKTRACE`; skip it.
        source
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty() && !line.starts_with("note: run with `RUST_BACKTRACE"))
    }

    /// All details, for the component's author.
    pub(super) fn details(&self) -> String {
        let mut details = self.what();
        details.push('\n');
        for (title, text) in [
            ("backtrace, innermost first", self.frames.join("\n")),
            ("standard error", self.stderr.clone()),
            ("log", self.log.clone()),
        ] {
            if !text.trim().is_empty() {
                details.push_str(&format!("\n{title}:\n"));
                for line in text.lines() {
                    details.push_str(&format!("  {line}\n"));
                }
            }
        }
        details
    }
}

fn kind(error: &wasmtime::Error, state: &State, bounds: &Bounds) -> FaultKind {
    match state.limiter.refused() {
        Some(Refusal::Memory { .. }) => return FaultKind::Memory { allowed: bounds.memory },
        Some(Refusal::Table) => return FaultKind::Table,
        None => {}
    }
    if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
        return FaultKind::Exit(*code);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => FaultKind::Deadline(bounds.deadline),
        Some(Trap::StackOverflow) => FaultKind::Stack,
        Some(Trap::OutOfFuel) => FaultKind::Fuel,
        Some(Trap::UnreachableCodeReached) => {
            FaultKind::Trap("`unreachable`: a panic or an abort".to_owned())
        }
        Some(trap) => FaultKind::Trap(trap.to_string().trim_start_matches("wasm trap: ").to_owned()),
        // Wasmtime has no public type for this error.
        None if format!("{error:#}").contains("fuel allocated for hostcalls has been exhausted") => {
            FaultKind::Output { allowed: bounds.output }
        }
        None => FaultKind::Broken(one_line(&error.root_cause().to_string())),
    }
}

/// The function names in Wasmtime's backtrace, without addresses.
fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    backtrace
        .to_string()
        .lines()
        .skip(1)
        .map(str::trim)
        // Wasmtime may add advice about an environment variable after the last frame.
        .filter(|line| !line.starts_with("note: "))
        .filter_map(|line| {
            let (_, name) = line.split_once(" - ").or_else(|| line.split_once(": ")).unwrap_or(("", line));
            let name = name.trim().trim_start_matches("<unknown>!");
            (!name.is_empty()).then(|| one_line(name))
        })
        .collect()
}

/// A duration as written in `reposync.toml`.
pub(super) fn seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{}s", duration.as_secs())
    } else if duration.as_secs() == 0 {
        format!("{}ms", duration.as_millis())
    } else {
        format!("{:.1}s", duration.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_the_file() {
        for (millis, shown) in [(2000, "2s"), (500, "500ms"), (2050, "2.0s"), (7300, "7.3s")] {
            assert_eq!(seconds(Duration::from_millis(millis)), shown);
        }
    }
}
