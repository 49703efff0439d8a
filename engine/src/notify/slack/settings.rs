//! Settings of `kind = "slack"`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Secret;
use crate::notify::When;
use crate::notify::when::check_on;
use crate::settings::Checker;
use crate::stage::{StageConfig, edit_costs};

/// `kind = "slack"`: an incoming webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlackSettings {
    /// The webhook's URL, a secret.
    pub webhook_url: Secret,
    /// When to speak.
    #[serde(default = "crate::notify::when::default_on")]
    pub on: Vec<When>,
}

impl StageConfig for SlackSettings {
    const KIND: &'static str = "slack";

    edit_costs! {
        credentials: webhook_url;
        limits: on;
    }

    fn check(&mut self, check: &mut Checker<'_>) {
        check.url("webhook_url", self.webhook_url.expose());
        check_on(check, &self.on);
    }
}
