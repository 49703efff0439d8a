//! Calls to services over HTTP: the client, its limits, time-outs and retries. Knows no service.

mod body;
mod buffers;
mod call_error;
mod client;
mod header;
mod limit;
mod proxy;
mod request;
mod response;
mod retry;
mod service;
mod text;
mod timeouts;
mod tls;
mod transport;

pub use buffers::Buffer;
pub use call_error::{CallError, CallFailure};
pub use client::{HttpClient, endpoint, http_client, read_body};
pub use header::secret_header;
pub use limit::Limiter;
pub use request::{Deadline, Oversize, ServiceRequest, host_of};
pub use response::{ServiceResponse, StreamedResponse, is_html};
pub use retry::{RetryPolicy, retry_after};
pub use service::{Accepted, Classified, Service};
pub use text::one_line;
pub use timeouts::Timeouts;
pub(crate) use tls::client_config;
pub use tls::install_tls_provider;
pub use transport::{Transport, TransportBody, TransportError};
