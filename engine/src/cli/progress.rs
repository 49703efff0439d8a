//! Shows the progress of a run: a live view on a terminal, plain lines elsewhere.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;

use crate::model::EventSink;

use super::output::{Output, Style, escape};
use super::render::progress::ProgressTotals;

/// Interval between updates of the live view.
const TICK: Duration = Duration::from_millis(100);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Display {
    /// A view that is redrawn in place.
    Live,
    /// Occasional lines.
    Lines,
    /// No output.
    Nothing,
}

/// Standard error during a run. Cheap to clone.
#[derive(Clone)]
pub(super) struct Progress {
    bars: MultiProgress,
    out: Output,
}

/// A run that is being shown. Clears the view on drop.
#[must_use = "dropping this clears the view"]
pub(super) struct Shown {
    bar: Option<ProgressBar>,
    sink: EventSink,
}

impl Progress {
    pub(super) fn new(out: &Output) -> Self {
        let target =
            if out.interactive { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bars: MultiProgress::with_draw_target(target), out: out.clone() }
    }

    /// Starts to show a run.
    pub(super) fn show(&self, display: Display) -> Shown {
        let started = Instant::now();
        let tally = Arc::new(Mutex::new(ProgressTotals::default()));
        let bar = (display == Display::Live).then(|| self.live(&tally, started));
        let sink = match display {
            Display::Nothing => EventSink::none(),
            Display::Live => EventSink::new(move |event| {
                let at = started.elapsed().as_secs_f64();
                tally.lock().add(&event, at);
            }),
            Display::Lines => {
                let out = self.out.clone();
                EventSink::new(move |event| {
                    let at = started.elapsed().as_secs_f64();
                    let mut tally = tally.lock();
                    tally.add(&event, at);
                    if let Some(line) = tally.line(&event, at) {
                        out.message(&format!("{line}\n"));
                    }
                })
            }
        };
        Shown { bar, sink }
    }

    /// Prints a line above the live view.
    pub(super) fn print(&self, line: &str) {
        self.bars.suspend(|| self.out.message(&format!("{}\n", escape(line))));
    }

    fn live(&self, tally: &Arc<Mutex<ProgressTotals>>, started: Instant) -> ProgressBar {
        let (tally, style): (_, Style) = (tally.clone(), self.out.error_style.clone());
        let view = move |_: &indicatif::ProgressState, writer: &mut dyn fmt::Write| {
            let at = started.elapsed().as_secs_f64();
            let view = tally.lock().view(at, &style);
            writer.write_str(&view).unwrap_or_default(); // writing to memory cannot fail
        };
        let style = ProgressStyle::with_template("{view}").expect("the template is well-formed");
        let bar = self.bars.add(ProgressBar::new_spinner().with_style(style.with_key("view", view)));
        bar.enable_steady_tick(TICK);
        bar
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

impl Shown {
    /// The sink for the run's events.
    pub(super) fn sink(&self) -> EventSink {
        self.sink.clone()
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
