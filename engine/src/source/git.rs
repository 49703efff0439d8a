//! Local Git repositories, bare or not, read from the object database.
//!
//! Nothing of the repository is executed: no hook, no filter, no configured command, and only the
//! repository's own configuration file is read. Uncommitted changes do not exist here.

use std::collections::HashMap;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use gix::ThreadSafeRepository;
use gix::objs::tree::EntryKind;
use gix::prelude::ReferenceExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::diff::changed_files;
use super::permalink::{blob_link, web_page_of_remote};
use super::{AnswerCache, ChangedFile, ContentSink, Head, Listing, Selection, Source};
use crate::blocking::Lane;
use crate::model::{
    BranchRef, EntryMode, ErrorKind, GitSha, MOST_COMMITS, RepoEntry, RepoRef, StageError, StageResult,
    TreeEntry,
};

/// Readers of one fetch at most. Inflating is the work; more threads than this feed nobody.
const READERS: usize = 2;
/// Files that a reader takes at a time: neighbours in the tree are neighbours in the pack.
const BLOCK: usize = 32;
/// Contents read, or being read, ahead of the sink.
const READ_AHEAD: usize = 16;
/// Files that are read in a turn, of a block: a turn waits for the disk alone, not for the sink.
const TURN: usize = READ_AHEAD / 2;

/// Whatever reads repositories, of all projects. More than cores: a disk, or a network's, answers
/// many at once, and one that does not answer holds no more than half: a project has four repositories
/// under way, each with [`READERS`].
static READING: LazyLock<Lane> = LazyLock::new(|| Lane::of(16));

/// The source of kind `git`. A repository's key is its absolute path.
#[derive(Debug)]
pub struct GitSource {
    stage: String,
    /// The web page of each repository seen, for permalinks; none where it has none.
    web_pages: Mutex<HashMap<String, Option<String>>>,
}

impl GitSource {
    /// A source for the stage of this name.
    pub fn new(stage: impl Into<String>) -> Self {
        Self { stage: stage.into(), web_pages: Mutex::new(HashMap::new()) }
    }

    /// Runs `work` on an opened repository, on a blocking thread.
    async fn with_repository<T, F>(&self, repo: &RepoRef, work: F) -> StageResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Reader) -> StageResult<T> + Send + 'static,
    {
        let (stage, path) = (self.stage.clone(), repo.key.clone());
        blocking(&self.stage, move || work(&Reader::open(stage, &path)?)).await
    }

    fn web_page(&self, repo: &RepoRef) -> Option<String> {
        let known = self.web_pages.lock().unwrap_or_else(PoisonError::into_inner).get(&repo.key).cloned();
        known.unwrap_or_else(|| {
            let page = Reader::open(self.stage.clone(), &repo.key).ok().and_then(|reader| reader.web_page());
            self.remember_web_page(&repo.key, page.clone());
            page
        })
    }

    fn remember_web_page(&self, key: &str, page: Option<String>) {
        self.web_pages.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), page);
    }
}

/// Runs blocking work; a panic in it is a bug of ours, not the end of the program.
async fn blocking<T, F>(stage: &str, work: F) -> StageResult<T>
where
    T: Send + 'static,
    F: FnOnce() -> StageResult<T> + Send + 'static,
{
    READING.run(work).await.unwrap_or_else(|error| Err(broken(stage, error)))
}

fn broken(stage: &str, error: tokio::task::JoinError) -> StageError {
    StageError::new(stage, ErrorKind::Bug, "reading the repository broke off").caused_by(error)
}

#[async_trait]
impl Source for GitSource {
    fn stage(&self) -> &str {
        &self.stage
    }

    fn reads_are_free(&self) -> bool {
        true
    }

    async fn list(
        &self,
        selection: &Selection,
        _answers: &dyn AnswerCache,
        _fresh: bool,
    ) -> StageResult<Listing> {
        let Selection::Named(wanted) = selection else {
            return Err(StageError::refused(&self.stage, "local repositories have no owner to list")
                .hint("name them in the project: repositories = [\"path\", …]"));
        };
        let (stage, wanted) = (self.stage.clone(), wanted.clone());
        let (listing, pages) = blocking(&self.stage, move || Ok(list(&stage, wanted))).await?;
        for (key, page) in pages {
            self.remember_web_page(&key, page);
        }
        Ok(listing)
    }

