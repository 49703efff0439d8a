//! A unit of work, as it is handed to another process: one repository's task, and what became of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::execute::Execute;
use super::project::Consumer as _;
use super::project_run::ProjectRun;
use super::setup::{Engine, Options, Project};
use super::stats::RunStats;
use super::writer::Writer;
use crate::model::{ErrorKind, Event, EventSink, Phase, ProjectReport, StageError, StageResult, Withheld};
use crate::plan::{Guard, RepositoryTask, SpendingGuard};
use crate::state::Lease;

/// What a worker is given, besides the configuration.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UnitTask {
    pub(super) task: RepositoryTask,
    /// Write every record, whatever the state says of it.
    pub(super) full: bool,
    /// Set where the spending guard withholds what would have to be embedded.
    pub(super) embedding_withheld: Option<Withheld>,
}

/// What became of a unit.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UnitResult {
    /// What was counted and noted on the way.
    pub(super) report: ProjectReport,
    pub(super) progress: UnitProgress,
    pub(super) end: Result<UnitEnd, UnitError>,
}

/// The end of a repository's work: see `RepositoryEnd`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UnitEnd {
    pub(super) settled: bool,
    pub(super) withheld: bool,
    /// Files that stay in the index, because that of the same content could not be written.
    pub(super) keep: BTreeSet<String>,
}

/// An error on its way between processes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UnitError {
    stage: String,
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

impl From<&StageError> for UnitError {
    fn from(error: &StageError) -> Self {
        Self {
            stage: error.stage.clone(),
            kind: error.kind,
            message: error.one_line(),
            hint: error.hint.clone(),
        }
    }
}

impl From<UnitError> for StageError {
    fn from(error: UnitError) -> Self {
        let UnitError { stage, kind, message, hint } = error;
        let error = Self::new(stage, kind, message);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// What is expected and done of each phase.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnitProgress {
    pub(super) fetch: Amount,
    pub(super) chunk: Amount,
    pub(super) embed: Amount,
    pub(super) upsert: Amount,
    pub(super) commit: Amount,
}

/// What is expected and done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Amount {
    pub(super) expected: u64,
    pub(super) done: u64,
}

impl UnitProgress {
    fn take(&mut self, event: &Event) {
        match *event {
            Event::Expected { phase, n } => self.add(phase, Amount { expected: n, done: 0 }),
            Event::Done { phase, n } => self.add(phase, Amount { expected: 0, done: n }),
            _ => {}
        }
    }

    fn add(&mut self, phase: Phase, more: Amount) {
        let sum = match phase {
            Phase::Fetch => &mut self.fetch,
            Phase::Chunk => &mut self.chunk,
            Phase::Embed => &mut self.embed,
            Phase::Upsert => &mut self.upsert,
            Phase::Commit => &mut self.commit,
            // The run lists.
            Phase::List => return,
        };
        sum.expected += more.expected;
        sum.done += more.done;
    }

    /// The events that lead here from an earlier progress.
    pub(super) fn since(&self, before: &Self) -> Vec<Event> {
        let phases = [
            (Phase::Fetch, self.fetch, before.fetch),
            (Phase::Chunk, self.chunk, before.chunk),
            (Phase::Embed, self.embed, before.embed),
            (Phase::Upsert, self.upsert, before.upsert),
            (Phase::Commit, self.commit, before.commit),
        ];
        let mut events = Vec::new();
        for (phase, now, before) in phases {
            let grown = |now: u64, before: u64| now.checked_sub(before).filter(|n| *n > 0);
            events.extend(grown(now.expected, before.expected).map(|n| Event::Expected { phase, n }));
            events.extend(grown(now.done, before.done).map(|n| Event::Done { phase, n }));
        }
        events
    }
}

/// Counts what the events of a unit report.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<Mutex<UnitProgress>>);

impl Progress {
    /// The counts up to now.
    pub(crate) fn now(&self) -> UnitProgress {
        self.0.lock().clone()
    }

    fn sink(&self) -> EventSink {
        let counted = Arc::clone(&self.0);
        EventSink::new(move |event| counted.lock().take(&event))
    }
}

