//! Repositories on any server that speaks Git over HTTPS or ssh: GitLab, Gitea, Bitbucket, Azure DevOps, or a
//! plain `git http-backend` or `sshd`.
//!
//! A run asks each repository for its references. Only where a commit is new is a shallow pack fetched into a
//! clone on this machine's disk, which is read like a local repository. No configuration of Git is read, and no
//! program is started but `ssh`.

mod address;
mod advertisement;
mod clones;
mod config;
mod disk;
mod head;
mod links;
mod pkt;
mod remote;
mod request;
mod scan;
mod settings;
mod ssh;
mod store;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::HeaderValue;
use tokio_util::sync::CancellationToken;

use self::address::{Address, Scheme};
use self::clones::{CloneState, Clones, Held};
use self::links::Links;
use self::remote::{Remote, Repository, missing};
use self::request::PackRequest;
use self::scan::Bounds;
pub use self::settings::GitRemoteSettings;
use self::ssh::SshTransport;
use super::diff::changed_files;
use super::objects::{Access, Purpose, Reader, blocking, with_reader};
use super::{AnswerCache, ChangedFile, ContentSink, Head, Limits, Listing, Selection, Source};
use crate::blocking::Runtime;
use crate::model::{
    Allowances, BranchRef, EntryMode, ErrorKind, EventSink, GitSha, MOST_COMMITS, RepoEntry, RepoRef, Secret,
    ServiceKind, StageError, StageResult, TreeEntry, register_secrets,
};
use crate::net::{Limiter, Service, Timeouts, Transport, http_client, secret_header};

/// A file that is indexed has at most this many bytes, unless `with_limits` says otherwise.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Commits that a request names as being here. More would not make the pack smaller.
const MOST_HELD: usize = 3;
/// Repositories that a fresh listing asks at once; the calls at once are fewer where the stage says so.
const ASKED_AT_ONCE: usize = 32;
/// The user name that goes with a token or password without one.
const USERNAME: &str = "git";
/// Appended to the name of a clone: that of the one that holds commits alone.
const HISTORY: &str = "-history";

/// The source of kind `git-remote`. A repository's key is its address.
#[derive(Debug)]
pub struct GitRemoteSource {
    access: Arc<Access>,
    remote: Remote,
    clones: Clones,
    links: Option<Links>,
    cancel: CancellationToken,
}

impl GitRemoteSource {
    /// A source for the stage of this name, with clones in `folder` and the default limits. `calls`: requests
    /// at once.
    pub fn new(
        stage: impl Into<String>,
        settings: &GitRemoteSettings,
        folder: PathBuf,
        calls: usize,
        cancel: CancellationToken,
        events: EventSink,
    ) -> StageResult<Self> {
        let stage = stage.into();
        if let Some((key, why, hint)) = settings.problems().into_iter().next() {
            return Err(StageError::misconfigured(&stage, format!("`{key}`: {why}")).hint(hint));
        }
        let base = settings.base().map_err(|(why, hint)| {
            StageError::misconfigured(&stage, format!("`base_url`: {why}")).hint(hint)
        })?;
        let transport: Arc<dyn Transport> = match (base.scheme(), &settings.ssh_key, &settings.known_hosts) {
            (Scheme::Ssh, Some(key), Some(known_hosts)) => Arc::new(SshTransport {
                stage: stage.clone(),
                key: key.clone(),
                known_hosts: known_hosts.clone(),
            }),
            _ => Arc::new(http_client(&stage)?),
        };
        let limiter = Limiter::new(calls, None, None);
        let service = Service::new(ServiceKind::Source, &*stage, transport, limiter, cancel.clone(), events);
        let limits = Limits::default();
        let remote = Remote::new(service, base, credentials(&stage, settings)?, limits.object_bytes.0);
        let clones = Clones::new(&stage, folder, settings.clones, cancel.clone())?;
        let links = settings.links.as_deref().and_then(|links| Links::parse(links).ok());
        let runtime = Runtime::default();
        let access =
            Access { stage, limits, max_file_bytes: MAX_FILE_BYTES, alternates: Vec::new(), runtime };
        Ok(Self { access: Arc::new(access), remote, clones, links, cancel })
    }

