//! `POST /sync` and `POST /reload`: requests for a run or a reload.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::audit::Subject;
use super::client::Client;
use super::error::{ApiError, ApiResult, ErrorBody};
use super::extract::OptionalBody;
use crate::daemon::{Problem, ReloadOutcome};
use crate::model::ApiScope;

/// What to sync.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SyncRequest {
    /// The project; left out: all enabled ones.
    project: Option<String>,
    /// Believe neither ledger nor stored answers.
    full: bool,
    /// Let the deletion guard pass everything. Needs the scope `admin`.
    allow_deletes: bool,
    /// Let the spending guard pass everything. Needs the scope `admin`.
    allow_cost: bool,
}

impl Subject for SyncRequest {
    fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }
}

/// A run that was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SyncAccepted {
    /// The run's id, for `/runs/{id}`. It is that of a run that was waiting already, where one was.
    run: String,
    /// The same, by the name that other tools expect.
    run_id: String,
    /// The run of each project.
    runs: BTreeMap<String, String>,
}

/// Run a project, or all of them, now or after the run under way.
#[utoipa::path(post, path = "/sync", tag = "runs", request_body = SyncRequest,
    responses((status = 202, body = SyncAccepted), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, description = "the project is disabled", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn sync(
    client: Client,
    OptionalBody(request): OptionalBody<SyncRequest>,
) -> ApiResult<(StatusCode, Json<SyncAccepted>)> {
    let SyncRequest { project, full, allow_deletes, allow_cost } = request;
    if allow_deletes || allow_cost {
        client.require(ApiScope::Admin)?;
    }
    let accepted = client.handle.sync(project, full, allow_deletes, allow_cost).await?;
    let body = SyncAccepted { run_id: accepted.run.clone(), run: accepted.run, runs: accepted.runs };
    Ok((StatusCode::ACCEPTED, Json(body)))
}

/// What came of taking up the file.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReloadBody {
    /// `applied`, `unchanged` or `refused`.
    outcome: &'static str,
    /// In one line.
    message: String,
    /// What is wrong with the file.
    problems: Vec<Problem>,
    /// Changed keys that take effect only after a restart.
    restart: Vec<&'static str>,
}

/// Take up the file, and wait for the outcome.
#[utoipa::path(post, path = "/reload", tag = "daemon",
    responses((status = 200, description = "applied or unchanged", body = ReloadBody),
        (status = 422, description = "refused; the running configuration stays", body = ReloadBody),
        (status = 503, body = ErrorBody)))]
pub(super) async fn reload(client: Client) -> ApiResult<(StatusCode, Json<ReloadBody>)> {
    client.require_whole_admin()?;
    let outcome = client.handle.reload().await.ok_or_else(ApiError::stopping)?;
    let status = if outcome.outcome == "refused" { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let ReloadOutcome { outcome, message, problems, restart } = outcome;
    let body = ReloadBody { outcome, message, problems, restart };
    Ok((status, Json(body)))
}
