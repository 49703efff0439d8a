//! Access to environment variables.

/// Returns the value of an environment variable.
pub type Env = dyn Fn(&str) -> Option<String> + Send + Sync;
