//! Settings of `kind = "azure-openai"`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::embed::service_settings::{check_rates, check_service};
use crate::model::Secret;
use crate::settings::Checker;
use crate::stage::{StageConfig, edit_costs};

/// `kind = "azure-openai"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    #[serde(default = "crate::embed::service_settings::default_batch_size")]
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

impl StageConfig for AzureSettings {
    const KIND: &'static str = "azure-openai";

    // The version changes the form of the URL, not the model.
    edit_costs! {
        index: endpoint, deployment, dimensions;
        limits: api_version, batch_size, requests_per_minute, tokens_per_minute, price_per_million_tokens;
        credentials: api_key, bearer_token;
    }

    fn check(&mut self, check: &mut Checker<'_>) {
        check.url("endpoint", &self.endpoint);
        check.not_empty("deployment", self.deployment.trim().is_empty());
        if self.api_version.as_deref().is_some_and(|version| !is_date(version)) {
            let hint = "write it like \"2024-10-21\"; leave it out for the v1 form";
            check.flag("api_version", "not a dated API version", hint);
        }
        match (check.has("api_key"), check.has("bearer_token")) {
            (true, true) => {
                let hint = "keep either `api_key` or `bearer_token`";
                check.flag("bearer_token", "a key and a bearer token exclude each other", hint);
            }
            (false, false) => {
                let hint = "add api_key = \"${AZURE_OPENAI_API_KEY}\"";
                check.flag_table("`api_key` or `bearer_token` is missing", hint);
            }
            _ => {}
        }
        check.secret("api_key", self.api_key.as_ref());
        check.secret("bearer_token", self.bearer_token.as_ref());
        check_service(check, self.batch_size, self.dimensions, self.price_per_million_tokens);
        check_rates(check, self.requests_per_minute, self.tokens_per_minute);
    }
}

/// True for `2024-10-21` and `2024-10-21-preview`.
fn is_date(text: &str) -> bool {
    let date = text.strip_suffix("-preview").unwrap_or(text);
    date.len() == 10 && date.parse::<chrono::NaiveDate>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dated_versions() {
        for good in ["2024-10-21", "2025-01-01-preview"] {
            assert!(is_date(good), "{good}");
        }
        for bad in ["", "2024-13-01", "v1", "2024-1-1", "latest", "2024-10-21-x"] {
            assert!(!is_date(bad), "{bad}");
        }
    }
}
