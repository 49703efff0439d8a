//! One file's journey: its content arrives, is chunked, gets its vectors, is written.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::budget::Taken;
use super::prepare::{Draft, Origin, Prepared, prepare};
use super::project_run::{Announced, ProjectRun};
use super::writer::{FileWrite, Writer};
use crate::model::{
    ErrorKind, Event, GitSha, Phase, Record, RepoRef, StageError, StageResult, TreeEntry, Vector,
};
use crate::plan::Write;
use crate::source::ContentSink;
use crate::state::FileStatus;
use crate::upstream::Expected;

/// The files of one repository on their way.
pub(crate) struct Files {
    shared: Arc<Shared>,
    /// By path, with whether its content is still to come.
    writes: Vec<(Write, bool)>,
    tasks: JoinSet<()>,
}

struct Shared {
    run: Arc<ProjectRun>,
    writer: Writer,
    repo: RepoRef,
    commit: GitSha,
    failed: Mutex<FailedFiles>,
}

/// The files of a repository that failed.
#[derive(Debug, Default)]
pub(crate) struct FailedFiles {
    /// How many.
    pub(crate) count: u64,
    /// How many more were not written because the spending guard withheld their texts.
    pub(crate) withheld: u64,
    /// Paths that were to leave the index with their content under another path, which was not
    /// written: they stay until it is in.
    pub(crate) keep: BTreeSet<String>,
}

impl Files {
    pub(crate) fn new(
        run: &Arc<ProjectRun>,
        writer: &Writer,
        repo: &RepoRef,
        commit: GitSha,
        writes: Vec<Write>,
    ) -> Self {
        let shared = Shared {
            run: Arc::clone(run),
            writer: writer.clone(),
            repo: repo.clone(),
            commit,
            failed: Mutex::default(),
        };
        let writes = writes.into_iter().map(|write| (write, true)).collect();
        Self { shared: Arc::new(shared), writes, tasks: JoinSet::new() }
    }

    /// The source has said that it gave everything: each file must have come, or it would be
    /// taken for done.
    pub(crate) fn check_complete(&self) -> StageResult<()> {
        let mut missing = self.writes.iter().filter(|(_, missing)| *missing).map(|(write, _)| write);
        let Some(first) = missing.next() else { return Ok(()) };
        let message = format!(
            "the source did not return {} requested files, `{}` among them",
            missing.count() + 1,
            first.desired.entry.path
        );
        Err(StageError::new(self.shared.run.project.source.stage(), ErrorKind::Bug, message))
    }

    /// Waits for the files under way; says how many failed.
    pub(crate) async fn finish(mut self) -> StageResult<FailedFiles> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(|error| {
                StageError::new("engine", ErrorKind::Bug, "a file's task panicked").caused_by(error)
            })?;
        }
        let failed = std::mem::take(&mut *self.shared.failed.lock());
        match self.shared.run.fatal() {
            Some(error) => Err(error),
            None => self.shared.run.check_stopped().map(|()| failed),
        }
    }
}

#[async_trait]
impl ContentSink for Files {
    /// Starts a file's journey. Waits while too many bytes are in flight.
    async fn put(&mut self, entry: TreeEntry, content: StageResult<Bytes>) -> StageResult<()> {
        let run = &self.shared.run;
        let at = self.writes.binary_search_by(|(write, _)| write.desired.entry.path.cmp(&entry.path));
        let expected = at.ok().map(|at| &mut self.writes[at]).filter(|(_, missing)| *missing);
        let Some((write, missing)) = expected else {
            return Err(StageError::new(
                run.project.source.stage(),
                ErrorKind::Bug,
                format!("`{}` came twice, or was not asked for", entry.path),
            ));
        };
        *missing = false;
        let write = write.clone();
        let bytes = content.as_ref().map_or(0, Bytes::len);
        let room = tokio::select! {
            room = run.in_flight.take(expected_bytes(bytes, run.dimensions)) => room,
            () = run.stop.cancelled() => return run.check_stopped(),
        };
        run.emit(Event::Done { phase: Phase::Fetch, n: 1 });
        let shared = Arc::clone(&self.shared);
        let announced = run.announce();
        let journey = async move { shared.journey(write, content, room, announced).await };
        self.tasks.spawn(journey.in_current_span());
        // Those that ended make room in the set.
        while let Some(ended) = self.tasks.try_join_next() {
            ended.map_err(|error| {
                StageError::new("engine", ErrorKind::Bug, "a file's task panicked").caused_by(error)
            })?;
        }
        Ok(())
    }
}

/// What a file takes besides its chunks: its task, its place in sets and queues.
const FILE_BYTES: usize = 2048;
/// What a chunk takes besides texts and vector: id, fingerprint, metadata.
const CHUNK_BYTES: usize = 1024;

/// Bytes that a file of this size will take on its way, before it is cut: its content, and of each
/// chunk (of five hundred bytes: rather many than few) text, input and vector.
fn expected_bytes(content: usize, dimensions: usize) -> usize {
    let chunks = content / 500 + 1;
    FILE_BYTES + 3 * content + chunks * (CHUNK_BYTES + 4 * dimensions)
}

/// The same once it is cut.
fn true_bytes(drafts: &[Draft], dimensions: usize) -> usize {
    let texts: usize = drafts.iter().map(|draft| draft.input.len() + draft.metadata.text.len()).sum();
    FILE_BYTES + texts + drafts.len() * (CHUNK_BYTES + 4 * dimensions)
}

