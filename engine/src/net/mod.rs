//! What HTTP stages share: clients, buffers, retries, limits. Knows no service.

mod buffers;
mod client;
mod limit;
mod patience;
mod proxy;
mod retry;

pub use buffers::Buffer;
pub use client::{
    HttpClient, describe_transport_error, endpoint, http_client, install_tls_provider, read_body,
};
pub use limit::{Budget, Limiter, Permit};
pub use patience::Patience;
pub use retry::{LONGEST_WAIT, RetryPolicy, retry, retry_after};
