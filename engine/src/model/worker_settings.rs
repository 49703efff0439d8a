//! How units of work are worked on.

use std::time::Duration;

/// `[workers]`: how the units of a run are shared by several processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerSettings {
    /// The process of a run works on its units, too.
    pub local: bool,
    /// Units side by side in one process.
    pub units: usize,
    /// The time after which a lease that is not renewed ends.
    pub lease: Duration,
    /// How often leases are renewed.
    pub renew: Duration,
    /// The time before the end of a lease in which its holder changes nothing, and after it before it is taken over.
    pub grace: Duration,
    /// Attempts at a unit before it is given up.
    pub attempts: u32,
    /// The time without progress after which a unit is taken from its worker, and a run ends. Waiting for a service that
    /// asked for a pause, or whose limit is used up, is progress.
    pub stuck: Duration,
    /// How often the queue is asked where the server cannot notify.
    pub poll: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            local: true,
            units: 4,
            lease: Duration::from_secs(45),
            renew: Duration::from_secs(10),
            grace: Duration::from_secs(5),
            attempts: 5,
            stuck: Duration::from_secs(1800),
            poll: Duration::from_secs(2),
        }
    }
}
