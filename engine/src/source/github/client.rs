//! Sending requests: credentials, limits, retries, and what an answer means for the run.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt as _;
use octocrab::Octocrab;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::answer::{Answer, Verdict};
use super::app::{App, Issued, Token};
use super::credentials::Credentials;
use super::{link, transport};
use crate::model::{ByteSize, ErrorKind, Event, EventSink, Secret, ServiceKind, StageError, StageResult};
use crate::net::{self, HttpClient, LONGEST_WAIT, Limiter, Timeouts};
use crate::source::Limits;

/// More than this at once is over GitHub's own limit.
const MOST_AT_ONCE: usize = 100;
/// GitHub's secondary limit for reading requests in a minute; Enterprise Servers have none by default.
const REQUESTS_PER_MINUTE: u32 = 900;
/// The least wait at a secondary limit that does not say for how long; doubled each time.
const SECONDARY_WAIT: Duration = Duration::from_secs(60);
/// Hops of redirects on the API's own host.
const MOST_REDIRECTS: usize = 5;
/// Tokens of an installation that a request is sent with before a 401 is believed.
const TOKEN_TRIES: usize = 3;
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

/// The one client of a GitHub stage; its limits are shared by all projects on the stage.
pub(super) struct Client {
    pub(super) stage: String,
    pub(super) base: Url,
    /// The API's host, for messages.
    pub(super) host: String,
    pub(super) credentials: Credentials,
    pub(super) timeouts: Timeouts,
    pub(super) cancel: CancellationToken,
    pub(super) events: EventSink,
    /// Bounds on one repository.
    pub(super) limits: Limits,
    /// Without credentials, for other hosts.
    pub(super) plain: HttpClient,
    octocrab: OnceLock<Octocrab>,
    limiter: Arc<Limiter>,
    /// Nothing is left until then, and that is too long to wait for.
    used_up_until: Mutex<Option<Instant>>,
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
        Ok(Self {
            plain: net::http_client(&stage)?,
            limiter: Limiter::new(concurrency.min(MOST_AT_ONCE), per_minute, None),
            stage,
            base,
            host,
            credentials,
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            cancel,
            events,
            octocrab: OnceLock::new(),
            used_up_until: Mutex::new(None),
            unexplained_limits: AtomicU32::new(0),
        })
    }

    /// Asks until there is an answer that `read` can read. Answers that GitHub means to be final
    /// reach `read` whatever their status; an error of `read` is tried again if it is transient.
    pub(super) async fn ask<T>(
        &self,
        ask: Ask<'_>,
        read: impl Fn(Answer) -> StageResult<T>,
    ) -> StageResult<T> {
        net::retry(&self.timeouts.retry, &self.cancel, &self.events, || async { read(self.once(ask).await?) })
            .await
    }

    /// Asks a single time, for what can be had in another way.
    pub(super) async fn ask_once<T>(
        &self,
        ask: Ask<'_>,
        read: impl FnOnce(Answer) -> StageResult<T>,
    ) -> StageResult<T> {
        read(self.once(ask).await?)
    }

    /// One try.
    async fn once(&self, ask: Ask<'_>) -> StageResult<Answer> {
        self.refuse_while_used_up()?;
        let started = Instant::now();
        let exchange = async {
            let permit = self.limiter.acquire(1).await;
            let answer = self.exchange(ask).await?;
            let result = self.judge(answer);
            match &result {
                Ok(_) => permit.succeeded(),
                Err(error) if matches!(error.kind, ErrorKind::Transient { retry_after: Some(_) }) => {
                    permit.throttled();
                }
                Err(_) => drop(permit),
            }
            result
        };
        let result = tokio::select! {
            result = exchange => result,
            () = self.cancel.cancelled() => Err(StageError::cancelled(&self.stage)),
        };
        self.events.emit(Event::Call {
            service: ServiceKind::Source,
            stage: self.stage.clone(),
            operation: ask.operation,
            items: 1,
            tokens: 0,
            seconds: started.elapsed().as_secs_f64(),
            ok: result.is_ok(),
            error: result.as_ref().err().map(error_type),
        });
        result
    }

    /// Sends and reads, following redirects on the API's own host.
    async fn exchange(&self, ask: Ask<'_>) -> StageResult<Answer> {
        let mut path = ask.path.to_owned();
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.send(&path, ask).await?;
            if !matches!(answer.status.as_u16(), 301 | 302 | 307 | 308) {
                return Ok(answer);
            }
            let target = answer.header("location").and_then(|to| link::below(&self.base, &path, to));
            path = match target {
                Some(target) => target,
                // An archive comes from another address, which is the answer.
                None if ask.operation == "archive" => return Ok(answer),
                None => {
                    let message = format!("{} redirects to another address", self.host);
                    return Err(StageError::misconfigured(&self.stage, message).hint(
                        "set `api_url` to the address of the API itself; credentials follow no redirect",
                    ));
                }
            };
        }
        Err(self.garbage("redirects without end"))
    }

    /// One request with the credentials.
    async fn send(&self, path: &str, ask: Ask<'_>) -> StageResult<Answer> {
        let get = async |octocrab: &Octocrab| self.round_trip(octocrab, Method::GET, path, ask).await;
        let Credentials::Installation(app) = &self.credentials else {
            return get(self.octocrab.get_or_init(|| self.signing_with(self.credentials.token()))).await;
        };
        for _ in 1..TOKEN_TRIES {
            let token = self.installation_token(app).await?;
            let answer = get(&token.octocrab).await?;
            if answer.status != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            // It was revoked, unless another request found that out first.
            app.token.lock().await.take_if(|kept| kept.value == token.value);
        }
        get(&self.installation_token(app).await?.octocrab).await
    }

    /// An octocrab that puts this token on each request. Must be called on a Tokio runtime.
    fn signing_with(&self, token: Option<&Secret>) -> Octocrab {
        transport::octocrab(self.plain.clone(), self.base.clone(), token)
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
        let as_app = self.signing_with(Some(&web_token));
        let answer = self.round_trip(&as_app, Method::POST, &path, Ask::json("token", &path)).await?;
        let answer = self.judge(answer)?;
        if answer.status != StatusCode::CREATED {
            let message =
                format!("{} gives no token for the App's installation ({})", self.host, answer.summary());
            return Err(StageError::misconfigured(&self.stage, message).hint(self.credentials.remedy()));
        }
        let issued = self.parse::<Issued>(&answer)?;
        let value = issued.secret();
        let octocrab = self.signing_with(Some(&value));
        Ok(kept.insert(Token::new(value, octocrab, issued.expires_at, answer.date())).clone())
    }

    /// One request below the API's base, and its answer, read whole.
    async fn round_trip(
        &self,
        octocrab: &Octocrab,
        method: Method,
        path: &str,
        ask: Ask<'_>,
    ) -> StageResult<Answer> {
        // A POST without a body would have no length, which some proxies refuse.
        let body = if method == Method::POST { "{}" } else { "" };
        let mut request =
            http::Request::builder().method(method).uri(path).header(header::ACCEPT, ask.accept);
        if let Some(etag) = ask.etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let request = request.body(body.to_owned()).map_err(|error| {
            StageError::refused(&self.stage, format!("`{path}` is no address")).caused_by(error)
        })?;
        let waited = tokio::time::timeout(self.timeouts.answer, octocrab.execute(request)).await;
        let response =
            waited.map_err(|_| self.no_answer())?.map_err(|error| self.describe_octocrab(error))?;
        let (parts, mut body) = response.into_parts();
        let mut read = BytesMut::new();
        loop {
            let frame = tokio::time::timeout(self.timeouts.answer, body.frame()).await;
            match frame.map_err(|_| self.no_answer())? {
                None => break,
                Some(Err(error)) => return Err(self.describe_octocrab(error)),
                Some(Ok(frame)) => read.extend_from_slice(&frame.into_data().unwrap_or_default()),
            }
            if read.len() as u64 > ask.longest {
                return Err(self.too_long(ask));
            }
        }
        let failed = parts.status.is_client_error() || parts.status.is_server_error();
        let body = if failed { self.credentials.masked(read.freeze()) } else { read.freeze() };
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    /// Turns limits, refused credentials and the server's trouble into errors.
    fn judge(&self, answer: Answer) -> StageResult<Answer> {
        let transient = |retry_after, message| {
            Err(StageError::new(&self.stage, ErrorKind::Transient { retry_after }, message))
        };
        match answer.verdict() {
            Verdict::Final => {
                self.unexplained_limits.store(0, Ordering::Relaxed);
                if let Some(wait) = answer.budget_used_up() {
                    self.wait_for_budget(wait);
                    if wait <= LONGEST_WAIT {
                        self.events.waiting(&self.stage, wait, "the rate limit is used up");
                    }
                }
                Ok(answer)
            }
            Verdict::PrimaryLimit(wait) => {
                self.wait_for_budget(wait);
                transient(Some(wait), format!("the hourly rate limit of {} is used up", self.host))
            }
            Verdict::SecondaryLimit(wait) => {
                let wait = wait.unwrap_or_else(|| {
                    let before = self.unexplained_limits.fetch_add(1, Ordering::Relaxed);
                    SECONDARY_WAIT.saturating_mul(1 << before.min(8))
                });
                self.hold_everyone(wait);
                transient(Some(wait), format!("{} asks to slow down ({})", self.host, answer.summary()))
            }
            Verdict::BadCredentials => Err(StageError::misconfigured(
                &self.stage,
                format!("{} does not accept the credentials ({})", self.host, answer.summary()),
            )
            .hint(self.credentials.remedy())),
            Verdict::Transient(wait) => {
                transient(wait, format!("{} is in trouble ({})", self.host, answer.summary()))
            }
        }
    }

    /// Nothing is left of the budget: everyone waits, or, where that is too long, ends.
    fn wait_for_budget(&self, wait: Duration) {
        if wait > LONGEST_WAIT {
            let until = Instant::now() + wait;
            *self.used_up_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        }
        self.hold_everyone(wait);
    }

    fn hold_everyone(&self, wait: Duration) {
        if wait <= LONGEST_WAIT {
            self.limiter.pause(wait);
        }
    }

    /// Asking on while nothing is left may get the account banned.
    fn refuse_while_used_up(&self) -> StageResult<()> {
        let until = *self.used_up_until.lock().unwrap_or_else(PoisonError::into_inner);
        match until.and_then(|until| until.checked_duration_since(Instant::now())) {
            Some(left) if !left.is_zero() => Err(StageError::new(
                &self.stage,
                ErrorKind::Transient { retry_after: Some(left) },
                format!("the hourly rate limit of {} is used up", self.host),
            )),
            _ => Ok(()),
        }
    }

    fn describe_octocrab(&self, error: octocrab::Error) -> StageError {
        match error {
            octocrab::Error::Service { source, .. } => match source.downcast::<reqwest::Error>() {
                Ok(error) => net::describe_transport_error(&self.stage, &self.host, *error),
                Err(source) => match source.downcast::<octocrab::Error>() {
                    Ok(inner) => self.describe_octocrab(*inner),
                    Err(_) => StageError::transient(&self.stage, format!("failed request to {}", self.host)),
                },
            },
            other => {
                tracing::debug!(stage = %self.stage, error = ?std::mem::discriminant(&other), "octocrab failed");
                self.garbage("an answer that cannot be read")
            }
        }
    }

    /// True where GitHub itself runs the server.
    pub(super) fn is_public(&self) -> bool {
        is_public(&self.host)
    }

    fn no_answer(&self) -> StageError {
        StageError::transient(&self.stage, format!("no answer in time from {}", self.host))
    }

    /// An answer longer than its request allows. A tree or a blob would be as long the next time; for
    /// anything else it is a fault of the server, or of a proxy.
    fn too_long(&self, ask: Ask<'_>) -> StageError {
        let what = format!("more than {} for `{}`", ByteSize(ask.longest), ask.operation);
        if matches!(ask.operation, "tree" | "blob") {
            StageError::refused(&self.stage, format!("{} sent {what}", self.host))
        } else {
            self.garbage(&what)
        }
    }

    /// An answer that is not what the API sends: broken on the way, or a proxy's.
    pub(super) fn garbage(&self, what: &str) -> StageError {
        StageError::transient(&self.stage, format!("{} sent {what}", self.host))
    }

    /// Reads JSON; anything else is garbage, to be asked for again.
    pub(super) fn parse<'a, T: serde::Deserialize<'a>>(&self, answer: &'a Answer) -> StageResult<T> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            let kind = answer.header("content-type").unwrap_or("no content type").to_owned();
            let garbage =
                self.garbage(&format!("something else than the JSON expected ({kind})")).caused_by(error);
            if kind.starts_with("text/html") { garbage.hint(ADDRESS_HINT) } else { garbage }
        })
    }

    /// The error for one repository or file that the server will not give.
    pub(super) fn refusal(&self, what: &str, answer: &Answer) -> StageError {
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

/// The type of an error in metrics.
fn error_type(error: &StageError) -> &'static str {
    match error.kind {
        ErrorKind::Transient { retry_after: Some(_) } => "rate_limit",
        ErrorKind::Transient { retry_after: None } => "network",
        ErrorKind::Misconfigured => "authentication",
        ErrorKind::Cancelled => "cancelled",
        _ => "refused",
    }
}
