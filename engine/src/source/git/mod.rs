//! Local Git repositories, bare or not, read from the object database.
//!
//! Nothing of the repository is executed: no hook, no filter, no configured command, and only the
//! repository's own configuration file is read. Uncommitted changes are counted, never read into the index.

mod config;
mod refs;
mod settings;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

pub use settings::GitSettings;

use super::diff::changed_files;
use super::objects::{Access, Purpose, Reader, blocking, with_reader};
use super::permalink::blob_link;
use super::{AnswerCache, ChangedFile, ContentSink, Head, Limits, Listing, PastCommit, Selection, Source};
use crate::blocking::Runtime;
use crate::model::{BranchRef, GitSha, RepoEntry, RepoRef, StageError, StageResult, TreeEntry};

/// A file that is indexed has at most this many bytes, unless `with_limits` says otherwise.
const MAX_FILE_BYTES: u64 = 1 << 20;

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
            runtime: Runtime::default(),
        };
        Self::of(access, CancellationToken::new())
    }

    fn of(access: Access, cancel: CancellationToken) -> Self {
        Self { access: Arc::new(access), cancel, web_pages: Mutex::default() }
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
        let known = self.web_pages.lock().get(&repo.key).cloned();
        known.unwrap_or_else(|| {
            let reader = Reader::open(&self.access, &repo.key, Purpose::Walk).ok();
            let page = reader.and_then(|reader| reader.web_page());
            self.remember_web_page(&repo.key, page.clone());
            page
        })
    }

    fn remember_web_page(&self, key: &str, page: Option<String>) {
        self.web_pages.lock().insert(key.to_owned(), page);
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
        let (access, wanted) = (Arc::clone(&self.access), wanted.clone());
        let (listing, pages) = blocking(&self.access, move || Ok(list(&access, wanted))).await?;
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
