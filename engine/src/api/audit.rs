//! Audit entries of requests: who wrote through the API or caused cost, which webhook deliveries were accepted, and
//! whose token was refused. One middleware makes them; authorization and bodies tell it what they learn.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use chrono::Utc;

use super::App;
use super::serve::Caller;
use crate::daemon;

/// Routes that read although they take no GET.
const READING: [&str; 3] = ["/mcp", "/process", "/query"];
/// The status of a request whose client left before the answer: what it asked for may have been done.
const CLIENT_LEFT: u16 = 499;
/// Maximum number of characters of what is as the client sent it: the path, and the project's name.
const LONGEST: usize = 100;

/// What is kept of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AuditEntry {
    /// The name of a token of `[api.tokens]`, `api` (the token of `[api] token`), `local` (the daemon's own
    /// token), `webhook` (the signature of a delivery), or `unknown` (a token that was refused).
    pub(super) who: String,
    /// The peer's address: the reverse proxy's, if there is one.
    pub(super) address: IpAddr,
    pub(super) method: Method,
    /// The path, without the query.
    pub(super) route: String,
    /// The project that the request names, or those that a delivery concerns; empty: it names none.
    pub(super) projects: Vec<String>,
    /// The status of the answer, or [`CLIENT_LEFT`].
    pub(super) status: u16,
}

impl AuditEntry {
    fn log(&self) {
        let Self { who, address, method, route, projects, status } = self;
        // Text is recorded as it is: the log's formats escape it.
        let project = (!projects.is_empty()).then(|| projects.join(", "));
        let (route, project) = (route.as_str(), project.as_deref());
        let who = who.as_str();
        tracing::info!(target: "audit", who, %address, %method, route, project, status, "audit");
    }
}

impl From<AuditEntry> for daemon::AuditEntry {
    fn from(entry: AuditEntry) -> Self {
        Self {
            at: Utc::now(),
            who: entry.who,
            what: format!("{} {}", entry.method, entry.route),
            projects: entry.projects,
            outcome: entry.status.to_string(),
            address: Some(entry.address.to_string()),
        }
    }
}

/// What is learned of a request while it is answered: an extension of every request.
#[derive(Debug, Clone, Default)]
pub(super) struct Trail(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    standing: OnceLock<Standing>,
    projects: OnceLock<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// By whose token or signature.
    Accepted(String),
    Refused,
}

/// A body that may name the project that it is about.
pub(super) trait Subject {
    /// The name; `None`: the body names none.
    fn project(&self) -> Option<&str>;
}

impl Trail {
    /// The request is authorized.
    pub(super) fn accepted(&self, who: &str) {
        self.0.standing.get_or_init(|| Standing::Accepted(who.to_owned()));
    }

    /// Marks the request as one whose token was refused, so that an entry is written.
    pub(super) fn refused(&self) {
        self.0.standing.get_or_init(|| Standing::Refused);
    }

    /// It is about these projects.
    pub(super) fn about(&self, projects: &[String]) {
        self.0.projects.get_or_init(|| projects.iter().map(|name| cut(name)).collect());
    }
}

/// What is done with an entry.
type Keep = Box<dyn FnOnce(AuditEntry) + Send>;

/// A request that is being answered. Its entry is made when this is dropped, so that one whose client
/// leaves has its entry, too.
struct Answering {
    trail: Trail,
    address: IpAddr,
    method: Method,
    route: String,
    status: u16,
    /// What is done with the entry.
    keep: Option<Keep>,
}

impl Answering {
    /// `None`: nothing is kept of it.
    fn entry(&self) -> Option<AuditEntry> {
        let route = self.route.strip_prefix("/v1").unwrap_or(&self.route);
        let reads = matches!(self.method, Method::GET | Method::HEAD) || READING.contains(&route);
        let who = match self.trail.0.standing.get()? {
            Standing::Accepted(_) if reads => return None,
            Standing::Accepted(who) => who.clone(),
            Standing::Refused => "unknown".to_owned(),
        };
        Some(AuditEntry {
            who,
            address: self.address,
            method: self.method.clone(),
            route: self.route.clone(),
            projects: self.trail.0.projects.get().cloned().unwrap_or_default(),
            status: self.status,
        })
    }

