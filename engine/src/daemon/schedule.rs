//! Computes when schedules are due. Cron expressions are in UTC. No I/O: callers pass the time.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::config::{Config, parse_schedule};

/// The schedules of a generation.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    expression: String,
    next: DateTime<Utc>,
}

impl Schedule {
    /// Replaces the schedules by those of a configuration. An unchanged schedule keeps its next
    /// time, so editing something else cannot skip or repeat a run.
    pub(super) fn take_up(&mut self, config: &Config, now: DateTime<Utc>) {
        let mut entries = BTreeMap::new();
        for project in config.projects.iter().filter(|project| project.enabled) {
            let Some(expression) = &project.schedule else { continue };
            let kept = self.entries.remove(&project.name).filter(|entry| entry.expression == *expression);
            let entry = kept.or_else(|| Entry::new(expression, now));
            entries.extend(entry.map(|entry| (project.name.clone(), entry)));
        }
        self.entries = entries;
    }

    /// Returns the projects that are due and advances their next times. A project is returned once
    /// even if several of its times were missed (the machine was suspended, the clock was set).
    pub(super) fn due(&mut self, now: DateTime<Utc>) -> Vec<String> {
        let mut due = Vec::new();
        self.entries.retain(|project, entry| {
            let Some(fresh) = Entry::new(&entry.expression, now) else { return false };
            if entry.next <= now {
                due.push(project.clone());
                *entry = fresh;
            } else if fresh.next < entry.next {
                // The clock was set back: recompute, or the schedule would pause until it catches
                // up.
                *entry = fresh;
            }
            true
        });
        due
    }

    /// The next time that the project is due.
    pub(super) fn next(&self, project: &str) -> Option<DateTime<Utc>> {
        self.entries.get(project).map(|entry| entry.next)
    }

    /// The earliest time that any project is due.
    pub(super) fn first(&self) -> Option<DateTime<Utc>> {
        self.entries.values().map(|entry| entry.next).min()
    }
}

impl Entry {
    /// `None` if no date matches, which the check of the configuration rules out.
    fn new(expression: &str, now: DateTime<Utc>) -> Option<Self> {
        let next = parse_schedule(expression).ok()?.find_next_occurrence(&now, false).ok()?;
        Some(Self { expression: expression.to_owned(), next })
    }
}

#[cfg(test)]
mod tests {
    use chrono::Duration;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a moment")
    }

    fn schedule(entries: &[(&str, &str)], now: DateTime<Utc>) -> Schedule {
        let entry = |expression: &str| Entry::new(expression, now).expect("a schedule");
        let entries = entries.iter().map(|(name, text)| ((*name).to_owned(), entry(text))).collect();
        Schedule { entries }
    }

    #[test]
    fn each_is_due_at_its_time_and_once() {
        let start = at("2026-01-31T07:59:30Z");
        let mut schedule = schedule(&[("daily", "0 8 * * *"), ("often", "*/15 * * * *")], start);
        assert_eq!(schedule.first(), Some(at("2026-01-31T08:00:00Z")));
        assert_eq!(schedule.due(start), Vec::<String>::new());
        assert_eq!(schedule.due(at("2026-01-31T08:00:00Z")), ["daily", "often"]);
        assert_eq!(schedule.due(at("2026-01-31T08:00:01Z")), Vec::<String>::new());
        assert_eq!(schedule.next("daily"), Some(at("2026-02-01T08:00:00Z")));
        assert_eq!(schedule.due(at("2026-01-31T08:15:00Z")), ["often"]);
    }

    #[test]
    fn what_was_missed_is_due_once() {
        let mut schedule = schedule(&[("often", "*/15 * * * *")], at("2026-01-31T08:00:00Z"));
        assert_eq!(schedule.due(at("2026-02-03T08:07:00Z")), ["often"]);
        assert_eq!(schedule.next("often"), Some(at("2026-02-03T08:15:00Z")));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_silence_a_schedule() {
        let mut schedule = schedule(&[("hourly", "0 * * * *")], at("2027-01-01T00:30:00Z"));
        assert_eq!(schedule.due(at("2026-01-01T00:30:00Z")), Vec::<String>::new());
        assert_eq!(schedule.next("hourly"), Some(at("2026-01-01T01:00:00Z")));
    }

    #[test]
    fn twenty_four_days_of_minutes_have_every_run_and_no_other() {
        let start = at("2026-01-31T00:00:30Z");
        let mut schedule = schedule(&[("daily", "0 8 * * *"), ("often", "*/15 * * * *")], start);
        let (mut daily, mut often) = (0, 0);
        for minute in 0..24 * 24 * 60 {
            for project in schedule.due(start + Duration::minutes(minute)) {
                if project == "daily" { daily += 1 } else { often += 1 }
            }
        }
        assert_eq!((daily, often), (24, 24 * 24 * 4 - 1));
        assert_eq!(schedule.entries.len(), 2);
    }
}
