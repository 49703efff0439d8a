//! Settings of `kind = "pinecone"`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Secret;
use crate::settings::Checker;
use crate::stage::{StageConfig, edit_costs};

/// `kind = "pinecone"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PineconeSettings {
    /// The index's name.
    pub index: String,
    /// The API key.
    pub api_key: Secret,
    /// Base URL of the control plane.
    #[serde(default = "default_api_url")]
    pub api_url: String,
    /// Host of the index's data plane; by default the control plane is asked for it.
    #[serde(default)]
    pub host: Option<String>,
    /// How to create the index if it is missing; without this a missing index is an error.
    #[serde(default)]
    pub create: Option<CreateIndex>,
    /// The API version sent with requests.
    #[serde(default = "default_api_version")]
    pub api_version: String,
}

/// A serverless index to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateIndex {
    /// `aws`, `gcp` or `azure`.
    pub cloud: String,
    /// The cloud's region, such as `us-east-1`.
    pub region: String,
    /// `cosine` (default), `dotproduct` or `euclidean`.
    #[serde(default = "default_metric")]
    pub metric: Metric,
}

/// How vectors are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// By angle.
    Cosine,
    /// By inner product.
    Dotproduct,
    /// By distance.
    Euclidean,
}

impl StageConfig for PineconeSettings {
    const KIND: &'static str = "pinecone";

    edit_costs! {
        index: index, api_url, host;
        limits: create, api_version;
        credentials: api_key;
    }

    fn check(&mut self, check: &mut Checker<'_>) {
        check.url("api_url", &self.api_url);
        if let Some(host) = &self.host {
            check.url("host", host);
        }
        check.secret("api_key", Some(&self.api_key));
        if !is_index_name(&self.index) {
            let hint = "1 to 45 lower-case letters, digits and `-`, with a letter or digit at both ends";
            check.flag("index", "not a name of a Pinecone index", hint);
        }
        if !is_month(&self.api_version) {
            check.flag("api_version", "not an API version", "write it like \"2026-04\"");
        }
        let known = |cloud: &str| ["aws", "gcp", "azure"].contains(&cloud);
        let message = "`cloud` is not one of the allowed values";
        check.inner(["create", "cloud"], known, message, "use `aws`, `gcp` or `azure`");
        let filled = |region: &str| !region.trim().is_empty();
        check.inner(["create", "region"], filled, "`region` is empty", "such as \"us-east-1\"");
    }
}

/// True for a valid name of a Pinecone index.
fn is_index_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=45).contains(&text.len())
        && text.bytes().all(|byte| plain(byte) || byte == b'-')
        && text.bytes().next().is_some_and(plain)
        && text.bytes().last().is_some_and(plain)
}

/// True for `2026-04`.
fn is_month(text: &str) -> bool {
    text.len() == 7 && format!("{text}-01").parse::<chrono::NaiveDate>().is_ok()
}

fn default_api_url() -> String {
    "https://api.pinecone.io".into()
}

/// The newest version whose full specification the client was checked against.
fn default_api_version() -> String {
    "2026-04".into()
}

fn default_metric() -> Metric {
    Metric::Cosine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_indexes() {
        for good in ["docs", "a-1"] {
            assert!(is_index_name(good), "{good}");
        }
        for bad in ["", "Docs", "-a", "a-", "a_b", &"a".repeat(101)] {
            assert!(!is_index_name(bad), "{bad}");
        }
    }
}
