//! Requests to the API: credentials, redirects, and what an answer means for the run.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, header};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::answer::{AnswerVerdict, ApiAnswer};
use super::app::{App, Issued, Token};
use super::credentials::Credentials;
use super::link;
use super::transport::Carrier;
use crate::blocking::Runtime;
use crate::model::{
    Allowances, ErrorKind, EventSink, Fingerprint, Secret, ServiceKind, StageError, StageResult,
};
use crate::net::{
    self, Accepted, CallError, CallFailure, Classified, Deadline, HttpClient, Limiter, Oversize, Service,
    ServiceRequest, ServiceResponse, Timeouts,
};
use crate::source::Limits;

/// More than this at once is over GitHub's own limit.
const MOST_AT_ONCE: usize = 100;
/// At once over all processes that use the same credentials. The rest is left to other programs, and to calls of a
/// process that was killed.
const MOST_AT_ONCE_SHARED: usize = 80;
/// GitHub's secondary limit for reading requests in a minute; Enterprise Servers have none by default.
const REQUESTS_PER_MINUTE: u32 = 900;
/// The least wait at a secondary limit that does not say for how long; doubled each time.
const SECONDARY_WAIT: Duration = Duration::from_secs(60);
/// Redirects on the API's own host that a request follows.
const MOST_REDIRECTS: u32 = 5;
/// Tokens of an installation that a request is sent with before a 401 is believed.
const TOKEN_TRIES: u32 = 3;
/// Bytes of a blob's answer at most: GitHub serves blobs of up to 100 MB.
pub(super) const LONGEST_BLOB: u64 = 128 << 20;
/// Bytes of any other answer at most, unless its request says otherwise. A page of 100 repositories
/// has about 0.7 MB, a comparison of 300 files with their patches a few.
const LONGEST_JSON: u64 = 32 << 20;

/// What to check where something answers that is not the API.
pub(super) const ADDRESS_HINT: &str =
    "check `api_url`: \"https://api.github.com\", or \"https://HOST/api/v3\" of an Enterprise Server";

/// What to do where GitHub takes the credentials, but not from this machine.
pub(super) const ALLOW_LIST_HINT: &str = "have an owner of the organisation add this machine's public IP address to its IP allow list \
     (or to the GitHub App's), or run RepoSync from an address that is on it";

/// The media type of bare contents.
pub(super) const RAW: &str = "application/vnd.github.raw+json";
/// The media type of a bare commit id.
pub(super) const SHA: &str = "application/vnd.github.sha";
/// The media type of everything else.
pub(super) const JSON: &str = "application/vnd.github+json";

/// One request for something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    /// What it is for, in events: `list`, `head`, `tree`, `blob`, `archive`, `compare`.
    pub(super) operation: &'static str,
    /// The path and query below the API's base.
    pub(super) path: &'a str,
    /// The media type wanted.
    pub(super) accept: &'static str,
    /// The ETag of the answer that is known.
    pub(super) etag: Option<&'a str>,
    /// Bytes of the answer's body at most.
    pub(super) longest: u64,
}

impl<'a> Ask<'a> {
    /// A request for JSON.
    pub(super) fn json(operation: &'static str, path: &'a str) -> Self {
        Self { operation, path, accept: JSON, etag: None, longest: LONGEST_JSON }
    }
}

/// How often a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tries {
    One,
    /// As configured.
    Several,
}

/// An answer of the API, as far as it concerns the next request.
enum Reply<T> {
    Read(T),
    /// A redirect to this path below the API's base.
    Moved(String),
    /// The installation's token is no longer good.
    Expired,
}

/// The one client of a GitHub stage; its limits are shared by all projects on the stage.
pub(super) struct Client {
    pub(super) stage: String,
    pub(super) base: Url,
    /// The API's host, for messages.
    pub(super) host: String,
    pub(super) credentials: Credentials,
    pub(super) cancel: CancellationToken,
    /// Bounds on one repository.
    pub(super) limits: Limits,
    /// Bounds the archives that are unpacked at once.
    pub(super) unpacking: Arc<Semaphore>,
    /// Downloads of archives, from other hosts and without credentials.
    pub(super) archives: Service,
    api: Service,
    http: HttpClient,
    /// Secondary limits in a row that did not say for how long.
    unexplained_limits: AtomicU32,
}

