//! The console: pages for people, rendered here and called like the API. Styles and the one script are part of the
//! program; pages work without the script, except that they do not follow what happens.

mod assets;
mod audit;
mod chart;
mod config;
mod failure;
mod files;
mod format;
mod layout;
mod link;
mod overview;
mod plan;
mod plan_files;
mod plans;
mod posted;
mod project;
mod queue;
mod reference;
mod remarks;
mod run;
mod runs;
mod search;
mod session;
mod sign_in;
mod unit;
mod usage;
mod visible;
mod visitor;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::Redirect;
use axum::routing::{get, post};

use super::App;

pub(super) use link::make as make_link;

/// The pages, below `/console`.
pub(super) fn routes(app: &App) -> Router<App> {
    let pages = Router::new()
        .route("/console", get(overview::page))
        .route("/console/projects/{name}", get(project::page))
        .route("/console/projects/{name}/files", get(files::page))
        .route("/console/projects/{name}/sync", post(project::sync))
        .route("/console/plans", get(plans::page))
        .route("/console/runs", get(runs::page))
        .route("/console/runs/{id}", get(run::page))
        .route("/console/runs/{id}/events", get(run::events))
        .route("/console/runs/{id}/cancel", post(run::cancel))
        .route("/console/queue", get(queue::page))
        .route("/console/queue/{id}", get(unit::page))
        .route("/console/queue/{id}/retry", post(queue::retry))
        .route("/console/queue/{id}/drop", post(queue::drop_unit))
        .route("/console/usage", get(usage::page))
        .route("/console/search", get(search::page))
        .route("/console/config", get(config::page))
        .route("/console/config/reload", post(config::reload))
        .route("/console/audit", get(audit::page))
        .route("/console/docs", get(reference::page))
        .route("/console/sign-out", post(sign_in::sign_out))
        .layer(from_fn_with_state(app.clone(), session::require));
    let open = Router::new()
        .route("/", get(async || Redirect::to("/console")))
        .route("/console/", get(async || Redirect::to("/console")))
        .route("/console/sign-in", get(sign_in::page).post(sign_in::sign_in))
        .route("/console/assets/{name}", get(assets::asset));
    pages.merge(open)
}

/// The pages that take their time: plans are made, and read whole.
pub(super) fn work(app: &App) -> Router<App> {
    Router::new()
        .route("/console/projects/{name}/plan", post(plan::make))
        .route("/console/plans/{id}", get(plan::page))
        .route("/console/plans/{id}/approve", post(plan::approve))
        .route("/console/plans/{id}/discard", post(plan::discard))
        .layer(from_fn_with_state(app.clone(), session::require))
}
