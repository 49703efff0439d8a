//! Base URLs of services in the configuration.

use std::net::IpAddr;

use url::{Host, Url};

/// Parses a service's base URL; scheme, port and path prefix are optional. The default scheme is
/// https; http is accepted for loopback only. The result ends in `/`, so that `join` appends to a
/// prefix. The error does not contain the text, which may hold a secret.
pub fn parse_endpoint(text: &str) -> Result<Url, String> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let mut url = Url::parse(&with_scheme).map_err(|error| format!("not a URL: {error}"))?;
    if url.host().is_none() {
        return Err("the URL has no host".into());
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return Err("http is accepted for loopback addresses only".into()),
        other => return Err(format!("the scheme `{other}` is not supported; use https")),
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// True for a loopback host: `localhost`, 127.0.0.0/8, `::1`.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).to_canonical().is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_keep_prefixes_and_refuse_plain_http() {
        let ok = |text| parse_endpoint(text).map(|url| url.to_string()).expect(text);
        assert_eq!(ok("api.pinecone.io"), "https://api.pinecone.io/");
        assert_eq!(ok("https://h:8443/api/v3"), "https://h:8443/api/v3/");
        assert_eq!(ok("http://127.0.0.1:9/x/"), "http://127.0.0.1:9/x/");
        assert_eq!(ok("http://[::1]:9"), "http://[::1]:9/");
        for bad in ["", "http://example.com", "ftp://h", "https://", "http://10.0.0.1", "a b"] {
            assert!(parse_endpoint(bad).is_err(), "{bad}");
        }
    }
}
