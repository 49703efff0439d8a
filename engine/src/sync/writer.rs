//! The write protocol: intents, upsert, deletes, rows. Files are written in groups; a group is
//! recorded as a whole, and says "done" last.
//!
//! One writer for each project's run. Its task ends when the last handle is dropped and the groups
//! under way are written, or when its run is dropped.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::Utc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::gather::{Arrival, Groups};
use super::project_run::ProjectRun;
use crate::model::{Event, Fingerprint, GitSha, Phase, Record, SkipReason, StageError, StageResult};
use crate::plan::{Reason, RecordedState, Write};
use crate::state::{FileIds, FileKey, FileRow, FileStatus, HeldIds, StoredChunk};
use crate::upstream::Expected;

/// A file whose texts all have vectors.
pub(crate) struct FileWrite {
    pub(crate) repository: String,
    pub(crate) commit: GitSha,
    pub(crate) write: Write,
    /// `Synced` or `Skipped`.
    pub(crate) status: FileStatus,
    pub(crate) reason: Option<SkipReason>,
    /// Its records, with the fingerprints of their metadata.
    pub(crate) records: Vec<(Record, Fingerprint)>,
    /// Write every record, whatever the ledger says of it.
    pub(crate) full: bool,
}

impl FileWrite {
    fn key(&self) -> FileKey {
        FileKey::new(&self.repository, &self.write.desired.entry.path)
    }

    fn records(&self) -> impl Iterator<Item = (&str, &Fingerprint)> + Clone {
        self.records.iter().map(|(record, fingerprint)| (record.id.as_str(), fingerprint))
    }

    fn believe(&self) -> bool {
        believes(&self.write, self.full)
    }
}

type Answer = oneshot::Sender<StageResult<()>>;

/// A handle on the writer.
#[derive(Clone)]
pub(crate) struct Writer {
    files: mpsc::Sender<Arrival<(FileWrite, Answer)>>,
}

impl Writer {
    /// Starts the writer's task in `tasks`.
    pub(crate) fn start(run: &Arc<ProjectRun>, tasks: &mut JoinSet<()>) -> Self {
        // A short queue: files wait with their bytes counted, not here.
        let (files, queue) = mpsc::channel(64);
        tasks.spawn(write_all(Arc::clone(run), queue).in_current_span());
        Self { files }
    }

    /// Hands an announced file over. The answer comes when it is recorded, or could not be.
    pub(crate) async fn hand_over(
        &self,
        file: FileWrite,
        expected: Expected,
    ) -> StageResult<oneshot::Receiver<StageResult<()>>> {
        let (answer, written) = oneshot::channel();
        self.files
            .send(Arrival::new((file, answer), expected))
            .await
            .map_err(|_| StageError::cancelled("engine"))?;
        Ok(written)
    }
}

async fn write_all(run: Arc<ProjectRun>, queue: mpsc::Receiver<Arrival<(FileWrite, Answer)>>) {
    let limits = run.project.store.limits();
    let calls = Arc::new(Semaphore::new(limits.calls.max(1)));
    let mut groups = JoinSet::new();
    // One upsert for each group: a second one of a few records costs nearly as much as a whole one.
    let limit = limits.records_per_upsert;
    let mut files = Groups::of(queue);
    while let Some(group) = files.next(&run.writes, limit, |(file, _)| file.records.len().max(1)).await {
        let Ok(call) = Arc::clone(&calls).acquire_owned().await else { break };
        groups.spawn(write_group(Arc::clone(&run), group, call).in_current_span());
        while groups.try_join_next().is_some() {}
    }
    while groups.join_next().await.is_some() {}
}

async fn write_group(run: Arc<ProjectRun>, group: Vec<(FileWrite, Answer)>, _call: OwnedSemaphorePermit) {
    let (files, answers): (Vec<_>, Vec<_>) = group.into_iter().unzip();
    let results = match write_files(&run, &files).await {
        Ok(()) => files.iter().map(|_| Ok(())).collect(),
        // Something in the group is refused: find out what, file by file.
        Err(error) if error.kind.is_item() && files.len() > 1 => {
            let mut results = Vec::with_capacity(files.len());
            for file in &files {
                results.push(write_files(&run, std::slice::from_ref(file)).await);
            }
            results
        }
        Err(error) => files.iter().map(|_| Err(error.clone())).collect::<Vec<_>>(),
    };
    for (answer, result) in answers.into_iter().zip(results) {
        // If the file's task was interrupted, the receiver is gone; the ledger has the result.
        drop(answer.send(result));
    }
}

/// The changes to the store for one file.
pub(crate) struct Step {
    /// Indices of the records to upsert.
    pub(crate) upsert: Vec<usize>,
    /// Ids to delete afterwards.
    pub(crate) stale: Vec<String>,
}

