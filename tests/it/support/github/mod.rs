//! A fake GitHub: a real server on a loopback port that serves the objects of real repositories,
//! enforces GitHub's rules (authentication, pagination, ETags, limits), checks every exchange against
//! GitHub's OpenAPI file, and can fail in chosen ways.

mod api;
mod objects;
mod shapes;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use reposync::model::Secret;
use reposync::source::github::GithubSettings;

use super::http::{Exchange, Fault, Response, Server};

/// A personal token that the fake accepts, of the user `ada`.
pub(crate) const TOKEN: &str = "ghp_fakeTokenOfAda0123456789";
/// The id of the only App.
pub(crate) const APP_ID: u64 = 4711;
/// The id of its installation.
pub(crate) const INSTALLATION_ID: u64 = 7;
/// Its private key, made for these tests.
pub(crate) const APP_KEY: &str = include_str!("../../fixtures/github-app.pem");
/// The token in an archive's address.
pub(crate) const ARCHIVE_TOKEN: &str = "archiveAddressSecret42";

/// A repository as GitHub shows it. Change it with [`FakeGithub::edit`].
#[derive(Debug, Clone)]
pub(crate) struct Repo {
    pub(crate) id: u64,
    pub(crate) full_name: String,
    /// The folder whose objects are served; `None`: a repository without commits.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) private: bool,
    pub(crate) description: Option<String>,
    pub(crate) topics: Vec<String>,
    pub(crate) fork: bool,
    pub(crate) archived: bool,
    pub(crate) default_branch: String,
    pub(crate) pushed_at: Option<String>,
    /// Former names, which redirect.
    pub(crate) former: Vec<String>,
    /// Every request for it gets this status: 403, 451.
    pub(crate) denied: Option<u16>,
}

/// An error status with GitHub's form of body.
pub(crate) fn refusal(status: u16, message: &str) -> Fault {
    Fault::Answer(Response::json(status, &shapes::error(message)))
}

/// A fake GitHub; it stops when dropped.
pub(crate) struct FakeGithub {
    api: Server,
    prefix: &'static str,
    state: Arc<State>,
    /// Serves archives: to a client, another host.
    archives: Server,
}

#[derive(Default)]
struct State {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    base: String,
    archives: String,
    prefix: &'static str,
    repos: Vec<Repo>,
    /// Logins, each with `Organization` or `User`.
    owners: HashMap<String, &'static str>,
    /// The current token of the App's installation, and the number of tokens issued.
    installation_token: Option<String>,
    tokens_issued: usize,
    /// Number of requests after which an installation token expires; `None`: it never expires.
    token_requests: Option<usize>,
    token_requests_left: usize,
    repositories_made: u64,
    problems: Vec<String>,
    tree_limit: Option<usize>,
    /// Remaining requests, and seconds until the limit is reset.
    budget: Option<(u64, u64)>,
    blobs_as_json: bool,
}

impl FakeGithub {
    /// A fake of github.com: paths begin at the root.
    pub(crate) fn start() -> Self {
        Self::start_below("")
    }

    /// A fake of an Enterprise Server: paths begin with `/api/v3`.
    pub(crate) fn start_enterprise() -> Self {
        Self::start_below("/api/v3")
    }

    fn start_below(prefix: &'static str) -> Self {
        let state = Arc::new(State::default());
        let (for_api, for_archives) = (Arc::clone(&state), Arc::clone(&state));
        let api = Server::start(move |request| for_api.answer(request));
        let archives = Server::start(move |request| for_archives.archive(request));
        {
            let mut inner = state.lock();
            inner.base = format!("{}{prefix}", api.url());
            inner.archives = archives.url();
            inner.prefix = prefix;
            inner.owners.insert("ada".into(), "User");
        }
        Self { api, prefix, state, archives }
    }

    /// The API's base URL.
    pub(crate) fn api_url(&self) -> String {
        format!("{}{}", self.api.url(), self.prefix)
    }

    /// Settings with the personal token.
    pub(crate) fn settings(&self) -> GithubSettings {
        GithubSettings { token: Some(Secret::new(TOKEN)), ..self.anonymous() }
    }

    /// Settings without credentials.
    pub(crate) fn anonymous(&self) -> GithubSettings {
        GithubSettings { api_url: self.api_url(), ..GithubSettings::default() }
    }

