//! `reposync query`

use clap::Args;

use crate::config::{Need, Role};

use super::context::Context;
use super::engine::{self, QueryRequest};
use super::error::{CommandError, CommandResult};
use super::exit::Exit;
use super::{Projects, render};

/// Arguments of `query`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct QueryArgs {
    /// What to look for, in words
    #[arg(value_name = "TEXT")]
    text: String,
    #[command(flatten)]
    projects: Projects,
    /// How many matches
    #[arg(short = 'k', long, value_name = "N", default_value_t = 5, value_parser = super::positive)]
    top_k: usize,
    /// Print the matches as JSON, with all their metadata
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  reposync query \"how is a deletion guarded?\"
  reposync query \"retry policy\" --project handbook --top-k 10 --json
";

/// Runs the command.
pub(super) async fn run(context: &Context, args: QueryArgs) -> CommandResult {
    if args.text.trim().is_empty() {
        return Err(CommandError::invalid("the query is empty").hint("say in words what to look for"));
    }
    let config = context
        .load_to_read(&Need::selected(&args.projects.projects).only(&[Role::Embedder, Role::Store]))?;
    let request = QueryRequest { text: args.text, projects: args.projects.projects, top_k: args.top_k };
    let answer = engine::query(&config, request).await?;
    if args.json {
        context.out.json(&answer)?;
    } else {
        context.out.data(&render::query::render(&answer, &context.out.style))?;
    }
    Ok(Exit::Done)
}