impl Client {
    pub(super) fn new(
        stage: String,
        base: Url,
        credentials: Credentials,
        concurrency: usize,
        cancel: CancellationToken,
        events: EventSink,
    ) -> StageResult<Self> {
        let host = base.host_str().unwrap_or_default().to_owned();
        let per_minute = is_public(&host).then_some(REQUESTS_PER_MINUTE);
        let http = net::http_client(&stage)?;
        let carrier = Arc::new(Carrier::new(http.clone(), &base, credentials.token().cloned()));
        let limiter = Limiter::new(concurrency.min(MOST_AT_ONCE), per_minute, None);
        let role = ServiceKind::Source;
        let api = Service::new(role, &*stage, carrier, limiter, cancel.clone(), events.clone());
        // No limit here: the threads that unpack archives bound the number of downloads.
        let unlimited = Limiter::new(usize::MAX, None, None);
        let plain = Arc::new(http.clone());
        let archives = Service::new(role, &*stage, plain, unlimited, cancel.clone(), events);
        Ok(Self {
            archives,
            api,
            http,
            stage,
            base,
            host,
            credentials,
            limits: Limits::default(),
            unpacking: Runtime::default().unpacking,
            cancel,
            unexplained_limits: AtomicU32::new(0),
        })
    }

    /// Shares the limits of the credentials with other processes. Without credentials the limits are those of the
    /// machine's address.
    pub(super) fn share(&mut self, allowances: Option<&Arc<dyn Allowances>>) {
        if self.credentials.are_given() {
            let key = Fingerprint::of(["github", self.base.as_str(), &self.credentials.fingerprint()]);
            self.api = self.api.clone().sharing(allowances, key, Some(MOST_AT_ONCE_SHARED));
        }
    }