/// Works on a unit. An error is one of this process or of its surroundings: another attempt may succeed. What is
/// wrong with the repository or with its configuration is part of the result.
pub(super) async fn work(
    engine: &Engine,
    project: Arc<Project>,
    lease: Lease,
    unit: &str,
    progress: &Progress,
) -> StageResult<UnitResult> {
    let UnitTask { task, full, embedding_withheld } = serde_json::from_str(unit)
        .map_err(|error| StageError::refused("engine", "the unit cannot be read").caused_by(error))?;
    let engine = Arc::new(Engine { events: progress.sink(), ..engine.clone() });
    // The run decides what guards withhold.
    let guard = Guard { max_delete_ratio: 0.0, allow_deletes: false };
    let spending = SpendingGuard { max_new_texts_ratio: 0.0, allow_cost: false };
    let options = Options { full, ..Options::new(guard, spending, Vec::new()) };
    let run = ProjectRun::of_unit(engine, project, options, lease).await?;
    if let Some(withheld) = embedding_withheld {
        run.keep_withheld(withheld);
    }
    let repository = task.repository().to_owned();
    let mut writers = JoinSet::new();
    let execute = Execute::new(&run, Writer::start(&run, &mut writers));
    let removals = task.removals();
    let end = execute.repository(task).await;
    drop(execute);
    while writers.join_next().await.is_some() {}
    if run.engine.cancel.is_cancelled() {
        // What is paid for gets into the cache.
        run.project.queue.settle().await;
    }
    // The first fatal error is the cause; what came after it are its consequences.
    let end = run.fatal().map_or(end, Err);
    let end = match end {
        Ok(end) => {
            let leaving: BTreeSet<&str> = end.removals.iter().map(|file| file.path.as_str()).collect();
            let keep = removals.into_iter().map(|file| file.path);
            let keep = keep.filter(|path| !leaving.contains(path.as_str())).collect();
            Ok(UnitEnd { settled: end.settled, withheld: end.withheld, keep })
        }
        Err(error) if may_pass(error.kind) => return Err(error),
        Err(error) => Err(UnitError::from(&error)),
    };
    let report = run.stats.report(&repository, None, false);
    Ok(UnitResult { report, progress: progress.now(), end })
}

/// Whether another attempt, perhaps by another process, may succeed.
fn may_pass(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Transient { .. }
            | ErrorKind::Local
            | ErrorKind::Fenced
            | ErrorKind::Outdated
            | ErrorKind::Cancelled
            | ErrorKind::Bug
    )
}

impl UnitResult {
    /// As it is stored.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The result of a unit that a worker could not even begin.
    pub(super) fn refused(repository: &str, error: &StageError) -> Self {
        let report = RunStats::default().report(repository, None, false);
        Self { report, progress: UnitProgress::default(), end: Err(UnitError::from(error)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_becomes_the_events_that_it_was_counted_from() {
        let progress = Progress::default();
        let sink = progress.sink();
        sink.emit(Event::Expected { phase: Phase::Chunk, n: 7 });
        let before = progress.now();
        sink.emit(Event::Done { phase: Phase::Chunk, n: 3 });
        sink.emit(Event::Expected { phase: Phase::Embed, n: 9 });
        let events = format!("{:?}", progress.now().since(&before));
        assert_eq!(events, "[Done { phase: Chunk, n: 3 }, Expected { phase: Embed, n: 9 }]");
        assert!(progress.now().since(&progress.now()).is_empty());
    }

    #[test]
    fn errors_keep_their_kind_between_processes() {
        let error = StageError::misconfigured("model", "no such deployment").hint("create it");
        let sent = serde_json::to_string(&UnitError::from(&error)).expect("JSON");
        let received: UnitError = serde_json::from_str(&sent).expect("read");
        let received = StageError::from(received);
        assert_eq!((received.kind, received.message.as_str()), (error.kind, "no such deployment"));
        assert_eq!(received.hint.as_deref(), Some("create it"));
        let late = StageError::new("model", ErrorKind::Transient { retry_after: None }, "later");
        assert!(may_pass(late.kind) && !may_pass(error.kind));
    }
}
