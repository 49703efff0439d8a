//! Exports spans to an OpenTelemetry collector (OTLP over HTTP with Protobuf) if the standard
//! variables name one. An unreachable collector is reported once and does not delay runs.

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

/// Variables that contain keys for the collector.
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
/// Variables that contain the collector's address.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// Time-out of the last export on exit.
const LAST_EXPORT: Duration = Duration::from_secs(5);
/// Time-out of a request to the collector.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of bytes read of the collector's response, which contains the number of rejected
/// spans and a reason.
const MAX_RESPONSE: usize = 64 << 10;

/// Exports spans. Sends the remaining ones on drop.
#[derive(Debug)]
pub(super) struct Export(SdkTracerProvider);

impl Export {
    /// Configured by the environment; `None` if it names no collector or disables the export.
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

    /// The layer that passes spans to the exporter.
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
        // The sender reports errors.
        drop(self.0.shutdown_with_timeout(LAST_EXPORT));
    }
}

/// The values of a list such as `api-key=abc,tenant=x`.
fn values(list: &str) -> Vec<String> {
    list.split(',').filter_map(|pair| Some(pair.split_once('=')?.1.trim().to_owned())).collect()
}

/// Names the variable that is invalid. The exporter's own message contains its value, which may
/// include a secret.
fn unusable(error: &ExporterBuildError) -> StageError {
    let text = error.to_string();
    let word = |word: &&str| word.starts_with("OTEL_");
    let name = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').find(word);
    let message = format!("cannot export spans: `{}` is invalid", name.unwrap_or("OTEL_…"));
    StageError::misconfigured("telemetry", message)
        .hint("set it to a URL such as `http://localhost:4318`, or unset it; its value is not shown, since it may hold a secret")
}

/// Sends with the HTTP client that all services use. The exporter calls from its own thread, which
/// outlives the program's runtime, so the sender has its own runtime, created on that thread: a
/// runtime cannot be dropped inside of another.
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
        *request.timeout_mut() = Some(TIMEOUT);
        let answer = self.client.execute(request).await.map_err(reqwest::Error::without_url)?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(answer.headers());
        }
        let body = read_body(answer, MAX_RESPONSE).await.map_err(reqwest::Error::without_url)?;
        Ok(response.body(body.ok_or("the response is too large")?)?)
    }

    /// Logs the first failure after a success, not each one.
    fn tell(&self, sent: &Result<Response<Bytes>, HttpError>) {
        let why = match sent {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(response.status().to_string()),
            Err(error) => Some(error.to_string()),
        };
        let was_failing = self.failing.swap(why.is_some(), Ordering::Relaxed);
        if let Some(why) = why.filter(|_| !was_failing) {
            tracing::warn!(error = why, "cannot export spans; continuing without the collector");
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
