//! How environment variables are looked up.

/// Looks an environment variable up.
pub type Env = dyn Fn(&str) -> Option<String> + Send + Sync;
