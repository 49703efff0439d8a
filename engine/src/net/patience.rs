//! How long a service is waited for, and how often it is asked again.

use std::time::Duration;

use super::RetryPolicy;

/// How patient a client is with its service.
#[derive(Debug, Clone)]
pub struct Patience {
    /// How often, and after which pauses, a failed call is tried again.
    pub retry: RetryPolicy,
    /// How long a call may take; what is streamed: how long nothing may come.
    pub answer: Duration,
}

impl Default for Patience {
    /// A minute: GitHub itself gives up after 10 seconds, a batch of texts takes seconds, an upsert
    /// of 2 MB needs a line of a third of a megabit.
    fn default() -> Self {
        Self { retry: RetryPolicy::default(), answer: Duration::from_secs(60) }
    }
}