/// The four steps. A kill after any of them leaves open intents, and the next run finishes them.
async fn write_files(run: &Arc<ProjectRun>, files: &[FileWrite]) -> StageResult<()> {
    let (fence, project, place) = (run.fence()?, run.name(), &run.place);
    let keys = files.iter().map(FileWrite::key).collect();
    let held = run.state.held_ids_many(project, place, keys).await?;
    let steps = files.iter().zip(&held).map(|(file, held)| step(file.records(), file.believe(), held));
    let steps: Vec<Step> = steps.collect();

    // (1) The intents: of what is about to exist, and of what is about to be deleted. Without the
    // latter, a file that goes back to what is recorded after a kill would be taken for whole.
    let intents = files.iter().zip(&steps).map(|(file, step)| {
        let upserted = step.upsert.iter().map(|&at| &file.records[at].0.id);
        FileIds { file: file.key(), ids: upserted.chain(&step.stale).cloned().collect() }
    });
    let intents: Vec<FileIds> = intents.filter(|intent| !intent.ids.is_empty()).collect();
    if !intents.is_empty() {
        run.state.open_intents(fence, project, place, intents).await?;
    }

    // (2) The upsert.
    let limits = run.project.store.limits();
    let namespace = run.place.namespace.as_str();
    let records: Vec<Record> = files
        .iter()
        .zip(steps.iter())
        .flat_map(|(file, step)| step.upsert.iter().map(|&at| file.records[at].0.clone()))
        .collect();
    for batch in records.chunks(limits.records_per_upsert.max(1)) {
        run.while_held(run.project.store.upsert(namespace, batch)).await?;
        run.stats.count(|counts| counts.vectors_written += batch.len() as u64);
        run.emit(Event::Done { phase: Phase::Upsert, n: batch.len() as u64 });
    }

    // (3) The ids no longer wanted.
    let stale: Vec<String> = steps.iter().flat_map(|step| step.stale.iter().cloned()).collect();
    for batch in stale.chunks(limits.ids_per_delete.max(1)) {
        run.while_held(run.project.store.delete(namespace, batch)).await?;
        run.stats.count(|counts| counts.vectors_deleted += batch.len() as u64);
    }

    // (4) The rows, and the intents closed.
    let rows = files.iter().map(row).collect();
    run.state.commit_files(fence, project, place, rows, Utc::now()).await?;
    for file in files {
        recorded(run, file);
    }
    Ok(())
}

/// Decides for one file: a record that is recorded with the same metadata, and whose id no open
/// write concerns, is there as it should be. `believe` false: nothing recorded is believed.
pub(crate) fn step<'a>(
    records: impl Iterator<Item = (&'a str, &'a Fingerprint)> + Clone,
    believe: bool,
    held: &HeldIds,
) -> Step {
    let is_there = |id: &str, fingerprint| {
        believe && held.chunks.get(id) == Some(fingerprint) && !held.open.contains(id)
    };
    let upsert = records
        .clone()
        .enumerate()
        .filter(|(_, (id, fingerprint))| !is_there(id, fingerprint))
        .map(|(at, _)| at)
        .collect();
    let wanted: BTreeSet<&str> = records.map(|(id, _)| id).collect();
    let stale: BTreeSet<&String> =
        held.chunks.keys().chain(&held.open).filter(|id| !wanted.contains(id.as_str())).collect();
    Step { upsert, stale: stale.into_iter().cloned().collect() }
}

/// Whether what the ledger says of a file's records can be believed.
pub(crate) fn believes(write: &Write, full: bool) -> bool {
    !full && write.reason != Reason::State(RecordedState::Damaged)
}

fn row(file: &FileWrite) -> FileRow {
    FileRow {
        file: file.key(),
        commit: file.commit,
        blob_sha: file.write.desired.entry.sha,
        recipe: file.write.desired.recipe.clone(),
        status: file.status,
        detail: file.reason.map(|reason| reason.label().to_owned()),
        chunks: file
            .records
            .iter()
            .map(|(record, fingerprint)| StoredChunk {
                id: record.id.clone(),
                fingerprint: fingerprint.clone(),
            })
            .collect(),
    }
}

/// Reports a recorded file.
fn recorded(run: &ProjectRun, file: &FileWrite) {
    let path = &file.write.desired.entry.path;
    let chunks = file.records.len() as u64;
    if let Some(reason) = file.reason {
        run.stats.skipped(&file.repository, path, reason);
        run.emit(Event::FileSkipped {
            project: run.name().to_owned(),
            repository: file.repository.clone(),
            path: path.clone(),
            reason,
        });
    } else {
        run.stats.count(|counts| {
            counts.chunks += chunks;
            match (file.write.is_new, &file.write.moved_from) {
                (true, Some(_)) => counts.files_moved += 1,
                (true, None) => counts.files_added += 1,
                (false, _) => counts.files_changed += 1,
            }
        });
        run.emit(Event::FileIndexed {
            project: run.name().to_owned(),
            repository: file.repository.clone(),
            path: path.clone(),
            chunks,
        });
    }
    run.emit(Event::Done { phase: Phase::Commit, n: 1 });
}
