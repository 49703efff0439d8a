//! How a project treats secrets in its files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `secrets = …`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecretsMode {
    /// Files are indexed as they are.
    #[default]
    Off,
    /// A file that holds a secret is skipped.
    Skip,
    /// The secret is replaced before chunking.
    Redact,
}

impl SecretsMode {
    /// The value in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Skip => "skip",
            Self::Redact => "redact",
        }
    }
}
