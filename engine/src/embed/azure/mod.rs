//! `azure-openai`: a deployment's address and credentials.

mod config;
mod settings;

pub use settings::AzureSettings;

use reqwest::header::{AUTHORIZATION, HeaderMap};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::classify::Endpoint;
use super::purpose::Purposes;
use super::service::{ServiceEmbedder, Settings};
use crate::model::{EventSink, StageError, StageResult};
use crate::net::{endpoint, host_of, secret_header};

/// What the 3rd-generation models and ada-002 take in one text.
const MAX_INPUT_TOKENS: usize = 8191;

/// The embedder of a deployment. `concurrency`: calls at once.
pub fn azure_embedder(
    stage: &str,
    settings: &AzureSettings,
    concurrency: usize,
    cancel: CancellationToken,
    events: EventSink,
) -> StageResult<ServiceEmbedder> {
    let base = endpoint(stage, &settings.endpoint)?;
    let mut headers = HeaderMap::new();
    match (&settings.api_key, &settings.bearer_token) {
        (Some(key), None) => {
            headers.insert("api-key", secret_header(stage, "api_key", "", key)?);
        }
        (None, Some(token)) => {
            headers.insert(AUTHORIZATION, secret_header(stage, "bearer_token", "Bearer ", token)?);
        }
        (None, None) => {
            return Err(StageError::misconfigured(stage, "neither `api_key` nor `bearer_token` is set")
                .hint("write `api_key = \"${AZURE_OPENAI_API_KEY}\"`"));
        }
        (Some(_), Some(_)) => {
            return Err(StageError::misconfigured(stage, "both `api_key` and `bearer_token` are set")
                .hint("keep one of them"));
        }
    }
    let (url, dated) = address(&base, &settings.deployment, settings.api_version.as_deref());
    let endpoint = Endpoint {
        stage: stage.to_owned(),
        host: host_of(&base),
        credentials_hint: "check `api_key` or `bearer_token`, that it belongs to the resource at `endpoint`, and the resource's network rules",
        address_hint: "check `endpoint`, `deployment` and `api_version`; a new deployment takes some minutes to appear",
    };
    let settings = Settings {
        kind: "azure-openai",
        endpoint,
        url,
        headers,
        model: &settings.deployment,
        model_in_body: !dated,
        dimensions: settings.dimensions,
        known_dimensions: None, // a deployment's name says nothing about its model
        batch_size: settings.batch_size,
        max_input_tokens: MAX_INPUT_TOKENS,
        requests_per_minute: settings.requests_per_minute,
        tokens_per_minute: settings.tokens_per_minute,
        price_per_million_tokens: settings.price_per_million_tokens,
        // OpenAI's models embed documents and queries alike.
        purposes: Purposes::default(),
    };
    ServiceEmbedder::new(settings, concurrency, cancel, events)
}

/// The URL, and whether it is the dated form. The endpoint may already end in `openai` or
/// `openai/v1`, as the portal shows it.
fn address(endpoint: &Url, deployment: &str, version: Option<&str>) -> (Url, bool) {
    let mut url = endpoint.clone();
    let dated = version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()));
    let base: Vec<String> = endpoint
        .path_segments()
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect();
    let base = match &base[..] {
        [rest @ .., openai, v1] if openai == "openai" && v1 == "v1" => rest,
        [rest @ .., openai] if openai == "openai" => rest,
        all => all,
    };
    if let Ok(mut path) = url.path_segments_mut() {
        path.clear().extend(base).push("openai");
        if dated {
            path.extend(["deployments", deployment, "embeddings"]);
        } else {
            path.extend(["v1", "embeddings"]);
        }
    }
    url.set_query(None);
    if let Some(version) = version.filter(|version| *version != "v1") {
        url.query_pairs_mut().append_pair("api-version", version);
    }
    (url, dated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ErrorKind, Secret};

    #[test]
    fn both_forms_are_addressed() {
        for (base, version, expected) in [
            (
                "https://n.openai.azure.com",
                Some("2024-10-21"),
                "https://n.openai.azure.com/openai/deployments/my%20ada%2F1/embeddings?api-version=2024-10-21",
            ),
            ("n.openai.azure.com", None, "https://n.openai.azure.com/openai/v1/embeddings"),
            ("https://h/prefix/", Some("v1"), "https://h/prefix/openai/v1/embeddings"),
            ("https://h/openai/v1/", Some("preview"), "https://h/openai/v1/embeddings?api-version=preview"),
            (
                "https://h/openai",
                Some("2024-10-21"),
                "https://h/openai/deployments/my%20ada%2F1/embeddings?api-version=2024-10-21",
            ),
        ] {
            let (url, dated) = address(&endpoint("s", base).expect(base), "my ada/1", version);
            assert_eq!(url.as_str(), expected);
            assert_eq!(dated, expected.contains("deployments"));
        }
    }

    #[test]
    fn credentials_are_needed_once() {
        let make = |key: Option<&str>, token: Option<&str>| {
            let settings = AzureSettings {
                endpoint: "h".into(),
                deployment: "d".into(),
                api_version: None,
                api_key: key.map(Secret::new),
                bearer_token: token.map(Secret::new),
                dimensions: None,
                batch_size: 100,
                requests_per_minute: None,
                tokens_per_minute: None,
                price_per_million_tokens: None,
            };
            azure_embedder("ada", &settings, 1, CancellationToken::new(), EventSink::none()).map(|_| ())
        };
        assert!(make(Some("k"), None).is_ok());
        assert!(make(None, Some("t")).is_ok());
        for (key, token) in [(None, None), (Some("k"), Some("t")), (Some("sec\nret"), None)] {
            let error = make(key, token).expect_err("refused");
            assert_eq!(error.kind, ErrorKind::Misconfigured);
            assert!(!error.one_line().contains("sec\nret"), "{}", error.one_line());
        }
    }
}
