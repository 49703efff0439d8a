//! A fake of Azure OpenAI and of servers that speak OpenAI's protocol: a real server on a loopback
//! port that checks credentials and limits, counts every text it embeds, and fails as it is told.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::openapi::Spec;

/// What the server is like. The default is Azure's and OpenAI's own behaviour, with short vectors.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Taken as `api-key`, or as bearer. None: everybody is served.
    pub(crate) key: Option<String>,
    /// The one deployment (Azure) or model.
    pub(crate) model: String,
    /// Components of a vector, where the request does not shorten it.
    pub(crate) dimensions: usize,
    /// False: asking for `dimensions` is refused, as ada-002 does.
    pub(crate) shortens: bool,
    pub(crate) max_inputs: usize,
    pub(crate) max_input_tokens: usize,
    pub(crate) max_tokens: usize,
    /// Calls answered at once; more get 429.
    pub(crate) at_once: usize,
    /// Time an answer takes.
    pub(crate) latency: Duration,
    /// A text with this in it is refused with its batch.
    pub(crate) refuses: Option<String>,
    pub(crate) encoding: Encoding,
    /// Answers come in another order than asked.
    pub(crate) shuffled: bool,
    /// Errors as `{"message", "type"}`, and 413 for too many inputs (text-embeddings-inference).
    pub(crate) flat_errors: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            key: Some("key-for-tests".into()),
            model: "text-embedding-3-small".into(),
            dimensions: 64,
            shortens: true,
            max_inputs: 2048,
            max_input_tokens: 8192,
            max_tokens: 300_000,
            at_once: usize::MAX,
            latency: Duration::ZERO,
            refuses: None,
            encoding: Encoding::AsAsked,
            shuffled: true,
            flat_errors: false,
        }
    }
}

/// What the server makes of `encoding_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    AsAsked,
    /// Always numbers.
    Ignored,
    /// 400.
    Refused,
}

/// What happens to the next request that is otherwise in order.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// An answer of this status, with headers and a body.
    Status(u16, Vec<(&'static str, String)>, String),
    /// The connection is closed instead of an answer.
    Reset,
    /// No answer ever.
    Hang,
    /// Half of the answer, and the connection closed.
    Truncated,
    /// A login page, with 200.
    Html,
    /// The texts are embedded and counted, but the answer never arrives.
    Lost,
    /// One vector too few.
    OneTooFew,
    /// All vectors under the same index.
    SameIndex,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Value,
    pub(crate) inputs: Vec<String>,
    pub(crate) status: u16,
}

#[derive(Default)]
struct Record {
    calls: Vec<Call>,
    faults: VecDeque<Fault>,
    embedded: HashMap<String, usize>,
    tokens: u64,
    at_once: usize,
    most_at_once: usize,
    violations: Vec<String>,
}

/// The running server; it ends when dropped, and then fails the test if a request or an answer was
/// not as the service's own specification says.
pub(crate) struct FakeOpenAi {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: AbortHandle,
}

struct Shared {
    options: Options,
    record: Mutex<Record>,
}

impl FakeOpenAi {
    pub(crate) async fn start(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared { options, record: Mutex::default() });
        let serving = Arc::clone(&shared);
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                connections.spawn(async move { shared.serve(stream).await });
            }
        });
        Self { address, shared, server: server.abort_handle() }
    }

    /// `http://127.0.0.1:PORT`, to be `endpoint` or `base_url`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next requests fail so, one after the other.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.record().faults.extend(faults);
    }

    /// Every request so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.record().calls.clone()
    }

    /// How often each text was embedded, and so paid for.
    pub(crate) fn embedded(&self) -> HashMap<String, usize> {
        self.shared.record().embedded.clone()
    }

    /// Tokens paid for.
    pub(crate) fn tokens(&self) -> u64 {
        self.shared.record().tokens
    }

    /// The most calls that were in flight together.
    pub(crate) fn most_at_once(&self) -> usize {
        self.shared.record().most_at_once
    }

    /// The vector of a text: a pure function, of unit length.
    pub(crate) fn vector(text: &str, dimensions: usize) -> Vec<f32> {
        let mut bytes = vec![0; dimensions * 2];
        let mut hasher = blake3::Hasher::new();
        hasher.update(text.as_bytes()).finalize_xof().fill(&mut bytes);
        let raw = bytes.chunks_exact(2).map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) + 0.5);
        let raw: Vec<f32> = raw.collect();
        let norm = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
        raw.iter().map(|x| x / norm).collect()
    }
}

impl Drop for FakeOpenAi {
    fn drop(&mut self) {
        self.server.abort();
        let violations = std::mem::take(&mut self.shared.record().violations);
        if !std::thread::panicking() {
            assert!(violations.is_empty(), "against the specification: {violations:#?}");
        }
    }
}

