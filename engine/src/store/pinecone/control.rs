//! The index itself: found, or created where the configuration says so, and checked.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use super::settings::{Metric, PineconeSettings};
use crate::model::{StageError, StageResult};
use crate::net::{endpoint, host_of};

use super::body::Stats;
use super::call::{Caller, Reply};

/// How long an index may take to become ready. Serverless ones take seconds.
const READY_WITHIN: Duration = Duration::from_secs(300);
/// The first pause between two looks at an index that is not ready; doubled up to the longest.
const FIRST_LOOK: Duration = Duration::from_millis(250);
const LONGEST_LOOK: Duration = Duration::from_secs(5);

/// What is known of the index.
#[derive(Debug, Clone)]
pub(super) struct Index {
    /// The data plane's base.
    pub(super) url: Url,
    /// None: the service does not say while the index is empty.
    pub(super) dimension: Option<usize>,
    pub(super) metric: Option<Metric>,
}

/// The control plane's description.
#[derive(Debug, Deserialize)]
pub(super) struct Described {
    host: String,
    dimension: Option<usize>,
    metric: String,
    status: Status,
    vector_type: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Status {
    ready: bool,
    state: String,
}

/// Asks for the index; none where it does not exist.
pub(super) async fn find(caller: &Caller, settings: &PineconeSettings) -> StageResult<Option<Index>> {
    if let Some(host) = &settings.host {
        let url = endpoint(caller.stage(), host)?;
        return Ok(Some(by_statistics(caller, url).await?));
    }
    let deadline = Instant::now() + READY_WITHIN;
    let mut pause = FIRST_LOOK;
    loop {
        let Some(described) = describe(caller, settings).await? else {
            return Ok(None);
        };
        if described.status.ready {
            return checked(caller, settings, &described).map(Some);
        }
        let Status { state, .. } = described.status;
        if state == "InitializationFailed" || state == "Terminating" || Instant::now() >= deadline {
            return Err(StageError::misconfigured(
                caller.stage(),
                format!("the index `{}` is not ready: {state}", settings.index),
            )
            .hint("look at the index in the Pinecone console, then run again"));
        }
        caller.service.wait(pause, "the index is not ready yet").await?;
        pause = (pause * 2).min(LONGEST_LOOK);
    }
}

/// Creates the index and waits until it is ready. Somebody else may be quicker.
pub(super) async fn create(
    caller: &Caller,
    settings: &PineconeSettings,
    dimension: usize,
) -> StageResult<Index> {
    let Some(create) = &settings.create else {
        return Err(missing(caller, settings, Some(dimension)));
    };
    let body = json!({
        "name": settings.index,
        "dimension": dimension,
        "metric": create.metric,
        "spec": { "serverless": { "cloud": create.cloud, "region": create.region } },
    });
    let url = at(&endpoint(caller.stage(), &settings.api_url)?, &["indexes"]);
    let request = caller.post("create_index", 1, url, body.to_string());
    match caller.call::<Value>(&request).await {
        Ok(Reply::Done(_) | Reply::Exists) => {}
        Ok(Reply::Missing | Reply::TooLarge) => return Err(missing(caller, settings, Some(dimension))),
        // What is refused here is refused by the file's settings, not by a document.
        Err(error) if error.kind.is_item() => {
            return Err(
                StageError::misconfigured(caller.stage(), error.message).hint("check `index` and `create`")
            );
        }
        Err(error) => return Err(error),
    }
    find(caller, settings).await?.ok_or_else(|| missing(caller, settings, Some(dimension)))
}

/// The error for an index that is not there.
pub(super) fn missing(caller: &Caller, settings: &PineconeSettings, dimension: Option<usize>) -> StageError {
    let hint = match dimension {
        Some(dimension) => format!(
            "create a serverless index of dimension {dimension}, or let RepoSync do it: \
             create = {{ cloud = \"aws\", region = \"us-east-1\", metric = \"cosine\" }}"
        ),
        None => {
            "check `index`, `api_key` and `host`; `reposync apply` creates the index where `create` says how"
                .to_owned()
        }
    };
    StageError::misconfigured(caller.stage(), format!("there is no index `{}`", settings.index)).hint(hint)
}

async fn describe(caller: &Caller, settings: &PineconeSettings) -> StageResult<Option<Described>> {
    let url = at(&endpoint(caller.stage(), &settings.api_url)?, &["indexes", &settings.index]);
    let request = caller.get("describe_index", 1, url);
    match caller.call(&request).await? {
        Reply::Done(described) => Ok(Some(described)),
        Reply::Missing | Reply::TooLarge | Reply::Exists => Ok(None),
    }
}

fn checked(caller: &Caller, settings: &PineconeSettings, described: &Described) -> StageResult<Index> {
    let wrong = |message: String| {
        Err(StageError::misconfigured(caller.stage(), message)
            .hint("set another `index`, or create one that fits"))
    };
    let index = &settings.index;
    if described.vector_type.as_deref().is_some_and(|kind| kind != "dense") {
        return wrong(format!("the index `{index}` holds sparse vectors"));
    }
    let metric = metric(&described.metric);
    if let Some(create) = &settings.create
        && metric != Some(create.metric)
    {
        return wrong(format!(
            "the index `{index}` compares by `{}`, not as `create` says",
            described.metric
        ));
    }
    let url = endpoint(caller.stage(), &described.host)?;
    Ok(Index { url, dimension: described.dimension, metric })
}

/// With `host` the control plane is never asked: the data plane knows enough.
async fn by_statistics(caller: &Caller, url: Url) -> StageResult<Index> {
    let request = caller.post("describe_index_stats", 1, at(&url, &["describe_index_stats"]), "{}");
    let host = host_of(&url);
    match caller.call::<Stats>(&request).await? {
        Reply::Done(stats) => {
            if stats.vector_type.as_deref().is_some_and(|kind| kind != "dense") {
                return Err(StageError::misconfigured(
                    caller.stage(),
                    format!("the index at {host} holds sparse vectors"),
                )
                .hint("set another `host`"));
            }
            Ok(Index { url, dimension: stats.dimension, metric: stats.metric.as_deref().and_then(metric) })
        }
        Reply::Missing | Reply::TooLarge | Reply::Exists => {
            Err(StageError::misconfigured(caller.stage(), format!("there is no index at {host}"))
                .hint("check `host`, or leave it out: the control plane knows it"))
        }
    }
}

fn metric(name: &str) -> Option<Metric> {
    match name {
        "cosine" => Some(Metric::Cosine),
        "dotproduct" => Some(Metric::Dotproduct),
        "euclidean" => Some(Metric::Euclidean),
        _ => None,
    }
}

/// A path below a base, each segment encoded.
pub(super) fn at(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_appended_and_encoded() {
        let base = Url::parse("https://h:1/prefix/").expect("a URL");
        assert_eq!(at(&base, &["indexes", "a/b c"]).as_str(), "https://h:1/prefix/indexes/a%2Fb%20c");
        let root = Url::parse("https://h/").expect("a URL");
        assert_eq!(at(&root, &["query"]).as_str(), "https://h/query");
    }
}
