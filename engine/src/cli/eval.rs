//! `reposync eval`

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use crate::app;
use crate::config::{self, Config, Need, StatePlace};
use crate::evaluate::{
    EvaluationReport, HistoryIndex, build_history_index, compare, evaluate, parse_questions,
};
use crate::factory::{self, StageFactory};
use crate::model::{BranchRef, EventSink, RepoRef};
use crate::source::Selection;
use crate::source::git::GitSource;
use crate::store::sqlite::SqliteStore;
use crate::sync::ProjectSearch;

use super::context::Context;
use super::error::{CommandError, CommandResult};
use super::exit::Exit;
use super::interrupt::Interrupt;
use super::projects::Projects;
use super::render;
use super::run_options::RunOptions;

/// Arguments of `eval`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct EvalArgs {
    /// Questions with their answers: TOML with `[[queries]]`, or a JSON object on each line [default: `golden` of the
    /// project]
    #[arg(value_name = "FILE", conflicts_with = "history")]
    file: Option<PathBuf>,
    /// Ask the subjects of the last N commits for the files that they changed, of a temporary index of the
    /// tree before them
    #[arg(long, value_name = "N", value_parser = super::values::positive)]
    history: Option<usize>,
    /// With `--history`: a local clone to take commits and files from, for a project with a remote source
    #[arg(long, value_name = "PATH", requires = "history")]
    repo: Option<PathBuf>,
    #[command(flatten)]
    projects: Projects,
    /// Exit with 3 if the mean reciprocal rank is lower [default: `min_mrr` of the project]
    #[arg(long, value_name = "MRR")]
    min_mrr: Option<f64>,
    /// Compare with an earlier report, written by `--json`
    #[arg(long, value_name = "RUN")]
    compare: Option<PathBuf>,
    /// Build the temporary index of `--history` also if its embeddings are paid for
    #[arg(long)]
    allow_cost: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
A question: [[queries]]
            query = \"how is a deletion guarded?\"
            paths = [\"src/guard.rs\"]     # or symbols = [\"Guard::check\"]

Examples:
  reposync eval queries.toml --min-mrr 0.5
  reposync eval --history 100 --project api --json > run.json
  reposync eval --history 100 --project api --compare run.json
  reposync eval --history 100 --project handbook --repo ../handbook   # of a remote source
";

/// Runs the command.
pub(super) async fn run(context: &Context, args: EvalArgs) -> CommandResult {
    let earlier = args.compare.as_ref().map(|path| read_report(path)).transpose()?;
    let names = &args.projects.projects;
    let config = context.load(&Need::selected(names))?;
    let only = match factory::chosen(&config, names).collect::<Vec<_>>().as_slice() {
        [project] => Some((project.golden.clone(), project.min_mrr)),
        _ => None,
    };
    let (golden, min_mrr) = only.unwrap_or_default();
    let file = args.file.clone().or_else(|| golden.filter(|_| args.history.is_none()));
    let report = match (&file, args.history) {
        (_, Some(most)) => by_history(context, &config, &args, most).await?,
        (Some(file), None) => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read `{}`", file.display()))
                .map_err(|error| CommandError::new(Exit::Invalid, error))?;
            let questions = parse_questions(&text).map_err(|why| {
                CommandError::invalid(format!("`{}`: {why}", file.display())).hint(
                    "write `[[queries]]` with `query` and `paths` or `symbols`; see `reposync eval --help`",
                )
            })?;
            let stages = StageFactory::new(tokio_util::sync::CancellationToken::new(), EventSink::none());
            let projects = app::searches(&stages, &config, names)?;
            evaluate(&projects, &questions).await.map_err(anyhow::Error::from)?
        }
        (None, None) => {
            return Err(CommandError::invalid("there are no questions")
                .hint("name a file with questions, set `golden` of the project, or use `--history 100`"));
        }
    };
    let comparison = earlier.map(|earlier| compare(&earlier, &report));
    if args.json {
        context.out.json(&report)?;
        if let Some(comparison) = &comparison {
            context.out.message(&render::eval::comparison(comparison));
        }
    } else {
        context.out.data(&render::eval::render(&report, comparison.as_ref(), &context.out.style))?;
    }
    match args.min_mrr.or(min_mrr) {
        Some(least) if report.figures.mrr < least => {
            context.out.message(&format!("MRR {:.3} is below {least}\n", report.figures.mrr));
            Ok(Exit::Partial)
        }
        _ => Ok(Exit::Done),
    }
}

