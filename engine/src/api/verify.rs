//! `GET /verify`: ledger and stores compared.

use axum::Json;
use serde::Deserialize;
use utoipa::IntoParams;

use super::client::Client;
use super::error::{ApiResult, ErrorBody};
use super::extract::Params;
use crate::model::VerifyReport;

/// What to compare.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct VerifyParams {
    /// The project; left out: all enabled ones.
    project: Option<String>,
}

/// Compare what the ledger believes to be stored with what the stores hold; nothing is changed.
#[utoipa::path(get, path = "/verify", tag = "projects", params(VerifyParams),
    responses((status = 200, body = VerifyReport), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(super) async fn verify(
    client: Client,
    Params(params): Params<VerifyParams>,
) -> ApiResult<Json<VerifyReport>> {
    Ok(Json(client.handle.verify(params.project.as_deref()).await?))
}
