//! Settings of `kind = "webhook"`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Secret;
use crate::notify::When;
use crate::notify::when::check_on;
use crate::settings::Checker;
use crate::stage::{StageConfig, edit_costs};

/// `kind = "webhook"`: the run's report as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// Where to POST it; may carry a secret.
    pub url: Secret,
    /// Key of the HMAC-SHA-256 in `X-RepoSync-Signature-256`; left out: requests are not signed.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// When to speak.
    #[serde(default = "crate::notify::when::default_on")]
    pub on: Vec<When>,
}

impl StageConfig for WebhookSettings {
    const KIND: &'static str = "webhook";

    edit_costs! {
        credentials: url, secret;
        limits: on;
    }

    fn check(&mut self, check: &mut Checker<'_>) {
        check.url("url", self.url.expose());
        check.secret("secret", self.secret.as_ref());
        check_on(check, &self.on);
    }
}
