//! A fake GitHub: a real server on a loopback port that serves the objects of real repositories,
//! keeps GitHub's rules (authentication, pages, ETags, limits), checks every exchange against
//! GitHub's OpenAPI file, and can be told to fail.

mod api;
mod objects;
mod shapes;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use reposync::model::Secret;
use reposync::source::GithubSettings;

use super::http::{Exchange, Fault, Response, Server};

/// A personal token that the fake accepts, of the user `ada`.
pub(crate) const TOKEN: &str = "ghp_fakeTokenOfAda0123456789";
/// The App that the fake knows.
pub(crate) const APP_ID: u64 = 4711;
/// Its installation.
pub(crate) const INSTALLATION_ID: u64 = 7;
/// Its private key, made for these tests.
pub(crate) const APP_KEY: &str = include_str!("../../fixtures/github-app.pem");
/// What the archive's address carries.
pub(crate) const ARCHIVE_TOKEN: &str = "archiveAddressSecret42";

/// A repository as GitHub shows it. Change it with [`FakeGithub::edit`].
#[derive(Debug, Clone)]
pub(crate) struct Repo {
    pub(crate) id: u64,
    pub(crate) full_name: String,
    /// The folder whose objects are served; none: a repository without commits.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) private: bool,
    pub(crate) description: Option<String>,
    pub(crate) topics: Vec<String>,
    pub(crate) fork: bool,
    pub(crate) archived: bool,
    pub(crate) default_branch: String,
    pub(crate) pushed_at: Option<String>,
    /// Names it had before; they redirect.
    pub(crate) former: Vec<String>,
    /// Everything of it answers so: 403, 451.
    pub(crate) denied: Option<u16>,
}

/// An error status with GitHub's kind of body.
pub(crate) fn refusal(status: u16, message: &str) -> Fault {
    Fault::Answer(Response::json(status, &shapes::error(message)))
}

/// A fake GitHub; it stops when dropped.
pub(crate) struct FakeGithub {
    api: Server,
    prefix: &'static str,
    state: Arc<State>,
    /// Where archives come from: another host, to a client.
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
    /// Logins and `Organization` or `User`.
    owners: HashMap<String, &'static str>,
    /// The token of the App's installation that is good now, and how many there were.
    installation_token: Option<String>,
    tokens_issued: usize,
    /// How many requests a token of the installation is good for; none: its hour never ends.
    token_requests: Option<usize>,
    token_requests_left: usize,
    repositories_made: u64,
    problems: Vec<String>,
    tree_limit: Option<usize>,
    /// Requests left, and the seconds until there are more.
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

    /// The API's base.
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

    /// Adds a repository with the objects of a folder; its owner is an organisation unless known.
    pub(crate) fn repository(&self, full_name: &str, folder: Option<&Path>) -> u64 {
        let mut inner = self.state.lock();
        // An id is never given again, as at GitHub.
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

    /// Makes an owner a user or an organisation without repositories.
    pub(crate) fn owner(&self, login: &str, kind: &'static str) {
        self.state.lock().owners.insert(login.to_lowercase(), kind);
    }

    /// Changes a repository.
    pub(crate) fn edit(&self, full_name: &str, change: impl FnOnce(&mut Repo)) {
        let mut inner = self.state.lock();
        change(inner.repos.iter_mut().find(|repo| repo.full_name == full_name).expect("a known repository"));
    }

    /// Takes a repository away.
    pub(crate) fn remove(&self, full_name: &str) {
        self.state.lock().repos.retain(|repo| repo.full_name != full_name);
    }

    /// The next `times` requests whose `METHOD path` contains `on` fail. Archives' paths begin
    /// with `/archive/`.
    pub(crate) fn fail(&self, on: &str, times: usize, fault: Fault) {
        let server = if on.starts_with("/archive/") { &self.archives } else { &self.api };
        server.fail_times(on, times, fault);
    }

    /// The API's server.
    pub(crate) fn api(&self) -> &Server {
        &self.api
    }

    /// The archives' server.
    pub(crate) fn archives(&self) -> &Server {
        &self.archives
    }

    /// No recursive tree has more entries; the rest is cut off.
    pub(crate) fn limit_trees(&self, entries: usize) {
        self.state.lock().tree_limit = Some(entries);
    }

    /// So many requests are left, and in so many seconds there are more.
    pub(crate) fn limit_budget(&self, left: u64, reset_in: u64) {
        self.state.lock().budget = Some((left, reset_in));
    }

    /// Knows no raw media type for blobs.
    pub(crate) fn serve_blobs_as_json(&self) {
        self.state.lock().blobs_as_json = true;
    }

    /// The installation's present token is good no longer.
    pub(crate) fn expire_installation_token(&self) {
        self.state.lock().installation_token = Some("expired".into());
    }

    /// Every token of the installation is good for so many requests.
    pub(crate) fn limit_installation_tokens(&self, requests: usize) {
        let mut inner = self.state.lock();
        inner.token_requests = Some(requests);
        inner.token_requests_left = 0;
    }

    /// How many tokens the installation has got.
    pub(crate) fn tokens_issued(&self) -> usize {
        self.state.lock().tokens_issued
    }

    /// The exchanges with the API since the last call of this.
    pub(crate) fn take_seen(&self) -> Vec<Exchange> {
        self.api.take_requests()
    }

    /// The exchanges about archives since the last call of this.
    pub(crate) fn take_archive_seen(&self) -> Vec<Exchange> {
        self.archives.take_requests()
    }

    /// Panics where an exchange broke GitHub's rules.
    pub(crate) fn assert_conforming(&self) {
        let problems = self.take_problems();
        assert!(problems.is_empty(), "{problems:#?}");
    }

    /// What broke GitHub's rules since the last call of this.
    pub(crate) fn take_problems(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().problems)
    }
}
