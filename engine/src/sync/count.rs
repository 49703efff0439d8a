//! The exact bill: contents are read and cut, as a run would.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::bill::{Bill, Part};
use super::prepare::{Draft, Origin, Prepared, prepare};
use super::project_run::ProjectRun;
use super::sample::bytes;
use super::setup::{Project, item_or_fatal};
use super::writer::{believes, step};
use crate::chunk::clean;
use crate::model::{GitSha, RepoRef, SecretsMode, SkipReason, StageError, StageResult, TreeEntry};
use crate::plan::{Estimate, RepositoryTask, SecretFound, Write};
use crate::source::ContentSink;
use crate::state::{FileKey, HeldIds, IdsOf, PlacedIds};

/// Files that are counted together, and bytes of their texts: each time costs a few round trips to the state.
const MOST_PENDING: usize = 200;
const LARGEST_PENDING: usize = 4 << 20;

/// A repository whose contents were read: what was found, and what it adds to the bill.
pub(crate) type Count = (Counted, Part);

/// Files whose content turned out not to be for the index, by path.
pub(crate) type LeftOut = BTreeMap<String, SkipReason>;

/// What reading the contents showed, besides the bill.
#[derive(Default)]
pub(crate) struct Counted {
    pub(super) left_out: LeftOut,
    /// Files that could not be read or cut, by path.
    pub(super) failed: Vec<(String, StageError)>,
    /// Lines of encoded data that is not embedded, by path.
    pub(super) encoded: Vec<(String, Vec<u32>)>,
    /// Notes on single files.
    pub(super) notes: Vec<String>,
    /// Secrets in files of a project that leaves them in.
    pub(super) secrets: Vec<SecretFound>,
    /// What each file adds to the bill, with its size.
    pub(super) each: Vec<(u64, Estimate)>,
}

/// What a content came to, and what was noticed on the way.
struct Looked {
    prepared: StageResult<Prepared>,
    notes: Vec<String>,
    secrets: Vec<SecretFound>,
}

/// Adds a repository's work to the bill, by reading and cutting its contents.
pub(crate) async fn count_exactly(
    run: &Arc<ProjectRun>,
    task: &RepositoryTask,
    bill: &mut Bill<'_>,
) -> StageResult<Counted> {
    count_files(run, &task.entry.repo, task.commit, &task.diff.writes, bill).await
}

/// Adds these files of a repository to the bill, by reading and cutting their contents. `writes` are sorted
/// by path.
pub(crate) async fn count_files(
    run: &Arc<ProjectRun>,
    repo: &RepoRef,
    commit: GitSha,
    writes: &[Write],
    bill: &mut Bill<'_>,
) -> StageResult<Counted> {
    let wanted: Vec<TreeEntry> = writes.iter().map(|write| write.desired.entry.clone()).collect();
    if wanted.is_empty() {
        return Ok(Counted::default());
    }
    let counted = Counted::default();
    let mut sink = Counting { run, repo, commit, writes, bill, counted, pending: Vec::new(), size: 0 };
    run.project.source.fetch(repo, commit, wanted, &mut sink).await?;
    sink.count().await?;
    Ok(sink.counted)
}

/// Counts contents as they come.
struct Counting<'a, 'b> {
    run: &'a Arc<ProjectRun>,
    repo: &'a RepoRef,
    commit: GitSha,
    writes: &'a [Write],
    bill: &'a mut Bill<'b>,
    counted: Counted,
    /// Files that are not counted yet: state and cache are asked for many at once.
    pending: Vec<Pending<'a>>,
    /// Bytes of their texts.
    size: usize,
}

/// A file that was looked at.
struct Pending<'a> {
    write: &'a Write,
    /// `None`: it failed.
    drafts: Option<Vec<Draft>>,
}

#[async_trait]
impl ContentSink for Counting<'_, '_> {
    async fn put(&mut self, entry: TreeEntry, content: StageResult<Bytes>) -> StageResult<()> {
        let run = self.run;
        if run.stop.is_cancelled() {
            return Err(StageError::cancelled("engine"));
        }
        run.moved();
        let found = self.writes.binary_search_by(|write| write.desired.entry.path.as_str().cmp(&entry.path));
        let Some(write) = found.ok().map(|at| &self.writes[at]) else { return Ok(()) };
        let prepared = match item_or_fatal(content)? {
            Ok(content) => {
                let looked = self.prepare(entry.clone(), content).await;
                self.counted.notes.extend(looked.notes);
                self.counted.secrets.extend(looked.secrets);
                item_or_fatal(looked.prepared)?
            }
            Err(error) => Err(error),
        };
        let drafts = match prepared {
            Ok(Prepared::Skipped(reason)) => {
                self.counted.left_out.insert(entry.path, reason);
                Some(Vec::new())
            }
            Ok(Prepared::Chunks(drafts, encoded)) => {
                if !encoded.is_empty() {
                    self.counted.encoded.push((entry.path, encoded));
                }
                Some(drafts)
            }
            Err(error) => {
                self.counted.failed.push((entry.path, error));
                None
            }
        };
        self.size += drafts.iter().flatten().map(|draft| draft.input.len()).sum::<usize>();
        self.pending.push(Pending { write, drafts });
        if self.pending.len() >= MOST_PENDING || self.size >= LARGEST_PENDING {
            self.count().await?;
        }
        Ok(())
    }
}

