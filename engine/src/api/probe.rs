//! `[api] probe_listen`: `/health` and `/metrics` for probes, without a token. What names projects or
//! stages is left out.

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::get;

use super::error::ApiError;
use super::routes::{TIME, within};
use super::{App, browser, health, scrape};

/// The routes of the listener for probes.
pub(super) fn routes(app: App) -> Router {
    Router::new()
        .route("/health", get(health::probe))
        .route("/metrics", get(scrape::aggregate))
        .layer(from_fn(|request, next| within(TIME, request, next)))
        .fallback(async || {
            ApiError::not_found(
                "there is no such route; `[api] probe_listen` serves `/health` and `/metrics`",
            )
        })
        .layer(from_fn(browser::guard))
        .with_state(app)
}
