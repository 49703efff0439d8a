//! Requests to a registry with the credentials that it asks for: none, a password, or a token that
//! another server gives for a password.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use url::{Host, Url};

use crate::chunk::component::Artifact;
use crate::config::Registry;
use crate::fetch::call::{Caller, Get, Reply};
use crate::model::{Secret, StageError, StageResult};
use crate::net::{host_of, secret_header};

/// Requests for one artifact.
pub(super) struct Session<'a> {
    caller: &'a Caller,
    artifact: &'a Artifact,
    login: Option<&'a Registry>,
    authorization: Option<HeaderValue>,
}

/// What a registry asks for: the value of `WWW-Authenticate`.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl<'a> Session<'a> {
    pub(super) fn new(caller: &'a Caller, artifact: &'a Artifact, login: Option<&'a Registry>) -> Self {
        Self { caller, artifact, login, authorization: None }
    }

    pub(super) fn stage(&self) -> &str {
        self.caller.stage()
    }

    /// Sends a request; if the registry asks for credentials, with them.
    pub(super) async fn get(&mut self, url: &Url, accept: Option<&'static str>) -> StageResult<Reply> {
        if self.authorization.is_none()
            && let Some(token) = self.login.and_then(|login| login.token.as_ref())
        {
            self.authorization = Some(secret_header(self.stage(), "token", "Bearer ", token)?);
        }
        let first = self.send(url, accept).await?;
        let Reply::Unauthorized(challenge) = &first else { return Ok(first) };
        let challenge = challenge.as_deref().and_then(Challenge::parse);
        let authorization = match challenge {
            Some(Challenge::Basic) => self.basic()?,
            Some(Challenge::Bearer { realm, service, scope }) => {
                Some(self.token(&realm, service.as_deref(), scope.as_deref()).await?)
            }
            None => None,
        };
        if authorization.is_none() {
            return Ok(first);
        }
        self.authorization = authorization;
        self.send(url, accept).await
    }

    /// The error if the registry does not accept the credentials, or asks for some.
    pub(super) fn unauthorized(&self) -> StageError {
        let host = &self.artifact.host;
        if self.login.is_some() {
            let message =
                format!("the registry {host} does not accept the credentials of `[registries.\"{host}\"]`");
            return StageError::misconfigured(self.stage(), message)
                .hint("they may have expired; check user name, password or token");
        }
        let message = format!("the registry {host} asks for credentials");
        StageError::misconfigured(self.stage(), message).hint(format!(
            "add [registries.\"{host}\"] with `username` and `password = \"${{NAME}}\"`, or `token`"
        ))
    }

    async fn send(&self, url: &Url, accept: Option<&'static str>) -> StageResult<Reply> {
        self.caller.get(Get { url, accept, authorization: self.authorization.as_ref() }).await
    }

    /// User name and password; `None` if there are none.
    fn basic(&self) -> StageResult<Option<HeaderValue>> {
        let Some((username, password)) = self.login.and_then(Registry::password) else { return Ok(None) };
        let both = BASE64_STANDARD.encode(format!("{username}:{}", password.expose()));
        secret_header(self.stage(), "password", "Basic ", &Secret::new(both)).map(Some)
    }

    /// A token for pulling, from the server that the registry names.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> StageResult<HeaderValue> {
        let host = &self.artifact.host;
        let basic = self.basic()?;
        let mut url = self.realm(realm, basic.is_some())?;
        let own = format!("repository:{}:pull", self.artifact.name);
        url.query_pairs_mut().append_pair("scope", scope.unwrap_or(&own));
        if let Some(service) = service {
            url.query_pairs_mut().append_pair("service", service);
        }
        let reply = self.caller.get(Get { url: &url, accept: None, authorization: basic.as_ref() }).await?;
        let body = match reply {
            Reply::Body(body) => body,
            Reply::Unauthorized(_) | Reply::Denied => return Err(self.unauthorized()),
            Reply::Missing => {
                let message =
                    format!("the registry {host} names a server for tokens that has none: {}", host_of(&url));
                return Err(StageError::misconfigured(self.stage(), message));
            }
        };
        let token: Option<Token> = serde_json::from_slice(&body).ok();
        let token = token.and_then(|token| token.token.or(token.access_token)).ok_or_else(|| {
            StageError::misconfigured(self.stage(), format!("{} gave no token for {host}", host_of(&url)))
        })?;
        secret_header(self.stage(), "token", "Bearer ", &Secret::new(token))
    }

    /// The server for tokens. A password goes only to the registry's own host or domain, or to the server
    /// that the configuration names.
    fn realm(&self, realm: &str, with_password: bool) -> StageResult<Url> {
        let host = &self.artifact.host;
        let named = self.login.and_then(|login| login.realm.as_deref());
        let text = named.unwrap_or(realm);
        let url = Url::parse(text).ok().filter(|url| url.scheme() == "https" || is_loopback(url));
        let url = url.ok_or_else(|| {
            let message = format!("the registry {host} names no https address for tokens");
            StageError::misconfigured(self.stage(), message)
        })?;
        if with_password && named.is_none() && !is_related(host, &url) {
            let message = format!(
                "the registry {host} wants its password to be sent to another host, {}",
                host_of(&url)
            );
            return Err(StageError::misconfigured(self.stage(), message).hint(format!(
                "if that is right, add realm = \"{}\" to [registries.\"{host}\"]",
                &url[..url::Position::AfterPath]
            )));
        }
        Ok(url)
    }
}

