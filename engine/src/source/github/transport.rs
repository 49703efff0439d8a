//! The HTTP service under octocrab: our own client, which has time-outs, follows no redirect and
//! uses the system's proxies. Octocrab above it adds the credentials.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{ACCEPT, HeaderValue};
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use url::Url;

use super::link;
use crate::model::Secret;
use crate::net::HttpClient;

/// The version whose answers we read.
const API_VERSION: &str = "2022-11-28";
const JSON: &str = "application/vnd.github+json";

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Sends requests whose addresses are paths below the API's base.
///
/// Octocrab adds credentials only to requests without a host, and its own base-address layer
/// would put the base's path in front of foreign addresses too. So nothing but paths goes through
/// octocrab, and the base is put in front here.
#[derive(Clone)]
struct Transport {
    http: HttpClient,
    base: Url,
}

/// An octocrab over our client that puts this token on each request. Must be called on a Tokio runtime:
/// octocrab starts a task.
pub(super) fn octocrab(http: HttpClient, base: Url, token: Option<&Secret>) -> Octocrab {
    let auth = match token {
        Some(token) => AuthState::AccessToken { token: token.expose().to_owned().into() },
        None => AuthState::None,
    };
    let built = OctocrabBuilder::new_empty().with_service(Transport { http, base }).with_auth(auth).build();
    match built {
        Ok(octocrab) => octocrab,
        Err(never) => match never {},
    }
}

impl tower_service::Service<http::Request<OctoBody>> for Transport {
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
            let url = link::at(&this.base, path);
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
