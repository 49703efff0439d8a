//! `reposync query`

use clap::Args;
use serde_json::{Map, Value, json};

use crate::config::{Need, Role};
use crate::factory;

use super::context::Context;
use super::engine::{self, QueryRequest};
use super::error::{CommandError, CommandResult};
use super::exit::Exit;
use super::projects::Projects;
use super::render;
use super::render::query::Answer;
use super::serving::Basis;

/// Arguments of `query`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct QueryArgs {
    /// The text to search for
    #[arg(value_name = "TEXT")]
    text: String,
    #[command(flatten)]
    projects: Projects,
    /// Only this repository; can be repeated, like the other filters
    #[arg(long = "repo", value_name = "REPOSITORY", help_heading = "Filters")]
    repositories: Vec<String>,
    /// Only the file with this path
    #[arg(long = "path", value_name = "PATH", help_heading = "Filters")]
    paths: Vec<String>,
    /// Only this language, such as `rust` or `markdown`
    #[arg(long = "lang", value_name = "LANGUAGE", help_heading = "Filters")]
    languages: Vec<String>,
    /// Only chunks of this kind, such as `function` or `section`
    #[arg(long = "kind", value_name = "KIND", help_heading = "Filters")]
    kinds: Vec<String>,
    /// Maximum number of matches
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
  reposync query \"parse a header\" --lang rust --lang go --kind function
";

/// Runs the command.
pub(super) async fn run(context: &Context, args: QueryArgs) -> CommandResult {
    if args.text.trim().is_empty() {
        return Err(CommandError::invalid("the query is empty").hint("describe what to look for"));
    }
    let basis = context
        .load_or_serving(&Need::selected(&args.projects.projects).only(&[Role::Embedder, Role::Store]))?;
    let filter = filter(&args);
    let request =
        QueryRequest { text: args.text, projects: args.projects.projects, top_k: args.top_k, filter };
    let (answer, state, projects) = match basis {
        Basis::File(config) => {
            let projects = factory::chosen(&config, &request.projects);
            let projects: Vec<String> = projects.map(|project| project.name.clone()).collect();
            (engine::query(&config, &request).await?, config.engine.state, projects)
        }
        Basis::Daemon(serving) => {
            let matches = serving.query(&request).await?;
            let projects = serving.chosen(&request.projects);
            (Answer { matches }, serving.state, projects)
        }
    };
    if args.json {
        context.out.json(&answer)?;
    } else {
        context.out.data(&render::query::render(&answer, &context.out.style))?;
    }
    if answer.matches.is_empty() && engine::nothing_indexed(&state, &projects)? {
        let style = &context.out.error_style;
        context.out.message(&format!(
            "{} nothing is indexed yet: `reposync plan` shows what would be done and what it costs, \
             `reposync apply` does it\n",
            style.advice("hint:")
        ));
        return Ok(Exit::Partial);
    }
    Ok(Exit::Done)
}

/// The filters in Pinecone's syntax: any of the values of each field, and all fields.
fn filter(args: &QueryArgs) -> Option<Value> {
    let fields = [
        ("repository", &args.repositories),
        ("file_path", &args.paths),
        ("language", &args.languages),
        ("kind", &args.kinds),
    ];
    let fields = fields.into_iter().filter(|(_, values)| !values.is_empty());
    let filter: Map<String, Value> =
        fields.map(|(field, values)| (field.to_owned(), json!({ "$in": values }))).collect();
    (!filter.is_empty()).then_some(Value::Object(filter))
}
