//! A rate that one process has for itself.

use std::time::Duration;

use tokio::time::Instant;

/// A budget that refills evenly: at most `per_minute` units in a minute, in bursts of a tenth of it.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) per_minute: f64,
    pub(super) level: f64,
    refilled: Instant,
}

impl Budget {
    /// A full budget.
    pub(super) fn per_minute(units: u32) -> Self {
        let per_minute = f64::from(units.max(1));
        Self { per_minute, level: per_minute / 10.0, refilled: Instant::now() }
    }

    /// Time until `units` are available; zero if they are, in which case they are spent.
    ///
    /// A request larger than the burst size passes once the bucket is full, and the level becomes negative: the
    /// long-run rate holds, and no request starves.
    pub(super) fn spend(&mut self, units: f64, now: Instant) -> Duration {
        let rate = self.per_minute / 60.0;
        let burst = (self.per_minute / 10.0).max(1.0);
        let gained = now.duration_since(self.refilled).as_secs_f64() * rate;
        self.level = (self.level + gained).min(burst);
        self.refilled = now;
        let needed = units.min(burst);
        if self.level >= needed {
            self.level -= units;
            return Duration::ZERO;
        }
        Duration::from_secs_f64((needed - self.level) / rate).max(Duration::from_millis(1))
    }
}
