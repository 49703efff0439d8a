//! Settings of the notifier stages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Secret;

/// When a notifier speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// A run changed the index.
    Changes,
    /// A run ended early or is missing something.
    Failure,
    /// Every run.
    Always,
}

/// `kind = "slack"`: an incoming webhook.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlackSettings {
    /// The webhook's URL, a secret.
    pub webhook_url: Secret,
    /// When to speak.
    #[serde(default = "default_on")]
    pub on: Vec<When>,
}

/// `kind = "webhook"`: the run's report as JSON.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// Where to POST it; may carry a secret.
    pub url: Secret,
    /// Key of the HMAC-SHA-256 in `X-RepoSync-Signature-256`; left out: requests are not signed.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// When to speak.
    #[serde(default = "default_on")]
    pub on: Vec<When>,
}

fn default_on() -> Vec<When> {
    vec![When::Changes, When::Failure]
}