fn is_loopback(url: &Url) -> bool {
    url.scheme() == "http"
        && match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
}

/// True for the registry's own host, and hosts of the domain to which it belongs: `auth.example.com` for
/// `registry.example.com`.
fn is_related(host: &str, realm: &Url) -> bool {
    let registry = Url::parse(&format!("https://{host}/")).ok();
    match (registry.as_ref().and_then(Url::host), realm.host()) {
        (Some(Host::Domain(registry)), Some(Host::Domain(realm))) => {
            let domain = registry.split_once('.').map_or("", |(_, domain)| domain);
            let is_below = |domain: &str| {
                realm == domain || realm.strip_suffix(domain).is_some_and(|front| front.ends_with('.'))
            };
            registry == realm || domain.contains('.') && is_below(domain)
        }
        (Some(registry), Some(realm)) => registry == realm,
        _ => false,
    }
}

impl Challenge {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        let mut rest = rest;
        while let Some((name, after)) = rest.split_once('=') {
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').unwrap_or((after, "")),
            };
            match name.trim_matches([',', ' ']) {
                "realm" => realm = Some(value.to_owned()),
                "service" => service = Some(value.to_owned()),
                "scope" => scope = Some(value.to_owned()),
                _ => {}
            }
            rest = after;
        }
        Some(Self::Bearer { realm: realm?, service, scope })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let text = |text: &str| Some(text.to_owned());
        for (header, challenge) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
                Some(Challenge::Bearer {
                    realm: "https://auth.docker.io/token".into(),
                    service: text("registry.docker.io"),
                    scope: text("repository:a/b:pull,push"),
                }),
            ),
            (
                "bearer realm=https://h/t, error=\"invalid_token\"",
                Some(Challenge::Bearer { realm: "https://h/t".into(), service: None, scope: None }),
            ),
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            ("Bearer service=\"x\"", None),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(Challenge::parse(header), challenge, "{header}");
        }
    }

    #[test]
    fn passwords_stay_in_the_registrys_domain() {
        let related = |host: &str, realm: &str| is_related(host, &Url::parse(realm).expect("a URL"));
        for (host, realm) in [
            ("ghcr.io", "https://ghcr.io/token"),
            ("registry-1.docker.io", "https://auth.docker.io/token"),
            ("registry.gitlab.com:443", "https://gitlab.com/jwt/auth"),
            ("127.0.0.1:5000", "http://127.0.0.1:5001/token"),
        ] {
            assert!(related(host, realm), "{host} {realm}");
        }
        for (host, realm) in [
            ("ghcr.io", "https://evil.io/token"),
            ("registry.example.com", "https://example.com.evil.org/token"),
            ("registry.example.com", "https://notexample.com/token"),
            ("10.0.0.1", "https://10.0.0.2/token"),
        ] {
            assert!(!related(host, realm), "{host} {realm}");
        }
    }
}
