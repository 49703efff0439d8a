//! `GET /health`: for probes and for people. A probe is answered from the snapshot alone, whatever is
//! running; with the token the ledger is read too.

use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::App;
use super::audit::Trail;
use super::auth;
use super::projects::{ProjectBody, project_bodies};
use super::serve::Caller;
use crate::daemon::{LastReload, Role};
use crate::model::{ApiScope, Outcome};

/// Time limit for reading the ledger. Runs wait longer for a database that does not answer; health must not.
const PATIENCE: Duration = Duration::from_secs(2);

/// How the daemon is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `healthy`, or `degraded` while the file on disk is refused or a project's last run ended early.
    status: &'static str,
    /// Always `reposync`.
    service: &'static str,
    /// Now (UTC).
    #[schema(value_type = String, format = DateTime)]
    timestamp: DateTime<Utc>,
    version: &'static str,
    /// Seconds since the daemon started.
    uptime_seconds: u64,
    /// Number of the configuration in effect, counted from 1.
    generation: u64,
    /// Whether this daemon starts runs: `alone`, `dispatcher` or `standby`.
    role: Role,
    /// True as long as the daemon takes work: what a readiness probe wants.
    ready: bool,
    /// True while the file on disk is refused; what is wrong with it is shown with the token.
    config_refused: bool,
    /// Why the file on disk is refused; only with a token of the scope `admin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// The last reload, where there was one: when, outcome, message; only with the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_reload: Option<LastReload>,
    /// Changed keys that take effect only after a restart; only with the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    restart: Option<Vec<&'static str>>,
    /// Each project; only with the token, and while the ledger answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    projects: Option<Vec<ProjectBody>>,
    /// Enabled projects whose last run ended early.
    projects_failed: usize,
}

/// How the daemon is. Needs no token; with it, how each project is.
#[utoipa::path(get, path = "/health", tag = "daemon", security(()), responses((status = 200, body = Health)))]
pub(super) async fn health(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Extension(trail): Extension<Trail>,
    headers: HeaderMap,
) -> Json<Health> {
    let Some(client) = auth::client_of(&app, (&caller, &trail), &headers).await else {
        return probe(State(app)).await;
    };
    // A ledger that cannot be read is seen by the runs; health answers all the same.
    let projects = async { timeout(PATIENCE, project_bodies(&client)).await.ok()?.ok() };
    let projects = if client.has(ApiScope::Read) { projects.await } else { None };
    // The file's problems and changes name any project.
    Json(body(&app, client.require_whole_admin().is_ok(), projects))
}

/// How the daemon is, without anything that needs the token.
pub(super) async fn probe(State(app): State<App>) -> Json<Health> {
    Json(body(&app, false, None))
}

fn body(app: &App, told: bool, projects: Option<Vec<ProjectBody>>) -> Health {
    let view = app.handle.view();
    let now = Utc::now();
    let failed =
        view.projects.values().filter(|project| project.last_outcome == Some(Outcome::Failed)).count();
    Health {
        status: if view.is_degraded() { "degraded" } else { "healthy" },
        service: "reposync",
        timestamp: now,
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: u64::try_from((now - view.since).num_seconds()).unwrap_or(0),
        generation: view.generation(),
        role: view.role,
        ready: !view.stopping,
        config_refused: view.refused.is_some(),
        problem: view.refused.clone().filter(|_| told),
        last_reload: view.last_reload.clone().filter(|_| told),
        restart: told.then(|| view.restart.clone()),
        projects,
        projects_failed: failed,
    }
}
