//! The webhook that GitHub sends for a push.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

/// The request with the body and the signature of a push to `acme/docs`.
pub(crate) fn signed(request: reqwest::RequestBuilder, secret: &str) -> reqwest::RequestBuilder {
    let body = json!({
        "ref": "refs/heads/main", "before": "a".repeat(40), "after": "b".repeat(40),
        "repository": { "full_name": "acme/docs", "default_branch": "main" }
    })
    .to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key");
    mac.update(body.as_bytes());
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    request.header("X-GitHub-Event", "push").header("X-Hub-Signature-256", signature).body(body)
}
