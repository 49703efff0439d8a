//! An agent: a client of the Model Context Protocol, from its official SDK.

use rmcp::RoleClient;
use rmcp::ServiceExt as _;
use rmcp::model::{CallToolRequestParams, ReadResourceRequestParams, ResourceContents};
use rmcp::service::RunningService;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::Value;

use super::daemon::Daemon;
use super::world::World;

/// A connected client.
pub(crate) struct Agent {
    pub(crate) client: RunningService<RoleClient, ()>,
    child: Option<tokio::process::Child>,
}

impl Agent {
    /// Starts `reposync mcp` in a world and connects to its standard input and output.
    pub(crate) async fn stdio(world: &World) -> Self {
        let mut command = tokio::process::Command::from(world.command(&["mcp"]));
        let mut child =
            command.stdin(std::process::Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
        let pipes = (child.stdout.take().expect("piped"), child.stdin.take().expect("piped"));
        let client = ().serve(pipes).await.expect("a session");
        Self { client, child: Some(child) }
    }

    /// Connects to a daemon.
    pub(crate) async fn http(daemon: &Daemon) -> Self {
        reposync::net::install_tls_provider();
        let uri = format!("http://{}/mcp", daemon.address());
        let config = StreamableHttpClientTransportConfig::with_uri(uri)
            .auth_header(daemon.token.clone().expect("the daemon's own token"));
        let client = ().serve(StreamableHttpClientTransport::from_config(config)).await.expect("a session");
        Self { client, child: None }
    }

    /// The answer of a tool; `Err`: the tool says what is wrong.
    pub(crate) async fn call(&self, tool: &'static str, arguments: Value) -> Result<String, String> {
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        let result = self
            .client
            .call_tool(CallToolRequestParams::new(tool).with_arguments(arguments))
            .await
            .expect("the tool answers");
        let text = result.content[0].as_text().expect("a text").text.clone();
        if result.is_error == Some(true) { Err(text) } else { Ok(text) }
    }

    /// The text of a resource.
    pub(crate) async fn resource(&self, uri: &str) -> Result<String, String> {
        let read = self.client.read_resource(ReadResourceRequestParams::new(uri)).await;
        match read.map_err(|error| error.to_string())?.contents.into_iter().next() {
            Some(ResourceContents::TextResourceContents { text, .. }) => Ok(text),
            other => panic!("no text: {other:?}"),
        }
    }

    /// Ends the session; the exit code of `reposync mcp`, and what it wrote to standard error.
    pub(crate) async fn leave(self) -> Option<(Option<i32>, String)> {
        self.client.cancel().await.expect("it ends");
        let ended = self.child?.wait_with_output().await.expect("it ends");
        Some((ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned()))
    }
}
