//! A value that must never be shown.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

/// A secret string: a key, a token, a URL that carries one.
///
/// It has no `Display` and no `Serialize`, and its `Debug` shows `***`, so that it cannot reach
/// a log, an error or the ledger by accident. Equality is needed to tell configurations apart.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("format" = "password"))] // how the configuration tells secret keys from others
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the request that needs it and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
