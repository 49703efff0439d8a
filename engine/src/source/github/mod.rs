//! Repositories on GitHub: github.com, Enterprise Cloud, Enterprise Server.
//!
//! octocrab carries the requests with their token. Limits, retries and the reading of answers are in
//! `net::Service` and here: octocrab retries at once, ignores `retry-after` and follows any redirect. Tokens
//! of Apps are signed here, because octocrab would bring the crate `rsa` (RUSTSEC-2023-0071) or a second
//! crypto provider.

mod answer;
mod app;
mod archive;
mod blobs;
mod client;
mod config;
mod credentials;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod link;
mod listing;
mod names;
mod pages;
mod settings;
mod transport;
mod trees;
mod webhook;

#[cfg(any(test, fuzzing))]
pub use fuzz::{fuzz_answer, fuzz_archive};
pub use settings::GithubSettings;

use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use url::Url;

use self::archive::FEW_FILES;
use self::client::{Ask, Client, SHA};
use self::credentials::Credentials;
use self::names::encode_name;
use super::branch::{NamedRef, not_found, wanted};
use super::diff::changed_files;
use super::permalink::{blob_link, encode_segment};
use super::{AnswerCache, ChangedFile, ContentSink, Head, Limits, Listing, Selection, Source};
use crate::blocking::Runtime;
use crate::model::{
    Allowances, BranchRef, ErrorKind, EventSink, GitSha, MOST_COMMITS, RepoEntry, RepoRef, StageError,
    StageResult, TreeEntry,
};
use crate::net::{self, Timeouts};

/// Files of a project that a plan reads for its estimate, each by a request.
const SAMPLE: usize = 64;
/// Maximum number of files in a comparison; GitHub does not report when it truncates the list.
const MOST_COMPARED_FILES: usize = 300;

/// The source of kind `github`. A repository's key is its numeric id, which survives renames and
/// transfers.
pub struct GithubSource {
    client: Client,
    /// Calls in flight at most.
    concurrency: usize,
    forks: bool,
    archived: bool,
    /// The address of the web pages, without a slash at its end.
    web: String,
}

impl GithubSource {
    /// A source for the stage of this name, with at most `concurrency` calls at once. Nothing is
    /// asked of the service yet.
    pub fn new(
        stage: impl Into<String>,
        settings: &GithubSettings,
        concurrency: usize,
        cancel: CancellationToken,
        events: EventSink,
    ) -> StageResult<Self> {
        let stage = stage.into();
        let base = net::endpoint(&stage, &settings.api_url)?;
        let credentials = Credentials::new(&stage, settings)?;
        Ok(Self {
            web: web_of(&base),
            client: Client::new(stage, base, credentials, concurrency, cancel, events)?,
            concurrency: concurrency.max(1),
            forks: settings.forks,
            archived: settings.archived,
        })
    }

