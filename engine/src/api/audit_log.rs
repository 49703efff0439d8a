//! `GET /audit`: who asked for what.

use axum::Json;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::client::Client;
use super::error::{ApiError, ApiResult, ErrorBody};
use super::extract::Params;
use crate::daemon::{AuditQuery, AuditRow};

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditParams {
    /// Maximum number of entries, 1 to 1000; default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Entries older than the one with this id: `next` of the page before.
    before: Option<i64>,
    /// Entries since this moment (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<DateTime<Utc>>,
    /// Entries that name this project.
    project: Option<String>,
}

/// Entries of the audit log, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditBody {
    entries: Vec<AuditRow>,
    /// The value of `before` for the next page; null: there is none.
    next: Option<i64>,
}

/// A page of the audit log, newest entry first.
#[utoipa::path(get, path = "/audit", tag = "daemon", params(AuditParams),
    responses((status = 200, body = AuditBody), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody)))]
pub(super) async fn audit(client: Client, Params(params): Params<AuditParams>) -> ApiResult<Json<AuditBody>> {
    let limit = params.limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(ApiError::bad_request("`limit` is 1 to 1000"));
    }
    let projects = params.project.map(|name| vec![name]);
    let query = AuditQuery { limit: limit + 1, before: params.before, since: params.since, projects };
    let mut entries = client.handle.audit(query).await?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more).map(|entry| entry.id);
    Ok(Json(AuditBody { entries, next }))
}
