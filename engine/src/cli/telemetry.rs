//! Spans for a collector of OpenTelemetry, over OTLP as HTTP with Protobuf, where the standard
//! variables name one. A collector that is down is told of once; it holds nobody up.

mod masked;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, io};

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Runtime;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use crate::model::{StageError, register_secrets};
use crate::net::{http_client, read_body};

use masked::Masked;

/// They hold keys for the collector.
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
/// Either of them names the collector.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// What is not exported yet at the end has so long.
const LAST_EXPORT: Duration = Duration::from_secs(5);
/// A collector has so long to take a batch.
const TIME: Duration = Duration::from_secs(10);
/// What is read of its answer: how many spans it refused, and why.
const MOST_READ: usize = 64 << 10;

/// Exports spans until it is dropped, which sends what is left.
#[derive(Debug)]
pub(super) struct Export(SdkTracerProvider);

impl Export {
    /// As the environment says; none where it names no collector, or says that nothing is wanted.
    pub(super) fn from_environment() -> anyhow::Result<Option<Self>> {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let off = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || set("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        if off || !ENDPOINTS.into_iter().any(|name| set(name).is_some()) {
            return Ok(None);
        }
        let headers = HEADERS.into_iter().filter_map(set);
        register_secrets(headers.flat_map(|list| values(&list)).collect::<Vec<_>>());
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Sender::new()?)
            .build()
            .map_err(|error| unusable(&error))?;
        let mut resource = Resource::builder_empty()
            .with_service_name("reposync")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_detector(Box::new(EnvResourceDetector::new()));
        if let Some(name) = set("OTEL_SERVICE_NAME") {
            resource = resource.with_service_name(name);
        }
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_batch_exporter(Masked(exporter))
            .build();
        Ok(Some(Self(provider)))
    }

    /// What hands spans to the exporter.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("reposync"))
            .with_location(false)
            .with_threads(false)
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        // What fails is told of by the sender.
        drop(self.0.shutdown_with_timeout(LAST_EXPORT));
    }
}

/// The values of a list such as `api-key=abc,tenant=x`.
fn values(list: &str) -> Vec<String> {
    list.split(',').filter_map(|pair| Some(pair.split_once('=')?.1.trim().to_owned())).collect()
}

/// Names the variable at fault. The exporter's own message quotes its value, and an address or a
/// header may hold a secret.
fn unusable(error: &ExporterBuildError) -> StageError {
    let text = error.to_string();
    let word = |word: &&str| word.starts_with("OTEL_");
    let name = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').find(word);
    let message = format!("cannot export spans: `{}` is not as it must be", name.unwrap_or("OTEL_…"));
    StageError::misconfigured("telemetry", message)
        .hint("set it to such as `http://localhost:4318`, or leave it out; its value is not shown, since it may hold a secret")
}

/// Sends with the HTTP client of everything else. The exporter calls from a thread of its own that
/// outlives the program's runtime, so it brings one, which is made there: in the program's own it
/// could not be dropped.
#[derive(Debug)]
struct Sender {
    client: reqwest::Client,
    runtime: OnceLock<Runtime>,
    failing: AtomicBool,
}

impl Sender {
    fn new() -> anyhow::Result<Self> {
        let client = http_client("telemetry")?;
        Ok(Self { client, runtime: OnceLock::new(), failing: AtomicBool::new(false) })
    }

    fn runtime(&self) -> io::Result<&Runtime> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let made = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(self.runtime.get_or_init(|| made))
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut request = reqwest::Request::try_from(request)?;
        *request.timeout_mut() = Some(TIME);
        let answer = self.client.execute(request).await.map_err(reqwest::Error::without_url)?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(answer.headers());
        }
        let body = read_body(answer, MOST_READ).await.map_err(reqwest::Error::without_url)?;
        Ok(response.body(body.ok_or("an answer without end")?)?)
    }

    /// Says when it begins to fail, not each time.
    fn tell(&self, sent: &Result<Response<Bytes>, HttpError>) {
        let why = match sent {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(response.status().to_string()),
            Err(error) => Some(error.to_string()),
        };
        let was_failing = self.failing.swap(why.is_some(), Ordering::Relaxed);
        if let Some(why) = why.filter(|_| !was_failing) {
            tracing::warn!(error = why, "cannot export spans; going on without the collector");
        }
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.runtime()?.block_on(self.send(request));
        self.tell(&sent);
        sent
    }
}
