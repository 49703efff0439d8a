//! The fake's API: authentication, routes, limits.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;
use ring::rsa::KeyPair;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs1KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::super::http::{Request, Response};
use super::super::openapi::Spec;
use super::{APP_ID, APP_KEY, INSTALLATION_ID, Inner, State, TOKEN, shapes};

/// The authenticated caller.
#[derive(PartialEq)]
pub(super) enum Caller {
    Nobody,
    Ada,
    App,
    Installation,
}

/// The claims of a JSON web token signed with the App's key; `None` for any other text.
fn app_claims(token: &str) -> Option<Value> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
    let json = |part: &str| serde_json::from_slice::<Value>(&decode(part)?).ok();
    if json(header)?["alg"] != "RS256" {
        return None;
    }
    let der = PrivatePkcs1KeyDer::from_pem_slice(APP_KEY.as_bytes()).expect("PEM");
    let key = KeyPair::from_der(der.secret_pkcs1_der()).expect("an RSA key");
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public());
    public.verify(signed.as_bytes(), &decode(signature)?).ok()?;
    json(claims)
}

impl State {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn answer(&self, request: &Request) -> Response {
        let mut response = self.respond(request);
        self.check(request, &response);
        self.add_headers(request, &mut response);
        response
    }

    /// Checks the exchange against the published specification.
    fn check(&self, request: &Request, response: &Response) {
        let Some(spec) = Spec::load("github-rest.openapi.json") else { return };
        let mut inner = self.lock();
        let path = described(request.path.strip_prefix(inner.prefix).unwrap_or(&request.path));
        if path == "/user" {
            return; // the file, an extract, leaves it out
        }
        let request_checked =
            spec.check_request(&request.method, &path, request.query.as_deref(), &request.body);
        // Any request may be redirected, even if the specification does not declare it.
        let response_checked = match response.status {
            301 => Ok(()),
            status => {
                let content_type = response.content_type();
                spec.check_response(&request.method, &path, status, content_type, &response.body)
            }
        };
        inner.problems.extend([request_checked, response_checked].into_iter().filter_map(Result::err));
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
        // Every 200 answer to a GET has an ETag; lists and single repositories have weak ones.
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
        if self.use_installation_token(token) {
            return Ok(Caller::Installation);
        }
        let claims = app_claims(token).ok_or_else(refused)?;
        let time = |name: &str| claims[name].as_i64().unwrap_or(0);
        let issuer = claims["iss"].to_string();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let now = i64::try_from(now).expect("this century");
        let timely = time("iat") <= now && time("exp") > now && time("exp") - time("iat") <= 660;
        let good = issuer.trim_matches('"') == APP_ID.to_string() && timely;
        if good { Ok(Caller::App) } else { Err(refused()) }
    }

    fn use_installation_token(&self, token: &str) -> bool {
        let mut inner = self.lock();
        if inner.installation_token.as_deref() != Some(token) {
            return false;
        }
        if inner.token_requests.is_some() {
            match inner.token_requests_left.checked_sub(1) {
                Some(left) => inner.token_requests_left = left,
                None => return false,
            }
        }
        true
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
                inner.token_requests_left = inner.token_requests.unwrap_or_default();
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

    /// One page, with links to other pages by addresses that a client cannot construct.
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
        // GitHub's own links use `/organizations/ID`, which clients do not construct.
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
}

/// The specified path equivalent to this one: the addresses in GitHub's links and redirects are not in
/// the specification.
fn described(path: &str) -> String {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts[..] {
        ["repositories", _, ref rest @ ..] => {
            ["/repos/o/r"].iter().chain(rest).copied().collect::<Vec<_>>().join("/")
        }
        ["organizations", _, "repos"] => "/orgs/o/repos".to_owned(),
        _ => path.to_owned(),
    }
}
