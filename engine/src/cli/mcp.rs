//! `reposync mcp`

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use clap::Args;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::app::{App, AppResult};
use crate::config::{self, Config, Need, Role};
use crate::mcp::{Apps, serve_stdio};
use crate::model::{EventSink, StageResult};

use super::context::Context;
use super::error::CommandResult;
use super::exit::Exit;

/// Arguments of `mcp`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct McpArgs {}

const EXAMPLES: &str = "\
Agents start it and speak the Model Context Protocol on its standard input and output. A daemon serves the same tools at
`/mcp`.

Examples:
  claude mcp add reposync -- reposync mcp --config /path/to/reposync.toml
";

/// Runs the command.
pub(super) async fn run(context: &Context, _args: &McpArgs) -> CommandResult {
    let need = Need::enabled().only(&[Role::Embedder, Role::Store]);
    let config = context.load_to_read(&need)?;
    if std::io::stdin().is_terminal() {
        context.out.message(
            "This speaks the Model Context Protocol on standard input and output; an agent should start it. \
             Ctrl-D ends it.\n",
        );
    }
    let file = File { path: context.config_path()?, need: context.need(&need), current: Mutex::default() };
    file.begin(config).await?;
    serve_stdio(Arc::new(file)).await?;
    Ok(Exit::Done)
}

/// The file on disk. It is read again when it changes, since a session may last for days.
struct File {
    path: PathBuf,
    need: Need,
    current: Mutex<Option<Current>>,
}

struct Current {
    seen: Seen,
    app: App,
}

/// What tells that the file, or the state, is another one.
#[derive(PartialEq, Eq)]
struct Seen {
    file: Option<(SystemTime, u64)>,
    state: bool,
}

impl File {
    async fn begin(&self, config: Config) -> StageResult<()> {
        let current = self.open(config).await?;
        *self.current.lock().await = Some(current);
        Ok(())
    }

    async fn open(&self, config: Config) -> StageResult<Current> {
        let seen = self.seen(&config);
        let app = App::for_reading(config, EventSink::none(), CancellationToken::new()).await?;
        Ok(Current { seen, app })
    }

    fn seen(&self, config: &Config) -> Seen {
        let file = std::fs::metadata(&self.path).and_then(|data| Ok((data.modified()?, data.len()))).ok();
        Seen { file, state: config.engine.state.local().exists() }
    }
}

#[async_trait]
impl Apps for File {
    async fn app(&self) -> AppResult<App> {
        let mut current = self.current.lock().await;
        if let Some(current) = &*current
            && self.seen(current.app.config()) == current.seen
        {
            return Ok(current.app.clone());
        }
        match config::load(&self.path, &self.need) {
            Ok(config) => {
                let next = self.open(config).await?;
                Ok(current.insert(next).app.clone())
            }
            Err(problems) => {
                let message = format!("reposync.toml is invalid now: {}", problems.one_line());
                tracing::warn!("{message}");
                Err(crate::app::AppError::Invalid(message))
            }
        }
    }
}
