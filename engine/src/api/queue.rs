//! `GET /queue`, `POST /queue/{id}/retry` and `/drop`: workers and the units of runs that they share.

use axum::Json;
use axum::extract::Path;
use serde::Deserialize;
use utoipa::IntoParams;

use super::client::Client;
use super::error::{ApiError, ApiResult, ErrorBody};
use super::extract::Params;
use crate::app::{QueueView, UnitRow, UnitState};

/// Which units.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct QueueParams {
    /// Only units in this state.
    state: Option<UnitState>,
    /// Maximum number of units, 1 to 1000, newest first; default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Workers and units of the projects that the token may see. Without a state in PostgreSQL there are none.
#[utoipa::path(get, path = "/queue", tag = "daemon", params(QueueParams),
    responses((status = 200, body = QueueView), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody)))]
pub(super) async fn queue(client: Client, Params(params): Params<QueueParams>) -> ApiResult<Json<QueueView>> {
    let limit = params.limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(ApiError::bad_request("`limit` is 1 to 1000"));
    }
    let app = client.handle.app();
    Ok(Json(if app.has_queue() { app.queue(params.state, limit).await? } else { QueueView::default() }))
}

/// Lets the next run of its project work on a dead unit's repository again.
#[utoipa::path(post, path = "/queue/{id}/retry", tag = "daemon", params(("id" = i64, Path, description = "Number of the unit")),
    responses((status = 200, body = UnitRow), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn retry(client: Client, Path(id): Path<i64>) -> ApiResult<Json<UnitRow>> {
    settle(&client, id, true).await
}

/// Takes a dead unit out of the list; its repository is worked on again once it or the configuration changes.
#[utoipa::path(post, path = "/queue/{id}/drop", tag = "daemon", params(("id" = i64, Path, description = "Number of the unit")),
    responses((status = 200, body = UnitRow), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn drop_unit(client: Client, Path(id): Path<i64>) -> ApiResult<Json<UnitRow>> {
    settle(&client, id, false).await
}

async fn settle(client: &Client, id: i64, retry: bool) -> ApiResult<Json<UnitRow>> {
    let app = client.handle.app();
    let settled = if app.has_queue() { app.settle_unit(id, retry).await? } else { None };
    settled.map(Json).ok_or_else(|| ApiError::not_found("there is no such dead unit"))
}
