//! Who may ask: the bearer of the token; without a token, programs of this machine that are no
//! web pages.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use super::App;
use super::error::{ApiError, ApiResult};

/// Lets requests through that may ask.
pub(super) async fn require(State(app): State<App>, request: Request, next: Next) -> ApiResult<Response> {
    check(&app, request.headers())?;
    Ok(next.run(request).await)
}

/// True where the caller may see more than that the daemon lives.
pub(super) fn is_allowed(app: &App, headers: &HeaderMap) -> bool {
    check(app, headers).is_ok()
}

fn check(app: &App, headers: &HeaderMap) -> ApiResult<()> {
    check_with(app, headers, bearer(headers))
}

/// As everywhere else, or the token as the password of any user: a browser can send nothing else.
/// Only for what changes nothing: it sends that unasked with every request to the same server,
/// those of other pages included.
pub(super) fn check_browser(app: &App, headers: &HeaderMap) -> ApiResult<()> {
    let password = password(headers);
    check_with(app, headers, bearer(headers).or(password.as_deref()))
}

fn check_with(app: &App, headers: &HeaderMap, given: Option<&str>) -> ApiResult<()> {
    let view = app.handle.view();
    let Some(token) = &view.api().token else {
        return check_local(app.listen.ip().is_loopback(), headers);
    };
    match given {
        Some(given) if same(given.as_bytes(), token.expose().as_bytes()) => Ok(()),
        Some(_) => Err(ApiError::unauthorized("the token is not the one of `[api] token`")),
        None => Err(ApiError::unauthorized("send `Authorization: Bearer` with the token of `[api] token`")),
    }
}

/// Without a token: a page in somebody's browser could ask too, by its own origin or by a name
/// that it had resolved to this machine.
fn check_local(loopback: bool, headers: &HeaderMap) -> ApiResult<()> {
    if !loopback {
        return Err(ApiError::forbidden("set `[api] token`: this daemon listens beyond loopback"));
    }
    if headers.contains_key(header::ORIGIN) {
        return Err(ApiError::forbidden("requests of web pages need `[api] token`"));
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => Ok(()),
        (Some(host), None) if host.to_str().is_ok_and(is_loopback) => Ok(()),
        _ => Err(ApiError::forbidden("without `[api] token` the host must be 127.0.0.1, [::1] or localhost")),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    credentials(headers, "bearer")
}

fn password(headers: &HeaderMap) -> Option<String> {
    let decoded = BASE64_STANDARD.decode(credentials(headers, "basic")?).ok()?;
    let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(password.to_owned())
}

fn credentials<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case(wanted).then(|| credentials.trim())
}

/// Equal, in a time that tells nothing of where they differ: digests of the same length are
/// compared whole.
fn same(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (Sha256::digest(a), Sha256::digest(b));
    a.iter().zip(b.iter()).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// True for a `Host` that names this machine's loopback, with or without a port.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, port)) if port.is_empty() || port.starts_with(':') => name,
            _ => return false,
        },
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_loopback() {
        for host in
            ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:1", "127.9.9.9", "[::1]", "[::1]:8080"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "10.0.0.1",
            "[::1",
            "[::2]",
            "[::1]x",
            "::1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn the_bearer_is_read_whatever_the_case_of_its_scheme() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers), None);
        for (value, expected) in
            [("Bearer x", Some("x")), ("bearer  x", Some("x")), ("Basic x", None), ("x", None)]
        {
            headers.insert(header::AUTHORIZATION, value.parse().expect("a value"));
            assert_eq!(bearer(&headers), expected, "{value}");
        }
        assert_eq!(password(&headers), None);
        for (value, expected) in [
            ("Basic YW55Ym9keTpwYXNzOndvcmQ=", Some("pass:word")),
            ("basic Onh5eg==", Some("xyz")),
            ("Basic !", None),
            ("Bearer Onh5eg==", None),
        ] {
            headers.insert(header::AUTHORIZATION, value.parse().expect("a value"));
            assert_eq!(password(&headers).as_deref(), expected, "{value}");
        }
        assert!(same(b"token", b"token") && !same(b"token", b"tokem") && !same(b"token", b""));
    }
}
