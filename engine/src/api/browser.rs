//! What holds for every request because a browser may have sent it, and for every answer because a
//! browser may read it.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::{ApiError, ApiResult};

/// The policy of answers that have none of their own.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// Refuses requests that another web page caused or whose `Host` is malformed, and adds the headers of
/// every answer.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let mut response = match check(request.method(), request.uri().path(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let is_stream = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    if is_stream {
        // Proxies of the kind of nginx would hold events back until a buffer is full.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    response
}

fn check(method: &Method, path: &str, headers: &HeaderMap) -> ApiResult<()> {
    let malformed = |message| Err(ApiError::new(StatusCode::BAD_REQUEST, "bad_request", message));
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => {}
        (Some(host), None) if host.to_str().is_ok_and(|host| parse_host(host).is_some()) => {}
        (Some(_), None) => return malformed("`Host` is not a host with an optional port"),
        (Some(_), Some(_)) => return malformed("more than one `Host`"),
    }
    let value = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    let is_same_site = matches!(value("sec-fetch-site"), None | Some(b"none" | b"same-origin"));
    // A link to a page of the console, which changes nothing and which no other page can read or embed.
    let is_navigation = method == Method::GET
        && (path == "/" || path == "/console" || path.starts_with("/console/"))
        && value("sec-fetch-mode") == Some(b"navigate")
        && value("sec-fetch-dest") == Some(b"document");
    if is_same_site || is_navigation {
        return Ok(());
    }
    Err(ApiError::forbidden("a web page of another site sent this request (`Sec-Fetch-Site`)"))
}

/// True for a `Host` that names this machine's loopback.
pub(super) fn is_loopback(host: &str) -> bool {
    parse_host(host).is_some_and(|name| {
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        name.eq_ignore_ascii_case("localhost")
            || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// The name in a `Host`, which may be empty: an IPv6 address in brackets, or a registered name; an
/// optional port follows. None for anything else.
fn parse_host(host: &str) -> Option<&str> {
    let end = if host.starts_with('[') { host.find(']')? + 1 } else { host.find(':').unwrap_or(host.len()) };
    let (name, port) = host.split_at(end);
    let port_is_valid = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.len() <= 5,
        None => port.is_empty(),
    };
    let name_is_valid = match name.strip_prefix('[') {
        Some(rest) => rest.trim_end_matches(']').parse::<std::net::Ipv6Addr>().is_ok(),
        // RFC 3986: unreserved characters, percent-encoded ones, and sub-delimiters.
        None => name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)),
    };
    (port_is_valid && name_is_valid).then_some(name)
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
            "[localhost]",
            "localhost:x@evil.example",
            "localhost:80@evil.example",
            "user@localhost",
            "localhost/x",
            "localhost:123456",
            "localhost:-1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_host_has_a_name_and_maybe_a_port() {
        for (host, name) in [
            ("", Some("")),
            ("x", Some("x")),
            ("a_b.example:", Some("a_b.example")),
            ("[2001:db8::1]:80", Some("[2001:db8::1]")),
            ("[2001:db8::1]80", None),
            ("a b", None),
            ("a:b:1", None),
            ("http://a", None),
            ("ä", None),
        ] {
            assert_eq!(parse_host(host), name, "{host}");
        }
    }

    #[test]
    fn requests_of_other_sites_are_refused_but_for_links_to_the_page() {
        let checked = |method: Method, path: &str, fetch: [&str; 3]| {
            let mut headers = HeaderMap::new();
            for (name, value) in ["sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest"].into_iter().zip(fetch)
            {
                if !value.is_empty() {
                    headers.insert(name, value.parse().expect("a value"));
                }
            }
            check(&method, path, &headers).is_ok()
        };
        for site in ["", "none", "same-origin"] {
            assert!(checked(Method::POST, "/sync", [site, "cors", "empty"]), "{site}");
        }
        for site in ["cross-site", "same-site", "something-new", "same-origin, none"] {
            assert!(!checked(Method::GET, "/projects", [site, "no-cors", "image"]), "{site}");
            assert!(!checked(Method::GET, "/projects", [site, "navigate", "document"]), "{site}");
            assert!(!checked(Method::GET, "/", [site, "navigate", "iframe"]), "{site}");
            assert!(!checked(Method::GET, "/", [site, "no-cors", "image"]), "{site}");
            assert!(!checked(Method::POST, "/", [site, "navigate", "document"]), "{site}");
            assert!(checked(Method::GET, "/", [site, "navigate", "document"]), "{site}");
            assert!(checked(Method::GET, "/console/runs/1", [site, "navigate", "document"]), "{site}");
            assert!(!checked(Method::GET, "/consoles", [site, "navigate", "document"]), "{site}");
            assert!(!checked(Method::POST, "/console/sign-in", [site, "navigate", "document"]), "{site}");
        }
    }
}
