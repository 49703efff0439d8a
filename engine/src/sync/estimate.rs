//! The bill of a plan: chunks, texts after cache hits, tokens, vectors.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::prepare::{CORES, Draft, Origin, Prepared, prepare};
use super::project_run::ProjectRun;
use super::setup::{Project, item_or_fatal};
use super::writer::{believes, step};
use crate::chunk::clean;
use crate::ledger::{FileKey, Leftover};
use crate::model::{
    Fingerprint, GitSha, RepoRef, SecretsMode, SkipReason, StageError, StageResult, TreeEntry,
};
use crate::plan::{Estimate, Reason, RepositoryTask, SecretFound, Write};
use crate::source::ContentSink;

/// Bytes of text in a token, where only sizes are known: measured 3.0 to 4.3 on code and prose
/// with cl100k; the lower end, since a bill had better not grow.
const BYTES_PER_TOKEN: u64 = 3;
/// Bytes in a chunk, likewise: built-in chunkers fill about two thirds of their default sizes.
const BYTES_PER_CHUNK: u64 = 900;

/// Texts to send, by their hash, for each embedder identity: equal ones are sent once, whichever
/// projects they come from.
pub(crate) type Sent = HashMap<Fingerprint, HashSet<[u8; 16]>>;

/// What a project's plan adds up to.
pub(crate) struct Bill<'a> {
    estimate: Estimate,
    /// Vectors of written files in other places than the project's, which are deleted there.
    elsewhere: HashSet<Leftover>,
    /// Ids of written files whose state in the project's place is unknown: writing the file replaces or
    /// deletes them.
    settled: HashSet<String>,
    secrets: Vec<SecretFound>,
    sent: &'a mut HashSet<[u8; 16]>,
}

impl<'a> Bill<'a> {
    /// An empty bill beside what the projects before it send.
    pub(crate) fn new(run: &ProjectRun, sent: &'a mut Sent) -> Self {
        let sent = sent.entry(run.project.embedder().identity().clone()).or_default();
        let (estimate, elsewhere, settled) = Default::default();
        Self { estimate, elsewhere, settled, secrets: Vec::new(), sent }
    }

    /// Secrets that the index would hold, as far as contents were read.
    pub(crate) fn take_secrets(&mut self) -> Vec<SecretFound> {
        std::mem::take(&mut self.secrets)
    }

    /// Adds what is deleted after the last file: `removed`, and `leftovers` of earlier runs, of places that
    /// `reaches` names.
    pub(crate) fn deletions(
        &mut self,
        place: i64,
        removed: Vec<Leftover>,
        leftovers: Vec<Leftover>,
        reaches: &HashSet<i64>,
    ) {
        let is_settled = |one: &Leftover| one.place == place && self.settled.contains(&one.id);
        let leftovers = leftovers.into_iter().filter(|one| !is_settled(one));
        let mut all: HashSet<Leftover> = removed.into_iter().chain(leftovers).collect();
        all.extend(std::mem::take(&mut self.elsewhere));
        let reached = all.iter().filter(|one| reaches.contains(&one.place)).count();
        self.estimate.vectors_deleted += reached as u64;
    }

    /// Places in which vectors of written files are deleted.
    pub(crate) fn places(&self) -> impl Iterator<Item = i64> {
        self.elsewhere.iter().map(|one| one.place)
    }

    /// The sum, with price and requests.
    pub(crate) fn total(self, run: &ProjectRun) -> Estimate {
        let mut estimate = self.estimate;
        let embedder = run.project.embedder();
        let limits = embedder.limits();
        let by_count = estimate.texts.div_ceil(limits.inputs_per_call.max(1) as u64);
        let by_tokens = estimate.tokens.div_ceil(limits.tokens_per_call.max(1) as u64);
        estimate.requests = by_count.max(by_tokens);
        estimate.price = estimate.tokens as f64 * embedder.price_per_million_tokens() / 1e6;
        estimate
    }
}

/// Files whose content turned out not to be for the index, by path.
pub(crate) type LeftOut = BTreeMap<String, SkipReason>;

/// Adds a repository's work to the bill; tells what only its content keeps out, where that is read.
pub(crate) async fn estimate(
    run: &Arc<ProjectRun>,
    work: &RepositoryTask,
    exact: bool,
    bill: &mut Bill<'_>,
) -> StageResult<LeftOut> {
    if work.diff.writes.is_empty() {
        return Ok(LeftOut::new());
    }
    if !exact {
        for write in &work.diff.writes {
            by_size(write, &mut bill.estimate);
        }
        return Ok(LeftOut::new());
    }
    let Counted { left_out, failed, encoded, notes, secrets } = count_exactly(run, work, bill).await?;
    let repository = &work.entry.repo.name;
    run.note_files(notes);
    for (path, lines) in &encoded {
        run.stats.encoded(repository, path, lines);
    }
    bill.secrets.extend(secrets);
    for (path, reason) in &left_out {
        run.stats.skipped(repository, path, *reason);
    }
    for (path, error) in &failed {
        run.stats.failed(Some(repository), Some(path), error);
    }
    Ok(left_out)
}

