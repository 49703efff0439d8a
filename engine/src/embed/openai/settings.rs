//! Settings of `kind = "openai"`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::embed::InputType;
use crate::embed::purpose::bad_prefix;
use crate::embed::service_settings::{check_rates, check_service};
use crate::model::Secret;
use crate::settings::Checker;
use crate::stage::{StageConfig, edit_costs};

/// `kind = "openai"`: OpenAI, or any server that speaks its protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    #[serde(default = "crate::embed::service_settings::default_batch_size")]
    pub batch_size: usize,
    /// Tokens in one text at most.
    #[serde(default = "default_max_input_tokens")]
    pub max_input_tokens: usize,
    /// What is written before each text that is indexed, such as `search_document: `.
    #[serde(default)]
    pub document_prefix: Option<String>,
    /// What is written before each query, such as `search_query: `.
    #[serde(default)]
    pub query_prefix: Option<String>,
    /// Sends `input_type` with each request, in the words of this service.
    #[serde(default)]
    pub input_type: Option<InputType>,
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

impl StageConfig for OpenAiSettings {
    const KIND: &'static str = "openai";

    edit_costs! {
        index: base_url, model, dimensions, max_input_tokens, document_prefix, input_type;
        limits: query_prefix, batch_size, requests_per_minute, tokens_per_minute, price_per_million_tokens;
        credentials: api_key;
    }

    fn check(&mut self, check: &mut Checker<'_>) {
        let url = check.url("base_url", &self.base_url);
        check.not_empty("model", self.model.trim().is_empty());
        check.secret("api_key", self.api_key.as_ref());
        if !check.has("api_key") && url.is_some_and(|url| url.host_str() == Some("api.openai.com")) {
            check.flag_table(
                "`api_key` is missing: api.openai.com requires it",
                "add api_key = \"${OPENAI_API_KEY}\", or name another server with `base_url`",
            );
        }
        for (key, prefix) in
            [("document_prefix", &self.document_prefix), ("query_prefix", &self.query_prefix)]
        {
            if let Some(fault) = bad_prefix(prefix.as_deref()) {
                check.flag(key, fault, "write what the model's documentation says, such as \"query: \"");
            }
        }
        check.positive("max_input_tokens", &self.max_input_tokens);
        check_service(check, self.batch_size, self.dimensions, self.price_per_million_tokens);
        check_rates(check, self.requests_per_minute, self.tokens_per_minute);
    }
}

fn default_base_url() -> String {
    "https://api.openai.com/v1".into()
}

/// 8,191: what OpenAI's embedding models take, one less than their context.
fn default_max_input_tokens() -> usize {
    8191
}
