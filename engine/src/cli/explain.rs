//! `reposync explain`

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::config::{Need, Role};
use crate::model::EventSink;

use super::context::Context;
use super::error::{CommandError, CommandResult};
use super::exit::Exit;
use super::projects::Projects;
use super::render;

/// Arguments of `explain`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ExplainArgs {
    /// Path of the file in its repository, or REPOSITORY:PATH as shown in reports
    #[arg(value_name = "PATH")]
    path: String,
    #[command(flatten)]
    projects: Projects,
    /// Print the explanation as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
It asks the file and the ledger, not the repository: what was pushed since the last run is not known.

Examples:
  reposync explain docs/install.md
  reposync explain acme/handbook:docs/install.md --project handbook --json
";

/// Runs the command.
pub(super) async fn run(context: &Context, args: ExplainArgs) -> CommandResult {
    if args.path.trim().is_empty() {
        return Err(CommandError::invalid("the path is empty").hint("such as `docs/install.md`"));
    }
    let projects = args.projects.projects;
    let need = Need::selected(&projects).only(&[Role::Chunker, Role::Embedder]);
    let config = context.load_to_read(&need)?;
    let app = App::for_reading(config, EventSink::none(), CancellationToken::new()).await?;
    let explanation = app.explain(&projects, args.path).await?;
    if args.json {
        context.out.json(&explanation)?;
    } else {
        context.out.data(&render::explain::render(&explanation, chrono::Utc::now(), &context.out.style))?;
    }
    Ok(Exit::Done)
}