    /// Settings of the App's installation.
    pub(crate) fn app_settings(&self) -> GithubSettings {
        GithubSettings {
            app_id: Some(APP_ID),
            installation_id: Some(INSTALLATION_ID),
            private_key: Some(Secret::new(APP_KEY)),
            ..self.anonymous()
        }
    }

    /// Adds a repository with the objects of a folder; an unknown owner becomes an organization.
    pub(crate) fn repository(&self, full_name: &str, folder: Option<&Path>) -> u64 {
        let mut inner = self.state.lock();
        // Ids are never reused, as at GitHub.
        let id = 1000 + inner.repositories_made;
        inner.repositories_made += 1;
        let (owner, _) = full_name.split_once('/').expect("owner/name");
        inner.owners.entry(owner.to_lowercase()).or_insert("Organization");
        inner.repos.push(Repo {
            id,
            full_name: full_name.into(),
            folder: folder.map(Path::to_owned),
            private: false,
            description: None,
            topics: Vec::new(),
            fork: false,
            archived: false,
            default_branch: "main".into(),
            pushed_at: Some("2026-01-02T03:04:05Z".into()),
            former: Vec::new(),
            denied: None,
        });
        id
    }

    /// Adds a user or an organization without repositories.
    pub(crate) fn owner(&self, login: &str, kind: &'static str) {
        self.state.lock().owners.insert(login.to_lowercase(), kind);
    }

    /// Changes a repository.
    pub(crate) fn edit(&self, full_name: &str, change: impl FnOnce(&mut Repo)) {
        let mut inner = self.state.lock();
        change(inner.repos.iter_mut().find(|repo| repo.full_name == full_name).expect("a known repository"));
    }

    /// Removes a repository.
    pub(crate) fn remove(&self, full_name: &str) {
        self.state.lock().repos.retain(|repo| repo.full_name != full_name);
    }

    /// Makes the next `times` requests fail whose `METHOD path` contains `on`. Archive paths begin with
    /// `/archive/`.
    pub(crate) fn fail(&self, on: &str, times: usize, fault: Fault) {
        let server = if on.starts_with("/archive/") { &self.archives } else { &self.api };
        server.fail_times(on, times, fault);
    }

    /// The API's server.
    pub(crate) fn api(&self) -> &Server {
        &self.api
    }

    /// The archive server.
    pub(crate) fn archives(&self) -> &Server {
        &self.archives
    }

    /// Truncates recursive trees to this many entries.
    pub(crate) fn limit_trees(&self, entries: usize) {
        self.state.lock().tree_limit = Some(entries);
    }

    /// Leaves this many requests, until the limit is reset after `reset_in` seconds.
    pub(crate) fn limit_budget(&self, left: u64, reset_in: u64) {
        self.state.lock().budget = Some((left, reset_in));
    }

    /// Ignores the raw media type for blobs.
    pub(crate) fn serve_blobs_as_json(&self) {
        self.state.lock().blobs_as_json = true;
    }

    /// Revokes the current installation token.
    pub(crate) fn expire_installation_token(&self) {
        self.state.lock().installation_token = Some("expired".into());
    }

    /// Makes every installation token expire after this many requests.
    pub(crate) fn limit_installation_tokens(&self, requests: usize) {
        let mut inner = self.state.lock();
        inner.token_requests = Some(requests);
        inner.token_requests_left = 0;
    }

    /// Number of tokens that the installation has got.
    pub(crate) fn tokens_issued(&self) -> usize {
        self.state.lock().tokens_issued
    }

    /// The exchanges with the API since the last call.
    pub(crate) fn take_seen(&self) -> Vec<Exchange> {
        self.api.take_requests()
    }

    /// The exchanges about archives since the last call.
    pub(crate) fn take_archive_seen(&self) -> Vec<Exchange> {
        self.archives.take_requests()
    }

    /// Panics if an exchange broke GitHub's rules.
    pub(crate) fn assert_conforming(&self) {
        let problems = self.take_problems();
        assert!(problems.is_empty(), "{problems:#?}");
    }

    /// Violations of GitHub's rules since the last call.
    pub(crate) fn take_problems(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().problems)
    }
}
