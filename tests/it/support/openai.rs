//! A fake of Azure OpenAI and of compatible servers: a real server on a loopback port that checks
//! credentials and limits, counts every text it embeds, and can fail in chosen ways.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::http::{Exchange, Fault, Request, Response, Server};
use super::openapi::Spec;

/// Properties of the server. The default is the behaviour of Azure and OpenAI, with short vectors.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a difference between servers")]
pub(crate) struct Options {
    /// The key, as `api-key` or bearer token. `None`: no authentication.
    pub(crate) key: Option<String>,
    /// The only deployment (Azure) or model.
    pub(crate) model: String,
    /// Components of a vector, if the request does not shorten it.
    pub(crate) dimensions: usize,
    /// `false`: requests with `dimensions` are refused, as ada-002 does.
    pub(crate) shortens: bool,
    pub(crate) max_inputs: usize,
    pub(crate) max_input_tokens: usize,
    pub(crate) max_tokens: usize,
    /// Maximum number of concurrent calls; further ones get 429.
    pub(crate) at_once: usize,
    /// Latency of an answer.
    pub(crate) latency: Duration,
    /// A text that contains this is refused together with its batch.
    pub(crate) refuses: Option<String>,
    pub(crate) encoding: Encoding,
    /// The vectors of an answer are not in the order of the inputs.
    pub(crate) shuffled: bool,
    /// Errors as `{"message", "type"}`, and 413 for too many inputs (text-embeddings-inference).
    pub(crate) flat_errors: bool,
    /// Takes `input_type`, which OpenAI's own specification does not have.
    pub(crate) input_type: bool,
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
            input_type: false,
        }
    }
}

/// How the server handles `encoding_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    AsAsked,
    /// Always answers with numbers.
    Ignored,
    /// Answers 400.
    Refused,
}

/// What is wrong with the next answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// One vector too few.
    OneTooFew,
    /// All vectors have the same index.
    SameIndex,
}

#[derive(Default)]
struct Record {
    flaw: Option<Flaw>,
    embedded: HashMap<String, usize>,
    tokens: u64,
    at_once: usize,
    most_at_once: usize,
    problems: Vec<String>,
}

/// The running server; it stops when dropped, and then fails the test if a request or an answer
/// violated the service's own specification.
pub(crate) struct FakeOpenAi {
    pub(crate) server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    record: Mutex<Record>,
}

impl FakeOpenAi {
    pub(crate) fn start(options: Options) -> Self {
        let shared = Arc::new(Shared { options, record: Mutex::default() });
        let serving = Arc::clone(&shared);
        Self { server: Server::start(move |request| serving.answer(request)), shared }
    }

    /// `http://127.0.0.1:PORT`, for `endpoint` or `base_url`.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Makes the next calls fail, one fault per call.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        faults.into_iter().for_each(|fault| self.server.fail("/embeddings", fault));
    }

    /// Makes the next answer wrong.
    pub(crate) fn flaw(&self, flaw: Flaw) {
        self.shared.record().flaw = Some(flaw);
    }

    /// Every call until now.
    pub(crate) fn calls(&self) -> Vec<Exchange> {
        self.server.requests()
    }

    /// How often each text was embedded, and so paid for.
    pub(crate) fn embedded(&self) -> HashMap<String, usize> {
        self.shared.record().embedded.clone()
    }

    /// Tokens paid for.
    pub(crate) fn tokens(&self) -> u64 {
        self.shared.record().tokens
    }

    /// The highest number of concurrent calls.
    pub(crate) fn most_at_once(&self) -> usize {
        self.shared.record().most_at_once
    }

    /// Violations of the specification since the last call.
    pub(crate) fn take_problems(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.record().problems)
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
        let problems = self.take_problems();
        if !std::thread::panicking() {
            assert!(problems.is_empty(), "against the specification: {problems:#?}");
        }
    }
}

