//! An embedder behind HTTP: its requests, its answers, and how it adjusts to the service.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::body::{EmbeddingResponse, Request, read_answer};
use super::classify::{self, Adjustment, Endpoint};
use super::purpose::{Purpose, Purposes};
use super::{EmbedLimits, Embedder, Embeddings, tokens, with_context};
use crate::model::{
    Allowances, ErrorKind, EventSink, Fingerprint, ServiceKind, StageError, StageResult, is_loopback,
};
use crate::net::{
    Accepted, CallFailure, Classified, Limiter, Service, ServiceRequest, ServiceResponse, Timeouts,
    http_client,
};

/// Inputs that Azure and OpenAI take in a request.
const MOST_INPUTS: usize = 2048;
/// Tokens that they take in a request, summed over its inputs.
const MOST_TOKENS: usize = 300_000;
/// The longest pause that `x-ratelimit-*` headers alone bring about; a 429 may ask for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The longest answer that is read: 2,048 vectors of 4,096 components, written as text.
const LONGEST_ANSWER: usize = 192 << 20;
/// An answer longer than this is parsed off the executor.
const SMALL_ANSWER: usize = 64 << 10;

/// Everything that tells one service from another.
pub(super) struct Settings<'a> {
    /// `azure-openai` or `openai`.
    pub(super) kind: &'static str,
    pub(super) endpoint: Endpoint,
    pub(super) url: Url,
    /// Credentials.
    pub(super) headers: HeaderMap,
    /// Deployment or model.
    pub(super) model: &'a str,
    /// Whether the body names the model.
    pub(super) model_in_body: bool,
    pub(super) dimensions: Option<u32>,
    /// Known from the configuration.
    pub(super) known_dimensions: Option<usize>,
    pub(super) batch_size: usize,
    pub(super) max_input_tokens: usize,
    pub(super) requests_per_minute: Option<u32>,
    pub(super) tokens_per_minute: Option<u32>,
    pub(super) price_per_million_tokens: Option<f64>,
    pub(super) purposes: Purposes,
}

/// Azure OpenAI, OpenAI, or a server that speaks its protocol.
///
/// One for each stage: its limiter is what all projects on the stage share.
pub struct ServiceEmbedder {
    service: Service,
    endpoint: Endpoint,
    identity: Fingerprint,
    /// Deployment and credential, whose limits processes share.
    account: Fingerprint,
    label: String,
    purposes: Purposes,
    url: Url,
    headers: HeaderMap,
    model: Option<String>,
    asked_dimensions: Option<u32>,
    dimensions: OnceLock<usize>,
    max_input_tokens: usize,
    tokens_per_call: usize,
    price: f64,
    concurrency: usize,
    /// Texts per call; lowered when the service refuses a batch as too large.
    batch_size: AtomicUsize,
    /// False once the service refused `encoding_format`.
    base64: AtomicBool,
}

/// An answer that the embedder acts on.
enum Reply {
    Embedded(EmbeddingResponse),
    /// The service refuses `encoding_format`.
    NoEncoding(StageError),
}

