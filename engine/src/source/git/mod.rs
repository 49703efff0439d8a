//! Local Git repositories, bare or not, read from the object database.
//!
//! Nothing of the repository is executed: no hook, no filter, no configured command, and only the
//! repository's own configuration file is read. Uncommitted changes do not exist here.

mod behind;
mod cost;
mod files;
mod objects;
mod open;
mod outside;
mod refs;
mod tree;

use std::collections::HashMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::cost::Cost;
use self::open::{Access, Purpose, Reader};
use super::diff::changed_files;
use super::permalink::blob_link;
use super::{AnswerCache, ChangedFile, ContentSink, Head, Limits, Listing, Selection, Source};
use crate::blocking::Lane;
use crate::model::{
    BranchRef, EntryMode, ErrorKind, GitSha, RepoEntry, RepoRef, StageError, StageResult, TreeEntry,
};

/// Reader tasks per fetch. Inflation is CPU-bound; more threads do not help.
const READERS: usize = 2;
/// Files that a reader takes at a time: neighbours in the tree are neighbours in the pack.
const BLOCK: usize = 32;
/// Contents read, or being read, ahead of the sink.
const READ_AHEAD: usize = 16;
/// Files of a block that are read per `spawn_blocking` call, which never waits for the sink.
const TURN: usize = READ_AHEAD / 2;
/// A file that is indexed has at most this many bytes, unless `with_limits` says otherwise.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// `spawn_blocking` with a concurrency limit for all reading of repositories, of all projects. It is
/// above the number of cores, because a disk answers many reads at once, and above what one project
/// uses (four repositories with [`READERS`] each), so that one slow disk does not stop the others.
static READING: LazyLock<Lane> = LazyLock::new(|| Lane::of(16));

/// The source of kind `git`. A repository's key is its absolute path.
#[derive(Debug)]
pub struct GitSource {
    access: Arc<Access>,
    /// Stops walks that are under way.
    cancel: CancellationToken,
    /// The web page of each repository seen, for permalinks; `None` where it has none.
    web_pages: Mutex<HashMap<String, Option<String>>>,
}

impl GitSource {
    /// A source for the stage of this name, with the default limits.
    pub fn new(stage: impl Into<String>) -> Self {
        let access = Access {
            stage: stage.into(),
            limits: Limits::default(),
            max_file_bytes: MAX_FILE_BYTES,
            alternates: Vec::new(),
        };
        Self::of(access, CancellationToken::new())
    }

    fn of(access: Access, cancel: CancellationToken) -> Self {
        Self { access: Arc::new(access), cancel, web_pages: Mutex::default() }
    }

    /// With other limits, and for files of at most `max_file_bytes`.
    #[must_use]
    pub fn with_limits(self, limits: Limits, max_file_bytes: u64) -> Self {
        let (stage, alternates) = (self.access.stage.clone(), self.access.alternates.clone());
        Self::of(Access { stage, limits, max_file_bytes, alternates }, self.cancel)
    }

    /// With folders outside the repositories whose Git data they may use.
    #[must_use]
    pub fn with_alternates(self, alternates: Vec<PathBuf>) -> Self {
        let (stage, limits) = (self.access.stage.clone(), self.access.limits.clone());
        let max_file_bytes = self.access.max_file_bytes;
        Self::of(Access { stage, limits, max_file_bytes, alternates }, self.cancel)
    }

    /// With a token that ends walks that are under way.
    #[must_use]
    pub fn with_cancel(self, cancel: CancellationToken) -> Self {
        Self { cancel, ..self }
    }

