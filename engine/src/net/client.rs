//! Building HTTP clients: one TLS stack, and no redirect that could carry a secret away.

use std::time::Duration;

use bytes::Bytes;
use url::Url;

use super::body::{Collected, ReadError, collect};
use super::proxy::Proxies;
use super::tls::http_config;
use crate::model::{StageError, StageResult, parse_endpoint};

/// The client type that stages use.
pub type HttpClient = reqwest::Client;

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(10);

/// A client with our user agent that follows no redirects; callers follow them explicitly, without
/// credentials. It uses the proxies of the environment, but never for loopback addresses. It has no time-out
/// for answers: the caller sets one.
pub fn http_client(stage: &str) -> StageResult<HttpClient> {
    let tls = http_config().map_err(|error| {
        let hint = "install the system's CA certificates (package `ca-certificates`), or name a bundle by SSL_CERT_FILE";
        StageError::local(stage, "cannot load the trusted certificates").caused_by(error).hint(hint)
    })?;
    let proxies = Proxies::from_environment(stage)?;
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .proxy(reqwest::Proxy::custom(move |url| proxies.of(url)))
        .user_agent(concat!("reposync/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| StageError::local(stage, "cannot set up the HTTP client").caused_by(error))
}

/// Reads a service's base URL by the rules of [`parse_endpoint`].
pub fn endpoint(stage: &str, text: &str) -> StageResult<Url> {
    parse_endpoint(text).map_err(|why| {
        StageError::misconfigured(stage, why).hint("write it like \"https://HOST[:PORT][/PREFIX]\"")
    })
}

/// Reads a response whole; none where it is longer than `most` bytes.
pub async fn read_body(response: reqwest::Response, most: usize) -> reqwest::Result<Option<Bytes>> {
    let response: http::Response<reqwest::Body> = response.into();
    match collect(response.into_body(), most, None).await {
        Ok(Collected::Whole(body)) => Ok(Some(body)),
        Ok(Collected::Cut(_)) => Ok(None),
        Err(ReadError::Broken(error)) => Err(error),
        Err(ReadError::Idle) => unreachable!("no idle time-out was given"),
    }
}

/// Turns a transport error (connection, time-out, broken body) into a transient stage error. The
/// URL is left out: it may carry a secret.
pub(super) fn describe_transport_error(stage: &str, host: &str, error: reqwest::Error) -> StageError {
    let what = if error.is_timeout() {
        "no answer in time from"
    } else if error.is_connect() {
        "cannot connect to"
    } else if error.is_body() || error.is_decode() {
        "broken answer from"
    } else {
        "failed request to"
    };
    StageError::transient(stage, format!("{what} {host}"))
        .caused_by(anyhow::Error::msg(root_cause(&error.without_url())))
}

/// The innermost cause of an error. The layers of an HTTP client above it only repeat that sending failed.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_read_up_to_its_bound() {
        let answer = || reqwest::Response::from(http::Response::new("0123456789"));
        assert_eq!(read_body(answer(), 10).await.expect("whole").as_deref(), Some(&b"0123456789"[..]));
        assert_eq!(read_body(answer(), 9).await.expect("no fault of the transport"), None);
    }
}
