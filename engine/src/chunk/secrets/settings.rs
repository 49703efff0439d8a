//! `[secrets]`: rules and allow lists of a configuration, beside those in the program.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Fingerprint;

/// `[secrets]`: what counts as a secret besides the program's own rules, and what does not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecretRules {
    /// More rules.
    pub rules: Vec<SecretRule>,
    /// Regular expressions: a finding in which one matches is no secret.
    pub allow: Vec<String>,
}

/// A rule of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRule {
    /// Names the rule in plans and reports.
    pub id: String,
    /// A regular expression; a group named `secret` is what is redacted, without one the whole match.
    pub pattern: String,
    /// Words one of which stands in every match, letters of either case; without any the whole file
    /// is searched.
    #[serde(default)]
    pub keywords: Vec<String>,
    /// Bits per character that the secret has at least.
    #[serde(default)]
    pub entropy: Option<f64>,
}

impl SecretRules {
    /// Names everything that decides what is found.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of([serde_json::to_string(self).unwrap_or_default()])
    }
}