    async fn head(&self, repo: &RepoEntry, branch: &BranchRef, _known: Option<GitSha>) -> StageResult<Head> {
        if !Path::new(&repo.repo.key).exists() {
            return Ok(Head::Missing);
        }
        let branch = branch.clone();
        self.with_repository(&repo.repo, move |reader| reader.head(&branch)).await
    }

    async fn tree(&self, repo: &RepoRef, commit: GitSha) -> StageResult<Vec<TreeEntry>> {
        self.with_repository(repo, move |reader| reader.tree(commit)).await
    }

    async fn fetch(
        &self,
        repo: &RepoRef,
        _commit: GitSha,
        wanted: Vec<TreeEntry>,
        sink: &mut dyn ContentSink,
    ) -> StageResult<()> {
        if wanted.is_empty() {
            return Ok(());
        }
        let reader = self.with_repository(repo, |reader| Ok(reader.clone())).await?;
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let readers = READERS.min(cores).min(wanted.len().div_ceil(BLOCK));
        let (wanted, next) = (Arc::new(wanted), Arc::new(AtomicUsize::new(0)));
        let (sender, mut contents) = mpsc::channel(READ_AHEAD);
        let mut tasks = JoinSet::new();
        for _ in 0..readers {
            let (reader, wanted, next, sender) =
                (reader.clone(), Arc::clone(&wanted), Arc::clone(&next), sender.clone());
            tasks.spawn(reader.read(wanted, next, sender));
        }
        drop(sender);
        // An error of the sink drops the channel, which ends the readers.
        while let Some((entry, content)) = contents.recv().await {
            sink.put(entry, content).await?;
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|error| broken(&self.stage, error))??;
        }
        Ok(())
    }

    async fn changes(&self, repo: &RepoRef, base: GitSha, head: GitSha) -> StageResult<Vec<ChangedFile>> {
        self.with_repository(repo, move |reader| {
            Ok(changed_files(&reader.entries(base)?, &reader.entries(head)?))
        })
        .await
    }

    async fn commits_between(&self, repo: &RepoRef, base: GitSha, head: GitSha) -> StageResult<Option<u64>> {
        // What cannot be walked (a shallow clone, a commit that was cleared away) cannot be told.
        self.with_repository(repo, move |reader| Ok(reader.commits_between(base, head).ok().flatten())).await
    }

    fn permalink(&self, repo: &RepoRef, commit: GitSha, path: &str, lines: (u32, u32)) -> String {
        self.web_page(repo).map_or_else(String::new, |page| blob_link(&page, commit, path, lines))
    }
}

type WebPages = Vec<(String, Option<String>)>;

fn list(stage: &str, wanted: Vec<RepoRef>) -> (Listing, WebPages) {
    let mut listing = Listing::default();
    let mut pages = Vec::new();
    for repo in wanted {
        match Path::new(&repo.key).metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => listing.missing.push(repo),
            Err(error) => {
                let refused = StageError::refused(stage, format!("cannot look into `{}`", repo.key))
                    .caused_by(error)
                    .hint("give the user that runs RepoSync read access to the folder");
                listing.refused.push((repo, refused));
            }
            Ok(_) => match Reader::open(stage.to_owned(), &repo.key) {
                Ok(reader) => {
                    pages.push((repo.key.clone(), reader.web_page()));
                    listing.repositories.push(RepoEntry {
                        default_branch: reader.default_branch(),
                        repo,
                        pushed_at: None,
                        pushed_at_settled: false,
                    });
                }
                Err(error) => listing.refused.push((repo, error)),
            },
        }
    }
    listing.repositories.sort_by(|a, b| a.repo.name.cmp(&b.repo.name));
    (listing, pages)
}

/// One opened repository. Clones share the object database's index, not its caches.
#[derive(Clone)]
struct Reader {
    stage: String,
    path: String,
    repo: ThreadSafeRepository,
}

