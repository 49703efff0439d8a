//! One repository: whether it differs from the index, and in what.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};

use super::project_run::ProjectRun;
use super::setup::{Project, item_or_fatal};
use super::survey::Listed;
use crate::model::{ErrorKind, GitSha, RepoEntry, RepoRef, SkipReason, StageError, StageResult, TreeEntry};
use crate::plan::{Attributes, Desired, Recorded, RecordedState, RepositoryTask, basis, diff};
use crate::source::{ContentSink, Head};
use crate::state::{FileStatus, KnownFiles, RepositoryRow, RepositorySync, UnchangedRepository};

/// Bytes of all `.gitattributes` files of a tree, which are held in memory together.
const MOST_ATTRIBUTE_BYTES: u64 = 16 << 20;
/// Rules about generated and vendored files. Each file of the tree is matched against those above it.
const MOST_ATTRIBUTE_RULES: usize = 10_000;
/// Rules times files: each match takes about 100 ns.
const MOST_ATTRIBUTE_MATCHES: u64 = 300_000_000;

/// How a repository stands.
pub(crate) enum RepoState {
    /// Everything is as it was at the last finished sync.
    Unchanged,
    /// It failed, which is recorded; others go on.
    Failed,
    /// It has no commits and never had files in the index.
    Empty,
    /// It is not there any more, or has no commits where it had files.
    Vanished(&'static str),
    /// Its tree was read and compared.
    Changed(Box<RepositoryTask>),
}

/// Compares one repository of the listing with what the ledger knows of it.
pub(crate) async fn inspect(run: &Arc<ProjectRun>, listed: Listed) -> StageResult<RepoState> {
    let Listed { entry, known } = listed;
    let name = entry.repo.name.clone();
    let believed = known.as_ref().filter(|_| !run.options.full);
    let settled = believed.is_some_and(|row| {
        row.settled && !row.unsettled_files && row.basis.as_deref() == Some(run.recorded_basis.as_str())
    });
    let pushed = run.options.pushed.contains_key(&name);
    if settled && !pushed && believed.is_some_and(|row| listing_suffices(row, &entry, Utc::now())) {
        return Ok(RepoState::Unchanged);
    }

    let last_commit = believed.and_then(|row| row.last_commit);
    let head = item_or_fatal(run.project.source.head(&entry, &run.project.branch, last_commit).await)?;
    let commit = match head {
        Ok(Head::Commit(commit)) => commit,
        Ok(Head::Empty | Head::Missing) if known.is_none() => return Ok(RepoState::Empty),
        Ok(Head::Empty) => return Ok(RepoState::Vanished("has no commits any more")),
        Ok(Head::Missing) => return Ok(RepoState::Vanished("is not there any more")),
        Ok(Head::NoBranch) => {
            let branch = match &run.project.branch {
                crate::model::BranchRef::Named(branch) => format!("branch `{branch}`"),
                crate::model::BranchRef::Default => "the default branch".to_owned(),
            };
            let error = StageError::refused(run.project.source.stage(), format!("{branch} does not exist"))
                .hint("check `branch` of the project");
            run.repository_failed(&name, &error);
            return Ok(RepoState::Failed);
        }
        Err(error) => {
            run.repository_failed(&name, &error);
            return Ok(RepoState::Failed);
        }
    };
    if settled && last_commit == Some(commit) {
        run.unchanged(UnchangedRepository { entry, head: commit }).await?;
        return Ok(RepoState::Unchanged);
    }
    if !run.dry {
        run.state.saw_head(run.fence()?, run.name(), &entry, commit, Utc::now()).await?;
    }
    if let Some(changed) = believed.and_then(|row| run.basis.difference(row.basis.as_deref()?)) {
        run.note_changed_basis(&changed);
    }
    match item_or_fatal(read_tree(run, entry, commit, last_commit).await)? {
        Ok(task) => Ok(RepoState::Changed(Box::new(task))),
        Err(error) => {
            run.repository_failed(&name, &error);
            Ok(RepoState::Failed)
        }
    }
}

/// The shortcut: the listing's entry equals the one stored with the last finished sync, a push
/// cannot hide behind its stamp, and the head was asked within a day and is the one indexed (a
/// run that saw another may have ended before it wrote anything).
fn listing_suffices(row: &RepositoryRow, entry: &RepoEntry, now: DateTime<Utc>) -> bool {
    let Some(stored) = &row.entry else { return false };
    let same = stored.repo == entry.repo
        && stored.default_branch == entry.default_branch
        && stored.pushed_at == entry.pushed_at
        && stored.pushed_at.is_some();
    let as_seen = row.head == row.last_commit && row.orphan_since.is_none();
    same && as_seen
        && stored.pushed_at_settled
        && row.head_asked_at.is_some_and(|asked| now - asked < Duration::days(1) && asked <= now)
}

/// Records that a repository's sync came to its end.
pub(crate) async fn finish(
    run: &Arc<ProjectRun>,
    entry: &RepoEntry,
    commit: GitSha,
    settled: bool,
) -> StageResult<()> {
    let basis = run.recorded_basis.clone();
    let sync = RepositorySync { entry: entry.clone(), commit, settled, basis };
    run.state.finish_repository(run.fence()?, run.name(), sync, Utc::now()).await
}

async fn read_tree(
    run: &Arc<ProjectRun>,
    entry: RepoEntry,
    commit: GitSha,
    previous: Option<GitSha>,
) -> StageResult<RepositoryTask> {
    let source = &run.project.source;
    let tree = source.tree(&entry.repo, commit).await?;
    let attributes = read_attributes(&run.project, &entry.repo, commit, &tree).await?;
    let selecting = Arc::clone(run);
    // Many files under many rules take a while: not on the executor.
    let selected = run.engine.bounds.runtime.cores.run(move || select(&selecting, tree, &attributes)).await;
    let (wanted, skipped) = selected.map_err(|error| {
        StageError::new("engine", ErrorKind::Bug, "selecting files panicked").caused_by(error)
    })?;
    let recorded = recorded_files(run, &entry.repo.name).await?;
    let basis = run.dry.then(|| basis(&run.basis.fingerprint(), previous, &recorded));
    let diff = diff(wanted, recorded, run.options.full);
    Ok(RepositoryTask { entry, commit, previous, basis, diff, skipped })
}

/// Splits a tree into files to index and files that their name, mode, size or attributes exclude.
fn select(
    run: &ProjectRun,
    tree: Vec<TreeEntry>,
    attributes: &Attributes,
) -> (Vec<Desired>, Vec<(String, SkipReason)>) {
    let (mut wanted, mut skipped) = (Vec::new(), Vec::new());
    for file in tree {
        if let Some(reason) = run.project.selector.skip(&file, attributes) {
            skipped.push((file.path, reason));
        } else if let Some(recipe) = run.recipes.of(&file.path) {
            wanted.push(Desired { entry: file, recipe: recipe.fingerprint.clone() });
        } else {
            skipped.push((file.path, SkipReason::NoChunker));
        }
    }
    (wanted, skipped)
}

/// What the ledger knows of a repository's files.
pub(crate) async fn recorded_files(run: &Arc<ProjectRun>, repository: &str) -> StageResult<Vec<Recorded>> {
    run.state.known_files(run.name(), repository, &run.place).await.map(merge)
}

fn merge(known: KnownFiles) -> Vec<Recorded> {
    let KnownFiles { files, mut unfinished } = known;
    let mut known: Vec<Recorded> = files
        .into_iter()
        .map(|file| {
            let state = match file.status {
                _ if unfinished.remove(&file.path) => RecordedState::Unfinished,
                FileStatus::Synced => RecordedState::Settled,
                // Without a reason that this version knows it is read again.
                FileStatus::Skipped => file
                    .detail
                    .as_deref()
                    .and_then(SkipReason::of_label)
                    .map_or(RecordedState::Failed, RecordedState::Skipped),
                FileStatus::Failed => RecordedState::Failed,
                FileStatus::Adopted => RecordedState::Adopted,
                FileStatus::Damaged => RecordedState::Damaged,
            };
            Recorded {
                path: file.path,
                blob_sha: file.blob_sha,
                recipe: file.recipe,
                in_place: file.in_place,
                vectors: file.vectors,
                state,
            }
        })
        .collect();
    // A write that began for a file that has no row yet.
    known.extend(unfinished.into_iter().map(|path| Recorded {
        path,
        blob_sha: None,
        recipe: None,
        in_place: true,
        vectors: 0,
        state: RecordedState::Unfinished,
    }));
    known
}

/// Reads the tree's `.gitattributes`.
pub(crate) async fn read_attributes(
    project: &Project,
    repo: &RepoRef,
    commit: GitSha,
    tree: &[TreeEntry],
) -> StageResult<Attributes> {
    let wanted: Vec<TreeEntry> = tree
        .iter()
        .filter(|entry| entry.path == ".gitattributes" || entry.path.ends_with("/.gitattributes"))
        .filter(|entry| entry.mode == crate::model::EntryMode::File && entry.path_is_utf8)
        .filter(|entry| entry.size.is_none_or(|size| size <= project.selector.max_file_bytes))
        .cloned()
        .collect();
    let refused = |what: String| {
        StageError::refused(project.source.stage(), format!("the `.gitattributes` files have {what}"))
            .hint("make them fewer or shorter, or leave the repository out")
    };
    let bytes: u64 = wanted.iter().filter_map(|entry| entry.size).sum();
    if bytes > MOST_ATTRIBUTE_BYTES {
        return Err(refused(format!("{bytes} bytes together, more than {MOST_ATTRIBUTE_BYTES}")));
    }
    let mut sink = Collect::default();
    if !wanted.is_empty() {
        project.source.fetch(repo, commit, wanted, &mut sink).await?;
    }
    let attributes = Attributes::new(sink.files);
    if attributes.rules() > MOST_ATTRIBUTE_RULES {
        let rules = attributes.rules();
        return Err(refused(format!(
            "{rules} rules about generated and vendored files, more than {MOST_ATTRIBUTE_RULES}"
        )));
    }
    let matches = attributes.rules() as u64 * tree.len() as u64;
    if matches > MOST_ATTRIBUTE_MATCHES {
        let (rules, files) = (attributes.rules(), tree.len());
        return Err(refused(format!("{rules} rules about generated and vendored files for {files} files")));
    }
    Ok(attributes)
}

/// Collects small files: folder and text of each.
#[derive(Default)]
struct Collect {
    files: Vec<(String, String)>,
}

#[async_trait]
impl ContentSink for Collect {
    async fn put(&mut self, entry: TreeEntry, content: StageResult<Bytes>) -> StageResult<()> {
        // Without its attributes the selection would be another one: better no work than wrong work.
        let text = String::from_utf8_lossy(&content?).into_owned();
        let folder = entry.path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        self.files.push((folder, text));
        Ok(())
    }
}
