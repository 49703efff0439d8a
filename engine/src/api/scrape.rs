//! `GET /metrics`: the series as text, as far as the caller may see them.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::App;
use super::client::Client;
use super::error::{ApiError, ApiResult};

/// All series, in the text form of OpenMetrics.
#[utoipa::path(get, path = "/metrics", tag = "daemon",
    responses((status = 200, content_type = "application/openmetrics-text", body = String)))]
pub(super) async fn metrics(State(app): State<App>, client: Client) -> ApiResult<impl IntoResponse> {
    // A ledger that cannot be read leaves the gauges as they were.
    let status = app.handle.status().await.ok();
    look_at_queue(&app).await;
    app.metrics.look(&app.handle.view(), status.as_ref());
    let mut text = encoded(&app.metrics.registry)?;
    if !client.sees_everything() {
        text = narrowed(&text, |project| client.handle.has_project(project));
    }
    Ok(answer(text))
}

/// The series that name neither a project nor a stage.
pub(super) async fn aggregate(State(app): State<App>) -> ApiResult<impl IntoResponse> {
    app.metrics.look(&app.handle.view(), None);
    look_at_queue(&app).await;
    encoded(&app.metrics.aggregate).map(answer)
}

/// Sets the series of the queue to the current state.
async fn look_at_queue(app: &App) {
    if let Ok(Some((counts, workers))) = app.handle.app().queue_counts().await {
        app.metrics.queue.look(counts, workers);
    }
}

/// The series of projects that may be seen. Those without a project count the work of all of them.
fn narrowed(text: &str, sees: impl Fn(&str) -> bool) -> String {
    let project = |line: &str| {
        let labels = line.split_once('{')?.1;
        let value = labels.split(',').find_map(|label| label.strip_prefix("project=\""))?;
        Some(value.split('"').next().unwrap_or_default().to_owned())
    };
    let lines =
        text.lines().filter(|line| line.starts_with('#') || project(line).is_some_and(|name| sees(&name)));
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn encoded(registry: &Registry) -> ApiResult<String> {
    let mut text = String::new();
    encode(&mut text, registry).map_err(|error| {
        ApiError::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())
    })?;
    Ok(text)
}

fn answer(text: String) -> impl IntoResponse {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], text)
}
