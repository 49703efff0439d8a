//! Aggregates events into the progress of a run, and renders it as the live view or as plain lines.
//! No I/O: callers pass the time.

use std::collections::{BTreeMap, HashMap};

use crate::model::{Event, Phase};

use super::super::output::{Style, escape};
use super::words::{clock, count, duration, noun_for, number};

/// Minimum duration in seconds of a wait that is shown as a line.
const SHORT_WAIT: f64 = 5.0;

/// Minimum number of files recorded between two lines of progress.
const LINE_EVERY: u64 = 500;

/// Seconds and files after which the remaining time is estimated.
const ESTIMATE_AFTER: (f64, u64) = (2.0, 20);

/// The progress of a run.
#[derive(Debug, Default)]
pub(crate) struct ProgressTotals {
    /// By phase.
    counters: HashMap<Phase, Counter>,
    waiting: BTreeMap<String, Wait>,
    running: Vec<String>,
    failed: u64,
    cached: u64,
    last_line: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counter {
    done: u64,
    expected: u64,
}

#[derive(Debug)]
struct Wait {
    /// When it ends, in seconds since the start of the run.
    until: f64,
    reason: String,
}

impl ProgressTotals {
    /// Adds an event; `at` is in seconds since the start of the run.
    pub(crate) fn add(&mut self, event: &Event, at: f64) {
        match event {
            Event::ProjectStarted { project } => self.running.push(project.clone()),
            Event::ProjectFinished { project, .. } => self.running.retain(|running| running != project),
            Event::Expected { phase, n } => self.counters.entry(*phase).or_default().expected += n,
            Event::Done { phase, n } => self.counters.entry(*phase).or_default().done += n,
            Event::Waiting { stage, seconds, reason } => {
                let wait = Wait { until: at + seconds, reason: reason.clone() };
                self.waiting.insert(stage.clone(), wait);
            }
            Event::Failed { .. } => self.failed += 1,
            Event::CacheHits { n, .. } => self.cached += n,
            Event::RepositoryPlanned { .. }
            | Event::RepositoryUnchanged { .. }
            | Event::FileIndexed { .. }
            | Event::FileRemoved { .. }
            | Event::FileSkipped { .. }
            | Event::Call { .. }
            | Event::Note { .. } => {}
        }
    }

    /// The line to print for an event without a live view; `None` for most events.
    pub(crate) fn line(&mut self, event: &Event, at: f64) -> Option<String> {
        let at = clock(at);
        match event {
            Event::ProjectStarted { project } => Some(format!("{at}: project `{}` started", escape(project))),
            Event::ProjectFinished { project, outcome } => {
                Some(format!("{at}: project `{}` {}", escape(project), outcome.as_str()))
            }
            Event::Waiting { stage, seconds, reason } if *seconds >= SHORT_WAIT => Some(format!(
                "{at}: stage `{}` waits {}: {}",
                escape(stage),
                duration(*seconds),
                escape(reason)
            )),
            Event::Done { phase: Phase::Commit, .. } => {
                let Counter { done, expected } = self.counter(Phase::Commit);
                if done < self.last_line + LINE_EVERY {
                    return None;
                }
                self.last_line = done;
                let embedded = self.counter(Phase::Embed).done;
                Some(format!(
                    "{at}: {} of {} recorded, {} embedded{}",
                    number(done),
                    count(expected.max(done), "file"),
                    count(embedded, "text"),
                    self.failures()
                ))
            }
            _ => None,
        }
    }

    /// The live view; `at` is in seconds since the start of the run.
    pub(crate) fn view(&self, at: f64, style: &Style) -> String {
        let mut lines = Vec::new();
        let projects = match self.running.as_slice() {
            [] => "starting".to_owned(),
            [project] => format!("project {}", escape(project)),
            many => count(many.len() as u64, "project"),
        };
        let left = self.seconds_left(at).map(|left| format!(" · about {} left", clock(left.ceil())));
        let left = left.unwrap_or_default();
        lines.push(format!("{} · {}{left}{}", style.strong(&projects), clock(at), self.failures()));
        let files = self.counter(Phase::Commit);
        if files.expected > 0 {
            let bar = meter(files.done, files.expected, style);
            let of = format!("{}/{}", number(files.done), number(files.expected));
            let rate = if at >= 1.0 { format!(", {}", rate(files.done, at)) } else { String::new() };
            lines.push(format!("  {bar} {of} {}{rate}", noun_for(files.expected, "file")));
        }
        let details = self.details();
        if !details.is_empty() {
            lines.push(format!("  {}", style.dim(&details)));
        }
        for (stage, wait) in self.waiting.iter().filter(|(_, wait)| wait.until > at) {
            let left = clock((wait.until - at).ceil());
            let line = format!("  {} waits, {left} left: {}", escape(stage), escape(&wait.reason));
            lines.push(style.warning(&line));
        }
        let cut: Vec<_> =
            lines.iter().map(|line| console::truncate_str(line, style.width, "…").into_owned()).collect();
        cut.join("\n")
    }

    fn counter(&self, phase: Phase) -> Counter {
        let Counter { done, expected } = self.counters.get(&phase).copied().unwrap_or_default();
        Counter { done, expected: expected.max(done) }
    }

    /// Counts of finished work: repositories, texts, vectors.
    fn details(&self) -> String {
        let mut details = Vec::new();
        let listed = self.counter(Phase::List);
        if listed.expected > 1 {
            let of = format!("{} of {}", number(listed.done), count(listed.expected, "repository"));
            details.push(format!("{of} compared"));
        }
        let texts = self.counter(Phase::Embed);
        if texts.expected > 0 {
            details.push(format!("{} embedded", count(texts.done, "text")));
        }
        if self.cached > 0 {
            details.push(format!("{} from the cache", number(self.cached)));
        }
        let vectors = self.counter(Phase::Upsert);
        if vectors.done > 0 {
            details.push(format!("{} written", count(vectors.done, "vector")));
        }
        details.join(", ")
    }

