//! Forms: their fields, once it is certain that a page of the console sent them.

use std::collections::BTreeMap;

use axum::extract::{FromRequest, FromRequestParts as _, Request};
use axum::http::{HeaderMap, header};
use url::form_urlencoded;

use super::failure::Failure;
use super::visitor::Visitor;
use crate::api::App;
use crate::api::error::{ApiError, ApiResult};

/// Bytes of a form.
const FORM: usize = 64 << 10;

/// The fields of a form that a page of this session sent.
pub(super) struct Posted {
    pub(super) visitor: Visitor,
    fields: BTreeMap<String, String>,
}

impl Posted {
    /// True for a checked box, or a button that was pressed.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }
}

impl FromRequest<App> for Posted {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, app).await?;
        check_origin(&parts.headers, app.handle.view().api().public_url.as_deref())?;
        let fields = read(app, Request::from_parts(parts, body)).await?;
        if fields.get("csrf").map(String::as_str) != Some(&*visitor.csrf) {
            return Err(ApiError::forbidden("the form is not of this session; load the page again").into());
        }
        Ok(Self { visitor, fields })
    }
}

/// The fields of a form.
pub(super) async fn read(app: &App, request: Request) -> ApiResult<BTreeMap<String, String>> {
    let body = app.bodies.read(request.into_body(), FORM, |_| ()).await;
    let body = body.map_err(|unread| ApiError::unread(&unread, FORM))?;
    Ok(form_urlencoded::parse(&body).into_owned().collect())
}

/// Refuses what a page of another origin sent. Browsers send `Origin` with every form. `public_url`: the origin of the
/// console, as far as it is known; a reverse proxy may send another `Host`.
pub(super) fn check_origin(headers: &HeaderMap, public_url: Option<&str>) -> ApiResult<()> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(header::ORIGIN);
    let own = text(header::HOST);
    let host = origin.and_then(|origin| Some(origin.split_once("://")?.1));
    let is_own = host.is_some() && host == own;
    if is_own || (origin.is_some() && origin == public_url) {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "a page of another origin sent this form (`Origin`); behind a reverse proxy, set `[api] public_url`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_forms_of_the_own_origin_are_taken() {
        let check = |origin: Option<&str>, host: &str| {
            let mut headers = HeaderMap::from_iter([(header::HOST, host.parse().expect("a value"))]);
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().expect("a value"));
            }
            check_origin(&headers, Some("https://public.example")).is_ok()
        };
        assert!(check(Some("https://public.example"), "10.0.0.7:8080"));
        assert!(!check(Some("http://public.example"), "10.0.0.7:8080"));
        assert!(check(Some("http://localhost:8080"), "localhost:8080"));
        assert!(check(Some("https://sync.example"), "sync.example"));
        for (origin, host) in [
            (None, "localhost:8080"),
            (Some("null"), "localhost:8080"),
            (Some("http://localhost:8081"), "localhost:8080"),
            (Some("https://evil.example"), "sync.example"),
            (Some("https://sync.example.evil.example"), "sync.example"),
        ] {
            assert!(!check(origin, host), "{origin:?}");
        }
    }
}