impl ServiceEmbedder {
    pub(super) fn new(
        settings: Settings<'_>,
        concurrency: usize,
        cancel: CancellationToken,
        events: EventSink,
    ) -> StageResult<Self> {
        let Settings { kind, url, model, dimensions, known_dimensions, .. } = settings;
        let told = dimensions.map(|n| n as usize).or(known_dimensions);
        let shown = told.map_or(String::new(), |n| n.to_string());
        let label = match told {
            Some(n) => format!("{kind} {model}, {n} dimensions"),
            None => format!("{kind} {model}"),
        };
        // A call larger than a minute's budget would never be let through.
        let tokens_per_call = settings.tokens_per_minute.map_or(MOST_TOKENS, |n| MOST_TOKENS.min(n as usize));
        let limiter = Limiter::new(concurrency, settings.requests_per_minute, settings.tokens_per_minute);
        let (stage, endpoint) = (settings.endpoint.stage.clone(), settings.endpoint);
        let http = Arc::new(http_client(&stage)?);
        Ok(Self {
            // The address without its query: the API's version does not change the vectors.
            identity: Fingerprint::of(
                [kind, &url[..url::Position::AfterPath], model, &shown]
                    .into_iter()
                    .chain(settings.purposes.identity().iter().map(String::as_str)),
            ),
            account: Fingerprint::of(
                [kind.as_bytes(), url.authority().as_bytes(), model.as_bytes()]
                    .into_iter()
                    .chain(settings.headers.values().map(HeaderValue::as_bytes)),
            ),
            purposes: settings.purposes,
            label,
            url,
            headers: settings.headers,
            model: settings.model_in_body.then(|| model.to_owned()),
            asked_dimensions: dimensions,
            dimensions: told.map_or_else(OnceLock::new, OnceLock::from),
            max_input_tokens: settings.max_input_tokens.max(1),
            tokens_per_call: tokens_per_call.max(1),
            price: settings.price_per_million_tokens.unwrap_or(0.0),
            concurrency: concurrency.max(1),
            batch_size: AtomicUsize::new(settings.batch_size.clamp(1, MOST_INPUTS)),
            base64: AtomicBool::new(true),
            service: Service::new(ServiceKind::Embedder, stage, http, limiter, cancel, events),
            endpoint,
        })
    }

    /// Replaces the default time-outs and retries.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.service = self.service.with_timeouts(timeouts);
        self
    }

    /// Shares the limits of the service with other processes.
    #[must_use]
    pub fn with_allowances(mut self, allowances: Option<&Arc<dyn Allowances>>) -> Self {
        // Without a credential, a server at a loopback address is another one on each machine.
        if !(self.headers.is_empty() && is_loopback(&self.url)) {
            self.service = self.service.sharing(allowances, self.account.clone(), None);
        }
        self
    }

    fn request(
        &self,
        inputs: &[&str],
        tokens: u64,
        (purpose, base64): (Purpose, bool),
    ) -> StageResult<ServiceRequest> {
        let body = Request {
            input: inputs,
            model: self.model.as_deref(),
            dimensions: self.asked_dimensions,
            encoding_format: base64.then_some("base64"),
            input_type: self.purposes.input_type(purpose),
        };
        let body = serde_json::to_vec(&body).map_err(|error| {
            StageError::new(self.stage(), ErrorKind::Bug, "cannot write the request").caused_by(error)
        })?;
        let mut request = ServiceRequest::new("embed", Method::POST, self.url.clone());
        request.headers.clone_from(&self.headers);
        // The answer to a call that has begun is paid: it is waited for, and goes into the cache.
        let request = ServiceRequest { items: inputs.len() as u64, tokens, paid: true, ..request };
        Ok(ServiceRequest { longest: LONGEST_ANSWER, ..request }.json(body.into()))
    }

    async fn classify(&self, response: ServiceResponse, inputs: usize, tokens: u64) -> Classified<Reply> {
        let ServiceResponse { status, headers, body } = response;
        self.apply_rate_limit_headers(&headers, tokens);
        if !status.is_success() {
            let (failed, adjustment) = self.endpoint.explain(status, &headers, &body);
            let request = headers.get("apim-request-id").or(headers.get("x-request-id"));
            tracing::debug!(stage = %self.stage(), %status, ?request, error = %failed.error.message, "refused");
            match adjustment {
                Adjustment::None => {}
                Adjustment::SmallerBatches(most) => {
                    let fewer = most.filter(|&most| most < inputs).unwrap_or(inputs / 2);
                    self.batch_size.fetch_min(fewer.max(1), Ordering::Relaxed);
                }
                Adjustment::NoEncoding => {
                    return Ok(Accepted::declined(CallFailure::Refused, Reply::NoEncoding(failed.error)));
                }
            }
            return Err(failed);
        }
        let answer = if body.len() <= SMALL_ANSWER {
            read_answer(&body, inputs)
        } else {
            let parsed = body.clone();
            let reading = tokio::task::spawn_blocking(move || read_answer(&parsed, inputs));
            reading.await.unwrap_or_else(|error| Err(error.to_string()))
        };
        let answer = answer.map_err(|why| self.endpoint.garbage(&why, &body))?;
        self.check_length(answer.vectors.first().map_or(0, |vector| vector.len()))?;
        let counted = answer.tokens;
        Ok(Accepted::new(Reply::Embedded(answer)).tokens(counted))
    }

    /// Pauses everyone as the `x-ratelimit-*` headers ask.
    fn apply_rate_limit_headers(&self, headers: &HeaderMap, tokens: u64) {
        if let Some(wait) = classify::pause(headers, tokens) {
            self.service.hold(wait.min(LONGEST_PAUSE), "the rate limit is used up");
        }
    }

    /// The first answer, or what was configured, decides the length; another one is no transient
    /// fault, and must not reach the store.
    fn check_length(&self, length: usize) -> StageResult<()> {
        let Some(&expected) = self.dimensions.get() else {
            // Lost to another first answer: the next check will compare with that.
            return self.dimensions.set(length).or(Ok(()));
        };
        if length == expected {
            return Ok(());
        }
        let message =
            format!("{} gives vectors of {length} components instead of {expected}", self.endpoint.host);
        Err(StageError::misconfigured(self.stage(), message)
            .hint(format!("set `dimensions = {length}`, or use the model that gives {expected}")))
    }
}