    /// With other limits, and for files of at most `max_file_bytes`.
    #[must_use]
    pub fn with_limits(self, limits: Limits, max_file_bytes: u64) -> Self {
        let remote = self.remote.with_longest(limits.object_bytes.0);
        let access = Access { limits, max_file_bytes, ..(*self.access).clone() };
        Self { access: Arc::new(access), remote, ..self }
    }

    /// With the limits of blocking work that others share.
    #[must_use]
    pub fn with_runtime(self, runtime: Runtime) -> Self {
        Self { access: Arc::new(Access { runtime, ..(*self.access).clone() }), ..self }
    }

    /// Shares the pauses that the server asks for with other processes.
    #[must_use]
    pub fn with_allowances(self, allowances: Option<&Arc<dyn Allowances>>) -> Self {
        Self { remote: self.remote.with_allowances(allowances), ..self }
    }

    /// With other time-outs and retries.
    #[must_use]
    pub fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { remote: self.remote.with_timeouts(timeouts), ..self }
    }

    fn repository(&self, repo: &RepoRef) -> StageResult<Repository> {
        let address = Address::parse(&repo.key).map_err(|(why, hint)| {
            StageError::refused(&self.access.stage, format!("`{}`: {why}", repo.name)).hint(hint)
        })?;
        Ok(Repository { name: repo.name.clone(), address })
    }

    /// A clone with a commit, its folders and its files; fetched where it is not there.
    async fn hold(&self, repository: &Repository, commit: GitSha) -> StageResult<Held> {
        let name = clone_name(&repository.address);
        let most = self.access.max_file_bytes;
        let held = self.clones.read(&name).await?;
        if held.state.holds(commit, most) {
            return Ok(held);
        }
        drop(held);
        let writing = self.clones.write(&name, &repository.address.to_string()).await?;
        if writing.state().holds(commit, most) {
            return Ok(writing.unchanged());
        }
        // What is not indexed need not be here either.
        let left_out = self.remote.abilities(repository).await?.filters().then(|| most.saturating_add(1));
        let filter = left_out.map(|bytes| format!("blob:limit={bytes}"));
        // Commits without files that are needed now count as not there.
        let usable = writing.state().has_files_of(most);
        let mut state = if usable { writing.state().clone() } else { CloneState::default() };
        let held = state.commits.iter().rev().take(MOST_HELD).copied().collect();
        let mut wanted = PackRequest { commit, held, depth: 1, filter };
        match self.receive(repository, &wanted, &writing).await {
            // The server takes a file for held that it left out itself, and sends the difference to it.
            Err(error) if error.kind == ErrorKind::BadInput && !wanted.held.is_empty() => {
                tracing::debug!(repository = repository.name, error = %error.one_line(), "fetching it whole");
                wanted.held.clear();
                self.receive(repository, &wanted, &writing).await?;
            }
            received => received?,
        }
        state.add(commit, left_out);
        let held = writing.record(state)?;
        self.evict().await?;
        Ok(held)
    }

    /// A clone with a commit and those before it, without their folders and files; none where the server
    /// cannot leave these out.
    async fn hold_history(&self, repository: &Repository, commit: GitSha) -> StageResult<Option<Held>> {
        let name = clone_name(&repository.address) + HISTORY;
        let held = self.clones.read(&name).await?;
        if held.state.holds(commit, 0) {
            return Ok(Some(held));
        }
        drop(held);
        if !self.remote.abilities(repository).await?.filters() {
            return Ok(None);
        }
        let writing = self.clones.write(&name, &repository.address.to_string()).await?;
        if writing.state().holds(commit, 0) {
            return Ok(Some(writing.unchanged()));
        }
        let depth = u32::try_from(MOST_COMMITS).unwrap_or(u32::MAX).saturating_add(1);
        let wanted = PackRequest { commit, held: Vec::new(), depth, filter: Some("tree:0".to_owned()) };
        self.receive(repository, &wanted, &writing).await?;
        let mut state = writing.state().clone();
        state.add(commit, None);
        let held = writing.record(state)?;
        self.evict().await?;
        Ok(Some(held))
    }

    /// Fetches a pack, checks it, and stores it.
    async fn receive(
        &self,
        repository: &Repository,
        wanted: &PackRequest,
        writing: &clones::Writing<'_>,
    ) -> StageResult<()> {
        let limits = &self.access.limits;
        let bounds = Bounds { files: limits.files as u64, object_bytes: limits.object_bytes.0 };
        let received = store::Received {
            access: Arc::clone(&self.access),
            name: repository.name.clone(),
            file: writing.incoming(),
            clone: writing.folder().to_owned(),
            thin: !wanted.held.is_empty(),
            bounds,
        };
        let store = || store::store(received.clone(), &self.cancel);
        self.remote.fetch(repository, wanted, &received.file, self.clones.most(), store).await
    }

    async fn is_there(&self, repo: &RepoRef) -> StageResult<bool> {
        let repository = self.repository(repo)?;
        Ok(self.remote.references(&repository, &["HEAD".to_owned()]).await?.is_some())
    }

    async fn evict(&self) -> StageResult<()> {
        let clones = self.clones.clone();
        blocking(&self.access, move || {
            clones.evict();
            Ok(())
        })
        .await
    }

    /// Reads a commit of a repository. A clone that turns out to be damaged is made again, once.
    async fn read<T, F>(&self, repo: &RepoRef, commit: GitSha, work: F) -> StageResult<T>
    where
        T: Send + 'static,
        F: Fn(&Reader, &CloneState, &CancellationToken) -> StageResult<T> + Clone + Send + 'static,
    {
        let repository = self.repository(repo)?;
        let mut anew = false;
        loop {
            let held = self.hold(&repository, commit).await?;
            let (state, again) = (held.state.clone(), work.clone());
            let read =
                with_reader(&self.access, &self.cancel, &repo.name, held.folder(), move |reader, stop| {
                    again(reader, &state, stop)
                });
            match read.await {
                Err(error) if error.kind == ErrorKind::BadInput && !anew => {
                    tracing::warn!(repository = repo.name, error = %error.one_line(), "a clone is made again");
                    drop(held);
                    self.clones.discard(&clone_name(&repository.address)).await?;
                    anew = true;
                }
                done => return done,
            }
        }
    }
}

