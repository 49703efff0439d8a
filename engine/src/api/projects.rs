//! `GET /projects` and `GET /plan`: how current every project is and why; what a run would do.

use axum::Json;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::client::Client;
use super::error::{ApiError, ApiResult, ErrorBody};
use super::extract::{Id, Params};
use crate::app::{FilesPage, FilesRequest};
use crate::daemon::ProjectView;
use crate::model::{
    LastRun, ProjectState, ProjectStatus, RepositoryStatus, Running, StageResult, Target, Wait,
};

/// How a project stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProjectBody {
    /// Its name.
    pub(super) project: String,
    /// False for a disabled project.
    pub(super) enabled: bool,
    /// False for one that is in the ledger, but not in the file any more.
    pub(super) declared: bool,
    /// `current`, `behind`, `partial`, `failed`, `running`, `never_run`, `disabled` or `orphan`.
    pub(super) state: ProjectState,
    /// Where its vectors live.
    pub(super) place: String,
    /// The places that it has not left: the `live` one, and one that is `building`, that is being filled.
    pub(super) targets: Vec<Target>,
    pub(super) files: u64,
    pub(super) vectors: u64,
    /// Files that failed and are tried again by the next run.
    pub(super) failed_files: u64,
    /// The commit that is indexed, where the project has one repository; see `repositories`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) indexed_commit: Option<String>,
    /// The head as last seen, where the project has one repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) head: Option<String>,
    /// 0 when every repository is indexed at its head as last seen; else seconds since the oldest
    /// of those behind was last synced; null where it never was.
    pub(super) seconds_behind: Option<u64>,
    /// Commits from what is indexed to the heads as last seen, of all repositories; 1000 is 1000 or
    /// more; null: never indexed, not counted yet, or a force-push.
    pub(super) commits_behind: Option<u64>,
    /// Every selected repository, what needs attention first: its `state` (`failed`, `partial`,
    /// `behind`, `orphan`, `current`), indexed commit, head as last seen, error, when it was synced.
    pub(super) repositories: Vec<RepositoryStatus>,
    /// The last run: id, end, outcome, error, what the guards withheld.
    pub(super) last_run: Option<LastRun>,
    /// Why the last run ended early, or its first failure.
    pub(super) last_error: Option<String>,
    /// When the schedule starts the next run (UTC).
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) next_run: Option<DateTime<Utc>>,
    /// When a run that ended early is tried again (UTC).
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) retry_at: Option<DateTime<Utc>>,
    /// What the run under way waits for: `reason`, `until` (UTC, or null), and the `stage` whose service is not called
    /// for now, or null for the lease of another process.
    pub(super) waits: Vec<Wait>,
    /// The run under way.
    pub(super) running: Option<String>,
    /// The run that waits for it.
    pub(super) queued: Option<String>,
}

/// All projects.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProjectsBody {
    /// In the order of the file; orphans last.
    projects: Vec<ProjectBody>,
    /// Another process whose run this daemon waits for.
    waiting_for: Option<Running>,
}

/// How current every project is, and why.
#[utoipa::path(get, path = "/projects", tag = "projects",
    responses((status = 200, body = ProjectsBody), (status = 401, body = ErrorBody)))]
pub(super) async fn projects(client: Client) -> ApiResult<Json<ProjectsBody>> {
    let waiting_for = client.handle.waiting_for();
    Ok(Json(ProjectsBody { projects: project_bodies(&client).await?, waiting_for }))
}

/// Which project to plan.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PlanParams {
    /// The project; left out: all enabled ones.
    project: Option<String>,
    /// Fetch and chunk the contents to count chunks, texts and tokens.
    #[serde(default)]
    exact: bool,
}

/// What a run would do now, and what it would cost.
#[utoipa::path(get, path = "/plan", tag = "projects", params(PlanParams),
    responses((status = 200, body = crate::daemon::Plan), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn plan(
    client: Client,
    Params(params): Params<PlanParams>,
) -> ApiResult<Json<crate::daemon::Plan>> {
    Ok(Json(client.handle.plan(params.project.as_deref(), params.exact).await?))
}

/// Which files.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FilesParams {
    /// The repository.
    repository: String,
    /// A part of the path.
    path: Option<String>,
    /// `indexed`, `skipped` or `failed`; left out: all files.
    status: Option<String>,
    /// Maximum number of files, 1 to 1000; default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// How many of the first files are left out.
    offset: Option<usize>,
}

/// The recorded files of a repository, by path: which are indexed, which are not, and why.
#[utoipa::path(get, path = "/projects/{name}/files", tag = "projects",
    params(("name" = String, Path, description = "the project"), FilesParams),
    responses((status = 200, body = FilesPage), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn files(
    client: Client,
    Id(project): Id,
    Params(params): Params<FilesParams>,
) -> ApiResult<Json<FilesPage>> {
    let FilesParams { repository, path, status, limit, offset } = params;
    let limit = limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(ApiError::bad_request("`limit` is 1 to 1000"));
    }
    let (path, status, offset) = (path.unwrap_or_default(), status.unwrap_or_default(), offset.unwrap_or(0));
    let request = FilesRequest { project, repository, path, status, offset, limit };
    Ok(Json(client.handle.app().files(&request).await?))
}

/// Every project as the ledger and the dispatcher know it.
pub(super) async fn project_bodies(client: &Client) -> StageResult<Vec<ProjectBody>> {
    let view = client.handle.view();
    let status = client.handle.status().await?;
    let none = ProjectView::default();
    let body = |status_of: ProjectStatus| {
        let state = view.projects.get(&status_of.project).unwrap_or(&none);
        project_body(status_of, state)
    };
    Ok(status.projects.into_iter().map(body).collect())
}

fn project_body(status: ProjectStatus, view: &ProjectView) -> ProjectBody {
    let last_error =
        view.last_error.clone().or_else(|| status.last_run.as_ref().and_then(|run| run.error.clone()));
    let outcome = view.last_outcome.or(status.last_run.as_ref().map(|run| run.outcome));
    let state = ProjectState::of(&status, outcome, view.running.is_some());
    let only = match status.repositories.as_slice() {
        [only] => Some(only),
        _ => None,
    };
    ProjectBody {
        state,
        indexed_commit: only.and_then(|repository| repository.indexed).map(|sha| sha.to_string()),
        head: only.and_then(|repository| repository.head).map(|sha| sha.to_string()),
        seconds_behind: status.seconds_behind,
        commits_behind: status.commits_behind,
        repositories: status.repositories,
        last_run: status.last_run,
        last_error,
        next_run: status.next_run,
        retry_at: view.retry_at,
        running: view.running.clone(),
        queued: view.queued.clone(),
        project: status.project,
        enabled: status.enabled,
        declared: status.declared,
        place: status.place,
        targets: status.targets,
        waits: status.waits,
        files: status.files,
        vectors: status.vectors,
        failed_files: status.failed_files,
    }
}