impl Shared {
    async fn journey(
        &self,
        write: Write,
        content: StageResult<Bytes>,
        mut room: Taken,
        announced: Announced,
    ) {
        let (path, moved_from) = (write.desired.entry.path.clone(), write.moved_from.clone());
        // An interrupted project takes no further file; what is being written goes on.
        let result = tokio::select! {
            result = self.to_writer(write, content, &mut room, announced) => result,
            () = self.run.stop.cancelled() => Err(StageError::cancelled("engine")),
        };
        let result = match result {
            Ok(Some(written)) => written.await.unwrap_or_else(|_| Err(StageError::cancelled("engine"))),
            Ok(None) => {
                self.run.stats.count(|counts| counts.files_withheld += 1);
                let mut failed = self.failed.lock();
                failed.withheld += 1;
                failed.keep.extend(moved_from);
                return;
            }
            Err(error) => Err(error),
        };
        drop(room);
        let Err(error) = result else { return };
        if error.kind.is_item() {
            {
                let mut failed = self.failed.lock();
                failed.count += 1;
                failed.keep.extend(moved_from);
            }
            if let Err(error) = self.run.file_failed(&self.repo.name, &path, &error).await {
                self.run.fail(error);
            }
        } else if error.kind != ErrorKind::Cancelled {
            self.run.fail(error);
        }
    }

    /// Everything up to the hand-over to the writer; the answer tells when it is recorded. `None`:
    /// the spending guard withholds texts of the file.
    async fn to_writer(
        &self,
        write: Write,
        content: StageResult<Bytes>,
        room: &mut Taken,
        announced: Announced,
    ) -> StageResult<Option<tokio::sync::oneshot::Receiver<StageResult<()>>>> {
        let content = content?;
        let (prepared, write) = self.prepare(write, content).await?;
        self.run.emit(Event::Done { phase: Phase::Chunk, n: 1 });
        let (status, reason, mut drafts) = match prepared {
            Prepared::Skipped(reason) => (FileStatus::Skipped, Some(reason), Vec::new()),
            Prepared::Chunks(drafts, encoded) => {
                self.run.stats.encoded(&self.repo.name, &write.desired.entry.path, &encoded);
                (FileStatus::Synced, None, drafts)
            }
        };
        room.resize(true_bytes(&drafts, self.run.dimensions));
        if self.run.is_embedding_withheld() {
            let inputs: Vec<String> = drafts.iter().map(|draft| draft.input.clone()).collect();
            if self.run.project.queue.peek(&inputs).await.contains(&false) {
                return Ok(None);
            }
        }
        let count = drafts.len() as u64;
        self.run.emit(Event::Expected { phase: Phase::Embed, n: count });
        let inputs = drafts.iter_mut().map(|draft| std::mem::take(&mut draft.input)).collect();
        let vectors = self.embed(inputs, announced.texts).await?;
        self.run.emit(Event::Done { phase: Phase::Embed, n: count });
        let records = drafts
            .into_iter()
            .zip(vectors)
            .map(|(draft, vector)| {
                (Record { id: draft.id, vector, metadata: draft.metadata.into() }, draft.fingerprint)
            })
            .collect();
        let file = FileWrite {
            repository: self.repo.name.clone(),
            commit: self.commit,
            write,
            status,
            reason,
            records,
            full: self.run.options.full,
        };
        self.writer.hand_over(file, announced.write).await.map(Some)
    }

    async fn prepare(&self, write: Write, content: Bytes) -> StageResult<(Prepared, Write)> {
        let (run, repo, commit) = (Arc::clone(&self.run), self.repo.clone(), self.commit);
        let cores = run.engine.bounds.runtime.cores.clone();
        let work = move || {
            let entry = &write.desired.entry;
            let recipe = run.recipes.of(&entry.path).ok_or_else(|| {
                StageError::new(
                    "engine",
                    ErrorKind::Bug,
                    format!("no chunker takes `{}` any more", entry.path),
                )
            })?;
            let origin = Origin { repo: &repo, commit, entry, recipe: &recipe };
            let mut notes = Vec::new();
            let prepared = prepare(&run.project, &origin, &content, &mut notes);
            run.note_files(notes);
            let prepared = prepared?;
            Ok((prepared, write))
        };
        // What a component says is said in this run.
        let span = tracing::Span::current();
        cores.run(move || span.in_scope(work)).await.unwrap_or_else(|panic| {
            // Repository content must not be able to end a run, whatever it is.
            Err(StageError::new("engine", ErrorKind::BadInput, "chunking panicked").caused_by(panic))
        })
    }

    async fn embed(&self, inputs: Vec<String>, expected: Expected) -> StageResult<Vec<Vector>> {
        let answers = self.run.project.queue.embed_expected(self.run.name(), inputs, expected).await;
        let mut vectors = Vec::with_capacity(answers.len());
        let mut refused = None;
        for answer in answers {
            match answer {
                Ok(embedded) => {
                    self.run.stats.count(|counts| {
                        if embedded.cached {
                            counts.texts_cached += 1;
                        } else {
                            counts.texts_embedded += 1;
                            counts.tokens += embedded.tokens;
                        }
                    });
                    vectors.push(embedded.vector);
                }
                Err(error) if error.kind.is_item() => refused = refused.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        match refused {
            Some(error) => Err(error),
            None => Ok(vectors),
        }
    }
}
