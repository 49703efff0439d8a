//! What is wrong with a single value, for callers that know its position.

/// A message and a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// What is wrong, as a fragment that fits after the key.
    pub message: String,
    /// What the user can do.
    pub hint: String,
}

impl Objection {
    /// An objection with its hint.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}
