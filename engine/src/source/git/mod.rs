//! Local Git repositories, bare or not, read from the object database.
//!
//! Nothing of the repository is executed: no hook, no filter, no configured command, and only the
//! repository's own configuration file is read. Uncommitted changes are counted, never read into the index.

mod config;
mod listing;
mod refs;
mod settings;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use listing::{Seen, list};
pub use settings::GitSettings;

use super::diff::changed_files;
use super::objects::{Access, Purpose, Reader, blocking, with_reader};
use super::permalink::blob_link;
use super::{AnswerCache, ChangedFile, ContentSink, Head, Limits, Listing, PastCommit, Selection, Source};
use crate::blocking::Runtime;
use crate::model::{BranchRef, GitSha, RepoEntry, RepoRef, StageError, StageResult, TreeEntry};

/// A file that is indexed has at most this many bytes, unless `with_limits` says otherwise.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Repositories that are opened one after the other, and how many such lists at once.
const LISTED: usize = 32;
const LISTING: usize = 4;

/// The source of kind `git`. A repository's key is its absolute path.
#[derive(Debug)]
pub struct GitSource {
    access: Arc<Access>,
    /// Stops walks that are under way.
    cancel: CancellationToken,
    /// What was seen of each repository, by its key.
    seen: Mutex<HashMap<String, Seen>>,
}

impl GitSource {
    /// A source for the stage of this name, with the default limits.
    pub fn new(stage: impl Into<String>) -> Self {
        let access = Access {
            stage: stage.into(),
            limits: Limits::default(),
            max_file_bytes: MAX_FILE_BYTES,
            alternates: Vec::new(),
            runtime: Runtime::default(),
        };
        Self::of(access, CancellationToken::new())
    }

    fn of(access: Access, cancel: CancellationToken) -> Self {
        Self { access: Arc::new(access), cancel, seen: Mutex::default() }
    }

    /// With other limits, and for files of at most `max_file_bytes`.
    #[must_use]
    pub fn with_limits(self, limits: Limits, max_file_bytes: u64) -> Self {
        Self::of(Access { limits, max_file_bytes, ..(*self.access).clone() }, self.cancel)
    }

    /// With folders outside the repositories whose Git data they may use.
    #[must_use]
    pub fn with_alternates(self, alternates: Vec<PathBuf>) -> Self {
        Self::of(Access { alternates, ..(*self.access).clone() }, self.cancel)
    }

    /// With the limits of blocking work that others share.
    #[must_use]
    pub fn with_runtime(self, runtime: Runtime) -> Self {
        Self::of(Access { runtime, ..(*self.access).clone() }, self.cancel)
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
        with_reader(&self.access, &self.cancel, &repo.key, &repo.key, work).await
    }

    fn web_page(&self, repo: &RepoRef) -> Option<String> {
        let known = self.seen.lock().get(&repo.key).map(|seen| seen.web_page.clone());
        known.unwrap_or_else(|| {
            let reader = Reader::open(&self.access, &repo.key, Purpose::Walk).ok();
            let page = reader.and_then(|reader| reader.web_page());
            self.seen.lock().insert(repo.key.clone(), Seen::with_page(page.clone()));
            page
        })
    }
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
        let parts: Vec<Vec<RepoRef>> = wanted.chunks(LISTED).map(<[RepoRef]>::to_vec).collect();
        let parts = stream::iter(parts).map(|part| {
            let access = Arc::clone(&self.access);
            async { blocking(&self.access, move || Ok(list(&access, part))).await }
        });
        let parts: Vec<_> = parts.buffered(LISTING).try_collect().await?;
        let mut listing = Listing::default();
        for (part, seen) in parts {
            listing.repositories.extend(part.repositories);
            listing.missing.extend(part.missing);
            listing.refused.extend(part.refused);
            self.seen.lock().extend(seen);
        }
        listing.repositories.sort_by(|a, b| a.repo.name.cmp(&b.repo.name));
        Ok(listing)
    }

    async fn head(&self, repo: &RepoEntry, branch: &BranchRef, _known: Option<GitSha>) -> StageResult<Head> {
        if !Path::new(&repo.repo.key).exists() {
            return Ok(Head::Missing);
        }
        let seen = match branch {
            BranchRef::Default => self.seen.lock().get_mut(&repo.repo.key).and_then(Seen::take_head),
            BranchRef::Named(_) => None,
        };
        if let Some(head) = seen {
            return Ok(head);
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
        let reader = blocking(&self.access, open).await?;
        reader.contents(wanted, sink).await
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

    async fn history(
        &self,
        repo: &RepoRef,
        head: GitSha,
        most: usize,
    ) -> StageResult<Option<Vec<PastCommit>>> {
        self.with_repository(repo, move |reader, stop| reader.history(head, most, stop).map(Some)).await
    }

    async fn differing_files(&self, repo: &RepoRef, commit: GitSha) -> StageResult<Option<u64>> {
        self.with_repository(repo, move |reader, stop| reader.differing_files(commit, stop)).await
    }

    fn permalink(&self, repo: &RepoRef, commit: GitSha, path: &str, lines: (u32, u32)) -> String {
        self.web_page(repo).map_or_else(String::new, |page| blob_link(&page, commit, path, lines))
    }
}
