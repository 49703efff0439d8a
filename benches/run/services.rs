//! Minimal fakes of GitHub, an embedding service and Pinecone: they answer at once or after a set time,
//! count requests, and use so little time that the program dominates the measurement. The tests, not
//! the benchmarks, check that requests are valid.

#[path = "tls.rs"]
pub(crate) mod tls;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use self::tls::TlsListener;
use super::repository::Commit;

/// Components of a vector, unless a benchmark asks for others.
pub(crate) const DIMENSIONS: usize = 1536;
/// Number of different vectors that the embedding service returns in turn.
const VECTORS: usize = 64;

/// The services, all on one port.
pub(crate) struct Services {
    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT`
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    url: String,
    /// Latency of an embedding call.
    latency: Duration,
    /// Components of a vector.
    dimensions: usize,
    commit: Mutex<Arc<Commit>>,
    pushes: AtomicU64,
    /// Repositories of the organization `acme`, all with this commit.
    repositories: u64,
    vectors: Vec<String>,
    requests: Requests,
    texts: AtomicU64,
    /// Their bytes as JSON.
    bytes: AtomicU64,
    /// Embedding calls in flight, and their maximum.
    under_way: AtomicU64,
    at_once: AtomicU64,
}

#[derive(Default)]
struct Requests {
    github: AtomicU64,
    embed: AtomicU64,
    store: AtomicU64,
}

/// The requests since the last call of `take_asked`.
pub(crate) struct Asked {
    pub(crate) github: u64,
    pub(crate) embed: u64,
    pub(crate) store: u64,
    /// Texts that were embedded.
    pub(crate) texts: u64,
    /// The maximum number of concurrent embedding calls.
    pub(crate) at_once: u64,
}

/// The body of an embedding request.
#[derive(Deserialize)]
struct Texts<'a> {
    #[serde(borrow)]
    input: Vec<&'a RawValue>,
}

impl Services {
    /// Starts the services; they end with the runtime.
    pub(crate) async fn start(commit: Commit, latency: Duration, tls: bool, dimensions: usize) -> Self {
        Self::with(commit, 1, latency, tls, dimensions).await
    }

    /// The same with an organization of `repositories` repositories, all with this commit.
    pub(crate) async fn organization(commit: Commit, repositories: u64) -> Self {
        Self::with(commit, repositories, Duration::ZERO, false, DIMENSIONS).await
    }

    async fn with(
        commit: Commit,
        repositories: u64,
        latency: Duration,
        tls: bool,
        dimensions: usize,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let url =
            if tls { format!("https://localhost:{}", address.port()) } else { format!("http://{address}") };
        let shared = Arc::new(Shared {
            url: url.clone(),
            latency,
            dimensions,
            commit: Mutex::new(Arc::new(commit)),
            pushes: AtomicU64::new(0),
            repositories,
            vectors: (0..VECTORS).map(|n| encoded(&vector(n, dimensions))).collect(),
            requests: Requests::default(),
            texts: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            at_once: AtomicU64::new(0),
        });
        let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move {
            if tls {
                axum::serve(TlsListener::new(listener), app).await
            } else {
                axum::serve(listener, app).await
            }
            .expect("a server");
        });
        Self { url, shared }
    }

    /// Moves the repository's branch.
    pub(crate) fn push(&self, commit: Commit) {
        *self.shared.commit() = Arc::new(commit);
        self.shared.pushes.fetch_add(1, Relaxed);
    }

    /// The requests since the last call.
    pub(crate) fn take_asked(&self) -> Asked {
        let Requests { github, embed, store } = &self.shared.requests;
        Asked {
            github: github.swap(0, Relaxed),
            embed: embed.swap(0, Relaxed),
            store: store.swap(0, Relaxed),
            texts: self.shared.texts.swap(0, Relaxed),
            at_once: self.shared.at_once.swap(0, Relaxed),
        }
    }
}

/// Stages of a configuration: chunks, the embedding service with calls of `batch` texts, and Pinecone.
pub(crate) fn stages(url: &str, batch: u64, dimensions: usize) -> String {
    format!(
        r#"[stages.prose]
kind = "sentence"
max_chunk_size = 1000
chunk_overlap = 200

[stages.model]
kind = "openai"
base_url = "{url}/v1"
model = "text-embedding-3-small"
dimensions = {dimensions}
batch_size = {batch}

[stages.pinecone]
kind = "pinecone"
index = "docs"
api_key = "none-is-asked-for"
api_url = "{url}/pinecone""#
    )
}

/// A vector of the embedding service.
pub(crate) fn vector(n: usize, dimensions: usize) -> Vec<f32> {
    let mut bytes = vec![0; dimensions * 2];
    blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut bytes);
    let (numbers, _) = bytes.as_chunks::<2>();
    numbers.iter().map(|&pair| (f32::from(i16::from_le_bytes(pair)) + 0.5) / 741_455.0).collect()
}

/// A vector in its wire format.
pub(crate) fn encoded(vector: &[f32]) -> String {
    BASE64_STANDARD.encode(vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let Requests { github, embed, store } = &shared.requests;
    match segments[..] {
        ["github", "orgs", "acme", "repos"] => {
            github.fetch_add(1, Relaxed);
            shared.listing(&request)
        }
        ["github", "repos", "acme", _, ref rest @ ..] => {
            github.fetch_add(1, Relaxed);
            shared.github(&request, rest)
        }
        ["archive"] => {
            github.fetch_add(1, Relaxed);
            shared.commit().archive.clone().into_response()
        }
        ["v1", "embeddings"] => {
            embed.fetch_add(1, Relaxed);
            shared.embed(request.into_body()).await
        }
        ["pinecone", ref rest @ ..] => {
            store.fetch_add(1, Relaxed);
            shared.store(rest, request.into_body()).await
        }
        ["counts"] => {
            let counts = [embed, &shared.texts, &shared.bytes, store].map(|count| count.swap(0, Relaxed));
            let [calls, texts, bytes, store] = counts;
            let counts = json!({ "calls": calls, "texts": texts, "bytes": bytes, "store": store });
            as_json(counts.to_string().into())
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

impl Shared {
    fn commit(&self) -> MutexGuard<'_, Arc<Commit>> {
        self.commit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page of the organization's repositories. None is ever pushed to.
    fn listing(&self, request: &Request) -> Response {
        const PAGE: u64 = 100;
        let query = request.uri().query().unwrap_or_default();
        let page = query.split('&').find_map(|field| field.strip_prefix("page=")?.parse::<u64>().ok());
        let page = page.unwrap_or(1);
        let etag = format!("\"page {page}\"");
        let link = (page * PAGE < self.repositories).then(|| {
            let first = query.split("&page=").next().unwrap_or_default();
            format!("<{}/github/orgs/acme/repos?{first}&page={}>; rel=\"next\"", self.url, page + 1)
        });
        let repositories: Vec<_> = ((page - 1) * PAGE..(page * PAGE).min(self.repositories))
            .map(|n| {
                json!({
                    "id": n + 1, "full_name": format!("acme/docs-{n:04}"), "default_branch": "main",
                    "pushed_at": "2026-01-02T03:04:05Z",
                })
            })
            .collect();
        let mut response = if request.headers().get(header::IF_NONE_MATCH).is_some_and(|sent| *sent == *etag)
        {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            as_json(json!(repositories).to_string().into())
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, etag.parse().expect("a value"));
        if let Some(link) = link {
            headers.insert(header::LINK, link.parse().expect("a value"));
        }
        response
    }

    fn github(&self, request: &Request, rest: &[&str]) -> Response {
        let commit = Arc::clone(&self.commit());
        let pushes = self.pushes.load(Relaxed);
        let conditional = |etag: String, body: Bytes, kind: &'static str| {
            if request.headers().get(header::IF_NONE_MATCH).is_some_and(|sent| *sent == *etag) {
                return StatusCode::NOT_MODIFIED.into_response();
            }
            ([(header::ETAG, etag), (header::CONTENT_TYPE, kind.to_owned())], body).into_response()
        };
        match rest {
            [] => {
                let repository = json!({
                    "id": 1, "full_name": "acme/docs", "default_branch": "main",
                    "pushed_at": format!("2026-01-02T03:{:02}:00Z", pushes % 60),
                });
                conditional(format!("\"{pushes}\""), repository.to_string().into(), "application/json")
            }
            ["commits", ..] => conditional(
                format!("\"{}\"", commit.sha),
                commit.sha.clone().into(),
                "application/vnd.github.sha",
            ),
            ["git", "trees", _] => as_json(commit.tree.clone()),
            ["git", "blobs", sha] => match commit.blobs.get(*sha) {
                Some(content) => content.clone().into_response(),
                None => StatusCode::NOT_FOUND.into_response(),
            },
            ["tarball", _] => {
                (StatusCode::FOUND, [(header::LOCATION, format!("{}/archive", self.url))]).into_response()
            }
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }

    async fn embed(&self, body: Body) -> Response {
        let body = to_bytes(body, usize::MAX).await.expect("a whole request");
        let texts = serde_json::from_slice::<Texts<'_>>(&body).expect("an embedding request").input;
        let bytes: usize = texts.iter().map(|text| text.get().len()).sum();
        let texts = texts.len();
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.texts.fetch_add(texts as u64, Relaxed);
        let under_way = self.under_way.fetch_add(1, Relaxed) + 1;
        self.at_once.fetch_max(under_way, Relaxed);
        tokio::time::sleep(self.latency).await;
        self.under_way.fetch_sub(1, Relaxed);
        let mut answer = String::with_capacity(texts * self.dimensions * 6 + 1000);
        answer.push_str(r#"{"object":"list","data":["#);
        for n in 0..texts {
            let comma = if n == 0 { "" } else { "," };
            let vector = &self.vectors[n % VECTORS];
            answer.extend([comma, r#"{"object":"embedding","index":"#, &n.to_string(), r#","embedding":""#]);
            answer.extend([vector, r#""}"#]);
        }
        let tokens = texts * 200;
        answer.push_str(&format!(r#"],"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#));
        as_json(answer.into())
    }

    async fn store(&self, rest: &[&str], body: Body) -> Response {
        let body = to_bytes(body, usize::MAX).await.expect("a whole request");
        let answer = match rest {
            ["indexes", "docs"] => json!({
                "name": "docs", "dimension": self.dimensions, "metric": "cosine", "vector_type": "dense",
                "host": format!("{}/pinecone", self.url), "status": { "ready": true, "state": "Ready" },
            }),
            ["vectors", "list"] => json!({ "vectors": [] }),
            ["vectors", "upsert"] => {
                assert!(body.len() <= 2_000_000, "the service takes no {} bytes", body.len());
                json!({ "upsertedCount": 1 })
            }
            ["vectors", "delete"] => json!({}),
            ["describe_index_stats"] => json!({ "dimension": self.dimensions, "namespaces": {} }),
            _ => return StatusCode::NOT_FOUND.into_response(),
        };
        as_json(answer.to_string().into())
    }
}

fn as_json(body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
