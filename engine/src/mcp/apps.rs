//! Where the server gets the use cases from.

use async_trait::async_trait;

use crate::app::{App, AppResult};

/// Gives the use cases in force: a configuration may be replaced while the server runs.
#[async_trait]
pub trait Apps: Send + Sync {
    /// The use cases of the configuration in force.
    async fn app(&self) -> AppResult<App>;
}