/// The credentials of the settings, as HTTP takes them.
fn credentials(stage: &str, settings: &GitRemoteSettings) -> StageResult<Option<HeaderValue>> {
    let (key, secret) = match (&settings.token, &settings.password) {
        (Some(token), _) => ("token", token),
        (None, Some(password)) => ("password", password),
        (None, None) => return Ok(None),
    };
    let plain = secret.expose().trim();
    if plain.is_empty() {
        return secret_header(stage, key, "", secret).map(Some);
    }
    register_secrets([plain.to_owned()]);
    let username = settings.username.as_deref().unwrap_or(USERNAME);
    let coded = Secret::new(STANDARD.encode(format!("{username}:{plain}")));
    secret_header(stage, key, "Basic ", &coded).map(Some)
}

/// The name of a repository's clone.
fn clone_name(address: &Address) -> String {
    blake3::hash(address.to_string().as_bytes()).to_hex()[..32].to_owned()
}

#[async_trait]
impl Source for GitRemoteSource {
    fn stage(&self) -> &str {
        &self.access.stage
    }

    /// Whoever has read a tree has fetched its files.
    fn reads_are_free(&self) -> bool {
        true
    }

    /// A count may need the history, which is fetched for nothing else.
    fn counts_are_free(&self) -> bool {
        false
    }

    /// What the project names. Without `fresh` no request is sent: that a repository is not there shows when its
    /// head is asked.
    async fn list(
        &self,
        selection: &Selection,
        _answers: &dyn AnswerCache,
        fresh: bool,
    ) -> StageResult<Listing> {
        let Selection::Named(wanted) = selection else {
            return Err(StageError::refused(self.stage(), "the server has no owners to list")
                .hint("name the repositories in the project: repositories = [\"group/app\", …]"));
        };
        let mut listing = Listing::default();
        let mut asked = stream::iter(wanted.iter().cloned())
            .map(|repo| async move { (if fresh { self.is_there(&repo).await } else { Ok(true) }, repo) })
            .buffered(ASKED_AT_ONCE);
        while let Some((there, repo)) = asked.next().await {
            match there {
                Ok(true) => listing.repositories.push(RepoEntry {
                    repo,
                    default_branch: String::new(),
                    pushed_at: None,
                    pushed_at_settled: false,
                }),
                Ok(false) => listing.missing.push(repo),
                Err(error) if error.kind.is_item() => listing.refused.push((repo, error)),
                Err(error) => return Err(error),
            }
        }
        listing.repositories.sort_by(|a, b| a.repo.name.cmp(&b.repo.name));
        Ok(listing)
    }

