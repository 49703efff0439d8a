//! The daemon's HTTP API: who may ask, what is asked, how it is answered. It stands on the
//! daemon's handle and knows neither ledger nor stages; it holds no lock.

mod auth;
mod error;
mod extract;
mod health;
mod metrics;
mod openapi;
mod operations;
mod page;
mod projects;
mod routes;
mod runs;
mod serve;
mod sync;
mod webhook;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::runtime;

use crate::daemon::Handle;

pub use metrics::Metrics;
pub use serve::{Server, Serving, bind};
#[cfg(any(test, fuzzing))]
pub use webhook::fuzz as fuzz_webhook;

/// What every handler has at hand.
#[derive(Clone)]
pub(crate) struct App {
    handle: Handle,
    metrics: Arc<Metrics>,
    listen: SocketAddr,
    /// Where the daemon's own work is done.
    workers: runtime::Handle,
}
