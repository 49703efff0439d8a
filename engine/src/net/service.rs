//! The one way to call a service over HTTP.
//!
//! A stage writes its requests and interprets answers (`classify`). Limits, time-outs, cancellation, retries,
//! bounds on bodies, events and the masking of secrets in errors are implemented here.
//!
//! A service may ask for a pause (`Retry-After`, rate-limit headers). All callers of the service wait for up to
//! five minutes, which [`Event::Waiting`] reports. A longer pause ends the call, and with it the project, with
//! that cause, so that no run blocks silently.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::call_error::{CallError, CallFailure};
use super::limit::{Limiter, NoPermit, SHORTEST_TOLD};
use super::request::{Deadline, ServiceRequest};
use super::response::{ServiceResponse, StreamedResponse, no_answer};
use super::retry::LONGEST_WAIT;
use super::timeouts::Timeouts;
use super::transport::Transport;
use crate::model::{
    Allowances, ErrorKind, Event, EventSink, Fingerprint, ServiceKind, StageError, StageResult,
};

/// A service that refuses calls for longer is asked again after this time.
const LONGEST_CLOSED: Duration = Duration::from_secs(24 * 60 * 60);

/// A response that the caller understood.
#[derive(Debug)]
pub struct Accepted<T> {
    value: T,
    tokens: Option<u64>,
    failure: Option<CallFailure>,
}

impl<T> Accepted<T> {
    /// The call succeeded.
    pub fn new(value: T) -> Self {
        Self { value, tokens: None, failure: None }
    }

    /// The service declined, in a way that the caller acts on. Metrics count it as a failure.
    pub fn declined(failure: CallFailure, value: T) -> Self {
        Self { value, tokens: None, failure: Some(failure) }
    }

    /// Tokens as the service counted them, for metrics.
    #[must_use]
    pub fn tokens(mut self, tokens: Option<u64>) -> Self {
        self.tokens = tokens;
        self
    }
}

/// What a response means: a value, or an error whose kind decides whether the call is tried again.
pub type Classified<T> = Result<Accepted<T>, CallError>;

/// Calls one service. Clones share its limits.
#[derive(Clone)]
pub struct Service {
    shared: Arc<Shared>,
    transport: Arc<dyn Transport>,
    timeouts: Timeouts,
}

struct Shared {
    stage: String,
    role: ServiceKind,
    limiter: Arc<Limiter>,
    cancel: CancellationToken,
    events: EventSink,
    closed: Mutex<Option<Closed>>,
}

/// The service said that it refuses all calls for longer than is waited.
struct Closed {
    until: Instant,
    reason: String,
}

impl Service {
    /// A service of a stage, called through `transport` within the limits of `limiter`.
    pub fn new(
        role: ServiceKind,
        stage: impl Into<String>,
        transport: Arc<dyn Transport>,
        limiter: Arc<Limiter>,
        cancel: CancellationToken,
        events: EventSink,
    ) -> Self {
        let closed = Mutex::new(None);
        let shared = Arc::new(Shared { stage: stage.into(), role, limiter, cancel, events, closed });
        Self { shared, transport, timeouts: Timeouts::default() }
    }

    /// Replaces the default time-outs and retries.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Shares the limits with all processes that use `allowances`; `None`: this process counts for itself. `key`
    /// identifies service, account and credential. All processes together make at most `at_once` calls at once.
    #[must_use]
    pub fn sharing(
        self,
        allowances: Option<&Arc<dyn Allowances>>,
        key: Fingerprint,
        at_once: Option<usize>,
    ) -> Self {
        if let Some(allowances) = allowances {
            self.shared.limiter.share(&self.shared.stage, Arc::clone(allowances), key, at_once);
        }
        self
    }

    /// The same service by another transport, such as one with a new token.
    #[must_use]
    pub fn over(&self, transport: Arc<dyn Transport>) -> Self {
        Self { shared: Arc::clone(&self.shared), transport, timeouts: self.timeouts.clone() }
    }

    /// The stage's name.
    pub fn stage(&self) -> &str {
        &self.shared.stage
    }

    /// Sends a request until `classify` accepts the response, or finds an error that is not tried again,
    /// or the tries are used up.
    pub async fn call<T, F, Fut>(&self, request: &ServiceRequest, classify: F) -> StageResult<T>
    where
        F: Fn(ServiceResponse) -> Fut,
        Fut: Future<Output = Classified<T>>,
    {
        self.retry(|| self.call_once(request, &classify)).await
    }

    /// Sends a request a single time, for what can be had in another way.
    pub async fn call_once<T, F, Fut>(&self, request: &ServiceRequest, classify: F) -> StageResult<T>
    where
        F: FnOnce(ServiceResponse) -> Fut,
        Fut: Future<Output = Classified<T>>,
    {
        self.stream_once(request, |response| async move { classify(response.read().await?).await }).await
    }

