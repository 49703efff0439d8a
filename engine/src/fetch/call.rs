//! One GET, and what its answer means for a download.

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode};
use url::Url;

use crate::chunk::component::MAX_COMPONENT;
use crate::model::{ErrorKind, StageError, StageResult};
use crate::net::{
    Accepted, CallError, CallFailure, Classified, Deadline, Oversize, Service, ServiceRequest,
    ServiceResponse, host_of,
};

/// Maximum number of redirects that are followed.
const REDIRECTS: usize = 5;

/// Calls servers for downloads.
pub(super) struct Caller {
    service: Service,
}

/// An answer that a download acts on.
pub(super) enum Reply {
    Body(Bytes),
    /// 401, with the challenge.
    Unauthorized(Option<String>),
    /// 403
    Denied,
    /// 404
    Missing,
}

/// An answer to one request.
enum Step {
    Done(Reply),
    Redirect(Option<String>),
}

/// What a request asks for.
#[derive(Clone, Copy)]
pub(super) struct Get<'a> {
    pub(super) url: &'a Url,
    /// The value of `Accept`.
    pub(super) accept: Option<&'static str>,
    /// The value of `Authorization`. It is not sent to other servers, to which a redirect may lead.
    pub(super) authorization: Option<&'a HeaderValue>,
}

impl Caller {
    pub(super) fn new(service: Service) -> Self {
        Self { service }
    }

    pub(super) fn stage(&self) -> &str {
        self.service.stage()
    }

    /// Sends a request, and follows redirects that stay with the scheme.
    pub(super) async fn get(&self, get: Get<'_>) -> StageResult<Reply> {
        let mut url = get.url.clone();
        for _ in 0..=REDIRECTS {
            let here = get.authorization.filter(|_| url.origin() == get.url.origin());
            match self.step(&url, get.accept, here).await? {
                Step::Done(reply) => return Ok(reply),
                Step::Redirect(location) => url = self.follow(&url, location.as_deref())?,
            }
        }
        let message = format!("{} redirects more than {REDIRECTS} times", host_of(get.url));
        Err(StageError::misconfigured(self.stage(), message))
    }

    async fn step(
        &self,
        url: &Url,
        accept: Option<&'static str>,
        authorization: Option<&HeaderValue>,
    ) -> StageResult<Step> {
        let mut request = ServiceRequest::new("component", Method::GET, url.clone());
        request.longest = usize::try_from(MAX_COMPONENT).unwrap_or(usize::MAX);
        request.oversize = Oversize::Refuse;
        request.deadline = Deadline::Idle;
        if let Some(accept) = accept {
            request = request.header(reqwest::header::ACCEPT, HeaderValue::from_static(accept));
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let host = &request.host;
        let answer = self.service.call(&request, |response| async move { self.classify(host, response) });
        // What is refused for its size is not one item of a run here.
        answer.await.map_err(|error| match error.kind {
            ErrorKind::Refused => StageError { kind: ErrorKind::Misconfigured, ..error },
            _ => error,
        })
    }

    fn classify(&self, host: &str, response: ServiceResponse) -> Classified<Step> {
        let status = response.status;
        let text = |headers: &HeaderMap, name| {
            headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned)
        };
        let done = |reply| Ok(Accepted::new(Step::Done(reply)));
        match status {
            StatusCode::UNAUTHORIZED => done(Reply::Unauthorized(text(&response.headers, WWW_AUTHENTICATE))),
            StatusCode::FORBIDDEN => done(Reply::Denied),
            StatusCode::NOT_FOUND | StatusCode::GONE => done(Reply::Missing),
            _ if status.is_success() => done(Reply::Body(response.body)),
            _ if status.is_redirection() => {
                Ok(Accepted::new(Step::Redirect(text(&response.headers, LOCATION))))
            }
            _ if status.is_server_error()
                || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) =>
            {
                let kind = ErrorKind::Transient { retry_after: response.retry_after() };
                let error = StageError::new(self.stage(), kind, format!("{host} answered {status}"));
                Err(CallError::new(CallFailure::Server, error))
            }
            _ => {
                let error = StageError::misconfigured(self.stage(), format!("{host} answered {status}"));
                Err(CallError::new(CallFailure::Refused, error))
            }
        }
    }

    fn follow(&self, url: &Url, location: Option<&str>) -> StageResult<Url> {
        let host = host_of(url);
        let next = location.and_then(|location| url.join(location).ok()).ok_or_else(|| {
            StageError::misconfigured(self.stage(), format!("{host} redirects to no valid address"))
        })?;
        if next.scheme() == url.scheme() {
            return Ok(next);
        }
        let message =
            format!("{host} redirects from {} to {} ({})", url.scheme(), next.scheme(), host_of(&next));
        Err(StageError::misconfigured(self.stage(), message)
            .hint("a download never changes its scheme; name the address of the file itself"))
    }
}
