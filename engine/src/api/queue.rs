//! `GET /queue`, `POST /queue/{id}/retry` and `/drop`: workers and the units of runs that they share.

use axum::{Extension, Json};
use serde::Deserialize;
use utoipa::IntoParams;

use super::audit::Trail;
use super::client::Client;
use super::error::{ApiError, ApiResult, ErrorBody};
use super::extract::{Id, Params};
use crate::app::{QueueView, UnitQuery, UnitRow, UnitState};
use crate::model::ApiScope;

/// Which units.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct QueueParams {
    /// Only units in this state.
    state: Option<UnitState>,
    /// Only units of this project.
    project: Option<String>,
    /// Only units of this run.
    run: Option<String>,
    /// Only units with a lower number: `next` of the page before.
    before: Option<i64>,
    /// Maximum number of units, 1 to 1000, newest first; default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Workers and units of the projects that the token may see. Without a state in PostgreSQL there are none.
#[utoipa::path(get, path = "/queue", tag = "daemon", params(QueueParams),
    responses((status = 200, body = QueueView), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody)))]
pub(super) async fn queue(client: Client, Params(params): Params<QueueParams>) -> ApiResult<Json<QueueView>> {
    let QueueParams { state, project, run, before, limit } = params;
    let limit = limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(ApiError::bad_request("`limit` is 1 to 1000"));
    }
    let app = client.handle.app();
    let query = UnitQuery { state, project, run, before, limit };
    Ok(Json(if app.has_queue() { app.queue(&query).await? } else { QueueView::default() }))
}

/// Lets the next run of its project work on a dead unit's repository again.
#[utoipa::path(post, path = "/queue/{id}/retry", tag = "daemon", params(("id" = i64, Path, description = "Number of the unit")),
    responses((status = 200, body = UnitRow), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn retry(
    client: Client,
    Extension(trail): Extension<Trail>,
    Id(id): Id,
) -> ApiResult<Json<UnitRow>> {
    settle_unit(&client, &trail, &id, true).await.map(Json)
}

/// Takes a dead unit out of the list; its repository is worked on again once it or the configuration changes.
#[utoipa::path(post, path = "/queue/{id}/drop", tag = "daemon", params(("id" = i64, Path, description = "Number of the unit")),
    responses((status = 200, body = UnitRow), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn drop_unit(
    client: Client,
    Extension(trail): Extension<Trail>,
    Id(id): Id,
) -> ApiResult<Json<UnitRow>> {
    settle_unit(&client, &trail, &id, false).await.map(Json)
}

/// The scope for taking a unit out of the list of dead ones.
pub(super) fn scope_to_settle(retry: bool) -> ApiScope {
    if retry { ApiScope::Sync } else { ApiScope::Admin }
}

/// A unit by its number; `None` where there is no queue, too.
pub(super) async fn find_unit(client: &Client, id: &str) -> ApiResult<Option<UnitRow>> {
    let app = client.handle.app();
    let Some(id) = id.parse::<i64>().ok().filter(|_| app.has_queue()) else { return Ok(None) };
    Ok(app.unit(id).await?)
}

/// Takes a unit out of the list of dead ones, for the API and the console. Of two callers one succeeds.
pub(super) async fn settle_unit(client: &Client, trail: &Trail, id: &str, retry: bool) -> ApiResult<UnitRow> {
    client.require(scope_to_settle(retry))?;
    let missing =
        || ApiError::not_found("there is no such dead unit; somebody may have retried or dropped it before");
    let unit = find_unit(client, id).await?.ok_or_else(missing)?;
    trail.about(std::slice::from_ref(&unit.project));
    client.handle.app().settle_unit(unit.id, retry).await?.ok_or_else(missing)
}
