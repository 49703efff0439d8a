//! `reposync query`

use clap::{Args, ValueEnum};

use crate::app::{self, AppError};
use crate::config::{Need, Role, StatePlace};
use crate::factory;
use crate::model::{ErrorKind, StageResult};
use crate::search::{Answer, Mode, Request, Selection};

use super::context::Context;
use super::error::{CommandError, CommandResult};
use super::exit::Exit;
use super::output::escape;
use super::projects::Projects;
use super::render;
use super::serving::Basis;

/// Arguments of `query`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(after_help = EXAMPLES)]
pub(super) struct QueryArgs {
    /// The words to search for; filters such as `lang:rust` may stand among them
    #[arg(value_name = "WORDS", required_unless_present = "symbol")]
    text: Vec<String>,
    /// Another query, answered after the first; can be repeated
    #[arg(long, value_name = "TEXT")]
    also: Vec<String>,
    #[command(flatten)]
    projects: Projects,
    /// Only this repository, or those that a glob matches; `!NAME` leaves it out. All filters can be repeated
    #[arg(long = "repo", value_name = "REPOSITORY", help_heading = "Filters")]
    repositories: Vec<String>,
    /// Only files that this glob matches, or this file or folder; `!GLOB` leaves them out
    #[arg(long = "path", value_name = "GLOB", help_heading = "Filters")]
    paths: Vec<String>,
    /// Only this language, such as `rust` or `markdown`; `!LANGUAGE` leaves it out
    #[arg(long = "lang", value_name = "LANGUAGE", help_heading = "Filters")]
    languages: Vec<String>,
    /// Only chunks of this kind, such as `function` or `section`; `!KIND` leaves them out
    #[arg(long = "kind", value_name = "KIND", help_heading = "Filters")]
    kinds: Vec<String>,
    /// Rank by words and vectors, by words, or by vectors
    #[arg(long, value_enum, default_value_t = ModeArg::Hybrid)]
    mode: ModeArg,
    /// Definitions of this symbol first
    #[arg(long, value_name = "NAME")]
    symbol: Option<String>,
    /// Maximum number of matches
    #[arg(short = 'k', long, value_name = "N", default_value_t = 5, value_parser = super::values::positive)]
    top_k: usize,
    /// Leave out the best N matches
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: usize,
    /// Maximum number of matches of one file; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 2)]
    per_file: usize,
    /// Also give N chunks before and after each match
    #[arg(long, value_name = "N", default_value_t = 0)]
    context: usize,
    /// Give the whole symbol that a match is part of
    #[arg(long)]
    expand: bool,
    /// Print the terms of each score
    #[arg(long)]
    explain: bool,
    /// Print only the paths of files
    #[arg(long, conflicts_with_all = ["json", "format"])]
    files: bool,
    /// How matches are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print the matches as JSON, with all their metadata
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeArg {
    Hybrid,
    Keyword,
    Semantic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// With all metadata
    Json,
    /// `path:line:column:text` for each line that matches
    Vimgrep,
}

const EXAMPLES: &str = "\
Filters in the text: repo:NAME path:GLOB lang:LANGUAGE kind:KIND sym:NAME; `!path:GLOB` leaves out.

Examples:
  reposync query how is a deletion guarded
  reposync query \"retry policy\" --project handbook --top-k 10 --json
  reposync query parse a header lang:rust !path:tests/
  reposync query --symbol Guard::check --expand

Exit codes: 0 also without a match; 3 where nothing is indexed yet.
";

/// Runs the command.
pub(super) async fn run(context: &Context, args: QueryArgs) -> CommandResult {
    let requests = requests(&args)?;
    let names = &args.projects.projects;
    let basis = context.load_or_serving(&Need::selected(names).only(&[Role::Embedder, Role::Store]))?;
    let (answers, state, projects) = match basis {
        Basis::File(config) => {
            let projects = factory::chosen(&config, names).map(|project| project.name.clone()).collect();
            (app::query(&config, names, &requests).await.map_err(refused)?, config.engine.state, projects)
        }
        Basis::Daemon(serving) => {
            let projects: Vec<String> = serving.chosen(names);
            (serving.query(names, &requests).await?, serving.state, projects)
        }
    };
    print(context, &args, &requests, &answers)?;
    if answers.iter().all(|answer| answer.matches.is_empty()) && nothing_indexed(&state, &projects).await? {
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

/// The error of a search. Text or filters that cannot be searched for are invalid arguments.
fn refused(error: AppError) -> CommandError {
    match error {
        AppError::Stage(error) if error.kind == ErrorKind::BadInput => {
            let refused = CommandError::invalid(error.message);
            match error.hint {
                Some(hint) => refused.hint(hint),
                None => refused,
            }
        }
        error => error.into(),
    }
}

/// True if the ledger records no vectors of these projects.
async fn nothing_indexed(state: &StatePlace, projects: &[String]) -> StageResult<bool> {
    let recorded = factory::open_for_reading(state).await?.projects().await?;
    Ok(recorded.iter().all(|project| project.vectors == 0 || !projects.contains(&project.name)))
}

fn print(
    context: &Context,
    args: &QueryArgs,
    requests: &[Request],
    answers: &[Answer],
) -> anyhow::Result<()> {
    let style = &context.out.style;
    if args.json || args.format == Format::Json {
        return match answers {
            [answer] => context.out.json(answer),
            answers => context.out.json(&serde_json::json!({ "answers": answers })),
        };
    }
    for (request, answer) in requests.iter().zip(answers) {
        let text = if args.files {
            render::query::files(answer)
        } else if args.format == Format::Vimgrep {
            render::query::vimgrep(answer)
        } else {
            let text = render::query::render(answer, style);
            if answers.len() > 1 { format!("{}\n\n{text}", style.strong(&request.text)) } else { text }
        };
        context.out.data(&text)?;
        let label = context.out.error_style.advice("note:");
        let notes = answer.notes.iter().map(|note| format!("{label} {}\n", escape(note)));
        context.out.message(&notes.collect::<String>());
        let lag = answer.repositories.iter().filter_map(|one| Some((one, one.lag()?)));
        let lag = lag.map(|(one, lag)| {
            format!("{} {}: {lag}\n", context.out.error_style.advice("note:"), escape(&one.repository))
        });
        context.out.message(&lag.collect::<String>());
    }
    Ok(())
}

/// The searches that the arguments ask for.
fn requests(args: &QueryArgs) -> Result<Vec<Request>, CommandError> {
    let mut selection = Selection::default();
    for (facet, values) in [
        (&mut selection.repositories, &args.repositories),
        (&mut selection.paths, &args.paths),
        (&mut selection.languages, &args.languages),
        (&mut selection.kinds, &args.kinds),
    ] {
        for value in values {
            if value.trim_start_matches('!').is_empty() {
                return Err(CommandError::invalid("a filter is empty").hint("write it like `--lang rust`"));
            }
            facet.add(value);
        }
    }
    let first = args.text.join(" ");
    if args.symbol.is_none()
        && (first.trim().is_empty() || args.also.iter().any(|text| text.trim().is_empty()))
    {
        return Err(CommandError::invalid("the query is empty").hint("describe what to look for"));
    }
    let mode = match args.mode {
        ModeArg::Hybrid => Mode::Hybrid,
        ModeArg::Keyword => Mode::Keyword,
        ModeArg::Semantic => Mode::Semantic,
    };
    let request = |text: String| Request {
        top_k: args.top_k,
        offset: args.offset,
        per_file: args.per_file,
        mode,
        symbol: args.symbol.clone(),
        context: args.context,
        expand: args.expand,
        selection: selection.clone(),
        explain: args.explain,
        ..Request::new(text)
    };
    Ok([first].into_iter().chain(args.also.iter().cloned()).map(request).collect())
}