    async fn head(&self, repo: &RepoEntry, branch: &BranchRef, known: Option<GitSha>) -> StageResult<Head> {
        let repository = self.repository(&repo.repo)?;
        match head::head(&self.remote, &repository, branch).await? {
            Head::Missing if known.is_none() => Err(missing(self.stage(), &repository.name)),
            head => Ok(head),
        }
    }

    async fn tree(&self, repo: &RepoRef, commit: GitSha) -> StageResult<Vec<TreeEntry>> {
        self.read(repo, commit, move |reader: &Reader, state: &CloneState, stop: &CancellationToken| {
            let mut entries = reader.tree(commit, stop)?;
            for entry in &mut entries {
                if entry.mode != EntryMode::File || entry.size.is_some() {
                    continue;
                }
                // What was left out is known to be at least so large.
                entry.size = state.left_out;
                if entry.size.is_none() {
                    return Err(reader.missing(&format!("`{}`", entry.path)));
                }
            }
            Ok(entries)
        })
        .await
    }

    async fn fetch(
        &self,
        repo: &RepoRef,
        commit: GitSha,
        wanted: Vec<TreeEntry>,
        sink: &mut dyn ContentSink,
    ) -> StageResult<()> {
        if wanted.is_empty() {
            return Ok(());
        }
        let repository = self.repository(repo)?;
        let held = self.hold(&repository, commit).await?;
        let (access, name, path) = (Arc::clone(&self.access), repo.name.clone(), held.folder().to_owned());
        let open = move || Reader::open_named(&access, &name, &path, Purpose::Contents);
        let reader = blocking(&self.access, open).await?;
        let mut watched = Watched { sink, damaged: false };
        reader.contents(wanted, &mut watched).await?;
        let damaged = watched.damaged;
        drop(held);
        if damaged {
            // The files failed; the next run fetches them again.
            self.clones.discard(&clone_name(&repository.address)).await?;
        }
        Ok(())
    }

    async fn changes(&self, repo: &RepoRef, base: GitSha, head: GitSha) -> StageResult<Vec<ChangedFile>> {
        let entries = |commit| {
            self.read(repo, commit, move |reader: &Reader, _: &CloneState, stop: &CancellationToken| {
                reader.entries(commit, stop)
            })
        };
        Ok(changed_files(&entries(base).await?, &entries(head).await?))
    }

    async fn commits_between(&self, repo: &RepoRef, base: GitSha, head: GitSha) -> StageResult<Option<u64>> {
        let repository = self.repository(repo)?;
        let held = match self.hold_history(&repository, head).await {
            Err(error) if error.kind.is_item() => None,
            held => held?,
        };
        // Unknown where the server does not hand it out, or the base lies before what was fetched.
        let Some(held) = held else { return Ok(None) };
        let count = move |reader: &Reader, stop: &CancellationToken| {
            Ok(reader.commits_between(base, head, stop).ok().flatten())
        };
        with_reader(&self.access, &self.cancel, &repo.name, held.folder(), count).await
    }

    fn permalink(&self, repo: &RepoRef, commit: GitSha, path: &str, lines: (u32, u32)) -> String {
        match (&self.links, Address::parse(&repo.key)) {
            (Some(links), Ok(address)) => links.link(&address, commit, path, lines),
            _ => String::new(),
        }
    }
}

/// Notices contents that cannot be read.
struct Watched<'a> {
    sink: &'a mut dyn ContentSink,
    damaged: bool,
}

#[async_trait]
impl ContentSink for Watched<'_> {
    async fn put(&mut self, entry: TreeEntry, content: StageResult<Bytes>) -> StageResult<()> {
        self.damaged |= content.as_ref().is_err_and(|error| error.kind == ErrorKind::BadInput);
        self.sink.put(entry, content).await
    }
}
