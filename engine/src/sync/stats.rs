//! Counting what a project's run does, for its report.

use std::collections::BTreeMap;

use crate::model::{
    Counts, ErrorKind, Failure, GuardKind, Outcome, ProjectReport, SkipCount, SkipReason, StageError,
    Withheld,
};
use parking_lot::Mutex;

/// Maximum number of failures listed individually; the rest are counted.
const TOLD_FAILURES: usize = 100;
/// Notes on single files that are shown one by one; the rest is counted.
const TOLD_FILE_NOTES: u64 = 20;
/// Maximum number of examples kept per skip reason.
const EXAMPLES: usize = 5;

/// A project's counts, gathered from all its tasks.
#[derive(Debug, Default)]
pub(crate) struct RunStats {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    counts: Counts,
    skipped: BTreeMap<SkipReason, SkipCount>,
    failures: Vec<Failure>,
    partial: bool,
    withheld: Vec<Withheld>,
    notes: Vec<String>,
    /// The first notes on single files, and how many there were.
    file_notes: (Vec<String>, u64),
}

impl RunStats {
    /// Adds to the counts.
    pub(crate) fn count(&self, add: impl FnOnce(&mut Counts)) {
        add(&mut self.lock().counts);
    }

    /// A file is not indexed.
    pub(crate) fn skipped(&self, repository: &str, path: &str, reason: SkipReason) {
        let mut inner = self.lock();
        inner.counts.files_skipped += 1;
        let entry = inner.skipped.entry(reason).or_insert_with(|| SkipCount {
            reason,
            files: 0,
            examples: Vec::new(),
        });
        entry.files += 1;
        if entry.examples.len() < EXAMPLES {
            entry.examples.push(format!("{repository}:{path}"));
        }
    }

    /// A file is indexed without the encoded data on these lines.
    pub(crate) fn encoded(&self, repository: &str, path: &str, lines: &[u32]) {
        if lines.is_empty() {
            return;
        }
        let mut inner = self.lock();
        let reason = SkipReason::EncodedData;
        let entry = inner.skipped.entry(reason).or_insert_with(|| SkipCount {
            reason,
            files: 0,
            examples: Vec::new(),
        });
        entry.files += 1;
        let room = EXAMPLES.saturating_sub(entry.examples.len());
        entry.examples.extend(lines.iter().take(room).map(|line| format!("{repository}:{path}:{line}")));
    }

    /// A repository or a file failed; the run goes on.
    pub(crate) fn failed(&self, repository: Option<&str>, path: Option<&str>, error: &StageError) {
        let mut inner = self.lock();
        inner.partial = true;
        if path.is_some() {
            inner.counts.files_failed += 1;
        }
        if inner.failures.len() < TOLD_FAILURES {
            inner.failures.push(failure(repository, path, error));
        }
    }

    /// A guard withheld something: the run is partial.
    pub(crate) fn withheld(&self, withheld: Withheld) {
        let mut inner = self.lock();
        inner.partial = true;
        if withheld.guard == GuardKind::Deletion {
            inner.counts.vectors_withheld += withheld.amount;
        }
        inner.withheld.push(withheld);
    }

    /// Something a person should know.
    pub(crate) fn note(&self, note: impl Into<String>) {
        self.lock().notes.push(note.into());
    }

    /// A note on one file. False: there were many, and this one is only counted.
    pub(crate) fn note_file(&self, note: &str) -> bool {
        let mut inner = self.lock();
        inner.file_notes.1 += 1;
        let shown = inner.file_notes.1 <= TOLD_FILE_NOTES;
        if shown {
            inner.file_notes.0.push(note.to_owned());
        }
        shown
    }

    /// Adds what another process did for the project.
    pub(crate) fn absorb(&self, part: ProjectReport) {
        let mut inner = self.lock();
        inner.counts.add(&part.counts);
        for more in part.skipped {
            let sum = inner.skipped.entry(more.reason).or_insert_with(|| SkipCount {
                reason: more.reason,
                files: 0,
                examples: Vec::new(),
            });
            sum.files += more.files;
            sum.examples.extend(more.examples.into_iter().take(EXAMPLES.saturating_sub(sum.examples.len())));
        }
        inner.partial |= part.outcome == Outcome::Partial;
        let room = TOLD_FAILURES.saturating_sub(inner.failures.len());
        inner.failures.extend(part.failures.into_iter().take(room));
        inner.notes.extend(part.notes);
    }

    /// The report. `error`: what ended the project early.
    pub(crate) fn report(
        &self,
        project: &str,
        error: Option<&StageError>,
        interrupted: bool,
    ) -> ProjectReport {
        let inner = self.lock();
        let outcome = match (error, interrupted, inner.partial) {
            (_, true, _) => Outcome::Interrupted,
            (Some(_), _, _) => Outcome::Failed,
            (None, _, true) => Outcome::Partial,
            (None, _, false) => Outcome::Done,
        };
        let mut notes = inner.notes.clone();
        let (mut on_files, all) = inner.file_notes.clone();
        on_files.sort();
        notes.append(&mut on_files);
        if let more @ 1.. = all.saturating_sub(TOLD_FILE_NOTES) {
            notes.push(format!("{more} more files that a component could not chunk"));
        }
        let mut failures = inner.failures.clone();
        failures.sort_by(|a, b| (&a.repository, &a.path).cmp(&(&b.repository, &b.path)));
        let mut skipped: Vec<SkipCount> = inner.skipped.values().cloned().collect();
        for count in &mut skipped {
            count.examples.sort();
        }
        ProjectReport {
            project: project.to_owned(),
            outcome,
            counts: inner.counts.clone(),
            skipped,
            failures,
            error: error.filter(|_| !interrupted).map(|error| failure(None, None, error)),
            retry_after: error.and_then(|error| match error.kind {
                ErrorKind::Transient { retry_after } => retry_after.map(|wait| wait.as_secs()),
                _ => None,
            }),
            withheld: inner.withheld.clone(),
            notes,
            search_quality: None,
        }
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

/// A stage's error as reports tell it.
pub(crate) fn failure(repository: Option<&str>, path: Option<&str>, error: &StageError) -> Failure {
    Failure {
        stage: error.stage.clone(),
        repository: repository.map(str::to_owned),
        path: path.map(str::to_owned),
        error: error.one_line(),
        hint: error.hint.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_notes_on_files_are_counted() {
        let stats = RunStats::default();
        let shown = (0..25).filter(|n| stats.note_file(&n.to_string())).count() as u64;
        assert_eq!(shown, TOLD_FILE_NOTES);
        let notes = stats.report("docs", None, false).notes;
        assert_eq!(notes.len() as u64, TOLD_FILE_NOTES + 1);
        assert_eq!(notes.last().expect("the count"), "5 more files that a component could not chunk");
    }
}
