//! `reposync status`

use std::time::Duration;

use clap::Args;

use crate::app::{self, Waits};
use crate::config::{Config, Need, StatePlace};
use crate::daemon::DaemonRecord;
use crate::factory;
use crate::model::{DeclaredProject, ProjectState, ProjectStatus, StageResult, StatusView};

use super::context::Context;
use super::error::CommandResult;
use super::exit::Exit;
use super::render;
use super::serving::Basis;

/// Arguments of `status`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StatusArgs {
    /// Exit with 0 if every enabled project is current, 3 if one is behind or partial, 1 if the
    /// last run of one failed
    #[arg(long)]
    check: bool,
    /// Print the status again whenever it changes, until Ctrl-C
    #[arg(long, conflicts_with_all = ["check", "json"])]
    watch: bool,
    /// Print the status as JSON
    #[arg(long)]
    json: bool,
}

/// Time between two looks at the status.
const LOOK: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Examples:
  reposync status
  reposync status --watch
  reposync status --check -q || echo \"not current\"
";

/// Runs the command.
pub(super) async fn run(context: &Context, args: &StatusArgs) -> CommandResult {
    let (state, projects, config) = match context.load_or_serving(&Need::enabled().only(&[]))? {
        Basis::File(config) => (config.engine.state.clone(), config.declared(), Some(config)),
        Basis::Daemon(serving) => (serving.state, serving.record.projects, None),
    };
    if args.watch {
        return watch(context, &state, &projects, config.as_deref()).await;
    }
    let status = status(&state, &projects, config.as_deref()).await?;
    let exit = if args.check { check(&status) } else { Exit::Done };
    if args.json {
        context.out.json(&status)?;
    } else if !(args.check && context.quiet()) {
        context.out.data(&text(context, &state, &status, config.as_deref()).await?)?;
    }
    Ok(exit)
}

/// Prints the status whenever it changes, over the last one if that is on a terminal.
async fn watch(
    context: &Context,
    state: &StatePlace,
    projects: &[DeclaredProject],
    config: Option<&Config>,
) -> CommandResult {
    let term = console::Term::stdout();
    let mut last = String::new();
    loop {
        let status = status(state, projects, config).await?;
        let text = text(context, state, &status, config).await?;
        if text != last {
            if term.is_term() {
                term.clear_screen()?;
            }
            let separator = if last.is_empty() || term.is_term() { "" } else { "\n" };
            if !context.out.data_while_open(&format!("{separator}{text}"))? {
                return Ok(Exit::Done);
            }
            last = text;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The status as text. `config`: the file, whose work trees are looked at.
async fn text(
    context: &Context,
    state: &StatePlace,
    status: &StatusView,
    config: Option<&Config>,
) -> StageResult<String> {
    let mut text = render::status::render(status, &context.out.style);
    if let Some(config) = config {
        let state = factory::open_for_reading(state).await?;
        let fresh = app::work_trees(config, &*state, status).await;
        text.push_str(&render::status::work_trees(&fresh, &context.out.style));
    }
    Ok(text)
}

/// The recorded status, with what a running daemon adds, and what the running process waits for.
async fn status(
    state: &StatePlace,
    projects: &[DeclaredProject],
    config: Option<&Config>,
) -> StageResult<StatusView> {
    let mut view = app::status(&*factory::open_for_reading(state).await?, projects).await?;
    if let Some(daemon) = DaemonRecord::read(state) {
        view.refused_config = daemon.refused;
        for project in &mut view.projects {
            project.next_run = daemon.next_runs.get(&project.project).copied();
        }
    }
    if let Some(config) = config {
        Waits::add_of_holder(&mut view, config);
    }
    Ok(view)
}

/// The exit status for the worst state of the enabled projects.
fn check(status: &StatusView) -> Exit {
    let enabled = || status.projects.iter().filter(|project| project.declared && project.enabled);
    let state = |project: &ProjectStatus| {
        ProjectState::of(project, project.last_run.as_ref().map(|run| run.outcome), false)
    };
    if enabled().any(|project| state(project) == ProjectState::Failed) {
        Exit::Failed
    } else if enabled().all(|project| state(project) == ProjectState::Current) {
        Exit::Done
    } else {
        Exit::Partial
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::model::{LastRun, Outcome, RepositoryStatus};

    fn project(outcome: Option<Outcome>, behind: u64) -> ProjectStatus {
        let repository =
            RepositoryStatus { commits_behind: Some(behind), ..RepositoryStatus::unknown("r".to_owned()) };
        let last_run = outcome.map(|outcome| LastRun {
            run: "1".to_owned(),
            finished_at: DateTime::UNIX_EPOCH,
            outcome,
            error: None,
            withheld: Vec::new(),
        });
        ProjectStatus {
            enabled: true,
            declared: true,
            last_run,
            commits_behind: Some(behind),
            repositories: vec![repository.judged()],
            ..ProjectStatus::default()
        }
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst_project() {
        let done = || project(Some(Outcome::Done), 0);
        let disabled = ProjectStatus { enabled: false, ..project(Some(Outcome::Failed), 9) };
        let orphan = ProjectStatus { declared: false, ..project(Some(Outcome::Failed), 9) };
        for (other, exit) in [
            (done(), Exit::Done),
            (disabled, Exit::Done),
            (orphan, Exit::Done),
            (project(None, 0), Exit::Partial),
            (project(Some(Outcome::Done), 2), Exit::Partial),
            (project(Some(Outcome::Partial), 0), Exit::Partial),
            (project(Some(Outcome::Interrupted), 0), Exit::Partial),
            (project(Some(Outcome::Failed), 0), Exit::Failed),
        ] {
            let status = StatusView {
                at: DateTime::UNIX_EPOCH,
                projects: vec![done(), other],
                running: None,
                orphan_places: Vec::new(),
                refused_config: None,
            };
            assert_eq!(check(&status), exit, "{:?}", status.projects[1]);
        }
    }
}
