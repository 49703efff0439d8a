//! Signing in as a GitHub App: a JSON web token, signed with the App's key, buys tokens of one
//! installation, which live for an hour.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::model::{Secret, register_issued_token};
use crate::net::Transport;

/// The web token is issued in the past, since clocks differ.
const BACKDATED: u64 = 60;
/// GitHub takes web tokens that end within 10 minutes.
const JWT_LIFETIME: u64 = 540;
/// How long before its end a token is renewed: a request may still be on its way.
const RESERVE: Duration = Duration::from_secs(60);
/// How long a token lives whose end cannot be read.
const UNKNOWN_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// An App's installation, with the token it has now.
pub(super) struct App {
    id: u64,
    pub(super) installation: u64,
    key: KeyPair,
    /// Locked while a token is requested, so that everyone waits for the same one.
    pub(super) token: Mutex<Option<Token>>,
}

/// A token of an installation.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) value: Secret,
    /// Puts the token on each request.
    pub(super) transport: Arc<dyn Transport>,
    good_until: Instant,
}

/// GitHub's answer to the request for a token.
#[derive(Deserialize)]
pub(super) struct Issued {
    token: String,
    pub(super) expires_at: Option<DateTime<Utc>>,
}

impl Issued {
    /// The token, masked from now on in everything that is written.
    pub(super) fn secret(&self) -> Secret {
        register_issued_token(&self.token);
        Secret::new(self.token.clone())
    }
}

impl App {
    /// Reads the App's key: PEM, PKCS#1 as GitHub makes it, or PKCS#8. None where it is no RSA key of 2048
    /// to 4096 bits; the cause could quote the key.
    pub(super) fn new(id: u64, installation: u64, pem: &str) -> Option<Self> {
        // A variable of one line often has its line ends written as `\n`; PEM has no backslash.
        let pem = pem.replace("\\n", "\n");
        let key = match PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()? {
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return None,
        };
        Some(Self { id, installation, key: key.ok()?, token: Mutex::new(None) })
    }

    /// The ids of App and installation.
    pub(super) fn ids(&self) -> (u64, u64) {
        (self.id, self.installation)
    }

    /// A web token (RS256) that proves to be the App. None where the system has no random numbers.
    pub(super) fn web_token(&self) -> Option<Secret> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let header = json!({ "typ": "JWT", "alg": "RS256" });
        let claims =
            json!({ "iat": now.saturating_sub(BACKDATED), "exp": now + JWT_LIFETIME, "iss": self.id });
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let signed =
            format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).ok()?;
        let token = format!("{signed}.{}", encode(&signature));
        register_issued_token(&token);
        Some(Secret::new(token))
    }
}

impl Token {
    /// A token that was issued now and ends at `expires_at`, by the server's clock.
    pub(super) fn new(
        value: Secret,
        transport: Arc<dyn Transport>,
        expires_at: Option<DateTime<Utc>>,
        server_time: Option<SystemTime>,
    ) -> Self {
        Self { value, transport, good_until: Instant::now() + good_for(expires_at, server_time) }
    }

    pub(super) fn is_good(&self) -> bool {
        Instant::now() < self.good_until
    }
}

/// How long a token may be used that was issued now.
fn good_for(expires_at: Option<DateTime<Utc>>, server_time: Option<SystemTime>) -> Duration {
    let now = server_time.unwrap_or_else(SystemTime::now);
    let lifetime = expires_at.and_then(|end| SystemTime::from(end).duration_since(now).ok());
    lifetime.unwrap_or(UNKNOWN_LIFETIME).saturating_sub(RESERVE)
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;

    const KEY: &str = include_str!("../../../../tests/it/fixtures/github-app.pem");

    #[test]
    fn a_web_token_is_signed_by_the_key_and_ends_within_ten_minutes() {
        let app = App::new(4711, 7, KEY).expect("a key");
        let token = app.web_token().expect("signed");
        let (signed, signature) = token.expose().rsplit_once('.').expect("three parts");
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).expect("base64");
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, app.key.public());
        public.verify(signed.as_bytes(), &decode(signature)).expect("the key's signature");
        let (header, claims) = signed.split_once('.').expect("two parts");
        assert_eq!(decode(header), br#"{"typ":"JWT","alg":"RS256"}"#);
        let claims: Value = serde_json::from_slice(&decode(claims)).expect("JSON");
        let time = |name: &str| claims[name].as_u64().expect(name);
        assert_eq!((time("exp") - time("iat"), claims["iss"].as_u64()), (600, Some(4711)));
    }

    #[test]
    fn keys_are_read_in_the_forms_they_come_in() {
        assert!(App::new(1, 2, &KEY.replace('\n', "\\n")).is_some(), "in one line");
        for bad in ["", "s3cr3t", "-----BEGIN RSA PRIVATE KEY-----\nQUJD\n-----END RSA PRIVATE KEY-----\n"] {
            assert!(App::new(1, 2, bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_renewed_before_its_end_on_the_servers_clock() {
        let server = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600); // 2026-01-01
        let good_for =
            |end: Option<&str>| good_for(end.map(|end| end.parse().expect("a time")), Some(server));
        assert_eq!(good_for(Some("2026-01-01T01:00:00Z")), Duration::from_secs(59 * 60));
        assert_eq!(good_for(Some("2026-01-01T00:00:30Z")), Duration::ZERO);
        assert_eq!(good_for(None), Duration::from_secs(29 * 60));
    }
}
