//! An embedder behind HTTP: limits, retries, and what is learnt from the service on the way.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::fault::{self, Fault, Lesson, Service};
use super::wire::{self, Answer, Request};
use super::{EmbedLimits, Embedder, Embeddings, tokens};
use crate::model::{ErrorKind, Event, EventSink, Fingerprint, ServiceKind, StageError, StageResult};
use crate::net::{HttpClient, LONGEST_WAIT, Limiter, Timeouts, describe_transport_error, read_body, retry};

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
    pub(super) service: Service,
    pub(super) url: Url,
    /// Credentials.
    pub(super) headers: HeaderMap,
    /// Deployment or model.
    pub(super) model: &'a str,
    /// Whether the body names the model.
    pub(super) model_in_body: bool,
    pub(super) dimensions: Option<u32>,
    /// Known without asking.
    pub(super) known_dimensions: Option<usize>,
    pub(super) batch_size: usize,
    pub(super) max_input_tokens: usize,
    pub(super) requests_per_minute: Option<u32>,
    pub(super) tokens_per_minute: Option<u32>,
    pub(super) price_per_million_tokens: Option<f64>,
}

/// Azure OpenAI, OpenAI, or a server that speaks its protocol.
///
/// One for each stage: its limiter is what all projects on the stage share.
pub struct ServiceEmbedder {
    service: Service,
    identity: Fingerprint,
    label: String,
    url: Url,
    headers: HeaderMap,
    model: Option<String>,
    asked_dimensions: Option<u32>,
    dimensions: OnceLock<usize>,
    max_input_tokens: usize,
    tokens_per_call: usize,
    price: f64,
    concurrency: usize,
    /// Texts in a call; lowered when the service refuses so many.
    batch_size: AtomicUsize,
    /// False once the service refused `encoding_format`.
    base64: AtomicBool,

    client: HttpClient,
    limiter: Arc<Limiter>,
    timeouts: Timeouts,
    cancel: CancellationToken,
    events: EventSink,
}

impl ServiceEmbedder {
    pub(super) fn new(
        settings: Settings<'_>,
        client: HttpClient,
        concurrency: usize,
        cancel: CancellationToken,
        events: EventSink,
    ) -> Self {
        let Settings { kind, url, model, dimensions, known_dimensions, .. } = settings;
        let told = dimensions.map(|n| n as usize).or(known_dimensions);
        let shown = told.map_or(String::new(), |n| n.to_string());
        let label = match told {
            Some(n) => format!("{kind} {model}, {n} dimensions"),
            None => format!("{kind} {model}"),
        };
        // A call larger than a minute's budget would never be let through.
        let tokens_per_call = settings.tokens_per_minute.map_or(MOST_TOKENS, |n| MOST_TOKENS.min(n as usize));
        Self {
            // The address without its query: the API's version does not change the vectors.
            identity: Fingerprint::of([kind, &url[..url::Position::AfterPath], model, &shown]),
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
            client,
            limiter: Limiter::new(concurrency, settings.requests_per_minute, settings.tokens_per_minute),
            timeouts: Timeouts::default(),
            cancel,
            events,
            service: settings.service,
        }
    }

    /// Replaces the default time-outs and retries.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// One try, once the limiter lets it through.
    async fn attempt(&self, inputs: &[&str], tokens: u64) -> StageResult<Answer> {
        let permit = tokio::select! {
            permit = self.limiter.acquire(tokens) => permit,
            () = self.cancel.cancelled() => return Err(StageError::cancelled(&self.service.stage)),
        };
        let start = Instant::now();
        let base64 = self.base64.load(Ordering::Relaxed);
        let Fault { error, lesson } = match self.exchange(inputs, tokens, base64).await {
            Ok(answer) => {
                permit.succeeded();
                return Ok(answer);
            }
            Err(fault) => fault,
        };
        let throttled = lesson == Lesson::SlowDown;
        self.events.emit(Event::Call {
            service: ServiceKind::Embedder,
            stage: self.service.stage.clone(),
            operation: "embed",
            items: inputs.len() as u64,
            tokens,
            seconds: start.elapsed().as_secs_f64(),
            ok: false,
            error: Some(if throttled { "rate_limit" } else { "embedding" }),
        });
        match lesson {
            Lesson::SlowDown => permit.throttled(),
            Lesson::NoEncoding if base64 => {
                self.base64.store(false, Ordering::Relaxed);
                drop(permit);
                return Box::pin(self.attempt(inputs, tokens)).await;
            }
            Lesson::SmallerBatches(most) => {
                let fewer = most.filter(|&most| most < inputs.len()).unwrap_or(inputs.len() / 2);
                self.batch_size.fetch_min(fewer.max(1), Ordering::Relaxed);
            }
            Lesson::NoEncoding | Lesson::Nothing => {}
        }
        if let ErrorKind::Transient { retry_after: Some(wait) } = error.kind
            && wait <= LONGEST_WAIT
        {
            self.limiter.pause(wait); // what one call was told holds for all
        }
        Err(error)
    }

