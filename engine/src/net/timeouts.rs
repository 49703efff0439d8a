//! Time-outs and retries of calls to a service.

use std::time::Duration;

use super::RetryPolicy;

/// Time-outs and retries of a client.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// Number of tries and the pauses between them.
    pub retry: RetryPolicy,
    /// Longest duration of a call. For a call whose body is streamed
    /// ([`Deadline::Idle`](super::Deadline)): longest time without a byte.
    pub answer: Duration,
}

impl Default for Timeouts {
    /// A minute: GitHub itself gives up after 10 seconds, a batch of texts takes seconds, an upsert
    /// of 2 MB needs a third of a megabit per second.
    fn default() -> Self {
        Self { retry: RetryPolicy::default(), answer: Duration::from_secs(60) }
    }
}
