//! `GET /runs`: finished, running and queued runs.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use futures::stream::{self, Stream, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::audit::Trail;
use super::client::Client;
use super::error::{ApiError, ApiResult, ErrorBody};
use super::extract::{Id, Params};
use crate::daemon::{Feed, FeedItem, RunQuery, RunStatus, RunView};
use crate::model::Event as Happened;

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RunsParams {
    /// Maximum number of runs, 1 to 1000; default 50.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Runs older than the run with this id: `next` of the page before.
    before: Option<String>,
    /// Runs in which this project took part.
    project: Option<String>,
    /// Runs that this started: `start`, `schedule`, `push`, `api`, `edit`, `retry`, `plan`, `apply`.
    trigger: Option<String>,
    /// Runs that started at this moment or later (RFC 3339), and queued ones.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<DateTime<Utc>>,
    /// Runs of this status. A run whose process died is `interrupted`.
    #[param(inline)]
    status: Option<RunStatus>,
}

/// Runs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RunsBody {
    runs: Vec<RunView>,
    /// The value of `before` for the next page; null: there is none.
    next: Option<String>,
}

/// A page of runs, newest first, those under way and to come included.
#[utoipa::path(get, path = "/runs", tag = "runs", params(RunsParams),
    responses((status = 200, body = RunsBody), (status = 400, body = ErrorBody)))]
pub(super) async fn runs(client: Client, Params(params): Params<RunsParams>) -> ApiResult<Json<RunsBody>> {
    let limit = params.limit.unwrap_or(50);
    if !(1..=1000).contains(&limit) {
        return Err(ApiError::bad_request("`limit` is 1 to 1000"));
    }
    let RunsParams { before, project, trigger, since, status, .. } = params;
    let query = RunQuery { limit, before, project, trigger, since, status, active: Vec::new() };
    let page = client.handle.runs(query).await?;
    let page = page.ok_or_else(|| ApiError::bad_request("`before` is the id of no run"))?;
    Ok(Json(RunsBody { runs: page.runs, next: page.next }))
}

/// One run with its report.
#[utoipa::path(get, path = "/runs/{id}", tag = "runs", params(("id" = String, Path, description = "the run's id")),
    responses((status = 200, body = RunView), (status = 404, body = ErrorBody)))]
pub(super) async fn run(client: Client, Id(id): Id) -> ApiResult<Json<RunView>> {
    find(&client, &id).await.map(Json)
}

async fn find(client: &Client, id: &str) -> ApiResult<RunView> {
    let run = client.handle.run(id).await?;
    run.ok_or_else(|| ApiError::not_found("there is no such run"))
}

/// The data of a server-sent event of a run.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum EventData<'a> {
    /// What happened. The event has the name that its data has in `event`, and a number as id.
    #[schema(value_type = Happened)]
    Happened(&'a Happened),
    /// Of `end`, the last event: the run; null if it is not known any more.
    End(Option<Box<RunView>>),
    /// Of `missed`: how many events were left out, because they were read too slowly.
    Missed(u64),
}

/// What happens in a run, as server-sent events: those it had (the newest thousand), those it has,
/// and at the end `end` with the run itself. A reader that is too slow gets `missed` with a number.
#[utoipa::path(get, path = "/runs/{id}/events", tag = "runs",
    params(("id" = String, Path, description = "the run's id")),
    responses((status = 200, description = "the data of each event", content_type = "text/event-stream", body = EventData),
        (status = 404, body = ErrorBody)))]
pub(super) async fn events(
    client: Client,
    Id(id): Id,
) -> ApiResult<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    find(&client, &id).await?;
    let feeds = client.handle.events(&id).await?;
    let happened = stream::select_all(feeds.into_iter().map(|feed| told(feed).boxed()));
    let end = stream::once(async move {
        let run = find(&client, &id).await.ok();
        Event::default().event("end").data(json!(EventData::End(run.map(Box::new))).to_string())
    });
    let stopped = happened.chain(end).map(Ok);
    Ok(Sse::new(stopped).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

/// A run that was cancelled.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CancelBody {
    /// The run's id.
    run: String,
}

/// Cancel a run that is queued or running. It ends after the batch in hand; files that are done stay done.
#[utoipa::path(post, path = "/runs/{id}/cancel", tag = "runs",
    params(("id" = String, Path, description = "the run's id")),
    responses((status = 202, body = CancelBody), (status = 404, body = ErrorBody),
        (status = 409, description = "the run has ended", body = ErrorBody)))]
pub(super) async fn cancel(
    client: Client,
    Extension(trail): Extension<Trail>,
    Id(id): Id,
) -> ApiResult<(StatusCode, Json<CancelBody>)> {
    trail.about(find(&client, &id).await?.project.as_slice());
    if client.handle.cancel(&id).await? {
        return Ok((StatusCode::ACCEPTED, Json(CancelBody { run: id })));
    }
    Err(ApiError::new(StatusCode::CONFLICT, "ended", "the run has ended"))
}

fn told(feed: Feed) -> impl Stream<Item = Event> + Send {
    stream::unfold(feed, |mut feed| async move {
        let event = match feed.next().await? {
            FeedItem::Event(number, event) => {
                let event = json!(EventData::Happened(&event));
                let name = event.get("event").and_then(|name| name.as_str()).unwrap_or("event").to_owned();
                Event::default().id(number.to_string()).event(name).data(event.to_string())
            }
            FeedItem::Missed(n) => {
                Event::default().event("missed").data(json!(EventData::Missed(n)).to_string())
            }
        };
        Some((event, feed))
    })
}
