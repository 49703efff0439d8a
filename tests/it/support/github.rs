//! A fake GitHub: a real server on a loopback port that serves the objects of real repositories,
//! keeps GitHub's rules (authentication, pages, ETags, limits), checks every exchange against
//! GitHub's OpenAPI file, records it, and can be told to fail.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use octocrab::jsonwebtoken::{Algorithm, DecodingKey, Validation};
use percent_encoding::percent_decode_str;
use reposync::model::Secret;
use reposync::source::GithubSettings;
use serde_json::{Value, json};

use super::github_shapes as shapes;
use super::http::{Reply, Request, Response, Server};
use super::openapi::Spec;

/// A personal token that the fake accepts, of the user `ada`.
pub(crate) const TOKEN: &str = "ghp_fakeTokenOfAda0123456789";
/// The App that the fake knows.
pub(crate) const APP_ID: u64 = 4711;
/// Its installation.
pub(crate) const INSTALLATION_ID: u64 = 7;
/// Its private key, made for these tests.
pub(crate) const APP_KEY: &str = include_str!("../fixtures/github-app.pem");
const APP_PUBLIC_KEY: &str = include_str!("../fixtures/github-app.pub.pem");
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

/// What goes wrong.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// This answer instead.
    Answer(Response),
    /// The right answer, cut off in the middle.
    Half,
    /// The connection ends without an answer.
    Reset,
    /// Nothing ever comes.
    Hang,
}

impl Fault {
    /// An error status with GitHub's kind of body.
    pub(crate) fn status(status: u16, message: &str) -> Self {
        Self::Answer(Response::json(status, &shapes::error(message)))
    }

    /// A proxy's page with a good status.
    pub(crate) fn html() -> Self {
        let page = Response { status: 200, body: b"<html>Please log in</html>".to_vec(), headers: vec![] };
        Self::Answer(page.with("content-type", "text/html"))
    }

    /// With a header.
    pub(crate) fn with(self, name: &str, value: impl Into<String>) -> Self {
        match self {
            Self::Answer(response) => Self::Answer(response.with(name, value)),
            other => other,
        }
    }
}

/// One exchange as it was.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) request: Request,
    /// None where the connection was broken.
    pub(crate) status: Option<u16>,
}

/// A fake GitHub; it stops when dropped.
pub(crate) struct FakeGithub {
    api: Server,
    prefix: &'static str,
    state: Arc<State>,
    /// Where archives come from: another host, to a client.
    _archives: Server,
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
    faults: Vec<(String, usize, Fault)>,
    seen: Vec<Seen>,
    archive_seen: Vec<Seen>,
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
        Self { api, prefix, state, _archives: archives }
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
        let id = 1000 + inner.repos.len() as u64;
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
        self.state.lock().faults.push((on.to_owned(), times, fault));
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

    /// How many tokens the installation has got.
    pub(crate) fn tokens_issued(&self) -> usize {
        self.state.lock().tokens_issued
    }

    /// The exchanges with the API so far, which are then forgotten.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().seen)
    }

    /// The exchanges about archives so far, which are then forgotten.
    pub(crate) fn take_archive_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().archive_seen)
    }

    /// Panics where an exchange broke GitHub's rules.
    pub(crate) fn assert_conforming(&self) {
        let problems = std::mem::take(&mut self.state.lock().problems);
        assert!(problems.is_empty(), "{problems:#?}");
    }
}

