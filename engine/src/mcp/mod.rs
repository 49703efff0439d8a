//! The server of the Model Context Protocol: read-only tools by which agents search and read what is indexed.
//! It calls the use cases of `app`, like the command line and the API, and renders their results as text.

mod apps;
mod budget;
mod calls;
mod error;
mod fence;
mod files;
mod found;
mod projects;
mod resources;
mod server;
mod tools;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rmcp::service::ServerInitializeError;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_server::StreamableHttpServerConfig;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;

pub use apps::Apps;
use server::Server;

/// The service that answers HTTP requests.
pub type HttpService =
    rmcp::transport::streamable_http_server::StreamableHttpService<Server, NeverSessionManager>;

/// Longest message on standard input, in bytes.
const LONGEST_LINE: usize = 4 << 20;

/// Serves a client on standard input and output, until it closes them.
pub async fn serve_stdio(apps: Arc<dyn Apps>) -> anyhow::Result<()> {
    let (input, output) = rmcp::transport::stdio();
    let transport = AsyncRwTransport::new_server(input, output).with_max_line_length(LONGEST_LINE);
    let serving = match rmcp::serve_server(Server::new(apps), transport).await {
        Ok(serving) => serving,
        // The client left before it said anything.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(error).context("the client did not begin a session"),
    };
    serving.waiting().await.context("the session broke off")?;
    Ok(())
}

/// A service for HTTP requests. It keeps no sessions: each request is answered alone, so that a client
/// notices neither a restart nor a reload. `Host` and `Origin` are checked by the caller.
pub fn http_service(apps: Arc<dyn Apps>, longest_body: usize) -> HttpService {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_sse_keep_alive(Some(Duration::from_secs(15)))
        .with_max_request_body_bytes(longest_body)
        .disable_allowed_hosts();
    let server = Server::new(apps);
    HttpService::new(move || Ok(server.clone()), Arc::new(NeverSessionManager::default()), config)
}
