//! Carries requests through octocrab, which adds the credentials, to our own client, which has a
//! connection time-out, follows no redirect and uses the system's proxies.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use async_trait::async_trait;
use http::header::{ACCEPT, HeaderValue};
use http_body_util::BodyExt as _;
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use url::Url;

use super::link;
use crate::model::Secret;
use crate::net::{HttpClient, ServiceRequest, Transport, TransportBody, TransportError};

/// The version whose answers we read.
const API_VERSION: &str = "2022-11-28";
const JSON: &str = "application/vnd.github+json";

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Octocrab with one token, or none.
pub(super) struct Carrier {
    below: Below,
    token: Option<Secret>,
    /// Made by the first request: octocrab starts a task, so that it needs a runtime.
    octocrab: OnceLock<Octocrab>,
}

impl Carrier {
    /// Sends to the host of `base`, whatever the host of a request.
    pub(super) fn new(http: HttpClient, base: &Url, token: Option<Secret>) -> Self {
        let mut origin = base.clone();
        origin.set_path("/");
        origin.set_query(None);
        Self { below: Below { http, origin }, token, octocrab: OnceLock::new() }
    }

    fn octocrab(&self) -> &Octocrab {
        self.octocrab.get_or_init(|| {
            let auth = match &self.token {
                Some(token) => AuthState::AccessToken { token: token.expose().to_owned().into() },
                None => AuthState::None,
            };
            let builder = OctocrabBuilder::new_empty().with_service(self.below.clone()).with_auth(auth);
            match builder.build() {
                Ok(octocrab) => octocrab,
                Err(never) => match never {},
            }
        })
    }
}

#[async_trait]
impl Transport for Carrier {
    async fn send(&self, request: &ServiceRequest) -> Result<http::Response<TransportBody>, TransportError> {
        let path = &request.url[url::Position::BeforePath..url::Position::AfterQuery];
        let body = request.body.clone().unwrap_or_default();
        let mut sent = http::Request::new(body);
        *sent.method_mut() = request.method.clone();
        *sent.uri_mut() = path.parse().map_err(|_| TransportError::Unreadable)?;
        sent.headers_mut().clone_from(&request.headers);
        let response = self.octocrab().execute(sent).await.map_err(transport_error)?;
        Ok(response.map(|body| body.map_err(transport_error).boxed_unsync()))
    }
}

/// The error of our client, out of octocrab's layers.
fn transport_error(error: octocrab::Error) -> TransportError {
    let octocrab::Error::Service { source, .. } = error else {
        tracing::debug!(error = ?std::mem::discriminant(&error), "octocrab failed");
        return TransportError::Unreadable;
    };
    match source.downcast::<reqwest::Error>() {
        Ok(error) => TransportError::Http(*error),
        Err(source) => match source.downcast::<octocrab::Error>() {
            Ok(inner) => transport_error(*inner),
            Err(_) => TransportError::Unreadable,
        },
    }
}

/// The HTTP service under octocrab: sends requests whose addresses are paths.
///
/// Octocrab adds credentials only to requests without a host, and its own base-address layer
/// would put the base's path in front of foreign addresses too. So nothing but paths goes through
/// octocrab, and the host is put in front here.
#[derive(Clone)]
struct Below {
    http: HttpClient,
    origin: Url,
}

impl tower_service::Service<http::Request<OctoBody>> for Below {
    type Response = http::Response<reqwest::Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<OctoBody>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
            let url = link::at(&this.origin, path);
            parts.headers.entry(ACCEPT).or_insert(HeaderValue::from_static(JSON));
            parts.headers.insert("x-github-api-version", HeaderValue::from_static(API_VERSION));
            let response = this
                .http
                .request(parts.method, url)
                .headers(parts.headers)
                .body(reqwest::Body::wrap(body))
                .send()
                .await?;
            Ok(response.into())
        })
    }
}
