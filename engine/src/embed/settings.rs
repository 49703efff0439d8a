//! Settings of the embedder stages.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::Secret;

/// `kind = "azure-openai"`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AzureSettings {
    /// The resource's endpoint, such as `https://NAME.openai.azure.com`.
    pub endpoint: String,
    /// The deployment's name.
    pub deployment: String,
    /// A dated API version, such as `2024-10-21`; left out: the v1 form.
    #[serde(default)]
    pub api_version: Option<String>,
    /// The resource's key; or `bearer_token`.
    #[serde(default)]
    pub api_key: Option<Secret>,
    /// A Microsoft Entra access token, instead of `api_key`.
    #[serde(default)]
    pub bearer_token: Option<Secret>,
    /// Components of a vector. Sent to the service; left out: what the service gives.
    #[serde(default)]
    pub dimensions: Option<u32>,
    /// Texts in a request at most (1 to 2,048).
    #[serde(default = "default_batch_size")]
    pub batch_size: usize,
    /// Requests in a minute, shared by all projects on this stage; left out: as the service tells.
    #[serde(default)]
    pub requests_per_minute: Option<u32>,
    /// Tokens in a minute, likewise.
    #[serde(default)]
    pub tokens_per_minute: Option<u32>,
    /// Price of a million tokens, for plans and reports.
    #[serde(default)]
    pub price_per_million_tokens: Option<f64>,
}

/// `kind = "openai"`: OpenAI, or any server that speaks its protocol.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenAiSettings {
    /// The server's base, with or without `/v1`.
    #[serde(default = "default_base_url")]
    pub base_url: String,
    /// The model's name.
    pub model: String,
    /// The key; many local servers want none.
    #[serde(default)]
    pub api_key: Option<Secret>,
    /// Components of a vector. Sent to the service; left out: what the service gives.
    #[serde(default)]
    pub dimensions: Option<u32>,
    /// Texts in a request at most (1 to 2,048). Some servers take no more than 32.
    #[serde(default = "default_batch_size")]
    pub batch_size: usize,
    /// Tokens in one text at most.
    #[serde(default = "default_max_input_tokens")]
    pub max_input_tokens: usize,
    /// Requests in a minute, shared by all projects on this stage; left out: as the service tells.
    #[serde(default)]
    pub requests_per_minute: Option<u32>,
    /// Tokens in a minute, likewise.
    #[serde(default)]
    pub tokens_per_minute: Option<u32>,
    /// Price of a million tokens, for plans and reports.
    #[serde(default)]
    pub price_per_million_tokens: Option<f64>,
}

/// `kind = "local"`: the model in the binary, or one in a folder.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LocalSettings {
    /// A folder with another model in model2vec format, relative to `reposync.toml`.
    pub path: Option<PathBuf>,
}

/// The original's EMBEDDING_BATCH_SIZE.
fn default_batch_size() -> usize {
    100
}

fn default_base_url() -> String {
    "https://api.openai.com/v1".into()
}

/// 8,191: what OpenAI's embedding models take, one less than their context.
fn default_max_input_tokens() -> usize {
    8191
}