fn read_report(path: &std::path::Path) -> Result<EvaluationReport, CommandError> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()));
    let text = text.map_err(|error| CommandError::new(Exit::Invalid, error))?;
    serde_json::from_str(&text).map_err(|error| {
        CommandError::invalid(format!("`{}` is no report of `reposync eval`: {error}", path.display()))
            .hint("write one with `reposync eval … --json > run.json`")
    })
}

/// The name of a clone, as its folder is called, and its path.
fn local_repository(path: &Path) -> Result<(String, String), CommandError> {
    let found = path.canonicalize().with_context(|| format!("there is no folder `{}`", path.display()));
    let found = found.map_err(|error| CommandError::new(Exit::Invalid, error))?;
    let name = found.file_name().and_then(|name| name.to_str()).map(|name| name.trim_end_matches(".git"));
    match (name, found.to_str()) {
        (Some(name), Some(key)) if !name.is_empty() => Ok((name.to_owned(), key.to_owned())),
        _ => Err(CommandError::invalid(format!("`{}` has no name that can be used", path.display()))
            .hint("name the folder of a clone, such as `--repo ../api`")),
    }
}

/// Builds the temporary index of one project and asks it.
async fn by_history(
    context: &Context,
    config: &Config,
    args: &EvalArgs,
    most: usize,
) -> Result<EvaluationReport, CommandError> {
    let chosen: Vec<&config::Project> = factory::chosen(config, &args.projects.projects).collect();
    let [project] = chosen.as_slice() else {
        return Err(
            CommandError::invalid("`--history` evaluates one project").hint("name it with `--project`")
        );
    };
    let interrupt = Interrupt::listen(&context.progress)?;
    let shown = context.progress.show(context.display(args.json));
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let stages = Arc::new(StageFactory::new(interrupt.token(), shown.sink()));
    let mut made = {
        let (factory, config, project) = (Arc::clone(&stages), config.clone(), (*project).clone());
        tokio::task::spawn_blocking(move || factory.project(&config, &project))
            .await
            .context("the project's stages could not be built")?
            .map_err(anyhow::Error::from)?
    };
    if let Some(path) = &args.repo {
        let (name, key) = local_repository(path)?;
        let source = GitSource::new(made.source.stage()).with_cancel(interrupt.token());
        made.source =
            Arc::new(source.with_limits(config.engine.limits.clone(), config.engine.max_file_bytes.0));
        made.selection = Selection::Named(vec![RepoRef { name, key }]);
        // A clone's branches need not have the names of the server's.
        made.branch = BranchRef::Default;
    }
    if made.embedder().price_per_million_tokens() > 0.0 && !args.allow_cost {
        return Err(CommandError::invalid(format!(
            "the temporary index needs embeddings of {}, which are paid for",
            made.embedder().label()
        ))
        .hint("add `--allow-cost`; vectors that are in the cache cost nothing"));
    }
    let place = StatePlace::File(folder.path().join("state.db"));
    let (state, lease) = factory::open_for_run(&place, false, config.workers).await?;
    let store = Arc::new(SqliteStore::open("index", folder.path().join("index.db")));
    let index = HistoryIndex {
        engine: Arc::new(stages.engine(config, state, shown.sink(), interrupt.token())),
        options: factory::options(
            config,
            RunOptions { projects: args.projects.clone(), allow_cost: true, ..RunOptions::default() }.flags(),
        ),
        lease,
        project: made,
        store,
    };
    let (past, project) = build_history_index(index, most).await.map_err(anyhow::Error::from)?;
    drop(shown);
    let searched = [ProjectSearch::from(&*project)];
    Ok(evaluate(&searched, &past.questions).await.map_err(anyhow::Error::from)?)
}