    /// Replaces the default time-outs and retries.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.client.set_timeouts(timeouts);
        self
    }

    /// Shares the limits of the credentials with other processes.
    #[must_use]
    pub fn with_allowances(mut self, allowances: Option<&Arc<dyn Allowances>>) -> Self {
        self.client.share(allowances);
        self
    }

    /// With other bounds on one repository than the usual.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.client.limits = limits;
        self
    }

    /// With the limits of blocking work that others share.
    #[must_use]
    pub fn with_runtime(mut self, runtime: Runtime) -> Self {
        self.client.unpacking = runtime.unpacking;
        self
    }

    /// A comparison of two commits, one page of it; none where the server has none, as of commits
    /// that are gone.
    async fn compare<T: DeserializeOwned>(
        &self,
        repo: &RepoRef,
        base: GitSha,
        head: GitSha,
        page: usize,
    ) -> StageResult<Option<T>> {
        let repo = encode_name(&repo.name);
        let path = format!("/repos/{repo}/compare/{base}...{head}?per_page=1&page={page}");
        self.client
            .ask_once(Ask::json("compare", &path), |answer| match answer.status.as_u16() {
                200 => self.client.parse(&answer).map(Some),
                _ => Ok(None),
            })
            .await
    }

    /// Whether a repository answers at all.
    async fn exists(&self, repo: &RepoRef) -> StageResult<bool> {
        let path = format!("/repos/{}", encode_name(&repo.name));
        self.client
            .ask(Ask::json("head", &path), |answer| match answer.status.as_u16() {
                200 => Ok(true),
                404 => Ok(false),
                _ => Err(self.client.refusal(&format!("repository {}", repo.name), &answer)),
            })
            .await
    }

    async fn head_of(
        &self,
        repo: &RepoRef,
        reference: &str,
        known: Option<GitSha>,
    ) -> StageResult<Option<Head>> {
        let path = format!("/repos/{}/commits/{}", encode_name(&repo.name), encode_segment(reference));
        let etag = known.map(|sha| format!("\"{sha}\""));
        let ask = Ask { accept: SHA, etag: etag.as_deref(), ..Ask::json("head", &path) };
        self.client
            .ask(ask, |answer| match answer.status {
                StatusCode::OK => {
                    match std::str::from_utf8(&answer.body).ok().and_then(|t| t.trim().parse().ok()) {
                        Some(sha) => Ok(Some(Head::Commit(sha))),
                        None => Err(self.client.garbage("something else than a commit id")),
                    }
                }
                StatusCode::NOT_MODIFIED => match known {
                    Some(sha) => Ok(Some(Head::Commit(sha))),
                    None => Err(self.client.garbage("\"not modified\" without having been asked")),
                },
                StatusCode::CONFLICT => Ok(Some(Head::Empty)),
                StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY => Ok(None),
                _ => Err(self.client.refusal(&format!("the head of {}", repo.name), &answer)),
            })
            .await
    }

    /// The head of a branch, of a tag, or of a reference by its full name.
    async fn named(&self, repo: &RepoRef, name: &str, known: Option<GitSha>) -> StageResult<Option<Head>> {
        match wanted(name) {
            // The API takes `heads/main` and `tags/v1`.
            NamedRef::Reference(full) => {
                self.head_of(repo, full.strip_prefix("refs/").unwrap_or(full), known).await
            }
            NamedRef::BranchOrTag(name) => match self.head_of(repo, &format!("heads/{name}"), known).await? {
                None => self.head_of(repo, &format!("tags/{name}"), known).await,
                found => Ok(found),
            },
        }
    }

    /// The comparison's files, where they are surely all of them, and from `base` to `head`.
    async fn compared(
        &self,
        repo: &RepoRef,
        base: GitSha,
        head: GitSha,
    ) -> StageResult<Option<Vec<ChangedFile>>> {
        #[derive(Deserialize)]
        struct Comparison {
            status: String,
            merge_base_commit: Option<Commit>,
            files: Option<Vec<File>>,
        }
        #[derive(Deserialize)]
        struct Commit {
            sha: String,
        }
        #[derive(Deserialize)]
        struct File {
            filename: String,
            status: String,
            sha: Option<String>,
            previous_filename: Option<String>,
        }
        // The files come whole with the first page, however few commits it has.
        let Some(comparison) = self.compare::<Comparison>(repo, base, head, 1).await? else {
            return Ok(None);
        };
        if comparison.status == "identical" {
            return Ok(Some(Vec::new()));
        }
        let straight = comparison.status == "ahead"
            && comparison.merge_base_commit.is_some_and(|commit| commit.sha == base.to_string());
        let files = comparison.files.filter(|files| straight && files.len() < MOST_COMPARED_FILES);
        Ok(files.map(|files| {
            let mut changes: Vec<ChangedFile> = files
                .into_iter()
                .filter(|file| file.status != "unchanged")
                .map(|file| ChangedFile {
                    blob_sha: file.sha.filter(|_| file.status != "removed").and_then(|sha| sha.parse().ok()),
                    path: file.filename,
                    status: file.status,
                    previous_path: file.previous_filename,
                })
                .collect();
            changes.sort_by(|a, b| a.path.cmp(&b.path));
            changes
        }))
    }
}

/// The web pages' address that belongs to an API's.
fn web_of(api: &Url) -> String {
    let host = api.host_str().unwrap_or_default();
    // github.com and Enterprise Cloud serve the API from a separate host, Enterprise Server does not.
    let host = if host == "api.github.com" || (host.starts_with("api.") && host.ends_with(".ghe.com")) {
        &host["api.".len()..]
    } else {
        host
    };
    match api.port() {
        Some(port) => format!("{}://{host}:{port}", api.scheme()),
        None => format!("{}://{host}", api.scheme()),
    }
}

#[async_trait]
impl Source for GithubSource {
    fn stage(&self) -> &str {
        &self.client.stage
    }