impl Reader {
    /// Opens a work tree, its `.git`, or a bare repository.
    ///
    /// Who owns the folder does not matter: Git's `safe.directory` protects from what a repository
    /// may have executed, and here nothing is.
    fn open(stage: String, path: &str) -> StageResult<Self> {
        let options =
            gix::open::Options::isolated().with(gix::sec::Trust::Full).filter_config_section(|_| true);
        let repo = options.open(path).map_err(|error| {
            StageError::refused(stage.as_str(), format!("cannot open `{path}` as a Git repository"))
                .caused_by(error)
                .hint("give the folder of a repository: a work tree, or a bare repository")
        })?;
        if repo.to_thread_local().common_dir().join("reftable").exists() {
            // Read as files, such a repository's branches would look like none.
            let message = format!("`{path}` keeps its branches in the reftable format, which cannot be read");
            return Err(StageError::refused(stage, message)
                .hint("convert it with `git refs migrate --ref-format=files`"));
        }
        Ok(Self { stage, path: path.to_owned(), repo })
    }

    fn bad(&self, message: String) -> StageError {
        StageError::new(self.stage.as_str(), ErrorKind::BadInput, message)
    }

    fn default_branch(&self) -> String {
        let repo = self.repo.to_thread_local();
        let name = repo.head_name().ok().flatten();
        name.map_or_else(String::new, |name| name.shorten().to_string())
    }

    fn web_page(&self) -> Option<String> {
        let repo = self.repo.to_thread_local();
        let remote = repo.config_snapshot().string("remote.origin.url")?;
        web_page_of_remote(std::str::from_utf8(&remote).ok()?)
    }

    fn head(&self, branch: &BranchRef) -> StageResult<Head> {
        let repo = self.repo.to_thread_local();
        let unreadable = |what: &str, error: gix::Error| {
            self.bad(format!("cannot read {what} of `{}`", self.path)).caused_by(error)
        };
        let head = repo.head().map_err(|error| unreadable("HEAD", error))?;
        // The branch is not there: is nothing there? Not being able to tell is not emptiness.
        let without_branch = || -> Result<Head, gix::Error> {
            let some = repo.references()?.local_branches()?.next().is_some();
            Ok(if some { Head::NoBranch } else { Head::Empty })
        };
        let mut reference = match branch {
            BranchRef::Default => match head.kind {
                gix::head::Kind::Symbolic(reference) => reference.attach(&repo),
                gix::head::Kind::Detached { target, peeled } => {
                    return Ok(Head::Commit(self.sha(peeled.unwrap_or(target))?));
                }
                gix::head::Kind::Unborn(_) => {
                    return without_branch().map_err(|error| unreadable("the branches", error));
                }
            },
            BranchRef::Named(name) => {
                let full = format!("refs/heads/{name}");
                // A name that Git would not accept is a branch that is not there.
                let Ok(full_name) = gix::refs::FullName::try_from(full.as_str()) else {
                    return Ok(Head::NoBranch);
                };
                match repo.try_find_reference(full_name.as_ref()) {
                    Ok(Some(reference)) if reference.name().as_bstr() == full.as_str() => reference,
                    Ok(_) => return without_branch().map_err(|error| unreadable("the branches", error)),
                    Err(error) => return Err(unreadable(&format!("branch `{name}`"), error)),
                }
            }
        };
        let id = reference.peel_to_id().map_err(|error| unreadable("the branch's commit", error))?;
        Ok(Head::Commit(self.sha(id.detach())?))
    }

    fn sha(&self, id: gix::ObjectId) -> StageResult<GitSha> {
        match id.as_bytes().try_into() {
            Ok(bytes) => Ok(GitSha(bytes)),
            Err(_) => Err(self.bad(format!("`{}` uses another object format than SHA-1", self.path))),
        }
    }

    fn commits_between(&self, base: GitSha, head: GitSha) -> Result<Option<u64>, gix::Error> {
        let repo = self.repo.to_thread_local();
        let [base, head] = [base, head].map(|sha| gix::ObjectId::Sha1(sha.0));
        if repo.merge_base(base, head)?.map(gix::Id::detach) != Some(base) {
            return Ok(None);
        }
        let mut commits = 0;
        for commit in repo.rev_walk([head]).with_hidden([base]).all()? {
            commit?;
            commits += 1;
            if commits == MOST_COMMITS {
                break;
            }
        }
        Ok(Some(commits))
    }

