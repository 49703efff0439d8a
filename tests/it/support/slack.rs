//! A fake of Slack's incoming webhooks: accepts messages within the documented limits.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::http::{Request, Response, Server};

/// The webhook's path, which is its secret.
pub(crate) const PATH: &str = "/services/TFAKE/BFAKE/secret-of-the-tests";

pub(crate) struct Slack {
    pub(crate) server: Server,
    messages: Arc<Mutex<Vec<Value>>>,
}

impl Slack {
    pub(crate) fn start() -> Self {
        let messages = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&messages);
        let server = Server::start(move |request| {
            refusal(request).unwrap_or_else(|| {
                taken.lock().unwrap_or_else(PoisonError::into_inner).push(request.json());
                Response::text(200, "ok")
            })
        });
        Self { server, messages }
    }

    /// The webhook's URL.
    pub(crate) fn url(&self) -> String {
        format!("{}{PATH}", self.server.url())
    }

    /// The accepted messages.
    pub(crate) fn messages(&self) -> Vec<Value> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The error answer of Slack to an invalid request, `None` if it is valid. A body that is not a Slack
/// message (the report of a `webhook` notifier) only has to be an object.
fn refusal(request: &Request) -> Option<Response> {
    let json_body = request.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    let message = request.json();
    if request.path != PATH {
        return Some(Response::text(404, "no_service"));
    }
    if request.method != "POST" || !json_body || !message.is_object() {
        return Some(Response::text(400, "invalid_payload"));
    }
    let attachments = message["attachments"].as_array()?;
    if attachments.len() > 100 {
        return Some(Response::text(400, "too_many_attachments"));
    }
    let known = ["good", "warning", "danger"];
    let valid = attachments.iter().all(|attachment| {
        let text = attachment["text"].as_str().unwrap_or_default();
        let fields = attachment["fields"].as_array().map_or(&[] as &[Value], Vec::as_slice);
        let color = attachment["color"]
            .as_str()
            .is_some_and(|color| known.contains(&color) || color.starts_with('#'));
        color
            && attachment["fallback"].is_string()
            && text.chars().count() <= 40_000
            && !text.contains("<!")
            && fields.iter().all(|field| field["title"].is_string() && field["value"].is_string())
    });
    (!valid).then(|| Response::text(400, "invalid_attachments"))
}
