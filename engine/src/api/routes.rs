//! The routes, and what applies to all of them: authorization, time-outs, body limits, the audit log, and one
//! error format.

use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{any, delete, get, post};
use tokio_util::task::AbortOnDropHandle;

use super::client::Client;
use super::error::{ApiError, ApiResult};
use super::{
    App, audit, audit_log, auth, browser, client, health, mcp, openapi, operations, plans, projects, query,
    queue, runs, scrape, sync, usage, webhook,
};
use crate::model::ApiScope;

/// Time for reading and answering a request.
pub(super) const TIME: Duration = Duration::from_secs(30);
/// The same where a service is asked.
const WORK_TIME: Duration = Duration::from_secs(600);

/// All routes.
pub(super) fn routes(app: App) -> Router {
    let versioned = versioned(&app);
    let unversioned = Router::new()
        .route("/openapi.json", get(openapi::openapi))
        .route("/console/links", post(super::console::make_link))
        .merge(scoped(ApiScope::Read, Router::new().route("/metrics", get(scrape::metrics))))
        .layer(from_fn(|request, next| within(TIME, request, next)))
        .merge(
            scoped(ApiScope::Query, Router::new().route("/mcp", any(mcp::mcp)))
                .layer(from_fn_with_state(app.clone(), by_workers)),
        );
    let guarded = versioned.clone().nest("/v1", versioned).merge(unversioned);
    let guarded = guarded.layer(from_fn_with_state(app.clone(), auth::require));
    let open = Router::new()
        .route("/health", get(health::health))
        .merge(webhook::routes())
        .merge(super::console::routes(&app))
        .layer(from_fn(|request, next| within(TIME, request, next)))
        .merge(super::console::work(&app).layer(from_fn_with_state(app.clone(), by_workers)));
    guarded
        .merge(open)
        .fallback(async || ApiError::not_found("there is no such route"))
        .method_not_allowed_fallback(async || {
            let message = "the route does not take this method";
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        })
        .layer(from_fn_with_state(app.clone(), audit::record))
        .layer(from_fn(browser::guard))
        .with_state(app)
}

/// The routes that are there with and without `/v1`.
fn versioned(app: &App) -> Router<App> {
    let quick = Router::new()
        .merge(scoped(
            ApiScope::Read,
            Router::new()
                .route("/runs", get(runs::runs))
                .route("/runs/{id}", get(runs::run))
                .route("/runs/{id}/events", get(runs::events))
                .route("/projects", get(projects::projects))
                .route("/plans", get(plans::plans))
                .route("/usage", get(usage::usage))
                .route("/queue", get(queue::queue)),
        ))
        .merge(scoped(
            ApiScope::Sync,
            Router::new()
                .route("/sync", post(sync::sync))
                .route("/runs/{id}/cancel", post(runs::cancel))
                .route("/queue/{id}/retry", post(queue::retry)),
        ))
        .merge(scoped(
            ApiScope::Admin,
            Router::new()
                .route("/reload", post(sync::reload))
                .route("/audit", get(audit_log::audit))
                .route("/queue/{id}/drop", post(queue::drop_unit)),
        ))
        .layer(from_fn(|request, next| within(TIME, request, next)));
    let slow = Router::new()
        .merge(scoped(ApiScope::Query, Router::new().route("/query", post(query::query))))
        .merge(scoped(
            ApiScope::Read,
            Router::new()
                .route("/verify", get(super::verify::verify))
                .route("/describe", get(operations::describe))
                .route("/projects/{name}/files", get(projects::files))
                .route("/plans/{id}", get(plans::plan)),
        ))
        .merge(scoped(
            ApiScope::Sync,
            Router::new()
                .route("/plan", get(projects::plan))
                .route("/plans", post(plans::make))
                .route("/plans/{id}/approve", post(plans::approve))
                .route("/plans/{id}/discard", post(plans::discard)),
        ))
        .merge(scoped(
            ApiScope::Write,
            Router::new()
                .route("/repositories", get(operations::repositories))
                .route("/changes", get(operations::changes))
                .route("/content", get(operations::content))
                .route("/process", post(operations::process))
                .route("/embeddings", post(operations::embeddings))
                .route("/upsert", post(operations::upsert))
                .route("/delete", delete(operations::delete)),
        ))
        .layer(from_fn_with_state(app.clone(), by_workers));
    quick.merge(slow)
}

/// Routes whose tokens need a scope.
fn scoped(scope: ApiScope, routes: Router<App>) -> Router<App> {
    routes.layer(from_fn(move |client: Client, request, next| client::require(scope, client, request, next)))
}

/// Ends a request that takes too long.
pub(super) async fn within(time: Duration, request: Request, next: Next) -> ApiResult<Response> {
    tokio::time::timeout(time, next.run(request))
        .await
        .map_err(|_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the request took too long"))
}

/// Has a request answered where the daemon's own work is done: it may compute for long, and clients
/// of services keep connections alive there. A client that leaves takes its request along.
async fn by_workers(State(app): State<App>, request: Request, next: Next) -> ApiResult<Response> {
    let work = AbortOnDropHandle::new(app.workers.spawn(within(WORK_TIME, request, next)));
    work.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request broke off");
        let message = "the request broke off by a fault of RepoSync's own; the log has it";
        Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message))
    })
}