    /// Runs `work` on an opened repository, on a blocking thread. `work` is cancelled with the source, and when
    /// the returned future is dropped.
    async fn with_repository<T, F>(&self, repo: &RepoRef, work: F) -> StageResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Reader, &CancellationToken) -> StageResult<T> + Send + 'static,
    {
        let (access, path) = (Arc::clone(&self.access), repo.key.clone());
        let stop = self.cancel.child_token();
        let _stop_when_dropped = stop.clone().drop_guard();
        let handed = stop.clone();
        let work = move || work(&Reader::open(&access, &path, Purpose::Walk)?, &handed);
        tokio::select! {
            done = blocking(&self.access.stage, work) => done,
            () = stop.cancelled() => Err(StageError::cancelled(&self.access.stage)),
        }
    }

    fn web_page(&self, repo: &RepoRef) -> Option<String> {
        let known = self.web_pages.lock().unwrap_or_else(PoisonError::into_inner).get(&repo.key).cloned();
        known.unwrap_or_else(|| {
            let reader = Reader::open(&self.access, &repo.key, Purpose::Walk).ok();
            let page = reader.and_then(|reader| reader.web_page());
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
        &self.access.stage
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
            return Err(StageError::refused(self.stage(), "local repositories have no owner to list")
                .hint("name them in the project: repositories = [\"path\", …]"));
        };
        let (access, wanted) = (Arc::clone(&self.access), wanted.clone());
        let (listing, pages) = blocking(self.stage(), move || Ok(list(&access, wanted))).await?;
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
        self.with_repository(&repo.repo, move |reader, _| reader.head(&branch)).await
    }

    async fn tree(&self, repo: &RepoRef, commit: GitSha) -> StageResult<Vec<TreeEntry>> {
        self.with_repository(repo, move |reader, stop| reader.tree(commit, stop)).await
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
        let (access, path) = (Arc::clone(&self.access), repo.key.clone());
        let open = move || Reader::open(&access, &path, Purpose::Contents);
        let reader = blocking(self.stage(), open).await?;
        reader.check_complete(&wanted)?;
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let readers = READERS.min(cores).min(wanted.len().div_ceil(BLOCK));
        let (wanted, next) = (Arc::new(wanted), Arc::new(AtomicUsize::new(0)));
        let cost = Arc::new(Cost::of_objects());
        let (sender, mut contents) = mpsc::channel(READ_AHEAD);
        let mut tasks = JoinSet::new();
        for _ in 0..readers {
            let (reader, wanted, next, sender) =
                (reader.clone(), Arc::clone(&wanted), Arc::clone(&next), sender.clone());
            tasks.spawn(reader.read(wanted, next, Arc::clone(&cost), sender));
        }
        drop(sender);
        // An error of the sink drops the channel, which ends the readers.
        while let Some((entry, content)) = contents.recv().await {
            sink.put(entry, content).await?;
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|error| broken(self.stage(), error))??;
        }
        Ok(())
    }

    async fn changes(&self, repo: &RepoRef, base: GitSha, head: GitSha) -> StageResult<Vec<ChangedFile>> {
        self.with_repository(repo, move |reader, stop| {
            Ok(changed_files(&reader.entries(base, stop)?, &reader.entries(head, stop)?))
        })
        .await
    }

    async fn commits_between(&self, repo: &RepoRef, base: GitSha, head: GitSha) -> StageResult<Option<u64>> {
        // Unknown if the history cannot be walked (a shallow clone, a pruned commit).
        let count = move |reader: &Reader, stop: &CancellationToken| {
            Ok(reader.commits_between(base, head, stop).ok().flatten())
        };
        self.with_repository(repo, count).await
    }

    fn permalink(&self, repo: &RepoRef, commit: GitSha, path: &str, lines: (u32, u32)) -> String {
        self.web_page(repo).map_or_else(String::new, |page| blob_link(&page, commit, path, lines))
    }
}

type WebPages = Vec<(String, Option<String>)>;

fn list(access: &Arc<Access>, wanted: Vec<RepoRef>) -> (Listing, WebPages) {
    let mut listing = Listing::default();
    let mut pages = Vec::new();
    for repo in wanted {
        match Path::new(&repo.key).metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => listing.missing.push(repo),
            Err(error) => {
                let refused = StageError::refused(&access.stage, format!("cannot look into `{}`", repo.key))
                    .caused_by(error)
                    .hint("give the user that runs RepoSync read access to the folder");
                listing.refused.push((repo, refused));
            }
            Ok(_) => match Reader::open(access, &repo.key, Purpose::Walk) {
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

impl Reader {
    /// Refuses a partial clone that lacks wanted files: one failure instead of one per file.
    fn check_complete(&self, wanted: &[TreeEntry]) -> StageResult<()> {
        let mut absent =
            wanted.iter().filter(|entry| entry.mode == EntryMode::File && entry.size.is_none()).peekable();
        let Some(first) = absent.peek().map(|entry| entry.path.clone()) else { return Ok(()) };
        if !self.is_partial() {
            return Ok(());
        }
        let message = format!(
            "`{}` is a partial clone: {} of the {} files to read are not in it, `{first}` among them",
            self.path,
            absent.count(),
            wanted.len()
        );
        Err(self.refused(message).hint(self.complete_it()))
    }

    /// Reads blocks of files until none is left or the receiver is gone.
    async fn read(
        self,
        wanted: Arc<Vec<TreeEntry>>,
        next: Arc<AtomicUsize>,
        cost: Arc<Cost>,
        contents: mpsc::Sender<(TreeEntry, StageResult<Bytes>)>,
    ) -> StageResult<()> {
        // It goes from turn to turn, because its caches help with the files that come next.
        let mut repo = self.repo.to_thread_local();
        loop {
            let start = next.fetch_add(BLOCK, Ordering::Relaxed);
            if start >= wanted.len() {
                return Ok(());
            }
            let end = wanted.len().min(start + BLOCK);
            for start in (start..end).step_by(TURN) {
                let turn = start..end.min(start + TURN);
                // Reserve first: a reader that waits for the sink holds no thread.
                let Ok(room) = contents.reserve_many(turn.len()).await else { return Ok(()) };
                let (reader, files, cost) = (self.clone(), Arc::clone(&wanted), Arc::clone(&cost));
                let work = move || {
                    let bytes = |read: &StageResult<Bytes>| read.as_ref().map_or(0, Bytes::len);
                    let content = |entry: &TreeEntry| {
                        reader.check_cost(&cost)?;
                        Ok((entry.clone(), cost.count(bytes, || reader.content(&repo, entry))))
                    };
                    let read = files[turn].iter().map(content).collect::<StageResult<Vec<_>>>()?;
                    Ok((repo, read))
                };
                let (back, read) = blocking(&self.access.stage, work).await?;
                repo = back;
                for (room, content) in room.zip(read) {
                    room.send(content);
                }
            }
        }
    }
}
