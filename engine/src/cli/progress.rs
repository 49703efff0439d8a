//! Shows a run while it goes on: one live view on a terminal, plain lines elsewhere.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::model::EventSink;

use super::output::{Output, Style, escape};
use super::render::progress::Tally;

/// Between two drawings of the live view.
const TICK: Duration = Duration::from_millis(100);

/// How a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Display {
    /// A view that is drawn over and over.
    Live,
    /// A line now and then.
    Lines,
    /// Not at all.
    Nothing,
}

/// Standard error while a run goes on. Cheap to clone.
#[derive(Clone)]
pub(super) struct Progress {
    bars: MultiProgress,
    out: Output,
}

/// One run that is being shown; dropping it clears the view.
#[must_use = "the view is gone when this is dropped"]
pub(super) struct Shown {
    bar: Option<ProgressBar>,
    sink: EventSink,
}

impl Progress {
    /// On this output.
    pub(super) fn new(out: &Output) -> Self {
        let target =
            if out.interactive { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bars: MultiProgress::with_draw_target(target), out: out.clone() }
    }

    /// Begins to show a run.
    pub(super) fn show(&self, display: Display) -> Shown {
        let started = Instant::now();
        let tally = Arc::new(Mutex::new(Tally::default()));
        let bar = (display == Display::Live).then(|| self.live(&tally, started));
        let sink = match display {
            Display::Nothing => EventSink::none(),
            Display::Live => EventSink::new(move |event| {
                let at = started.elapsed().as_secs_f64();
                tally.lock().unwrap_or_else(PoisonError::into_inner).add(&event, at);
            }),
            Display::Lines => {
                let out = self.out.clone();
                EventSink::new(move |event| {
                    let at = started.elapsed().as_secs_f64();
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    tally.add(&event, at);
                    if let Some(line) = tally.line(&event, at) {
                        out.message(&format!("{line}\n"));
                    }
                })
            }
        };
        Shown { bar, sink }
    }

    /// Prints a line above the live view, where there is one.
    pub(super) fn print(&self, line: &str) {
        self.bars.suspend(|| self.out.message(&format!("{}\n", escape(line))));
    }

    fn live(&self, tally: &Arc<Mutex<Tally>>, started: Instant) -> ProgressBar {
        let (tally, style): (_, Style) = (tally.clone(), self.out.error_style.clone());
        let view = move |_: &indicatif::ProgressState, writer: &mut dyn fmt::Write| {
            let at = started.elapsed().as_secs_f64();
            let view = tally.lock().unwrap_or_else(PoisonError::into_inner).view(at, &style);
            writer.write_str(&view).unwrap_or_default(); // a buffer in memory takes everything
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
    /// Where the run's events go.
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
