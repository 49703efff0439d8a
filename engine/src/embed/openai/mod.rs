//! `openai`: OpenAI, or any server that speaks its protocol.

mod config;
mod settings;

pub use settings::OpenAiSettings;

use reqwest::header::{AUTHORIZATION, HeaderMap};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::classify::Endpoint;
use super::purpose::Purposes;
use super::service::{ServiceEmbedder, Settings};
use crate::model::{EventSink, StageResult};
use crate::net::{endpoint, host_of, secret_header};

/// The embedder of a model. `concurrency`: calls at once.
pub fn openai_embedder(
    stage: &str,
    settings: &OpenAiSettings,
    concurrency: usize,
    cancel: CancellationToken,
    events: EventSink,
) -> StageResult<ServiceEmbedder> {
    let base = endpoint(stage, &settings.base_url)?;
    let mut headers = HeaderMap::new();
    if let Some(key) = &settings.api_key {
        headers.insert(AUTHORIZATION, secret_header(stage, "api_key", "Bearer ", key)?);
    }
    let endpoint = Endpoint {
        stage: stage.to_owned(),
        host: host_of(&base),
        credentials_hint: "check `api_key`, and that it belongs to the server at `base_url`",
        address_hint: "check `base_url` and `model`",
    };
    let (document, query) = (settings.document_prefix.as_deref(), settings.query_prefix.as_deref());
    let purposes = Purposes::new(document, query, settings.input_type);
    let settings = Settings {
        kind: "openai",
        endpoint,
        url: address(&base),
        headers,
        model: &settings.model,
        model_in_body: true,
        dimensions: settings.dimensions,
        known_dimensions: known_dimensions(&settings.model),
        batch_size: settings.batch_size,
        max_input_tokens: settings.max_input_tokens,
        requests_per_minute: settings.requests_per_minute,
        tokens_per_minute: settings.tokens_per_minute,
        price_per_million_tokens: settings.price_per_million_tokens,
        purposes,
    };
    ServiceEmbedder::new(settings, concurrency, cancel, events)
}

/// `base_url` may be written with or without `/v1` (or another version).
fn address(base: &Url) -> Url {
    let mut url = base.clone();
    let is_version = |part: &str| {
        part.strip_prefix('v').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let versioned =
        base.path_segments().into_iter().flatten().rfind(|part| !part.is_empty()).is_some_and(is_version);
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty();
        if !versioned {
            path.push("v1");
        }
        path.push("embeddings");
    }
    url
}

/// Components of a vector of the models everybody knows.
fn known_dimensions(model: &str) -> Option<usize> {
    match model {
        "text-embedding-3-small" | "text-embedding-ada-002" => Some(1536),
        "text-embedding-3-large" => Some(3072),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_may_carry_its_version() {
        for (base, expected) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1/embeddings"),
            ("api.openai.com", "https://api.openai.com/v1/embeddings"),
            ("http://localhost:11434", "http://localhost:11434/v1/embeddings"),
            ("http://localhost:11434/v1/", "http://localhost:11434/v1/embeddings"),
            ("https://h/proxy", "https://h/proxy/v1/embeddings"),
            ("https://h/api/v3", "https://h/api/v3/embeddings"),
            ("https://h/vision", "https://h/vision/v1/embeddings"),
        ] {
            assert_eq!(address(&endpoint("s", base).expect(base)).as_str(), expected);
        }
    }
}
