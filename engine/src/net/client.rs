//! Building HTTP clients: one TLS stack, time-outs, and no redirect that could carry a secret away.

use std::sync::Once;
use std::time::Duration;

use url::Url;

use crate::model::{StageError, StageResult};

/// The client type that stages use.
pub type HttpClient = reqwest::Client;

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(10);
/// Time without a byte of answer. Embedding a batch takes seconds, seldom tens of them.
const READ: Duration = Duration::from_secs(60);

/// Makes ring the process's TLS provider, once.
pub fn install_tls_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that a provider is installed already, which is all that is wanted.
        drop(rustls::crypto::ring::default_provider().install_default());
    });
}

/// A client with our time-outs and user agent that follows no redirect: who wants to follow one
/// does so by hand, without credentials.
pub fn http_client(stage: &str) -> StageResult<HttpClient> {
    install_tls_provider();
    reqwest::Client::builder()
        .user_agent(concat!("reposync/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .read_timeout(READ)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| StageError::local(stage, "cannot set up the HTTP client").caused_by(error))
}

/// Parses a service's base URL. No scheme means https; http is accepted for loopback only. The
/// result ends in `/`, so that `join` appends to a path prefix.
pub fn endpoint(stage: &str, text: &str) -> StageResult<Url> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let bad = |why: String| {
        StageError::misconfigured(stage, why).hint("write it like \"https://HOST[:PORT][/PREFIX]\"")
    };
    let mut url = Url::parse(&with_scheme).map_err(|error| bad(format!("not a URL: {error}")))?;
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => return Err(bad("a URL without a host".into())),
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        "http" => return Err(bad("http is accepted for loopback addresses only".into())),
        other => return Err(bad(format!("`{other}` is not a scheme for a service"))),
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// Turns a transport error (connection, time-out, broken body) into a transient stage error. The
/// URL is left out: it may carry a secret.
pub fn describe_transport_error(stage: &str, host: &str, error: reqwest::Error) -> StageError {
    let what = if error.is_timeout() {
        "no answer in time from"
    } else if error.is_connect() {
        "cannot connect to"
    } else if error.is_body() || error.is_decode() {
        "broken answer from"
    } else {
        "failed request to"
    };
    StageError::transient(stage, format!("{what} {host}")).caused_by(error.without_url())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_keep_prefixes_and_refuse_plain_http() {
        let ok = |text| endpoint("s", text).map(|url| url.to_string()).expect(text);
        assert_eq!(ok("api.pinecone.io"), "https://api.pinecone.io/");
        assert_eq!(ok("https://h:8443/api/v3"), "https://h:8443/api/v3/");
        assert_eq!(ok("http://127.0.0.1:9/x/"), "http://127.0.0.1:9/x/");
        assert_eq!(ok("http://[::1]:9"), "http://[::1]:9/");
        for bad in ["http://example.com", "ftp://h", "https://", "http://10.0.0.1"] {
            assert!(endpoint("s", bad).is_err(), "{bad}");
        }
    }
}