    /// One request and its answer.
    async fn exchange(&self, inputs: &[&str], tokens: u64, base64: bool) -> Result<Answer, Fault> {
        let service = &self.service;
        let request = Request {
            input: inputs,
            model: self.model.as_deref(),
            dimensions: self.asked_dimensions,
            encoding_format: base64.then_some("base64"),
        };
        let body = serde_json::to_vec(&request).map_err(|error| {
            Fault::of(
                StageError::new(&service.stage, ErrorKind::Bug, "cannot write the request").caused_by(error),
            )
        })?;
        let transport = |error| Fault::of(describe_transport_error(&service.stage, &service.host, error));
        let mut answer = self
            .client
            .post(self.url.clone())
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, "application/json")
            .timeout(self.timeouts.answer)
            .body(body)
            .send()
            .await
            .map_err(transport)?;
        let status = answer.status();
        let headers = std::mem::take(answer.headers_mut());
        self.obey(&headers, tokens);
        let Some(body) = read_body(answer, LONGEST_ANSWER).await.map_err(transport)? else {
            return Err(service.garbage("it is too long", b""));
        };
        if !status.is_success() {
            let fault = service.fault(status, &headers, &body);
            let request = headers.get("apim-request-id").or(headers.get("x-request-id"));
            tracing::debug!(stage = %service.stage, %status, ?request, error = %fault.error.message, "refused");
            return Err(fault);
        }
        let (n, parsed) = (inputs.len(), body.clone());
        let answer = if body.len() <= SMALL_ANSWER {
            wire::read_answer(&body, n)
        } else {
            let reading = tokio::task::spawn_blocking(move || wire::read_answer(&parsed, n));
            reading.await.unwrap_or_else(|error| Err(error.to_string()))
        };
        let answer = answer.map_err(|why| service.garbage(&why, &body))?;
        self.check_length(answer.vectors.first().map_or(0, |vector| vector.len())).map_err(Fault::of)?;
        Ok(answer)
    }

    /// Pauses everyone as the `x-ratelimit-*` headers ask.
    fn obey(&self, headers: &HeaderMap, tokens: u64) {
        if let Some(wait) = fault::pause(headers, tokens).map(|wait| wait.min(LONGEST_PAUSE)) {
            self.limiter.pause(wait);
            if wait >= Duration::from_secs(1) {
                self.events.waiting(&self.service.stage, wait, "the rate limit is used up");
            }
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
            format!("{} gives vectors of {length} components instead of {expected}", self.service.host);
        Err(StageError::misconfigured(&self.service.stage, message)
            .hint(format!("set `dimensions = {length}`, or use the model that gives {expected}")))
    }
}

#[async_trait]
impl Embedder for ServiceEmbedder {
    fn stage(&self) -> &str {
        &self.service.stage
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

    async fn embed(&self, inputs: &[&str], tokens: u64) -> StageResult<Embeddings> {
        let answer =
            retry(&self.timeouts.retry, &self.cancel, &self.events, || self.attempt(inputs, tokens)).await?;
        Ok(Embeddings { vectors: answer.vectors, tokens: answer.tokens.unwrap_or(tokens) })
    }
}