    /// Estimated seconds until the last file is recorded, at the average rate. `None` until every repository is
    /// compared, because the number of files is unknown before, and until enough files are recorded.
    fn seconds_left(&self, at: f64) -> Option<f64> {
        let (listed, files) = (self.counter(Phase::List), self.counter(Phase::Commit));
        let is_known = listed.done > 0 && listed.done == listed.expected && files.done < files.expected;
        let is_enough = at >= ESTIMATE_AFTER.0 && files.done >= ESTIMATE_AFTER.1;
        (is_known && is_enough).then(|| at * (files.expected - files.done) as f64 / files.done as f64)
    }

    fn failures(&self) -> String {
        if self.failed == 0 { String::new() } else { format!(", {} failed", number(self.failed)) }
    }
}

/// A progress bar of twenty cells.
fn meter(done: u64, expected: u64, style: &Style) -> String {
    const CELLS: u64 = 20;
    let filled = done.saturating_mul(CELLS).checked_div(expected).unwrap_or(0);
    let filled = usize::try_from(filled.min(CELLS)).unwrap_or(0);
    let empty = usize::try_from(CELLS).unwrap_or(0) - filled;
    format!("{}{}", style.good(&"━".repeat(filled)), style.dim(&"·".repeat(empty)))
}

fn rate(done: u64, seconds: f64) -> String {
    let rate = done as f64 / seconds;
    if rate >= 10.0 { format!("{rate:.0}/s") } else { format!("{rate:.1}/s") }
}

#[cfg(test)]
mod tests {
    use crate::model::Outcome;

    use super::*;

    fn started() -> ProgressTotals {
        let mut tally = ProgressTotals::default();
        let events = [
            Event::ProjectStarted { project: "handbook".into() },
            Event::Expected { phase: Phase::List, n: 1 },
            Event::Done { phase: Phase::List, n: 1 },
            Event::Expected { phase: Phase::Commit, n: 2000 },
            Event::Done { phase: Phase::Commit, n: 1500 },
            Event::Done { phase: Phase::Upsert, n: 2600 },
            Event::Done { phase: Phase::Embed, n: 640 },
            Event::Expected { phase: Phase::Embed, n: 1280 },
            Event::CacheHits { project: "handbook".into(), n: 40 },
        ];
        for event in &events {
            tally.add(event, 0.0);
        }
        tally
    }

    #[test]
    fn the_live_view_has_one_bar_and_the_time_left() {
        insta::assert_snapshot!(started().view(4.0, &Style::plain(80)), @"
        project handbook · 0:04 · about 0:02 left
          ━━━━━━━━━━━━━━━····· 1,500/2,000 files, 375/s
          640 texts embedded, 40 from the cache, 2,600 vectors written
        ");
    }

    #[test]
    fn the_time_left_is_unknown_while_repositories_are_compared() {
        let mut tally = started();
        tally.add(&Event::Expected { phase: Phase::List, n: 39 }, 4.0);
        insta::assert_snapshot!(tally.view(4.0, &Style::plain(80)), @"
        project handbook · 0:04
          ━━━━━━━━━━━━━━━····· 1,500/2,000 files, 375/s
          1 of 40 repositories compared, 640 texts embedded, 40 from the cache, 2,600 v…
        ");
    }

    #[test]
    fn a_wait_and_a_failure_are_seen_while_they_last() {
        let mut tally = started();
        let wait = Event::Waiting { stage: "ada".into(), seconds: 12.0, reason: "429".into() };
        tally.add(&wait, 4.0);
        let failed = Event::Failed {
            project: "handbook".into(),
            repository: "acme/api".into(),
            path: None,
            error: "refused".into(),
        };
        tally.add(&failed, 5.0);
        insta::assert_snapshot!(tally.view(6.0, &Style::plain(80)), @"
        project handbook · 0:06 · about 0:02 left, 1 failed
          ━━━━━━━━━━━━━━━····· 1,500/2,000 files, 250/s
          640 texts embedded, 40 from the cache, 2,600 vectors written
          ada waits, 0:10 left: 429
        ");
        assert!(!tally.view(17.0, &Style::plain(80)).contains("429"));
    }

    #[test]
    fn the_view_fits_the_terminal() {
        let view = started().view(4.0, &Style::plain(40));
        assert!(view.lines().all(|line| console::measure_text_width(line) <= 40), "{view}");
    }

    #[test]
    fn lines_come_at_the_start_at_the_end_and_by_count() {
        let mut tally = ProgressTotals::default();
        let mut events = vec![
            Event::ProjectStarted { project: "docs".into() },
            Event::Expected { phase: Phase::Commit, n: 1200 },
            Event::Waiting { stage: "ada".into(), seconds: 0.2, reason: "429".into() },
            Event::Waiting { stage: "ada".into(), seconds: 30.0, reason: "429".into() },
        ];
        events.extend((0..1200).map(|_| Event::Done { phase: Phase::Commit, n: 1 }));
        events.push(Event::ProjectFinished { project: "docs".into(), outcome: Outcome::Done });
        let mut lines = Vec::new();
        for event in &events {
            tally.add(event, 2.0);
            lines.extend(tally.line(event, 2.0));
        }
        insta::assert_snapshot!(lines.join("\n"), @"
        0:02: project `docs` started
        0:02: stage `ada` waits 30.0 s: 429
        0:02: 500 of 1,200 files recorded, 0 texts embedded
        0:02: 1,000 of 1,200 files recorded, 0 texts embedded
        0:02: project `docs` done
        ");
    }
}