    /// Replaces the default time-outs and retries.
    pub(super) fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.archives = self.archives.clone().with_timeouts(timeouts.clone());
        self.api = self.api.clone().with_timeouts(timeouts);
    }

    /// Asks until there is an answer that `read` can read. Answers that GitHub means to be final
    /// reach `read` whatever their status; an error of `read` is tried again if it is transient.
    pub(super) async fn ask<T>(
        &self,
        ask: Ask<'_>,
        read: impl Fn(ApiAnswer) -> StageResult<T>,
    ) -> StageResult<T> {
        self.follow(ask, Tries::Several, read).await
    }

    /// Asks a single time, for what can be had in another way.
    pub(super) async fn ask_once<T>(
        &self,
        ask: Ask<'_>,
        read: impl Fn(ApiAnswer) -> StageResult<T>,
    ) -> StageResult<T> {
        self.follow(ask, Tries::One, read).await
    }

    /// Follows redirects on the API's own host, and renews a token that is no longer good.
    async fn follow<T>(
        &self,
        ask: Ask<'_>,
        tries: Tries,
        read: impl Fn(ApiAnswer) -> StageResult<T>,
    ) -> StageResult<T> {
        let mut path = ask.path.to_owned();
        let (mut redirects, mut tokens) = (0, 1);
        loop {
            match self.send(&path, ask, tries, tokens < TOKEN_TRIES, &read).await? {
                Reply::Read(value) => return Ok(value),
                Reply::Expired => tokens += 1,
                Reply::Moved(_) if redirects == MOST_REDIRECTS => {
                    return Err(self.garbage("redirects without end"));
                }
                Reply::Moved(to) => {
                    path = to;
                    redirects += 1;
                }
            }
        }
    }

    /// Sends one request with the credentials. `renews`: a token of an installation that is not accepted
    /// is forgotten, and no error.
    async fn send<T>(
        &self,
        path: &str,
        ask: Ask<'_>,
        tries: Tries,
        renews: bool,
        read: &impl Fn(ApiAnswer) -> StageResult<T>,
    ) -> StageResult<Reply<T>> {
        let request = self.request(Method::GET, path, ask);
        let installed = match &self.credentials {
            Credentials::Installation(app) => Some((app, self.installation_token(app).await?)),
            Credentials::None | Credentials::Token(_) => None,
        };
        let api = match &installed {
            Some((_, token)) => self.api.over(Arc::clone(&token.transport)),
            None => self.api.clone(),
        };
        let renews = renews && installed.is_some();
        let classify = |response: ServiceResponse| {
            ready(if renews && response.status == StatusCode::UNAUTHORIZED {
                Ok(Accepted::declined(CallFailure::Credentials, Reply::Expired))
            } else {
                self.classify(response, path, ask, read)
            })
        };
        let reply = match tries {
            Tries::One => api.call_once(&request, classify).await?,
            Tries::Several => api.call(&request, classify).await?,
        };
        if let (Reply::Expired, Some((app, token))) = (&reply, &installed) {
            // It was revoked, unless another request found that out first.
            app.token.lock().await.take_if(|kept| kept.value == token.value);
        }
        Ok(reply)
    }

    fn request(&self, method: Method, path: &str, ask: Ask<'_>) -> ServiceRequest {
        let mut request = ServiceRequest::new(ask.operation, method, link::at(&self.base, path))
            .header(header::ACCEPT, HeaderValue::from_static(ask.accept));
        if let Some(etag) = ask.etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        ServiceRequest {
            host: self.host.clone(),
            longest: usize::try_from(ask.longest).unwrap_or(usize::MAX),
            // A tree or a blob would be as long the next time; for anything else it is a fault of the
            // server, or of a proxy.
            oversize: if matches!(ask.operation, "tree" | "blob") {
                Oversize::Refuse
            } else {
                Oversize::Retry
            },
            deadline: Deadline::Idle,
            ..request
        }
    }

    fn classify<T>(
        &self,
        response: ServiceResponse,
        path: &str,
        ask: Ask<'_>,
        read: impl Fn(ApiAnswer) -> StageResult<T>,
    ) -> Classified<Reply<T>> {
        let answer = self.judge(response)?;
        if matches!(answer.status.as_u16(), 301 | 302 | 307 | 308) {
            match answer.header("location").and_then(|to| link::below(&self.base, path, to)) {
                Some(target) => return Ok(Accepted::new(Reply::Moved(target))),
                // An archive comes from another address, which is the answer.
                None if ask.operation == "archive" => {}
                None => {
                    let message = format!("{} redirects to another address", self.host);
                    let error = StageError::misconfigured(&self.stage, message).hint(
                        "set `api_url` to the address of the API itself; credentials follow no redirect",
                    );
                    return Err(CallError::new(CallFailure::Refused, error));
                }
            }
        }
        Ok(Accepted::new(Reply::Read(read(answer)?)))
    }

    /// The installation's token; a new one where there is none that is good.
    async fn installation_token(&self, app: &App) -> StageResult<Token> {
        let mut kept = app.token.lock().await;
        if let Some(token) = kept.as_ref().filter(|token| token.is_good()) {
            return Ok(token.clone());
        }
        let web_token = app.web_token().ok_or_else(|| {
            StageError::local(&self.stage, "cannot sign as the GitHub App: the system has no random numbers")
        })?;
        let path = format!("/app/installations/{}/access_tokens", app.installation);
        // A POST without a body would have no length, which some proxies refuse.
        let request = self.request(Method::POST, &path, Ask::json("token", &path)).json("{}".into());
        let as_app = self.api.over(self.carrier(&web_token));
        let issued = as_app.call(&request, |response| ready(self.issued(response))).await?;
        Ok(kept.insert(issued).clone())
    }

    fn issued(&self, response: ServiceResponse) -> Classified<Token> {
        let answer = self.judge(response)?;
        if answer.status != StatusCode::CREATED {
            let message =
                format!("{} gives no token for the App's installation ({})", self.host, answer.summary());
            let error = StageError::misconfigured(&self.stage, message).hint(self.credentials.remedy());
            return Err(CallError::new(CallFailure::Credentials, error));
        }
        let issued = self.parse::<Issued>(&answer)?;
        let value = issued.secret();
        let transport = self.carrier(&value);
        Ok(Accepted::new(Token::new(value, transport, issued.expires_at, answer.date())))
    }

    fn carrier(&self, token: &Secret) -> Arc<Carrier> {
        Arc::new(Carrier::new(self.http.clone(), &self.base, Some(token.clone())))
    }

    /// Turns limits, refused credentials and the server's trouble into errors.
    fn judge(&self, response: ServiceResponse) -> Result<ApiAnswer, CallError> {
        let ServiceResponse { status, headers, body } = response;
        let answer = ApiAnswer { status, headers, body };
        let transient = |failure, retry_after, message| {
            let kind = ErrorKind::Transient { retry_after };
            Err(CallError::new(failure, StageError::new(&self.stage, kind, message)))
        };
        match answer.verdict() {
            AnswerVerdict::Final => {
                self.unexplained_limits.store(0, Ordering::Relaxed);
                if let Some(wait) = answer.budget_used_up() {
                    self.api.hold(wait, &self.budget_used_up());
                }
                Ok(answer)
            }
            AnswerVerdict::PrimaryLimit(wait) => {
                self.api.close(wait, &self.budget_used_up());
                transient(CallFailure::RateLimit, Some(wait), self.budget_used_up())
            }
            AnswerVerdict::SecondaryLimit(wait) => {
                let wait = wait.unwrap_or_else(|| {
                    let before = self.unexplained_limits.fetch_add(1, Ordering::Relaxed);
                    SECONDARY_WAIT.saturating_mul(1 << before.min(8))
                });
                let message = format!("{} asks to slow down ({})", self.host, answer.summary());
                transient(CallFailure::RateLimit, Some(wait), message)
            }
            AnswerVerdict::BadCredentials => {
                let message = format!("{} does not accept the credentials ({})", self.host, answer.summary());
                let error = StageError::misconfigured(&self.stage, message).hint(self.credentials.remedy());
                Err(CallError::new(CallFailure::Credentials, error))
            }
            AnswerVerdict::Transient(wait) => {
                let message = format!("{} is in trouble ({})", self.host, answer.summary());
                transient(CallFailure::Server, wait, message)
            }
        }
    }

    fn budget_used_up(&self) -> String {
        format!("the hourly rate limit of {} is used up", self.host)
    }

    /// True where GitHub itself runs the server.
    pub(super) fn is_public(&self) -> bool {
        is_public(&self.host)
    }

    /// An answer that is not what the API sends: broken on the way, or a proxy's.
    pub(super) fn garbage(&self, what: &str) -> StageError {
        StageError::transient(&self.stage, format!("{} sent {what}", self.host))
    }

    /// Reads JSON; anything else is garbage, to be asked for again.
    pub(super) fn parse<'a, T: serde::Deserialize<'a>>(&self, answer: &'a ApiAnswer) -> StageResult<T> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            let kind = answer.header("content-type").unwrap_or("no content type").to_owned();
            let garbage =
                self.garbage(&format!("something else than the JSON expected ({kind})")).caused_by(error);
            if kind.starts_with("text/html") { garbage.hint(ADDRESS_HINT) } else { garbage }
        })
    }

    /// The error for one repository or file that the server will not give.
    pub(super) fn refusal(&self, what: &str, answer: &ApiAnswer) -> StageError {
        let error = StageError::refused(&self.stage, format!("{what} is refused ({})", answer.summary()));
        if answer.status != StatusCode::FORBIDDEN {
            return error;
        }
        match answer.header("x-accepted-github-permissions").filter(|needed| !needed.is_empty()) {
            _ if answer.is_address_refused() => error.hint(ALLOW_LIST_HINT),
            Some(needed) => error.hint(format!("the credentials need the permission {needed}")),
            None => error.hint(
                "give the credentials read access to the repository's contents, \
                 and authorise them for the organisation's single sign-on",
            ),
        }
    }
}

/// GitHub's own hosts, Enterprise Cloud included; all others are Enterprise Servers, or proxies.
fn is_public(host: &str) -> bool {
    host == "api.github.com" || host.ends_with(".ghe.com")
}