#[async_trait]
impl Embedder for ServiceEmbedder {
    fn stage(&self) -> &str {
        self.service.stage()
    }

    fn identity(&self) -> &Fingerprint {
        &self.identity
    }

    fn label(&self) -> &str {
        &self.label
    }

    fn limits(&self) -> EmbedLimits {
        EmbedLimits {
            inputs_per_call: self.batch_size.load(Ordering::Relaxed),
            tokens_per_input: self.max_input_tokens,
            tokens_per_call: self.tokens_per_call,
            calls: self.concurrency,
        }
    }

    fn price_per_million_tokens(&self) -> f64 {
        self.price
    }

    fn count_tokens(&self, text: &str) -> usize {
        tokens::count(text)
    }

    async fn dimensions(&self) -> StageResult<usize> {
        if let Some(&known) = self.dimensions.get() {
            return Ok(known);
        }
        // Any answer tells. Two first callers may both ask; that costs two tokens.
        let text = "dimensions";
        let answer = self.embed(&[text], self.count_tokens(text) as u64).await?;
        Ok(answer.vectors.first().map_or(0, |vector| vector.len()))
    }

    fn reports_calls(&self) -> bool {
        true
    }

    fn input(&self, context: Option<&str>, body: &str) -> String {
        self.purposes.document(with_context(context, body))
    }

    fn query_input(&self, text: &str) -> String {
        self.purposes.query(text)
    }

    async fn embed(&self, inputs: &[&str], tokens: u64) -> StageResult<Embeddings> {
        self.call(inputs, tokens, Purpose::Document).await
    }

    async fn embed_queries(&self, inputs: &[&str], tokens: u64) -> StageResult<Embeddings> {
        self.call(inputs, tokens, Purpose::Query).await
    }
}

impl ServiceEmbedder {
    async fn call(&self, inputs: &[&str], tokens: u64, purpose: Purpose) -> StageResult<Embeddings> {
        loop {
            let base64 = self.base64.load(Ordering::Relaxed);
            let request = self.request(inputs, tokens, (purpose, base64))?;
            let classify = |response| self.classify(response, inputs.len(), tokens);
            match self.service.call(&request, classify).await? {
                Reply::Embedded(answer) => {
                    return Ok(Embeddings {
                        vectors: answer.vectors,
                        tokens: answer.tokens.unwrap_or(tokens),
                    });
                }
                Reply::NoEncoding(_) if base64 => self.base64.store(false, Ordering::Relaxed),
                Reply::NoEncoding(error) => return Err(error),
            }
        }
    }
}
