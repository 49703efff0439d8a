//! The CPU time of a thread, for limits on work over hostile input.

use std::time::Duration;

/// CPU time of this thread; excludes other processes and suspended time.
#[cfg(unix)]
pub(crate) fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Zero where threads have no CPU clock: limits on counted steps are then the only ones.
#[cfg(not(unix))]
pub(crate) fn thread_time() -> Duration {
    Duration::ZERO
}
