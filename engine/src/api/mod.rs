//! The daemon's HTTP API: authorization, routes and answers. It uses only the daemon's handle, not the
//! ledger or the stages, and takes no lock.

mod audit;
mod audit_log;
mod auth;
mod browser;
mod budget;
mod client;
mod console;
mod cookie;
mod error;
mod extract;
mod health;
mod mcp;
mod metrics;
mod openapi;
mod operations;
mod plans;
mod probe;
mod projects;
mod query;
mod queue;
mod queue_metrics;
mod rate;
mod routes;
mod runs;
mod scrape;
mod serve;
mod sync;
mod throttle;
mod usage;
mod verify;
mod webhook;

use std::sync::Arc;

use tokio::runtime;

use crate::daemon::Handle;
use budget::Budget;
use rate::Rates;
use throttle::Throttle;

pub use metrics::Metrics;
pub(crate) use query::QueryRequest;
pub use serve::{Listen, Server, Serving, TlsFiles, bind};
#[cfg(any(test, fuzzing))]
pub use webhook::fuzz as fuzz_webhook;

/// What every handler has at hand.
#[derive(Clone)]
pub(crate) struct App {
    /// The daemon as a whole. Handlers of authorized requests use the handle of their [`client::Client`].
    handle: Handle,
    metrics: Arc<Metrics>,
    /// Where the daemon's own work is done.
    workers: runtime::Handle,
    /// Memory for the bodies of requests that are not authorized: webhooks, until their signature is
    /// known to be right.
    unsigned: Budget,
    /// Memory for the bodies of authorized requests.
    bodies: Budget,
    throttle: Arc<Throttle>,
    /// Requests of tokens that have a rate.
    rates: Arc<Rates>,
    /// True if `[api] listen` speaks TLS.
    is_tls: bool,
}

/// Bytes of all bodies of unauthorized requests together; one address gets a quarter.
const UNSIGNED: usize = 64 << 20;
/// Bytes of all bodies of authorized requests together.
const BODIES: usize = 128 << 20;

impl App {
    fn new(handle: Handle, metrics: Arc<Metrics>, is_tls: bool, workers: runtime::Handle) -> Self {
        let (unsigned, bodies) = (Budget::shared(UNSIGNED, UNSIGNED / 4), Budget::new(BODIES));
        let (throttle, rates) = (Arc::default(), Arc::default());
        Self { handle, metrics, workers, unsigned, bodies, throttle, rates, is_tls }
    }
}
