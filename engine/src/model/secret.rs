//! A wrapper that keeps secrets out of logs and errors.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

/// A secret string: a key, a token, a URL that carries one.
///
/// It has no `Display` and no `Serialize`, and its `Debug` shows `***`, so that it cannot leak into
/// a log, an error or the ledger. `PartialEq` is needed to compare configurations.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("format" = "password"))] // marks secret keys for the masking of `config`
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Use it only in the request that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