struct HttpRequest {
    method: String,
    target: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

/// What goes back.
enum Reply {
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: String },
    Half(String),
    Nothing,
    Never,
}

impl Reply {
    fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self::Answer { status, headers, body: body.to_string() }
    }
}

impl Shared {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one connection, request by request.
    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(request) = read_request(&mut stream).await {
            let reply = self.reply(&request).await;
            let sent = match reply {
                Reply::Nothing => return,
                Reply::Never => return std::future::pending().await,
                Reply::Half(body) => {
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                    let half = &body.as_bytes()[..body.len() / 2];
                    drop(stream.write_all(&[head.as_bytes(), half].concat()).await);
                    drop(stream.flush().await);
                    return;
                }
                Reply::Answer { status, headers, body } => {
                    let mut text = format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n", body.len());
                    for (name, value) in headers {
                        text.extend([name, ": ", &value, "\r\n"]);
                    }
                    text.push_str("\r\n");
                    text.push_str(&body);
                    stream.write_all(text.as_bytes()).await
                }
            };
            if sent.is_err() {
                return; // the client has gone
            }
        }
    }

    async fn reply(&self, request: &HttpRequest) -> Reply {
        let at_once = {
            let mut record = self.record();
            record.at_once += 1;
            record.most_at_once = record.most_at_once.max(record.at_once);
            record.at_once
        };
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let inputs: Vec<String> = match &body["input"] {
            Value::String(text) => vec![text.clone()],
            Value::Array(texts) => texts.iter().filter_map(|t| t.as_str().map(str::to_owned)).collect(),
            _ => Vec::new(),
        };
        let decided = self.decide(request, &body, &inputs, at_once);
        if !self.options.latency.is_zero() {
            tokio::time::sleep(self.options.latency).await;
        }
        let mut record = self.record();
        record.at_once -= 1;
        let status = match &decided {
            Reply::Answer { status, .. } => *status,
            _ => 0,
        };
        let target = request.target.clone();
        record.calls.push(Call { target, headers: request.headers.clone(), body, inputs, status });
        decided
    }

    fn decide(&self, request: &HttpRequest, body: &Value, inputs: &[String], at_once: usize) -> Reply {
        let options = &self.options;
        let (path, query) = match request.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (request.target.as_str(), None),
        };
        let Some(api) = Api::of(path, query) else {
            return self.error(404, Some("404"), "Resource not found");
        };
        if let Some(spec) = api.spec()
            && let Err(violation) = spec.check_request(&request.method, path, query, &request.body)
        {
            self.record().violations.push(violation);
        }
        if let Some(key) = &options.key {
            let header = |name: &str| request.headers.get(name).map(String::as_str);
            let bearer = format!("Bearer {key}");
            let as_key = api != Api::OpenAi && header("api-key") == Some(key);
            if !as_key && header("authorization") != Some(&bearer) {
                let echo = header("api-key").or(header("authorization")).unwrap_or_default();
                return self.error(
                    401,
                    Some("401"),
                    &format!("Access denied due to invalid subscription key {echo}."),
                );
            }
        }
        let asked = match api {
            Api::AzureDated => path.split('/').nth(3),
            _ => body["model"].as_str(),
        };
        if asked != Some(&options.model) {
            return match api {
                Api::OpenAi => self.error(404, Some("model_not_found"), "The model does not exist."),
                _ => self.error(
                    404,
                    Some("DeploymentNotFound"),
                    "The API deployment for this resource does not exist.",
                ),
            };
        }
        if at_once > options.at_once {
            let Reply::Answer { status, mut headers, body } =
                self.error(429, Some("429"), "Rate limit is exceeded.")
            else {
                return Reply::Nothing;
            };
            headers.push(("retry-after-ms", "20".into()));
            return Reply::Answer { status, headers, body };
        }
        let fault = self.record().faults.pop_front();
        match fault {
            Some(Fault::Status(status, headers, body)) => return Reply::Answer { status, headers, body },
            Some(Fault::Reset) => return Reply::Nothing,
            Some(Fault::Hang) => return Reply::Never,
            Some(Fault::Html) => {
                let headers = vec![("content-type", "text/html".to_owned())];
                return Reply::Answer {
                    status: 200,
                    headers,
                    body: "<html><body>Please log in</body></html>".into(),
                };
            }
            _ => {}
        }
        if let Some(refusal) = self.refusal(body, inputs) {
            return refusal;
        }
        let tokens: usize = inputs.iter().map(|text| tokens(text)).sum();
        let dimensions =
            body["dimensions"].as_u64().map_or(options.dimensions, |n| usize::try_from(n).expect("small"));
        let mut data: Vec<(usize, Vec<f32>)> =
            inputs.iter().map(|text| FakeOpenAi::vector(text, dimensions)).enumerate().collect();
        if options.shuffled {
            data.reverse();
        }
        match fault {
            Some(Fault::OneTooFew) => drop(data.pop()),
            Some(Fault::SameIndex) => data.iter_mut().for_each(|(index, _)| *index = 0),
            _ => {
                let mut record = self.record();
                record.tokens += tokens as u64;
                for text in inputs {
                    *record.embedded.entry(text.clone()).or_default() += 1;
                }
            }
        }
        let answer = |base64: bool| {
            let data: Vec<Value> = data
                .iter()
                .map(|(index, vector)| {
                    let embedding = if base64 {
                        let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                        json!(BASE64_STANDARD.encode(bytes))
                    } else {
                        json!(vector)
                    };
                    json!({ "object": "embedding", "index": index, "embedding": embedding })
                })
                .collect();
            let usage = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
            json!({ "object": "list", "model": options.model, "data": data, "usage": usage })
        };
        if let Some(spec) = api.spec() {
            // The specifications know numbers only.
            let plain = answer(false).to_string();
            let checked =
                spec.check_response(&request.method, path, 200, "application/json", plain.as_bytes());
            if let Err(violation) = checked {
                self.record().violations.push(violation);
            }
        }
        let base64 = options.encoding == Encoding::AsAsked && body["encoding_format"] == "base64";
        match fault {
            Some(Fault::Lost) => Reply::Nothing,
            Some(Fault::Truncated) => Reply::Half(answer(base64).to_string()),
            _ => Reply::json(200, &answer(base64)),
        }
    }

    /// The limits of the service, and what this one does not take.
    fn refusal(&self, body: &Value, inputs: &[String]) -> Option<Reply> {
        let options = &self.options;
        let counts: Vec<usize> = inputs.iter().map(|text| tokens(text)).collect();
        let longest = counts.iter().copied().max().unwrap_or(0);
        if inputs.is_empty() || inputs.iter().any(String::is_empty) {
            Some(self.error(400, None, "'$.input' is invalid."))
        } else if inputs.len() > options.max_inputs && options.flat_errors {
            let (n, most) = (inputs.len(), options.max_inputs);
            Some(self.error(413, None, &format!("batch size {n} > maximum allowed batch size {most}")))
        } else if inputs.len() > options.max_inputs {
            Some(self.error(400, None, "'$.input' is too long."))
        } else if longest > options.max_input_tokens {
            let most = options.max_input_tokens;
            let text = format!(
                "This model's maximum context length is {most} tokens, however you requested {longest} tokens."
            );
            Some(self.error(400, None, &text))
        } else if counts.iter().sum::<usize>() > options.max_tokens {
            Some(self.error(400, None, "Requested too many tokens in all."))
        } else if options.encoding == Encoding::Refused && !body["encoding_format"].is_null() {
            Some(self.error(400, None, "Unrecognized request argument supplied: encoding_format"))
        } else if !options.shortens && !body["dimensions"].is_null() {
            Some(self.error(400, None, "This model does not support specifying 'dimensions'."))
        } else if let Some(word) = &options.refuses
            && inputs.iter().any(|text| text.contains(word.as_str()))
        {
            Some(self.error(400, Some("content_filter"), "The response was filtered."))
        } else {
            None
        }
    }

    fn error(&self, status: u16, code: Option<&str>, message: &str) -> Reply {
        if self.options.flat_errors {
            return Reply::json(status, &json!({ "message": message, "type": "Validation" }));
        }
        let mut error = json!({ "message": message });
        if let Some(code) = code {
            error["code"] = json!(code);
        }
        Reply::json(status, &json!({ "error": error }))
    }
}

/// Which service is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    AzureDated,
    AzureV1,
    OpenAi,
}

impl Api {
    fn of(path: &str, query: Option<&str>) -> Option<Self> {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match segments[..] {
            ["openai", "deployments", _, "embeddings"]
                if query.is_some_and(|q| q.contains("api-version=")) =>
            {
                Some(Self::AzureDated)
            }
            ["openai", "v1", "embeddings"] => Some(Self::AzureV1),
            ["v1", "embeddings"] => Some(Self::OpenAi),
            _ => None,
        }
    }

    fn spec(self) -> Option<&'static Spec> {
        Spec::load(match self {
            Self::AzureDated => "azure-openai-embeddings-2024-10-21.openapi.json",
            Self::AzureV1 => "azure-openai-embeddings-v1.openapi.json",
            Self::OpenAi => "openai-embeddings.openapi.json",
        })
    }
}

fn tokens(text: &str) -> usize {
    bpe_openai::cl100k_base().count(text)
}

/// The next request of a connection; none when it ends.
async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<HttpRequest> {
    let mut line = String::new();
    if stream.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(HttpRequest { method, target, headers, body })
}
