//! Extractors for bodies and queries that report errors in the API's error format.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::App;
use super::audit::{Subject, Trail};
use super::budget::Held;
use super::error::ApiError;

/// Bytes of a body.
const BODY: usize = 2 << 20;

/// A JSON body. The content type is not asked for where the body is JSON all the same.
pub(super) struct Body<T>(pub(super) T);

/// A JSON body that may be left out.
pub(super) struct OptionalBody<T>(pub(super) T);

/// The query's parameters.
pub(super) struct Params<T>(pub(super) T);

/// The id in the path.
pub(super) struct Id(pub(super) String);

impl<T: DeserializeOwned + Subject> FromRequest<App> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (bytes, trail) = read(request, app).await?;
        parse(&bytes, trail).map(Self)
    }
}

impl<T: DeserializeOwned + Default + Subject> FromRequest<App> for OptionalBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (bytes, trail) = read(request, app).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            Ok(Self(T::default()))
        } else {
            parse(&bytes, trail).map(Self)
        }
    }
}

async fn read(mut request: Request, app: &App) -> Result<(Held, Option<Trail>), ApiError> {
    let trail = request.extensions_mut().remove();
    let body = app.bodies.read(request.into_body(), BODY, |_| ()).await;
    body.map(|body| (body, trail)).map_err(|unread| ApiError::unread(&unread, BODY))
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|Query(params)| Self(params))
            .map_err(|rejection: QueryRejection| ApiError::bad_request(rejection.body_text()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id)).map_err(|_| ApiError::not_found("there is nothing of this id"))
    }
}

fn parse<T: DeserializeOwned + Subject>(bytes: &[u8], trail: Option<Trail>) -> Result<T, ApiError> {
    let Json(value) = Json::<T>::from_bytes(bytes)
        .map_err(|rejection: JsonRejection| ApiError::bad_request(rejection.body_text()))?;
    if let (Some(trail), Some(project)) = (trail, value.project()) {
        trail.about(&[project.to_owned()]);
    }
    Ok(value)
}