    /// One request for each; without credentials there are 60 requests in an hour.
    fn sample(&self) -> usize {
        if self.client.credentials.are_given() { SAMPLE } else { 0 }
    }

    async fn list(
        &self,
        selection: &Selection,
        answers: &dyn AnswerCache,
        fresh: bool,
    ) -> StageResult<Listing> {
        match selection {
            Selection::Owner { owner, keyword } => {
                self.list_owner(owner, keyword.as_deref(), answers, fresh).await
            }
            Selection::Named(wanted) => self.list_named(wanted, answers, fresh).await,
        }
    }

    async fn head(&self, repo: &RepoEntry, branch: &BranchRef, known: Option<GitSha>) -> StageResult<Head> {
        let found = match branch {
            BranchRef::Named(name) => self.named(&repo.repo, name, known).await?,
            BranchRef::Default if repo.default_branch.is_empty() => {
                self.head_of(&repo.repo, "HEAD", known).await?
            }
            BranchRef::Default => {
                let listed = format!("heads/{}", repo.default_branch);
                match self.head_of(&repo.repo, &listed, known).await? {
                    // Renamed since it was listed?
                    None => self.head_of(&repo.repo, "HEAD", known).await?,
                    found => found,
                }
            }
        };
        match (found, branch) {
            (Some(head), _) => Ok(head),
            (None, _) if !self.exists(&repo.repo).await? => Ok(Head::Missing),
            (None, BranchRef::Named(name)) => not_found(self.stage(), name),
            (None, BranchRef::Default) => Ok(Head::NoBranch),
        }
    }

    async fn tree(&self, repo: &RepoRef, commit: GitSha) -> StageResult<Vec<TreeEntry>> {
        trees::whole_tree(&self.client, &repo.name, commit).await
    }

    async fn fetch(
        &self,
        repo: &RepoRef,
        commit: GitSha,
        wanted: Vec<TreeEntry>,
        sink: &mut dyn ContentSink,
    ) -> StageResult<()> {
        let rest = if wanted.len() > FEW_FILES {
            archive::fetch(&self.client, &repo.name, commit, wanted, sink).await?
        } else {
            wanted
        };
        blobs::fetch(&self.client, self.concurrency, &repo.name, rest, sink).await
    }

    async fn changes(&self, repo: &RepoRef, base: GitSha, head: GitSha) -> StageResult<Vec<ChangedFile>> {
        match self.compared(repo, base, head).await {
            Ok(Some(changes)) => return Ok(changes),
            Ok(None) => {}
            // Large comparisons time out on the server; comparing the trees gives the same result.
            Err(error) if matches!(error.kind, ErrorKind::Transient { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(changed_files(&self.tree(repo, base).await?, &self.tree(repo, head).await?))
    }

    async fn commits_between(&self, repo: &RepoRef, base: GitSha, head: GitSha) -> StageResult<Option<u64>> {
        #[derive(Deserialize)]
        struct Comparison {
            status: String,
            ahead_by: u64,
        }
        // The files, with their patches, come with the first page alone.
        let comparison = self.compare::<Comparison>(repo, base, head, 2).await?;
        let straight = comparison.filter(|found| matches!(found.status.as_str(), "ahead" | "identical"));
        Ok(straight.map(|found| found.ahead_by.min(MOST_COMMITS)))
    }

    fn permalink(&self, repo: &RepoRef, commit: GitSha, path: &str, lines: (u32, u32)) -> String {
        blob_link(&format!("{}/{}", self.web, encode_name(&repo.name)), commit, path, lines)
    }
}

impl std::fmt::Debug for GithubSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GithubSource").field("stage", &self.client.stage).finish_non_exhaustive()
    }
}

/// The error of a name that is not `owner/name`.
fn bad_name(stage: &str, name: &str) -> StageError {
    StageError::refused(stage, format!("`{name}` is not a repository's name"))
        .hint("write it as \"owner/name\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn web_pages_of_apis() {
        for (api, web) in [
            ("https://api.github.com/", "https://github.com"),
            ("https://api.acme.ghe.com/", "https://acme.ghe.com"),
            ("https://git.example.com/api/v3/", "https://git.example.com"),
            ("http://127.0.0.1:8080/api/v3/", "http://127.0.0.1:8080"),
        ] {
            assert_eq!(web_of(&Url::parse(api).expect("a URL")), web);
        }
    }
}