    async fn until(mut self, answered: impl Future<Output = Response>) -> Response {
        let response = answered.await;
        self.status = response.status().as_u16();
        response
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let (Some(entry), Some(keep)) = (self.entry(), self.keep.take()) {
            keep(entry);
        }
    }
}

/// Makes the entry of a request, where one is kept.
pub(super) async fn record(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    mut request: Request,
    next: Next,
) -> Response {
    let trail = Trail::default();
    request.extensions_mut().insert(trail.clone());
    let (method, route) = (request.method().clone(), cut(request.uri().path()));
    let keep: Keep = Box::new(move |entry| {
        entry.log();
        app.handle.record_audit(entry.into());
    });
    let (address, keep) = (caller.address(), Some(keep));
    let answering = Answering { trail, address, method, route, status: CLIENT_LEFT, keep };
    answering.until(next.run(request)).await
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::net::Ipv4Addr;

    use super::*;

    thread_local! {
        static KEPT: RefCell<Vec<u16>> = const { RefCell::new(Vec::new()) };
    }

    fn keep(AuditEntry { status, .. }: AuditEntry) {
        KEPT.with_borrow_mut(|kept| kept.push(status));
    }

    fn answering(method: Method, route: &str, known: impl FnOnce(&Trail)) -> Answering {
        let trail = Trail::default();
        known(&trail);
        let address = Ipv4Addr::new(192, 0, 2, 1).into();
        let keep: Keep = Box::new(keep);
        Answering { trail, address, method, route: route.to_owned(), status: CLIENT_LEFT, keep: Some(keep) }
    }

    fn who(method: Method, route: &str, known: impl FnOnce(&Trail)) -> Option<String> {
        answering(method, route, known).entry().map(|entry| entry.who)
    }

    #[test]
    fn an_entry_is_kept_of_writes_and_of_refused_tokens() {
        let accepted = |trail: &Trail| trail.accepted("api");
        let (post, get) = (Method::POST, Method::GET);
        let [api, unknown] = ["api", "unknown"].map(|who| Some(who.to_owned()));
        assert_eq!(who(post.clone(), "/sync", accepted), api);
        assert_eq!(who(Method::DELETE, "/delete", accepted), api);
        // A route that comes later is one that writes, until it is listed as one that reads.
        assert_eq!(who(post.clone(), "/new", accepted), api);
        for reading in READING {
            assert_eq!(who(post.clone(), reading, accepted), None, "{reading}");
            assert_eq!(who(post.clone(), &format!("/v1{reading}"), accepted), None, "{reading}");
        }
        assert_eq!(who(get.clone(), "/plan", accepted), None);
        assert_eq!(who(Method::HEAD, "/plan", accepted), None);
        assert_eq!(who(get, "/plan", Trail::refused), unknown);
        assert_eq!(who(post.clone(), "/query", Trail::refused), unknown);
        assert_eq!(who(post, "/sync", |_| ()), None, "a request without a token");
    }

    #[tokio::test]
    async fn a_client_that_leaves_has_its_entry() {
        let asked = || answering(Method::POST, "/upsert", |trail| trail.accepted("api"));
        let answered = asked().until(async { Response::new(axum::body::Body::empty()) });
        assert_eq!(answered.await.status(), 200);
        let mut waits = Box::pin(asked().until(std::future::pending()));
        assert!(futures::poll!(&mut waits).is_pending());
        drop(waits);
        assert_eq!(KEPT.take(), [200, 499]);
    }

    #[test]
    fn the_name_of_a_project_has_a_bound() {
        let long = answering(Method::POST, "/sync", |trail| {
            trail.accepted("local");
            trail.about(&["ä".repeat(1 << 20)]);
        });
        let projects = long.entry().map(|entry| entry.projects);
        assert_eq!(projects, Some(vec!["ä".repeat(LONGEST)]));
    }
}
