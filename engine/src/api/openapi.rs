//! `GET /openapi.json`: the API's document, made of the code.

use axum::Json;
use utoipa::openapi::path::PathItem;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::{
    audit_log, health, operations, plans, projects, query, queue, runs, scrape, sync, usage, webhook,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "RepoSync", description = "Keeps vector indexes equal to Git repositories."),
    paths(
        health::health, scrape::metrics, openapi, sync::sync, sync::reload, runs::runs, runs::run, runs::events, runs::cancel,
        projects::projects, projects::files, projects::plan, plans::plans, plans::make, plans::plan, plans::approve,
        plans::discard, usage::usage, super::verify::verify,
        operations::repositories, operations::changes, operations::content, operations::process,
        operations::embeddings, operations::upsert, operations::delete, query::query, operations::describe,
        audit_log::audit, queue::queue, queue::retry, queue::drop_unit, webhook::deliver,
    ),
    servers((url = "/"), (url = "/v1", description = "the same routes, except for `/health`, `/metrics`, `/openapi.json` \
        and `/webhooks/…`, which have no version")),
    security(("bearer" = [])),
    modifiers(&Bearer, &Errors),
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let scheme = scheme.description(Some(
            "`[api] token`, or one of `[api.tokens]` with the scope of the route; where no `[api] token` is set, the \
             daemon's own in the file `….token` next to the ledger",
        ));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme.build()));
    }
}

/// Whatever is not named at a route (no token, no such project, a disabled one, a body that is too
/// large, a service that does not answer, …) is reported in one form.
struct Errors;

impl Modify for Errors {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
        let error = ResponseBuilder::new().description("any other error").content("application/json", body);
        let error = error.build();
        for PathItem { get, post, delete, .. } in document.paths.paths.values_mut() {
            for operation in [get, post, delete].into_iter().flatten() {
                operation.responses.responses.insert("default".to_owned(), error.clone().into());
            }
        }
    }
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "daemon", responses((status = 200, body = Object)))]
pub(super) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}

/// The document.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}