/// What contents told beside the bill.
#[derive(Default)]
pub(crate) struct Counted {
    left_out: LeftOut,
    /// Files that could not be read or cut, by path.
    failed: Vec<(String, StageError)>,
    /// Lines of encoded data that is not embedded, by path.
    encoded: Vec<(String, Vec<u32>)>,
    /// Notes on single files.
    notes: Vec<String>,
    /// Secrets in files of a project that leaves them in.
    secrets: Vec<SecretFound>,
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
    work: &RepositoryTask,
    bill: &mut Bill<'_>,
) -> StageResult<Counted> {
    let wanted: Vec<TreeEntry> = work.diff.writes.iter().map(|write| write.desired.entry.clone()).collect();
    if wanted.is_empty() {
        return Ok(Counted::default());
    }
    let mut sink = Counting {
        run,
        repo: &work.entry.repo,
        commit: work.commit,
        writes: &work.diff.writes,
        bill,
        counted: Counted::default(),
    };
    run.project.source.fetch(&work.entry.repo, work.commit, wanted, &mut sink).await?;
    Ok(sink.counted)
}

/// What sizes alone tell. Content that the index holds already costs no embedding.
fn by_size(write: &Write, estimate: &mut Estimate) {
    let bytes = write.desired.entry.size.unwrap_or_default();
    let chunks = bytes.div_ceil(BYTES_PER_CHUNK).max(1);
    estimate.chunks += chunks;
    estimate.vectors_written += chunks;
    let held =
        write.moved_from.is_some() || matches!(write.reason, Reason::Place | Reason::State(_) | Reason::Full);
    if held {
        estimate.texts_cached += chunks;
    } else {
        estimate.texts += chunks;
        estimate.tokens += bytes.div_ceil(BYTES_PER_TOKEN);
    }
    if matches!(write.reason, Reason::Content | Reason::Place) {
        estimate.vectors_deleted += write.vectors_before;
    }
}

/// Counts contents as they come.
struct Counting<'a, 'b> {
    run: &'a Arc<ProjectRun>,
    repo: &'a RepoRef,
    commit: GitSha,
    writes: &'a [Write],
    bill: &'a mut Bill<'b>,
    counted: Counted,
}

#[async_trait]
impl ContentSink for Counting<'_, '_> {
    async fn put(&mut self, entry: TreeEntry, content: StageResult<Bytes>) -> StageResult<()> {
        let run = self.run;
        if run.stop.is_cancelled() {
            return Err(StageError::cancelled("engine"));
        }
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
        match prepared {
            Ok(Prepared::Skipped(reason)) => {
                self.counted.left_out.insert(entry.path, reason);
                self.count(write, &[]).await
            }
            Ok(Prepared::Chunks(drafts, encoded)) => {
                if !encoded.is_empty() {
                    self.counted.encoded.push((entry.path, encoded));
                }
                self.count(write, &drafts).await
            }
            Err(error) => {
                self.counted.failed.push((entry.path, error));
                Ok(())
            }
        }
    }
}

impl Counting<'_, '_> {
    async fn prepare(&self, entry: TreeEntry, content: Bytes) -> Looked {
        let (run, repo, commit) = (Arc::clone(self.run), self.repo.clone(), self.commit);
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
        CORES.run(work).await.unwrap_or_else(|panic| {
            nothing(Err(StageError::refused("engine", "chunking panicked").caused_by(panic)))
        })
    }

    async fn count(&mut self, write: &Write, drafts: &[Draft]) -> StageResult<()> {
        let run = self.run;
        let (place, repository, path) =
            (run.place_id, self.repo.name.clone(), write.desired.entry.path.clone());
        let (held, all) = run
            .ledger(move |ledger, project| {
                let key = FileKey { repository: &repository, path: &path };
                Ok((ledger.held_ids(project, place, &key)?, ledger.all_ids(project, &key)?))
            })
            .await?;
        self.bill.elsewhere.extend(all.into_iter().filter(|one| one.place != place));
        let records = drafts.iter().map(|draft| (draft.id.as_str(), &draft.fingerprint));
        let step = step(records, believes(write, run.options.full), &held);
        let estimate = &mut self.bill.estimate;
        estimate.chunks += drafts.len() as u64;
        estimate.vectors_written += step.upsert.len() as u64;
        estimate.vectors_deleted += step.stale.len() as u64;
        self.bill.settled.extend(held.open);
        let inputs: Vec<String> = drafts.iter().map(|draft| draft.input.clone()).collect();
        let cached = run.project.queue.peek(&inputs).await;
        for (input, cached) in inputs.iter().zip(cached) {
            let mut key = [0; 16];
            key.copy_from_slice(&blake3::hash(input.as_bytes()).as_bytes()[..16]);
            if cached || !self.bill.sent.insert(key) {
                estimate.texts_cached += 1;
            } else {
                estimate.texts += 1;
                estimate.tokens += run.project.embedder().count_tokens(input) as u64;
            }
        }
        Ok(())
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