/// The texts of a request.
pub(crate) fn inputs(request: &Request) -> Vec<String> {
    match &request.json()["input"] {
        Value::String(text) => vec![text.clone()],
        Value::Array(texts) => texts.iter().filter_map(|t| t.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

impl Shared {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request) -> Response {
        let at_once = {
            let mut record = self.record();
            record.at_once += 1;
            record.most_at_once = record.most_at_once.max(record.at_once);
            record.at_once
        };
        let answer = self.decide(request, at_once);
        if !self.options.latency.is_zero() {
            std::thread::sleep(self.options.latency);
        }
        self.record().at_once -= 1;
        answer
    }

    fn decide(&self, request: &Request, at_once: usize) -> Response {
        let Some(api) = Api::of(&request.path, request.query.as_deref()) else {
            return self.error(404, Some("404"), "Resource not found");
        };
        let body = request.json();
        let mut standard = body.clone();
        if let Some(body) = standard.as_object_mut().filter(|_| self.options.input_type) {
            body.remove("input_type");
        }
        let standard = standard.to_string();
        self.check(api.spec().map(|spec| {
            spec.check_request(&request.method, &request.path, request.query.as_deref(), standard.as_bytes())
        }));
        let answer = self.refusal(api, request, &body, at_once).unwrap_or_else(|| {
            let (plain, answer) = self.embed(&body, &inputs(request));
            // The specifications know numbers only.
            self.check_answer(api, request, &plain);
            answer
        });
        if answer.status != 200 {
            self.check_answer(api, request, &answer);
        }
        answer
    }

    fn check(&self, checked: Option<Result<(), String>>) {
        self.record().problems.extend(checked.and_then(Result::err));
    }

    fn check_answer(&self, api: Api, request: &Request, answer: &Response) {
        // Compatible servers have other error bodies.
        if !self.options.flat_errors {
            self.check(api.spec().map(|spec| {
                let (method, path) = (&request.method, &request.path);
                spec.check_response(method, path, answer.status, answer.content_type(), &answer.body)
            }));
        }
    }

    /// The answer with numbers, for the check, and in the requested encoding.
    fn embed(&self, body: &Value, inputs: &[String]) -> (Response, Response) {
        let options = &self.options;
        let tokens: usize = inputs.iter().map(|text| tokens(text)).sum();
        let dimensions =
            body["dimensions"].as_u64().map_or(options.dimensions, |n| usize::try_from(n).expect("small"));
        let mut data: Vec<(usize, Vec<f32>)> =
            inputs.iter().map(|text| FakeOpenAi::vector(text, dimensions)).enumerate().collect();
        if options.shuffled {
            data.reverse();
        }
        let flaw = self.record().flaw.take();
        match flaw {
            Some(Flaw::OneTooFew) => drop(data.pop()),
            Some(Flaw::SameIndex) => data.iter_mut().for_each(|(index, _)| *index = 0),
            None => {
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
            Response::json(
                200,
                &json!({ "object": "list", "model": options.model, "data": data, "usage": usage }),
            )
        };
        let base64 = options.encoding == Encoding::AsAsked && body["encoding_format"] == "base64";
        (answer(false), answer(base64))
    }

    /// The error of an unauthorized request or a wrong path.
    fn refusal(&self, api: Api, request: &Request, body: &Value, at_once: usize) -> Option<Response> {
        let options = &self.options;
        if let Some(key) = &options.key {
            let bearer = format!("Bearer {key}");
            let as_key = api != Api::OpenAi && request.header("api-key") == Some(key);
            if !as_key && request.header("authorization") != Some(&bearer) {
                let echo = request.header("api-key").or(request.header("authorization")).unwrap_or_default();
                let message = format!("Access denied due to invalid subscription key {echo}.");
                return Some(self.error(401, Some("401"), &message));
            }
        }
        let asked = match api {
            Api::AzureDated => request.path.split('/').nth(3),
            _ => body["model"].as_str(),
        };
        if asked != Some(&options.model) {
            return Some(match api {
                Api::OpenAi => self.error(404, Some("model_not_found"), "The model does not exist."),
                _ => self.error(
                    404,
                    Some("DeploymentNotFound"),
                    "The API deployment for this resource does not exist.",
                ),
            });
        }
        if at_once > options.at_once {
            let answer = self.error(429, Some("429"), "Rate limit is exceeded.");
            return Some(answer.with("retry-after-ms", "20"));
        }
        self.over_limits(body, &inputs(request))
    }

    /// The error of a request beyond the service's limits or with unsupported parameters.
    fn over_limits(&self, body: &Value, inputs: &[String]) -> Option<Response> {
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

    fn error(&self, status: u16, code: Option<&str>, message: &str) -> Response {
        if self.options.flat_errors {
            return Response::json(status, &json!({ "message": message, "type": "Validation" }));
        }
        let mut error = json!({ "message": message });
        if let Some(code) = code {
            error["code"] = json!(code);
        }
        Response::json(status, &json!({ "error": error }))
    }
}

/// The service a request addresses.
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