impl Counting<'_, '_> {
    async fn prepare(&self, entry: TreeEntry, content: Bytes) -> Looked {
        let (run, repo, commit) = (Arc::clone(self.run), self.repo.clone(), self.commit);
        let cores = run.engine.bounds.runtime.cores.clone();
        let nothing = |prepared| Looked { prepared, notes: Vec::new(), secrets: Vec::new() };
        let work = move || {
            let Some(recipe) = run.recipes.of(&entry.path) else {
                return nothing(Ok(Prepared::Skipped(SkipReason::NoChunker)));
            };
            let origin = Origin { repo: &repo, commit, entry: &entry, recipe: &recipe };
            let mut notes = Vec::new();
            let prepared = prepare(&run.project, &origin, &content, &mut notes);
            let secrets = match &prepared {
                Ok(Prepared::Chunks(..)) => secrets_left_in(&run.project, &repo.name, &entry.path, &content),
                _ => Vec::new(),
            };
            Looked { prepared, notes, secrets }
        };
        cores.run(work).await.unwrap_or_else(|panic| {
            nothing(Err(StageError::refused("engine", "chunking panicked").caused_by(panic)))
        })
    }

    /// Counts the files that were looked at.
    async fn count(&mut self) -> StageResult<()> {
        let (run, pending) = (self.run, std::mem::take(&mut self.pending));
        self.size = 0;
        if pending.is_empty() {
            return Ok(());
        }
        let looked = || pending.iter().filter_map(|one| Some((one.write, one.drafts.as_ref()?)));
        let files: Vec<FileKey> =
            looked().map(|(write, _)| FileKey::new(&self.repo.name, &write.desired.entry.path)).collect();
        let held = run.state.held_ids_many(run.name(), &run.place, files.clone()).await?;
        let all = run.state.ids(run.name(), IdsOf::Files(files)).await?;
        let elsewhere = all.into_iter().filter(|ids| *ids.place != run.place);
        self.bill.elsewhere.extend(elsewhere.flat_map(PlacedIds::each));
        let inputs: Vec<String> =
            looked().flat_map(|(_, drafts)| drafts).map(|draft| draft.input.clone()).collect();
        let mut cached = run.project.queue.peek(&inputs).await.into_iter();
        let mut held = held.into_iter();
        for Pending { write, drafts } in &pending {
            let before = self.bill.estimate.clone();
            if let Some(drafts) = drafts {
                let cached: Vec<bool> = cached.by_ref().take(drafts.len()).collect();
                self.add(write, drafts, held.next().unwrap_or_default(), &cached);
            }
            self.counted.each.push((bytes(write), self.bill.estimate.since(&before)));
        }
        Ok(())
    }

    /// Adds a file to the bill. `held`: what its place has of it; `cached`: for each chunk, whether its vector is in the
    /// cache.
    fn add(&mut self, write: &Write, drafts: &[Draft], held: HeldIds, cached: &[bool]) {
        let run = self.run;
        let records = drafts.iter().map(|draft| (draft.id.as_str(), &draft.fingerprint));
        let step = step(records, believes(write, run.options.full), &held);
        let estimate = &mut self.bill.estimate;
        estimate.chunks += drafts.len() as u64;
        estimate.vectors_written += step.upsert.len() as u64;
        estimate.vectors_deleted += step.stale.len() as u64;
        self.bill.settled.extend(held.open);
        let embedder = run.project.embedder();
        for (input, cached) in drafts.iter().map(|draft| &draft.input).zip(cached) {
            let mut key = [0; 16];
            key.copy_from_slice(&blake3::hash(input.as_bytes()).as_bytes()[..16]);
            if !embedder.is_free() && (*cached || !self.bill.sent.texts.insert(key)) {
                estimate.texts_cached += 1;
                continue;
            }
            let tokens = embedder.count_tokens(input) as u64;
            estimate.texts += 1;
            estimate.tokens += tokens;
            if let Some(texts) = &mut self.bill.texts {
                texts.push((key, tokens));
            }
        }
    }
}

/// Secrets in a file of a project with `secrets = "off"`: where, never what.
fn secrets_left_in(project: &Project, repository: &str, path: &str, content: &[u8]) -> Vec<SecretFound> {
    if project.secrets != SecretsMode::Off {
        return Vec::new();
    }
    let Ok(cleaned) = clean(content) else { return Vec::new() };
    let found = project.scanner.find(&cleaned.text);
    found
        .iter()
        .map(|finding| SecretFound {
            repository: repository.to_owned(),
            path: path.to_owned(),
            line: cleaned.lines.original(finding.line(&cleaned.text) - 1),
            rule: finding.rule.to_string(),
        })
        .collect()
}
