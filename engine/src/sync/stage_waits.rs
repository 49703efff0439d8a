//! Until when the stages of this process wait for a service, as their events say.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::model::{Event, EventSink};

/// The latest end of the waits that stages have announced. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct StageWaits(Arc<Mutex<Option<Instant>>>);

impl StageWaits {
    /// A sink that takes note of waits, and passes all events on.
    #[must_use]
    pub fn watching(&self, events: EventSink) -> EventSink {
        let waits = self.clone();
        EventSink::new(move |event| {
            if let Event::Waiting { seconds, .. } = event {
                let wait = Duration::try_from_secs_f64(seconds).unwrap_or_default();
                let until = Instant::now().checked_add(wait);
                let mut known = waits.0.lock();
                *known = until.max(*known);
            }
            events.emit(event);
        })
    }

    /// True while a stage waits.
    pub(super) fn any(&self) -> bool {
        self.0.lock().is_some_and(|until| until > Instant::now())
    }
}
