//! `GET /usage`: what projects did over time.

use axum::Json;
use chrono::{NaiveDate, Utc};
use serde::Deserialize;
use utoipa::IntoParams;

use super::client::Client;
use super::error::{ApiError, ApiResult, ErrorBody};
use super::extract::Params;
use crate::app::{UsageRequest, UsageView};

/// Which usage.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UsageParams {
    /// The first day (UTC), such as `2026-01-31`; left out: 29 days before the last one. At most 400 days before it.
    #[param(value_type = Option<String>, format = Date)]
    since: Option<NaiveDate>,
    /// The last day (UTC); left out: today.
    #[param(value_type = Option<String>, format = Date)]
    until: Option<NaiveDate>,
    /// The project; left out: all.
    project: Option<String>,
}

/// What projects did, by day and by project: runs and their durations, texts, tokens, price, failures by stage, and how
/// far they were behind (sampled every five minutes). Days are in UTC; usage is kept for 400 days.
#[utoipa::path(get, path = "/usage", tag = "projects", params(UsageParams),
    responses((status = 200, body = UsageView), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody)))]
pub(super) async fn usage(client: Client, Params(params): Params<UsageParams>) -> ApiResult<Json<UsageView>> {
    let UsageParams { since, until, project } = params;
    Ok(Json(read(&client, &UsageRequest { since, until, project }).await?))
}

/// The same for the console.
pub(super) async fn read(client: &Client, request: &UsageRequest) -> ApiResult<UsageView> {
    if !client.grant().access.is_of_all_repositories() {
        return Err(ApiError::forbidden(
            "usage is recorded by project; the token is limited to some repositories",
        ));
    }
    Ok(client.handle.app().usage(request, Utc::now()).await?)
}
