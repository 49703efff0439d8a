//! A request to a service.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use url::Url;

/// What the time-out of a call bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// The whole call.
    Total,
    /// The time to the head of the response, then the time between two pieces of its body. For bodies
    /// whose duration depends on the line.
    Idle,
}

/// What a response body longer than [`ServiceRequest::longest`] means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oversize {
    /// A fault of the server or a proxy: tried again.
    Retry,
    /// The item itself is too large: refused.
    Refuse,
}

/// A request that may be sent more than once.
#[derive(Clone)]
pub struct ServiceRequest {
    /// The name of the operation in events and metrics.
    pub operation: &'static str,
    /// Number of things the request is about, for metrics.
    pub items: u64,
    /// Tokens to take from the service's budget.
    pub tokens: u64,
    /// HTTP method.
    pub method: Method,
    /// Whole address.
    pub url: Url,
    /// Headers, credentials included (marked sensitive).
    pub headers: HeaderMap,
    /// Body, where there is one.
    pub body: Option<Bytes>,
    /// Name of the server in messages.
    pub host: String,
    /// Longest body of a successful response, in bytes.
    pub longest: usize,
    /// What a longer one means.
    pub oversize: Oversize,
    /// What the time-out bounds.
    pub deadline: Deadline,
    /// False: the body of a successful response is not read.
    pub reads_success: bool,
    /// True: a call that has begun is not broken off by cancellation, because its answer is paid.
    pub paid: bool,
}

impl ServiceRequest {
    /// A request without body or headers, about one thing, for an answer of up to 1 MiB.
    pub fn new(operation: &'static str, method: Method, url: Url) -> Self {
        Self {
            operation,
            items: 1,
            tokens: 0,
            method,
            host: host_of(&url),
            url,
            headers: HeaderMap::new(),
            body: None,
            longest: 1 << 20,
            oversize: Oversize::Retry,
            deadline: Deadline::Total,
            reads_success: true,
            paid: false,
        }
    }

    /// Adds a JSON body.
    #[must_use]
    pub fn json(mut self, body: Bytes) -> Self {
        self.body = Some(body);
        self.header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

impl std::fmt::Debug for ServiceRequest {
    /// Without address, headers and body, which may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceRequest")
            .field("operation", &self.operation)
            .field("method", &self.method)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// Host and port of a URL, for messages.
pub fn host_of(url: &Url) -> String {
    url[url::Position::BeforeHost..url::Position::AfterPort].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_shown_without_credentials_and_path() {
        let url = Url::parse("https://user:pw@host.example:8443/path?x=1").expect("valid");
        assert_eq!(host_of(&url), "host.example:8443");
    }
}
