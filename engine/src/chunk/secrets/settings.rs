//! `[secrets]`: rules and allow lists of a configuration, in addition to the built-in ones.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Fingerprint;

/// `[secrets]`: additional secret detection rules, and exceptions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecretRules {
    /// Rules in addition to the built-in ones.
    pub rules: Vec<SecretRule>,
    /// Regular expressions; a finding that one of them matches is ignored.
    pub allow: Vec<String>,
}

/// A rule of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRule {
    /// Identifier of the rule in plans and reports.
    pub id: String,
    /// A regular expression. The group `secret` is redacted; without that group, the whole match.
    pub pattern: String,
    /// Keywords, ignoring case: every match must contain one of them. Only their surroundings are
    /// searched; without keywords, the whole file.
    #[serde(default)]
    pub keywords: Vec<String>,
    /// Minimum entropy of the secret, in bits per character.
    #[serde(default)]
    pub entropy: Option<f64>,
}

impl SecretRules {
    /// A digest of all settings, which determine what is found.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of([serde_json::to_string(self).unwrap_or_default()])
    }
}
