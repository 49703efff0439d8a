//! The series of the queue.

use std::sync::atomic::Ordering;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::app::{QueueCounts, UnitState};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

/// Units, workers, and what became of leases. All are zero where the state is a file.
#[derive(Debug, Default)]
pub(super) struct QueueMetrics {
    units: Family<StateLabel, Gauge>,
    workers: Gauge,
    oldest: Gauge,
    fenced: Counter,
    renewal: Gauge,
}

impl QueueMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Units of runs that workers share, by state";
        registry.register("units", help, self.units.clone());
        registry.register("workers", "Workers that were seen within a minute", self.workers.clone());
        let help = "Age of the oldest unit that waits for a worker, in seconds";
        registry.register("units_oldest_ready_seconds", help, self.oldest.clone());
        let help =
            "Leases that were taken over from a holder that did not renew them, since the state exists";
        registry.register("fenced", help, self.fenced.clone());
        let help = "Time since the renewal of the lease that was not renewed for longest, in seconds";
        registry.register("lease_renewal_age_seconds", help, self.renewal.clone());
        self.look(QueueCounts::default(), 0);
    }

    /// Sets the series to the current state.
    pub(super) fn look(&self, counts: QueueCounts, workers: usize) {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        for (state, units) in [
            (UnitState::Ready, counts.ready),
            (UnitState::Running, counts.running),
            (UnitState::Done, counts.done),
            (UnitState::Dead, counts.dead),
        ] {
            self.units.get_or_create_owned(&StateLabel { state: state.as_str() }).set(number(units));
        }
        self.workers.set(number(workers as u64));
        self.oldest.set(number(counts.oldest_ready_seconds));
        self.renewal.set(number(counts.oldest_renewal_seconds));
        self.fenced.inner().store(counts.fenced, Ordering::Relaxed);
    }
}