/// Who asks.
#[derive(PartialEq)]
enum Caller {
    Nobody,
    Ada,
    App,
    Installation,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: Request) -> Reply {
        let reply = self.reply(&request);
        let status = match &reply {
            Reply::Answer(response) => Some(response.status),
            _ => None,
        };
        self.lock().seen.push(Seen { request, status });
        reply
    }

    fn fault(&self, request: &Request) -> Option<Fault> {
        let what = format!("{} {}", request.method, request.path);
        let mut inner = self.lock();
        let fault =
            inner.faults.iter_mut().find(|(on, times, _)| *times > 0 && what.contains(on.as_str()))?;
        fault.1 -= 1;
        Some(fault.2.clone())
    }

    fn reply(&self, request: &Request) -> Reply {
        let fault = self.fault(request);
        match fault {
            Some(Fault::Answer(response)) => return Reply::Answer(response),
            Some(Fault::Reset) => return Reply::Reset,
            Some(Fault::Hang) => return Reply::Hang,
            Some(Fault::Half) | None => {}
        }
        let mut response = self.respond(request);
        self.check(request, &response);
        self.add_headers(request, &mut response);
        if fault.is_some() { Reply::Half(response) } else { Reply::Answer(response) }
    }

    /// Checks the exchange against the published description, where it describes it.
    fn check(&self, request: &Request, response: &Response) {
        let Some(spec) = Spec::load("github-rest.openapi.json") else { return };
        let mut inner = self.lock();
        let path = request.path.strip_prefix(inner.prefix).unwrap_or(&request.path).to_owned();
        let described =
            !["/repositories/", "/organizations/"].iter().any(|undescribed| path.starts_with(undescribed))
                && path != "/user";
        // Any request may be redirected, whatever is declared.
        if !described || matches!(response.status, 301 | 404) {
            return;
        }
        let content_type = response.header("content-type").unwrap_or("");
        let checks = [
            spec.check_request(&request.method, &path, request.query.as_deref(), &request.body),
            spec.check_response(&request.method, &path, response.status, content_type, &response.body),
        ];
        inner.problems.extend(checks.into_iter().filter_map(Result::err));
    }

    fn add_headers(&self, request: &Request, response: &mut Response) {
        let mut add = |name: &str, value: String| response.headers.push((name.to_owned(), value));
        add("date", httpdate::fmt_http_date(SystemTime::now()));
        let mut inner = self.lock();
        if let Some((left, reset_in)) = inner.budget {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
            add("x-ratelimit-limit", "5000".into());
            add("x-ratelimit-remaining", left.to_string());
            add("x-ratelimit-reset", (now + reset_in).to_string());
        }
        // Whoever asks with an ETag gets one back; lists and single repositories have weak ones.
        if response.status == 200 && response.header("etag").is_none() && request.method == "GET" {
            let mut seed = response.body.clone();
            seed.extend_from_slice(response.header("link").unwrap_or("").as_bytes());
            let etag = format!("W/\"{}\"", &blake3::hash(&seed).to_hex()[..16]);
            response.headers.push(("etag".into(), etag));
        }
        let known = request.header("if-none-match");
        if response.status == 200 && known.is_some() && known == response.header("etag") {
            response.status = 304;
            response.body.clear();
            response.headers.retain(|(name, _)| name != "content-type" && name != "link");
        } else if let Some((left, _)) = &mut inner.budget {
            *left = left.saturating_sub(1);
        }
    }

    fn caller(&self, request: &Request) -> Result<Caller, Response> {
        let refused = || Response::json(401, &shapes::error("Bad credentials"));
        let given: Vec<&str> = request
            .headers
            .iter()
            .filter(|(name, _)| name == "authorization")
            .map(|(_, v)| v.as_str())
            .collect();
        let token = match given.as_slice() {
            [] => return Ok(Caller::Nobody),
            [one] => one.strip_prefix("Bearer ").ok_or_else(refused)?,
            _ => return Err(refused()),
        };
        if token == TOKEN {
            return Ok(Caller::Ada);
        }
        if Some(token) == self.lock().installation_token.as_deref() {
            return Ok(Caller::Installation);
        }
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_required_spec_claims(&["exp"]);
        let key = DecodingKey::from_rsa_pem(APP_PUBLIC_KEY.as_bytes()).expect("a public key");
        let claims =
            octocrab::jsonwebtoken::decode::<Value>(token, &key, &rules).map_err(|_| refused())?.claims;
        let time = |name: &str| claims[name].as_i64().unwrap_or(0);
        let issuer = claims["iss"].to_string();
        let good = issuer.trim_matches('"') == APP_ID.to_string() && time("exp") - time("iat") <= 660;
        if good { Ok(Caller::App) } else { Err(refused()) }
    }

    fn respond(&self, request: &Request) -> Response {
        let error = |status, message: &str| Response::json(status, &shapes::error(message));
        if request.header("user-agent").is_none_or(str::is_empty) {
            return error(403, "Request forbidden by administrative rules.");
        }
        let bodied = !request.body.is_empty() || request.header("transfer-encoding").is_some();
        if request.method == "GET" && bodied {
            self.lock().problems.push(format!("{}: a GET with a body", request.path));
        }
        if request.header("x-github-api-version") != Some("2022-11-28") {
            self.lock().problems.push(format!("{}: no API version", request.path));
        }
        let caller = match self.caller(request) {
            Ok(caller) => caller,
            Err(refused) => return refused,
        };
        if self.lock().budget.is_some_and(|(left, _)| left == 0) {
            return error(403, "API rate limit exceeded for user ID 1.");
        }
        let prefix = self.lock().prefix;
        let Some(path) = request.path.strip_prefix(prefix) else { return error(404, "Not Found") };
        let parts: Vec<String> = path
            .trim_start_matches('/')
            .split('/')
            .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("POST", ["app", "installations", id, "access_tokens"]) if caller == Caller::App => {
                if *id != INSTALLATION_ID.to_string() {
                    return error(404, "Not Found");
                }
                let mut inner = self.lock();
                inner.tokens_issued += 1;
                let token = format!("ghs_{APP_ID}_eyJh.fake-{}.x_y", inner.tokens_issued);
                inner.installation_token = Some(token.clone());
                let expires =
                    chrono::DateTime::<chrono::Utc>::from(SystemTime::now() + Duration::from_secs(3600));
                let answer = json!({
                    "token": token,
                    "expires_at": expires.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
                    "permissions": { "contents": "read", "metadata": "read" },
                    "repository_selection": "all",
                });
                Response::json(201, &answer)
            }
            ("GET", ["user"]) if caller == Caller::Ada => {
                Response::json(200, &shapes::user(&self.lock().base, "ada", "User"))
            }
            ("GET", ["orgs", login, "repos"]) => self.list(request, &caller, login, "Organization"),
            ("GET", ["organizations", id, "repos"]) => {
                let login = id.strip_prefix("by-id-").unwrap_or_default();
                self.list(request, &caller, login, "Organization")
            }
            ("GET", ["users", login, "repos"]) => self.list(request, &Caller::Nobody, login, "User"),
            ("GET", ["user", "repos"]) if caller == Caller::Ada => self.list(request, &caller, "ada", "User"),
            ("GET", ["installation", "repositories"]) if caller == Caller::Installation => {
                self.list_installation(request)
            }
            ("GET", ["repositories", id, rest @ ..]) => {
                let repo = self.lock().repos.iter().find(|repo| repo.id.to_string() == *id).cloned();
                self.repository(request, &caller, repo, rest)
            }
            ("GET", ["repos", owner, name, rest @ ..]) => {
                let wanted = format!("{owner}/{name}").to_lowercase();
                let inner = self.lock();
                let repo = inner.repos.iter().find(|repo| repo.full_name.to_lowercase() == wanted).cloned();
                let moved = inner.repos.iter().find(|repo| repo.former.contains(&wanted)).map(|repo| repo.id);
                let base = inner.base.clone();
                drop(inner);
                if let (None, Some(id)) = (&repo, moved) {
                    let below: Vec<&str> = path.splitn(5, '/').skip(4).collect();
                    let rest = below.first().map_or(String::new(), |below| format!("/{below}"));
                    let query = request.query.as_ref().map_or(String::new(), |query| format!("?{query}"));
                    let location = format!("{base}/repositories/{id}{rest}{query}");
                    return error(301, "Moved Permanently").with("location", location);
                }
                self.repository(request, &caller, repo, rest)
            }
            _ => error(404, "Not Found"),
        }
    }

    fn list(&self, request: &Request, caller: &Caller, login: &str, kind: &str) -> Response {
        let inner = self.lock();
        if inner.owners.get(&login.to_lowercase()) != Some(&kind) {
            return Response::json(404, &shapes::error("Not Found"));
        }
        let prefix = format!("{}/", login.to_lowercase());
        let repos: Vec<Value> = inner
            .repos
            .iter()
            .filter(|repo| repo.full_name.to_lowercase().starts_with(&prefix))
            .filter(|repo| !repo.private || *caller != Caller::Nobody)
            .map(|repo| shapes::repository(&inner.base, repo, kind, false))
            .collect();
        drop(inner);
        self.page(request, &repos, |page| json!(page))
    }

    fn list_installation(&self, request: &Request) -> Response {
        let inner = self.lock();
        let repos: Vec<Value> =
            inner.repos.iter().map(|repo| shapes::repository(&inner.base, repo, "User", false)).collect();
        drop(inner);
        let total = repos.len();
        self.page(request, &repos, |page| json!({ "total_count": total, "repositories": page }))
    }

    /// One page, and the way to the others by an address that cannot be guessed.
    fn page(&self, request: &Request, all: &[Value], shape: impl Fn(&[Value]) -> Value) -> Response {
        let number = |name: &str, default: usize| {
            request.parameter(name).and_then(|text| text.parse().ok()).unwrap_or(default)
        };
        let size = number("per_page", 30).clamp(1, 100);
        let page = number("page", 1).max(1);
        let start = (size * (page - 1)).min(all.len());
        let end = (start + size).min(all.len());
        let response = Response::json(200, &shape(&all[start..end]));
        if end == all.len() {
            return response;
        }
        let mut others: Vec<&str> = request
            .query
            .as_deref()
            .unwrap_or("")
            .split('&')
            .filter(|pair| !pair.starts_with("page=") && !pair.is_empty())
            .collect();
        others.push("page=");
        let others = others.join("&");
        let inner = self.lock();
        let root = inner.base.strip_suffix(inner.prefix).expect("the prefix");
        // GitHub's own links lead to addresses that nobody would build.
        let path = match request.path.strip_prefix(&format!("{}/orgs/", inner.prefix)) {
            Some(rest) => format!("{}/organizations/by-id-{rest}", inner.prefix),
            None => request.path.clone(),
        };
        let here = format!("{root}{path}");
        drop(inner);
        let last = all.len().div_ceil(size);
        let link =
            format!("<{here}?{others}{}>; rel=\"next\", <{here}?{others}{last}>; rel=\"last\"", page + 1);
        response.with("link", link)
    }

    fn repository(&self, request: &Request, caller: &Caller, repo: Option<Repo>, rest: &[&str]) -> Response {
        let error = |status, message: &str| Response::json(status, &shapes::error(message));
        let Some(repo) = repo.filter(|repo| !repo.private || *caller != Caller::Nobody) else {
            return error(404, "Not Found");
        };
        if let Some(status) = repo.denied {
            return error(status, "Repository access blocked");
        }
        if rest.is_empty() {
            let inner = self.lock();
            let (owner, _) = repo.full_name.split_once('/').expect("owner/name");
            let kind = inner.owners.get(&owner.to_lowercase()).copied().unwrap_or("User");
            return Response::json(200, &shapes::repository(&inner.base, &repo, kind, true));
        }
        let folder =
            repo.folder.as_deref().filter(|folder| text(folder, &["for-each-ref", "--count=1"]).is_some());
        let Some(folder) = folder else { return error(409, "Git Repository is empty.") };
        match rest {
            ["commits", reference] => Self::commit(request, folder, &repo, reference),
            ["git", "trees", sha] => self.tree(request, folder, sha),
            ["git", "blobs", sha] => self.blob(request, folder, sha),
            ["tarball", sha] => {
                let location = format!(
                    "{}/archive/{}/{sha}?token={ARCHIVE_TOKEN}",
                    self.lock().archives,
                    folder_key(folder)
                );
                Response::status(302).with("location", location)
            }
            ["compare", range] => self.compare(request, folder, range),
            _ => error(404, "Not Found"),
        }
    }

    fn commit(request: &Request, folder: &Path, repo: &Repo, reference: &str) -> Response {
        let revision = match reference {
            "HEAD" => format!("refs/heads/{}", repo.default_branch),
            name if name.starts_with("heads/") => format!("refs/{name}"),
            name => name.to_owned(),
        };
        let Some(sha) = resolve(folder, &format!("{revision}^{{commit}}")) else {
            return Response::json(422, &shapes::error(&format!("No commit found for SHA: {reference}")));
        };
        assert_eq!(
            request.header("accept"),
            Some("application/vnd.github.sha"),
            "heads are asked for cheaply"
        );
        Response { status: 200, body: sha.clone().into_bytes(), headers: vec![] }
            .with("content-type", "application/vnd.github.sha; charset=utf-8")
            .with("etag", format!("\"{sha}\""))
    }

    fn tree(&self, request: &Request, folder: &Path, sha: &str) -> Response {
        let Some(tree) = resolve(folder, &format!("{sha}^{{tree}}")) else {
            return Response::json(404, &shapes::error("Not Found"));
        };
        let recursive = request.parameter("recursive").is_some();
        let mut arguments = vec!["ls-tree", "-z", "-l", "--full-tree"];
        if recursive {
            arguments.extend(["-r", "-t"]);
        }
        arguments.push(&tree);
        let listing = git(folder, &arguments).expect("a tree");
        let mut entries: Vec<Value> = listing
            .split(|&byte| byte == 0)
            .filter(|line| !line.is_empty())
            .map(|line| {
                let line = String::from_utf8_lossy(line);
                let (meta, path) = line.split_once('\t').expect("a path");
                let words: Vec<&str> = meta.split_whitespace().collect();
                let mut entry = json!({
                    "path": path, "mode": words[0], "type": words[1], "sha": words[2],
                    "url": "https://example.com/object",
                });
                if let Ok(size) = words[3].parse::<u64>() {
                    entry["size"] = json!(size);
                }
                entry
            })
            .collect();
        let limit = self.lock().tree_limit.filter(|_| recursive).unwrap_or(100_000);
        let truncated = entries.len() > limit;
        entries.truncate(limit);
        Response::json(
            200,
            &json!({ "sha": tree, "url": "https://example.com/tree", "tree": entries, "truncated": truncated }),
        )
    }

    fn blob(&self, request: &Request, folder: &Path, sha: &str) -> Response {
        use base64::Engine as _;
        let Some(content) = git(folder, &["cat-file", "blob", sha]) else {
            return Response::json(404, &shapes::error("Not Found"));
        };
        let raw = request.header("accept").is_some_and(|accept| accept.contains("raw"));
        if raw && !self.lock().blobs_as_json {
            return Response { status: 200, body: content, headers: vec![] }
                .with("content-type", "application/vnd.github.raw+json; charset=utf-8");
        }
        let encoded = base64::engine::general_purpose::STANDARD.encode(&content);
        let lines: Vec<&str> =
            encoded.as_bytes().chunks(60).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
        Response::json(
            200,
            &json!({
                "sha": sha, "node_id": "n", "size": content.len(), "url": "https://example.com/blob",
                "content": lines.join("\n"), "encoding": "base64",
            }),
        )
    }

    fn compare(&self, request: &Request, folder: &Path, range: &str) -> Response {
        let not_found = || Response::json(404, &shapes::error("Not Found"));
        let Some((base, head)) = range.split_once("...") else { return not_found() };
        let commit = |name: &str| resolve(folder, &format!("{name}^{{commit}}"));
        let (Some(base), Some(head)) = (commit(base), commit(head)) else { return not_found() };
        let Some(merge_base) = text(folder, &["merge-base", &base, &head]) else {
            return Response::json(
                404,
                &shapes::error(&format!("No common ancestor between {base} and {head}.")),
            );
        };
        let status = match (merge_base == base, merge_base == head) {
            (true, true) => "identical",
            (true, false) => "ahead",
            (false, true) => "behind",
            (false, false) => "diverged",
        };
        let raw =
            git(folder, &["diff", "--raw", "-z", "--no-abbrev", "-M", &merge_base, &head]).expect("a diff");
        let mut fields =
            raw.split(|&byte| byte == 0).map(|field| String::from_utf8_lossy(field).into_owned());
        let api = self.lock().base.clone();
        let mut files = Vec::new();
        while let Some(meta) = fields.next().filter(|meta| !meta.is_empty()) {
            let words: Vec<&str> = meta.split_whitespace().collect();
            let path = fields.next().expect("a path");
            let (status, sha, from, path) = match &words[4][..1] {
                "A" => ("added", words[3], None, path),
                "D" => ("removed", words[2], None, path),
                "R" => ("renamed", words[3], Some(path), fields.next().expect("a path")),
                "T" => ("changed", words[3], None, path),
                _ => ("modified", words[3], None, path),
            };
            files.push(shapes::compared_file(&api, status, &path, from.as_deref(), sha));
        }
        files.truncate(300);
        if request.parameter("page").is_some_and(|page| page != "1") {
            files.clear();
        }
        let link = format!("{api}/compare/{range}");
        Response::json(
            200,
            &json!({
                "url": link, "html_url": link, "permalink_url": link, "diff_url": link, "patch_url": link,
                "base_commit": shapes::commit(&api, &base),
                "merge_base_commit": shapes::commit(&api, &merge_base),
                "status": status, "ahead_by": 1, "behind_by": 0, "total_commits": 1,
                "commits": [shapes::commit(&api, &head)], "files": files,
            }),
        )
    }

    /// The other host: it must not see what is meant for the API.
    fn archive(&self, request: Request) -> Reply {
        let fault = self.fault(&request);
        let reply = match fault {
            Some(Fault::Answer(response)) => Reply::Answer(response),
            Some(Fault::Reset) => Reply::Reset,
            Some(Fault::Hang) => Reply::Hang,
            Some(Fault::Half) => Reply::Half(self.archive_of(&request)),
            None => Reply::Answer(self.archive_of(&request)),
        };
        let status = match &reply {
            Reply::Answer(response) => Some(response.status),
            _ => None,
        };
        let mut inner = self.lock();
        for secret in [TOKEN, "ghs_", "Bearer", "authorization"] {
            if format!("{request:?}").contains(secret) {
                inner.problems.push(format!("`{secret}` reached the archive host"));
            }
        }
        inner.archive_seen.push(Seen { request, status });
        reply
    }

    fn archive_of(&self, request: &Request) -> Response {
        let mut parts = request.path.trim_start_matches("/archive/").split('/');
        let (key, sha) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let folder = self
            .lock()
            .repos
            .iter()
            .filter_map(|repo| repo.folder.clone())
            .find(|folder| folder_key(folder) == key);
        let allowed = request.parameter("token").as_deref() == Some(ARCHIVE_TOKEN);
        let archive = folder.filter(|_| allowed).and_then(|folder| {
            git(&folder, &["archive", "--format=tar.gz", "--prefix=some-folder-0a1b/", sha])
        });
        match archive {
            Some(body) => {
                Response { status: 200, body, headers: vec![] }.with("content-type", "application/x-gzip")
            }
            None => Response::status(404),
        }
    }
}

/// A name for a folder that can stand in an address.
fn folder_key(folder: &Path) -> String {
    blake3::hash(folder.as_os_str().as_encoded_bytes()).to_hex()[..12].to_owned()
}

fn resolve(folder: &Path, revision: &str) -> Option<String> {
    text(folder, &["rev-parse", "--verify", "-q", "--end-of-options", revision])
}

fn text(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = git(folder, arguments)?;
    String::from_utf8(output).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The output of `git`, none where it fails.
fn git(folder: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new("git")
        .current_dir(folder)
        .args(["-c", "safe.directory=*", "-c", "core.quotePath=false"])
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env_remove("GIT_DIR")
        .stderr(Stdio::null())
        .output()
        .expect("the `git` program");
    output.status.success().then_some(output.stdout)
}
