//! `/plans`: plans that are kept until somebody approves or discards them.

use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::audit::{Subject, Trail};
use super::client::Client;
use super::error::{ApiError, ApiResult, ErrorBody};
use super::extract::{Body, Id, Params};
use crate::app::{PlanView, StorePlanRequest};
use crate::daemon::Approved;
use crate::model::ApiScope;

/// What to plan.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the request")]
pub(super) struct NewPlan {
    /// The project.
    project: String,
    /// Compare everything again, whatever is recorded.
    #[serde(default)]
    full: bool,
    /// Let the deletion guard pass everything. Needs the scope `admin`.
    #[serde(default)]
    allow_deletes: bool,
    /// Let the spending guard pass everything. Needs the scope `admin`.
    #[serde(default)]
    allow_cost: bool,
    /// Fetch and chunk the contents to count chunks, texts and tokens.
    #[serde(default)]
    exact: bool,
}

impl Subject for NewPlan {
    fn project(&self) -> Option<&str> {
        Some(&self.project)
    }
}

/// Which plans.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PlansParams {
    /// Plans of this project.
    project: Option<String>,
}

/// Stored plans, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PlansBody {
    plans: Vec<PlanView>,
}

/// A plan whose run begins.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApprovedBody {
    /// The plan.
    plan: String,
    /// The run that carries it out.
    run: String,
}

/// The plans that are kept, newest first: those of a week, 100 at most.
#[utoipa::path(get, path = "/plans", tag = "plans", params(PlansParams), responses((status = 200, body = PlansBody)))]
pub(super) async fn plans(client: Client, Params(params): Params<PlansParams>) -> ApiResult<Json<PlansBody>> {
    Ok(Json(PlansBody { plans: client.handle.app().stored_plans(params.project.as_deref()).await? }))
}

/// Plan a run of a project and keep the plan, to be approved or discarded.
#[utoipa::path(post, path = "/plans", tag = "plans", request_body = NewPlan,
    responses((status = 201, description = "the plan, with all that it does", body = PlanView),
        (status = 404, body = ErrorBody), (status = 409, description = "the project is disabled", body = ErrorBody),
        (status = 422, description = "planning failed", body = ErrorBody)))]
pub(super) async fn make(
    client: Client,
    Body(request): Body<NewPlan>,
) -> ApiResult<(StatusCode, Json<PlanView>)> {
    let NewPlan { project, full, allow_deletes, allow_cost, exact } = request;
    let request = StorePlanRequest { project, full, allow_deletes, allow_cost, exact };
    Ok((StatusCode::CREATED, Json(make_plan(&client, &request).await?)))
}

/// The same for the console.
pub(super) async fn make_plan(client: &Client, request: &StorePlanRequest) -> ApiResult<PlanView> {
    if request.allow_deletes || request.allow_cost {
        client.require(ApiScope::Admin)?;
    }
    Ok(client.handle.make_plan(request, &client.grant().name).await?)
}

/// A plan with all that it does, and why it cannot be approved any more (`stale`).
#[utoipa::path(get, path = "/plans/{id}", tag = "plans", params(("id" = String, Path, description = "the plan's id")),
    responses((status = 200, body = PlanView), (status = 404, body = ErrorBody)))]
pub(super) async fn plan(client: Client, Id(id): Id) -> ApiResult<Json<PlanView>> {
    Ok(Json(client.handle.app().whole_stored_plan(&id).await?))
}

/// Approve a plan: a run carries out exactly what it says. A plan in which a guard withholds something or is overridden
/// needs the scope `admin`.
#[utoipa::path(post, path = "/plans/{id}/approve", tag = "plans",
    params(("id" = String, Path, description = "the plan's id")),
    responses((status = 202, body = ApprovedBody), (status = 404, body = ErrorBody),
        (status = 409, description = "somebody has decided before (`decided`), or the configuration, a component or the \
            program has changed since (`stale`)", body = ErrorBody)))]
pub(super) async fn approve(
    client: Client,
    Extension(trail): Extension<Trail>,
    Id(id): Id,
) -> ApiResult<(StatusCode, Json<ApprovedBody>)> {
    let Approved { plan, run, .. } = approve_plan(&client, &trail, &id).await?;
    Ok((StatusCode::ACCEPTED, Json(ApprovedBody { plan, run })))
}

/// Discard a plan: it cannot be approved any more.
#[utoipa::path(post, path = "/plans/{id}/discard", tag = "plans",
    params(("id" = String, Path, description = "the plan's id")),
    responses((status = 200, body = PlanView), (status = 404, body = ErrorBody),
        (status = 409, description = "somebody has decided before", body = ErrorBody)))]
pub(super) async fn discard(
    client: Client,
    Extension(trail): Extension<Trail>,
    Id(id): Id,
) -> ApiResult<Json<PlanView>> {
    Ok(Json(discard_plan(&client, &trail, &id).await?))
}

/// The same for the console.
pub(super) async fn approve_plan(client: &Client, trail: &Trail, id: &str) -> ApiResult<Approved> {
    check_may_decide(client, trail, id).await?;
    Ok(client.handle.approve_plan(id, &client.grant().name).await?)
}

/// The same for the console.
pub(super) async fn discard_plan(client: &Client, trail: &Trail, id: &str) -> ApiResult<PlanView> {
    check_may_decide(client, trail, id).await?;
    Ok(client.handle.discard_plan(id, &client.grant().name).await?)
}

/// True if the caller may approve or discard this plan.
pub(super) fn may_decide(client: &Client, plan: &PlanView) -> bool {
    let scope = |concerns| if concerns { ApiScope::Admin } else { ApiScope::Sync };
    plan.summary.as_ref().is_some_and(|summary| client.has(scope(summary.concerns_guards())))
}

async fn check_may_decide(client: &Client, trail: &Trail, id: &str) -> ApiResult<()> {
    client.require(ApiScope::Sync)?;
    let plan = client.handle.app().stored_plan(id).await?;
    trail.about(std::slice::from_ref(&plan.project));
    if plan.summary.is_none() {
        return Err(ApiError::forbidden("the token may see only some repositories of the plan"));
    }
    if may_decide(client, &plan) { Ok(()) } else { Err(ApiError::missing_scope(ApiScope::Admin)) }
}
