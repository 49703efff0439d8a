//! How much a component may use: memory, time, output. Each number carries its reason.

use std::time::Duration;

use wasmtime::ResourceLimiter;

use super::super::WasmSettings;

/// How often the engine's clock ticks. Deadlines are exact to one tick.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// For `describe`, `configure` and instantiation: Python takes milliseconds, so this is generous.
pub(super) const START_DEADLINE: Duration = Duration::from_secs(10);

/// On top of a stage's deadline, for each MiB of document: the slowest language seen cuts 0.3 MB/s.
const DEADLINE_PER_MIB: Duration = Duration::from_secs(10);

/// Chunks that one document may give. A file of `max_file_bytes` has fewer lines.
pub(super) const MAX_CHUNKS: usize = 50_000;

/// Bytes of log, and of standard error, kept for one document.
pub(super) const MAX_LOG: usize = 64 << 10;

/// The largest file that is compiled. The largest seen (Python) has 18.5 MB.
pub(super) const MAX_COMPONENT: u64 = 64 << 20;

/// Stack for the component's own frames; a blocking thread has 2 MiB.
pub(super) const WASM_STACK: usize = 1 << 20;

/// Core instances, memories and tables in one component. Python holds more than 20.
const MAX_INSTANCES: usize = 200;

/// What a table's element takes.
const TABLE_ELEMENT: usize = size_of::<usize>();

/// The bounds that a stage may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Bytes of linear memory and tables.
    pub(super) memory: usize,
    /// Wall time for an empty document.
    pub(super) deadline: Duration,
    /// Bytes handed back for a document.
    pub(super) output: usize,
}

impl Limits {
    pub(super) fn of(settings: &WasmSettings) -> Self {
        Self {
            memory: usize::try_from(settings.memory.0).unwrap_or(usize::MAX),
            deadline: settings.deadline.0,
            output: usize::try_from(settings.output.0).unwrap_or(usize::MAX),
        }
    }

    /// Wall time for a document of `bytes` bytes.
    pub(super) fn deadline(&self, bytes: usize) -> Duration {
        self.deadline + DEADLINE_PER_MIB.mul_f64(bytes as f64 / f64::from(1 << 20))
    }
}

/// A growth that was refused. The component sees a trap; the message is made from this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// More bytes of memory and tables than allowed: this many were wanted in all.
    Memory {
        /// What it wanted in all.
        wanted: usize,
    },
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory { wanted } => write!(f, "{wanted} bytes of memory were refused"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Counts what one store holds and remembers what it refused.
#[derive(Debug)]
pub(super) struct Limiter {
    cap: usize,
    used: usize,
    refused: Option<Refusal>,
}

impl Limiter {
    pub(super) fn new(cap: usize) -> Self {
        Self { cap, used: 0, refused: None }
    }

    /// Bytes of memory and tables held now.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// What was refused, if anything was.
    pub(super) fn refused(&self) -> Option<Refusal> {
        self.refused
    }

    fn grow(&mut self, current: usize, desired: usize) -> wasmtime::Result<bool> {
        let wanted = self.used.saturating_sub(current).saturating_add(desired);
        if wanted > self.cap {
            let refusal = Refusal::Memory { wanted };
            self.refused = Some(refusal);
            return Err(wasmtime::Error::new(refusal));
        }
        self.used = wanted;
        Ok(true)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Beyond the maximum that the component itself declares, it just gets its -1.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(current, desired)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(current.saturating_mul(TABLE_ELEMENT), desired.saturating_mul(TABLE_ELEMENT))
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_INSTANCES
    }

    fn memories(&self) -> usize {
        MAX_INSTANCES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_bound() {
        let mut limiter = Limiter::new(1000);
        assert!(limiter.memory_growing(0, 600, None).is_ok());
        assert!(limiter.table_growing(0, 50, None).is_ok());
        assert_eq!(limiter.used(), 600 + 50 * TABLE_ELEMENT);
        assert!(limiter.memory_growing(600, 601, None).is_err());
        assert_eq!(limiter.refused(), Some(Refusal::Memory { wanted: 601 + 50 * TABLE_ELEMENT }));
    }

    #[test]
    fn a_components_own_maximum_is_no_refusal() {
        let mut limiter = Limiter::new(1 << 30);
        assert!(!limiter.memory_growing(0, 600, Some(500)).expect("no trap"));
        assert_eq!(limiter.refused(), None);
    }

    #[test]
    fn deadlines_grow_with_the_document() {
        let limits = Limits { memory: 0, deadline: Duration::from_secs(2), output: 0 };
        assert_eq!(limits.deadline(0), Duration::from_secs(2));
        assert_eq!(limits.deadline(1 << 19), Duration::from_secs(7));
    }
}
