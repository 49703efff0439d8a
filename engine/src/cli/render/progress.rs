//! Aggregates events into the progress of a run, and renders it as the live view or as plain lines.
//! No I/O: callers pass the time.

use std::collections::BTreeMap;

use crate::model::{Event, Outcome, Phase};

use super::super::output::{Style, escape};
use super::words::{clock, count, duration, noun_for, number};

const PHASES: [(Phase, &str, &str); 6] = [
    (Phase::List, "list", "repository"),
    (Phase::Fetch, "fetch", "file"),
    (Phase::Chunk, "chunk", "file"),
    (Phase::Embed, "embed", "text"),
    (Phase::Upsert, "upsert", "vector"),
    (Phase::Commit, "record", "file"),
];

/// Minimum duration in seconds of a wait that is shown as a line.
const SHORT_WAIT: f64 = 5.0;

/// Minimum number of files recorded between two lines of progress.
const LINE_EVERY: u64 = 500;

/// The progress of a run.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counters: [Counter; PHASES.len()],
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

impl Tally {
    /// Adds an event; `at` is in seconds since the start of the run.
    pub(crate) fn add(&mut self, event: &Event, at: f64) {
        match event {
            Event::ProjectStarted { project } => self.running.push(project.clone()),
            Event::ProjectFinished { project, .. } => self.running.retain(|running| running != project),
            Event::Expected { phase, n } => self.counters[index(*phase)].expected += n,
            Event::Done { phase, n } => self.counters[index(*phase)].done += n,
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
                Some(format!("{at}: project `{}` {}", escape(project), ended(*outcome)))
            }
            Event::Waiting { stage, seconds, reason } if *seconds >= SHORT_WAIT => Some(format!(
                "{at}: stage `{}` waits {}: {}",
                escape(stage),
                duration(*seconds),
                escape(reason)
            )),
            Event::Done { phase: Phase::Commit, .. } => {
                let Counter { done, expected } = self.counters[index(Phase::Commit)];
                if done < self.last_line + LINE_EVERY {
                    return None;
                }
                self.last_line = done;
                let embedded = self.counters[index(Phase::Embed)].done;
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
        lines.push(format!("{} · {}{}", style.strong(&projects), clock(at), self.failures()));
        for (phase, verb, noun) in PHASES {
            let Counter { done, expected } = self.counters[index(phase)];
            if done + expected == 0 {
                continue;
            }
            let expected = expected.max(done);
            let mut line = format!("  {verb:<8}{}", meter(done, expected, style));
            line.push_str(&format!(" {}/{} {}", number(done), number(expected), noun_for(expected, noun)));
            if done < expected && at >= 1.0 {
                line.push_str(&format!(", {}", rate(done, at)));
            }
            if phase == Phase::Embed && self.cached > 0 {
                line.push_str(&format!(", {} from the cache", number(self.cached)));
            }
            lines.push(line);
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

    fn failures(&self) -> String {
        if self.failed == 0 { String::new() } else { format!(", {} failed", number(self.failed)) }
    }
}

fn index(phase: Phase) -> usize {
    PHASES.iter().position(|(listed, ..)| *listed == phase).expect("every phase is listed")
}

fn ended(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Partial => "completed with failures",
        Outcome::Failed => "failed",
        Outcome::Interrupted => "interrupted",
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
    use super::*;

    fn started() -> Tally {
        let mut tally = Tally::default();
        let events = [
            Event::ProjectStarted { project: "handbook".into() },
            Event::Expected { phase: Phase::List, n: 1 },
            Event::Done { phase: Phase::List, n: 1 },
            Event::Expected { phase: Phase::Fetch, n: 2000 },
            Event::Done { phase: Phase::Fetch, n: 1500 },
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
    fn the_live_view_counts_each_phase() {
        insta::assert_snapshot!(started().view(4.0, &Style::plain(80)), @"
        project handbook · 0:04
          list    ━━━━━━━━━━━━━━━━━━━━ 1/1 repository
          fetch   ━━━━━━━━━━━━━━━····· 1,500/2,000 files, 375/s
          embed   ━━━━━━━━━━·········· 640/1,280 texts, 160/s, 40 from the cache
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
        project handbook · 0:06, 1 failed
          list    ━━━━━━━━━━━━━━━━━━━━ 1/1 repository
          fetch   ━━━━━━━━━━━━━━━····· 1,500/2,000 files, 250/s
          embed   ━━━━━━━━━━·········· 640/1,280 texts, 107/s, 40 from the cache
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
        let mut tally = Tally::default();
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
