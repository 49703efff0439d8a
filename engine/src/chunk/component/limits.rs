//! Resource limits of a component: memory, time, output.

use std::time::Duration;

use wasmtime::ResourceLimiter;

use super::settings::WasmSettings;

/// Period of the epoch clock, and so the resolution of deadlines.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// Deadline of `describe`, `configure` and instantiation. Python needs milliseconds, so this is
/// generous.
pub(super) const START_DEADLINE: Duration = Duration::from_secs(10);

/// Added to a stage's deadline per MiB of document: the slowest language measured splits 0.3 MB/s.
const DEADLINE_PER_MIB: Duration = Duration::from_secs(10);

/// Maximum number of chunks per document. A file of `max_file_bytes` has fewer lines.
pub(super) const MAX_CHUNKS: usize = 50_000;

/// Maximum bytes of log, and of standard error, kept per document.
pub(super) const MAX_LOG: usize = 64 << 10;

/// Maximum size of a component's file. The largest seen (Python) has 18.5 MB.
pub const MAX_COMPONENT: u64 = 64 << 20;

/// Stack for the component's own frames; a blocking thread has 2 MiB.
pub(super) const WASM_STACK: usize = 1 << 20;

/// Maximum number of core instances, memories and tables in one component. Python uses more than
/// 20.
const MAX_INSTANCES: usize = 200;

/// Maximum number of elements in one table; Python uses 20,000.
pub(super) const MAX_TABLE_ELEMENTS: usize = 2 << 20;

/// Size of a table element in bytes.
const TABLE_ELEMENT: usize = size_of::<usize>();

/// The limits that a stage can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Bytes of linear memory and tables.
    pub(super) memory: usize,
    /// Wall time for an empty document.
    pub(super) deadline: Duration,
    /// Bytes returned for a document.
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

/// A denied allocation. The component traps; the error message is built from this value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Memory and tables would exceed the limit.
    Memory {
        /// Total number of bytes requested.
        wanted: usize,
    },
    /// A table would have more than [`MAX_TABLE_ELEMENTS`].
    Table,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory { wanted } => write!(f, "{wanted} bytes of memory were refused"),
            Self::Table => write!(f, "a table of more than {MAX_TABLE_ELEMENTS} elements was refused"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Tracks the memory of one store and remembers a denied allocation.
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

    /// Bytes of memory and tables in use.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// The denied allocation, if any.
    pub(super) fn refused(&self) -> Option<Refusal> {
        self.refused
    }

    fn grow(&mut self, current: usize, desired: usize) -> wasmtime::Result<bool> {
        let wanted = self.used.saturating_sub(current).saturating_add(desired);
        if wanted > self.cap {
            return self.refuse(Refusal::Memory { wanted });
        }
        self.used = wanted;
        Ok(true)
    }

    fn refuse(&mut self, refusal: Refusal) -> wasmtime::Result<bool> {
        self.refused = Some(refusal);
        Err(wasmtime::Error::new(refusal))
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Beyond the maximum that the component declares, `memory.grow` returns -1 as usual.
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
        // The engine's own maximum, which holds where the component declares none, is a limit of the host.
        let declared = maximum.filter(|maximum| *maximum < MAX_TABLE_ELEMENTS);
        if declared.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let fits = self.grow(current.saturating_mul(TABLE_ELEMENT), desired.saturating_mul(TABLE_ELEMENT))?;
        if desired > MAX_TABLE_ELEMENTS { self.refuse(Refusal::Table) } else { Ok(fits) }
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
        let mut limiter = Limiter::new(usize::MAX);
        assert!(
            limiter.table_growing(0, MAX_TABLE_ELEMENTS, Some(MAX_TABLE_ELEMENTS)).is_ok_and(|fits| fits)
        );
        assert!(limiter.table_growing(9, 20, Some(10)).is_ok_and(|fits| !fits), "as the component declares");
        assert!(limiter.table_growing(9, MAX_TABLE_ELEMENTS + 1, Some(MAX_TABLE_ELEMENTS)).is_err());
        assert_eq!(limiter.refused(), Some(Refusal::Table));
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
