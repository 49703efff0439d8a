//! Work on the results of a run before its report is stored.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::model::ProjectReport;

type Work = dyn for<'a> Fn(&'a mut [ProjectReport]) -> BoxFuture<'a, ()> + Send + Sync;

/// Called at the end of a run with the results of its projects, while the lease is held. Cheap to clone.
#[derive(Clone)]
pub struct Review(Arc<Work>);

impl Review {
    /// A review that calls `work`.
    pub fn new(
        work: impl for<'a> Fn(&'a mut [ProjectReport]) -> BoxFuture<'a, ()> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(work))
    }

    pub(super) async fn call(&self, parts: &mut [ProjectReport]) {
        (self.0)(parts).await;
    }
}

impl fmt::Debug for Review {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Review")
    }
}