    /// The tree's entries without sizes.
    fn entries(&self, commit: GitSha) -> StageResult<Vec<TreeEntry>> {
        let repo = self.repo.to_thread_local();
        let unreadable = |error: gix::Error| {
            self.bad(format!("cannot read the tree of commit {commit} in `{}`", self.path)).caused_by(error)
        };
        let tree = repo
            .find_commit(gix::ObjectId::Sha1(commit.0))
            .and_then(|commit| commit.tree())
            .map_err(unreadable)?;
        let mut recorder = gix::traverse::tree::Recorder::default();
        tree.traverse().depthfirst(&mut recorder).map_err(unreadable)?;
        let mut entries = Vec::with_capacity(recorder.records.len());
        for record in recorder.records {
            let mode = match record.mode.kind() {
                EntryKind::Tree => continue,
                EntryKind::Blob | EntryKind::BlobExecutable => EntryMode::File,
                EntryKind::Link => EntryMode::Symlink,
                EntryKind::Commit => EntryMode::Submodule,
            };
            let (path, path_is_utf8) = match String::from_utf8(record.filepath.into()) {
                Ok(path) => (path, true),
                Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), false),
            };
            entries.push(TreeEntry { path, path_is_utf8, mode, sha: self.sha(record.oid)?, size: None });
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    /// The tree's entries, files with their sizes. A blob that is not there has none; reading it
    /// will say so.
    fn tree(&self, commit: GitSha) -> StageResult<Vec<TreeEntry>> {
        let mut entries = self.entries(commit)?;
        let mut repo = self.repo.to_thread_local();
        // In a partial clone each absent blob would otherwise look for new packs.
        repo.objects.refresh_never();
        for entry in entries.iter_mut().filter(|entry| entry.mode == EntryMode::File) {
            entry.size = repo.find_header(gix::ObjectId::Sha1(entry.sha.0)).ok().map(|header| header.size());
        }
        Ok(entries)
    }

    /// Reads blocks of files until none is left or nobody listens.
    async fn read(
        self,
        wanted: Arc<Vec<TreeEntry>>,
        next: Arc<AtomicUsize>,
        contents: mpsc::Sender<(TreeEntry, StageResult<Bytes>)>,
    ) -> StageResult<()> {
        // It goes from turn to turn, since what it has inflated helps with what comes next.
        let mut repo = self.repo.to_thread_local();
        loop {
            let start = next.fetch_add(BLOCK, Ordering::Relaxed);
            if start >= wanted.len() {
                return Ok(());
            }
            let end = wanted.len().min(start + BLOCK);
            for start in (start..end).step_by(TURN) {
                let turn = start..end.min(start + TURN);
                // Room first: who waits for the sink keeps no thread.
                let Ok(room) = contents.reserve_many(turn.len()).await else { return Ok(()) };
                let (reader, files) = (self.clone(), Arc::clone(&wanted));
                let work = move || {
                    let content = |entry: &TreeEntry| (entry.clone(), reader.content(&repo, entry));
                    let read: Vec<_> = files[turn].iter().map(content).collect();
                    Ok((repo, read))
                };
                let (back, read) = blocking(&self.stage, work).await?;
                repo = back;
                for (room, content) in room.zip(read) {
                    room.send(content);
                }
            }
        }
    }

    fn content(&self, repo: &gix::Repository, entry: &TreeEntry) -> StageResult<Bytes> {
        let id = gix::ObjectId::Sha1(entry.sha.0);
        let unreadable = || self.bad(format!("cannot read object {id} of `{}`", entry.path));
        let mut object = repo.find_object(id).map_err(|error| {
            unreadable().caused_by(error).hint("see what `git fsck` says of the repository")
        })?;
        super::verify::check_blob(&object.data, entry.sha)
            .map_err(|why| unreadable().caused_by(anyhow::anyhow!(why)))?;
        Ok(Bytes::from(std::mem::take(&mut object.data)))
    }
}
