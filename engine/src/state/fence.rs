//! Leases on projects, and the fencing tokens that prove them.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::model::{ErrorKind, Running, StageError};

/// The name that errors of the state carry instead of a stage's.
pub(crate) const STAGE: &str = "ledger";

/// What a lease covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The projects for which the lease was taken.
    Project,
    /// One unit of work: a repository of a project in a run.
    Unit(i64),
}

/// A fencing token: proof of a lease, passed to every call that writes and checked in its transaction. A call
/// whose lease was taken over changes nothing and fails with [`Fence::lost`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fence {
    /// What the lease covers.
    pub scope: Scope,
    /// Grows each time that a lease on the same scope is given to another holder.
    pub epoch: i64,
}

impl Fence {
    /// The error of a write whose lease was taken over by another holder.
    pub fn lost() -> StageError {
        StageError::new(STAGE, ErrorKind::Fenced, "the lease on this work was taken over by another process")
            .hint("nothing of it was changed; the other process continues the work")
    }
}

/// A lease. It ends when the last clone is dropped, and with the process.
#[derive(Clone)]
pub struct Lease {
    fence: Fence,
    _held: Arc<dyn Any + Send + Sync>,
}

impl Lease {
    /// A lease that is held as long as `held` exists.
    pub fn new(fence: Fence, held: Arc<dyn Any + Send + Sync>) -> Self {
        Self { fence, _held: held }
    }

    /// Its fencing token.
    pub fn fence(&self) -> Fence {
        self.fence
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.fence).finish()
    }
}

/// The holder of a lease that somebody else asked for; `None` inside: it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held(pub Option<Running>);

impl From<Held> for StageError {
    fn from(Held(holder): Held) -> Self {
        let who = holder.map_or_else(String::new, |holder| {
            format!(" (process {}, since {})", holder.process, holder.since.format("%Y-%m-%dT%H:%M:%SZ"))
        });
        Self::local(STAGE, format!("another run is in progress{who}"))
            .hint("wait for it, or run with `--wait`")
    }
}