    /// Sends a request a single time and hands over the response before its body is read. The call,
    /// and its measured time, ends when `take` ends.
    pub async fn stream_once<'a, T, F, Fut>(&'a self, request: &'a ServiceRequest, take: F) -> StageResult<T>
    where
        F: FnOnce(StreamedResponse<'a>) -> Fut,
        Fut: Future<Output = Classified<T>>,
    {
        let shared = &*self.shared;
        if shared.cancel.is_cancelled() {
            return Err(self.cancelled());
        }
        shared.refuse_while_closed()?;
        let tell = |wait, cause: &str| shared.events.waiting(&shared.stage, wait, cause);
        let permit = tokio::select! {
            permit = shared.limiter.acquire(request.tokens, tell) => permit,
            () = shared.cancel.cancelled() => return Err(self.cancelled()),
        };
        let permit = match permit {
            Ok(permit) => permit,
            Err(NoPermit::Unknown(error)) => return Err(error),
            Err(NoPermit::Closed(pause)) => {
                shared.close(pause.wait, &pause.reason);
                return Err(shared.refusal(pause.wait, pause.reason));
            }
        };
        let started = Instant::now();
        let exchange = self.exchange(request, take);
        let result = if request.paid {
            exchange.await
        } else {
            tokio::select! {
                result = exchange => result,
                () = shared.cancel.cancelled() => return Err(self.cancelled()),
            }
        };
        let (failure, tokens) = match &result {
            Ok(accepted) => (accepted.failure, accepted.tokens),
            Err(error) => (Some(error.failure), None),
        };
        shared.events.emit(Event::Call {
            service: shared.role,
            stage: shared.stage.clone(),
            operation: request.operation,
            items: request.items,
            tokens: tokens.unwrap_or(request.tokens),
            seconds: started.elapsed().as_secs_f64(),
            ok: failure.is_none(),
            error: failure.map(|failure| failure.label(shared.role)),
        });
        // A pause applies to all callers.
        if let Err(CallError { error, .. }) = &result
            && let ErrorKind::Transient { retry_after: Some(wait) } = error.kind
            && wait <= LONGEST_WAIT
        {
            shared.limiter.pause(wait, &error.message);
        }
        match failure {
            None => permit.succeeded(),
            Some(CallFailure::RateLimit) => permit.throttled(),
            Some(_) => drop(permit),
        }
        result.map(|accepted| accepted.value).map_err(|failed| failed.error)
    }

    /// Runs `attempt` until it succeeds, its error is not transient, the wait asked for is too long, or the
    /// tries are used up. The one loop that tries again.
    pub async fn retry<T, F, Fut>(&self, mut attempt: F) -> StageResult<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = StageResult<T>>,
    {
        let mut tried = 0;
        loop {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                // What is not of the service itself, such as the state, was tried again where it failed.
                Err(error) if error.stage != self.shared.stage => return Err(error),
                Err(error) => error,
            };
            tried += 1;
            let (wait, error) = self.timeouts.retry.pause_after(tried, error)?;
            tracing::debug!(stage = %error.stage, error = %error.one_line(), ?wait, tried, "trying again");
            self.wait(wait, &error.message).await?;
        }
    }

    /// Reports a wait and waits; returns early, with an error, when the run is cancelled.
    pub async fn wait(&self, wait: Duration, reason: &str) -> StageResult<()> {
        self.shared.events.waiting(&self.shared.stage, wait, reason);
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.shared.cancel.cancelled() => Err(self.cancelled()),
        }
    }

    /// Holds all calls for a while, because a successful response says that nothing is left until then.
    /// Beyond the longest wait, calls are refused with `reason` instead.
    pub fn hold(&self, wait: Duration, reason: &str) {
        if wait > LONGEST_WAIT {
            self.close(wait, reason);
            return;
        }
        self.shared.limiter.pause(wait, reason);
        if wait >= SHORTEST_TOLD {
            self.shared.events.waiting(&self.shared.stage, wait, reason);
        }
    }

    /// Refuses all calls with `reason` for `wait`, without a request, if `wait` is longer than a pause may be:
    /// requests beyond a limit can get an account banned.
    pub fn close(&self, wait: Duration, reason: &str) {
        if wait > LONGEST_WAIT {
            self.shared.close(wait, reason);
            self.shared.limiter.pause_others(wait.min(LONGEST_CLOSED), reason);
        }
    }

    /// One request and its response, within the time-out.
    async fn exchange<'a, T, F, Fut>(&'a self, request: &'a ServiceRequest, take: F) -> Classified<T>
    where
        F: FnOnce(StreamedResponse<'a>) -> Fut,
        Fut: Future<Output = Classified<T>>,
    {
        let (stage, answer) = (self.stage(), self.timeouts.answer);
        let sent = async {
            self.transport.send(request).await.map_err(|error| error.describe(stage, &request.host))
        };
        match request.deadline {
            Deadline::Total => {
                let whole = async { take(StreamedResponse::new(sent.await?, request, stage, None)).await };
                tokio::time::timeout(answer, whole).await.unwrap_or_else(|_| Err(no_answer(stage, request)))
            }
            Deadline::Idle => {
                let sent = tokio::time::timeout(answer, sent).await;
                let response = sent.unwrap_or_else(|_| Err(no_answer(stage, request)))?;
                take(StreamedResponse::new(response, request, stage, Some(answer))).await
            }
        }
    }

    fn cancelled(&self) -> StageError {
        StageError::cancelled(self.stage())
    }
}

impl Shared {
    fn closed(&self) -> parking_lot::MutexGuard<'_, Option<Closed>> {
        self.closed.lock()
    }

    fn close(&self, wait: Duration, reason: &str) {
        let until = Instant::now() + wait.min(LONGEST_CLOSED);
        *self.closed() = Some(Closed { until, reason: reason.to_owned() });
    }

    fn refuse_while_closed(&self) -> StageResult<()> {
        let mut closed = self.closed();
        let Some(Closed { until, reason }) = &*closed else { return Ok(()) };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            *closed = None;
            return Ok(());
        }
        Err(self.refusal(left, reason.clone()))
    }

    fn refusal(&self, left: Duration, reason: String) -> StageError {
        StageError::new(&self.stage, ErrorKind::Transient { retry_after: Some(left) }, reason)
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("stage", &self.shared.stage).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
