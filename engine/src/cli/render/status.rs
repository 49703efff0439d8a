//! Renders the status of projects.

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::{
    Freshness, MOST_COMMITS, Outcome, ProjectState, ProjectStatus, RepositoryState, StatusView, Target,
    TargetState, Wait,
};

use super::super::output::{Style, escape};
use super::table::Table;
use super::words::{ago, count, field, moment, number, short, span};

/// Number of repositories listed without `-v`.
const FOLDED: usize = 20;

pub(crate) fn render(status: &StatusView, style: &Style) -> String {
    let mut text = String::new();
    for project in &status.projects {
        text.push_str(&render_project(project, status.at, style));
        text.push('\n');
    }
    if status.projects.is_empty() {
        text.push_str("No project is declared or indexed.\n");
    }
    for place in &status.orphan_places {
        text.push_str(&format!(
            "{} {} at `{}`: {}\n",
            style.warning("orphan place:"),
            count(place.vectors, "vector"),
            escape(&place.place),
            escape(&place.remedy)
        ));
    }
    if let Some(running) = &status.running {
        text.push_str(&format!(
            "A run is in progress: process {}, started {}.\n",
            running.process,
            ago(status.at, running.since)
        ));
    }
    if let Some(problem) = &status.refused_config {
        let label = style.bad("the daemon refuses the file on disk:");
        text.push_str(&format!("{label} {}\n", escape(problem)));
    }
    text
}

/// One line for each work tree with changes that are not indexed.
pub(crate) fn work_trees(fresh: &[Freshness], style: &Style) -> String {
    let changed = fresh.iter().filter(|one| one.differing_files.is_some_and(|count| count > 0));
    let line = |one: &Freshness| {
        let lag = one.lag().unwrap_or_default();
        format!("{} {}: {lag}\n", style.warning("work tree:"), escape(&one.repository))
    };
    changed.map(line).collect()
}

fn render_project(project: &ProjectStatus, now: DateTime<Utc>, style: &Style) -> String {
    let mut text = format!("{}: {}\n", style.strong(&escape(&project.project)), verdict(project, now, style));
    let mut line = |label: &str, value: &str| text.push_str(&field(label, value));
    line("indexed", &format!("{} in {}", count(project.vectors, "vector"), count(project.files, "file")));
    line("place", &escape(&project.place));
    if let Some(left) = left_place(project) {
        let moving = format!("from {}, which is kept until a run has brought everything here", escape(left));
        line("moving", &style.warning(&moving));
    }
    if project.failed_files > 0 {
        line("failed", &format!("{}, retried by the next run", count(project.failed_files, "file")));
    }
    if project.open_intents > 0 {
        line("open", &format!("{}, closed by the next run", count(project.open_intents, "intent")));
    }
    if let Some(behind) = behind(project) {
        line("behind", &style.warning(&behind));
    }
    if let Some(error) = project.last_run.as_ref().and_then(|run| run.error.as_deref()) {
        line("last error", &style.bad(&escape(error)));
    }
    for withheld in project.last_run.iter().flat_map(|run| &run.withheld) {
        line("withheld", &style.warning(&escape(&withheld.message)));
    }
    for wait in &project.waits {
        line("waits", &style.warning(&waits(wait)));
    }
    if let Some(next) = project.next_run {
        line("next run", &moment(next));
    }
    text.push_str(&repositories(project, now, style));
    text
}

/// `until 2024-10-04 00:00:30 UTC, stage ada: slow down`
fn waits(wait: &Wait) -> String {
    let until = wait.until.map(|until| format!("until {}", moment(until)));
    let stage = wait.stage.as_ref().map(|stage| format!("stage `{}`", escape(stage)));
    let place: Vec<String> = [until, stage].into_iter().flatten().collect();
    let place = if place.is_empty() { String::new() } else { format!("{}: ", place.join(", ")) };
    place + &escape(&wait.reason)
}

/// The place that the project is about to leave.
fn left_place(project: &ProjectStatus) -> Option<&str> {
    let is_live = |target: &&Target| target.state == TargetState::Live;
    let moves = project.targets.iter().any(|target| target.state == TargetState::Building);
    project.targets.iter().find(is_live).filter(|_| moves).map(|live| live.place.as_str())
}

/// How far the index is behind the last seen heads; `None` if it is not.
fn behind(project: &ProjectStatus) -> Option<String> {
    let commits = match project.commits_behind {
        Some(0) => return None,
        None if project.repositories.is_empty() => return None,
        None => "an unknown number of commits".to_owned(),
        Some(MOST_COMMITS) => format!("{} commits or more", number(MOST_COMMITS)),
        Some(commits) => count(commits, "commit"),
    };
    let seconds =
        project.seconds_behind.and_then(|seconds| TimeDelta::try_seconds(i64::try_from(seconds).ok()?));
    let since = seconds.map(|seconds| format!(", {}", span(seconds)));
    Some(commits + &since.unwrap_or_default())
}

fn verdict(project: &ProjectStatus, now: DateTime<Utc>, style: &Style) -> String {
    let outcome = project.last_run.as_ref().map(|run| run.outcome);
    let state = ProjectState::of(project, outcome, false);
    let word = match state {
        ProjectState::Orphan => {
            return style.warning("orphan, no longer in the file; `reposync apply --prune` removes it");
        }
        ProjectState::Failed => style.bad(state.as_str()),
        ProjectState::Partial | ProjectState::Behind | ProjectState::NeverRun => {
            style.warning(state.as_str())
        }
        ProjectState::Current | ProjectState::Running => style.good(state.as_str()),
        ProjectState::Disabled => style.dim(state.as_str()),
    };
    let Some(run) = &project.last_run else { return word };
    let how = if run.outcome == Outcome::Interrupted { " interrupted" } else { "" };
    format!("{word}, last run{how} {}", ago(now, run.finished_at))
}

fn repositories(project: &ProjectStatus, now: DateTime<Utc>, style: &Style) -> String {
    let mut table =
        Table::new(&["repository", "state", "commit", "files", "vectors", "synced"]).numbers(&[3, 4]);
    let mut errors = String::new();
    let all = &project.repositories;
    let shown = if style.verbose > 0 || all.len() <= FOLDED { all.len() } else { FOLDED };
    for repository in &all[..shown] {
        let commit = match (repository.indexed, repository.head) {
            (None, _) if repository.empty => "no commits".to_owned(),
            (None, _) => "none yet".to_owned(),
            (Some(indexed), Some(head)) if indexed != head => {
                format!("{} (head {})", short(indexed), short(head))
            }
            (Some(indexed), _) => short(indexed),
        };
        if let Some(error) = &repository.error {
            errors.push_str(&format!(
                "  {} {}\n",
                style.bad(&format!("{}:", escape(&repository.repository))),
                escape(error)
            ));
        }
        let synced = match (repository.orphan_since, repository.synced_at) {
            (Some(since), _) => {
                style.warning(&format!("gone from the source, seen missing {}", ago(now, since)))
            }
            (None, Some(at)) => ago(now, at),
            (None, None) => String::new(),
        };
        table.row(vec![
            escape(&repository.repository).into_owned(),
            state(repository.state, style),
            commit,
            number(repository.files),
            number(repository.vectors),
            synced,
        ]);
    }
    if table.is_empty() {
        return String::new();
    }
    let mut text = table.render(2, style.width) + &errors;
    if shown < all.len() {
        let more = (all.len() - shown) as u64;
        text.push_str(&format!("  … {} more; `-v` lists them\n", number(more)));
    }
    text
}

fn state(state: RepositoryState, style: &Style) -> String {
    match state {
        RepositoryState::Failed => style.bad(state.as_str()),
        RepositoryState::Partial | RepositoryState::Behind | RepositoryState::Orphan => {
            style.warning(state.as_str())
        }
        RepositoryState::Current => style.good(state.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GitSha, GuardKind, LastRun, OrphanPlace, RepositoryStatus, Running, Withheld};

    fn status() -> StatusView {
        let at = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let repository = |name: &str, indexed: u8, head: u8, orphan: Option<i64>| RepositoryStatus {
            indexed: Some(GitSha([indexed; 20])),
            head: Some(GitSha([head; 20])),
            commits_behind: Some(if indexed == head { 0 } else { 12 }),
            synced_at: Some(at - TimeDelta::minutes(3)),
            files: 1_200,
            vectors: 8_400,
            orphan_since: orphan.map(|days| at - TimeDelta::days(days)),
            ..RepositoryStatus::unknown(name.to_owned())
        };
        let target = |place: &str, state| Target { place: place.to_owned(), state };
        let mut refused = RepositoryStatus::unknown("acme/secret".to_owned());
        refused.error = Some("403: the token may not read it".to_owned());
        let empty = RepositoryStatus {
            empty: true,
            commits_behind: Some(0),
            ..RepositoryStatus::unknown("acme/void".to_owned())
        };
        let mut fresh = repository("acme/fresh", 0, 0, None);
        (fresh.indexed, fresh.synced_at, fresh.files, fresh.vectors) = (None, None, 0, 0);
        fresh.commits_behind = None;
        let handbook = ProjectStatus {
            project: "handbook".to_owned(),
            enabled: true,
            declared: true,
            place: "sqlite:.reposync/index.db#handbook".to_owned(),
            targets: vec![
                target("sqlite:.reposync/index.db#old", TargetState::Live),
                target("sqlite:.reposync/index.db#handbook", TargetState::Building),
            ],
            files: 2_400,
            vectors: 16_800,
            failed_files: 1,
            open_intents: 2,
            last_run: Some(LastRun {
                run: "r1".to_owned(),
                finished_at: at - TimeDelta::minutes(3),
                outcome: Outcome::Partial,
                error: Some("`docs/a.md`: the content filter refused the text".to_owned()),
                withheld: vec![Withheld {
                    guard: GuardKind::Deletion,
                    amount: 900,
                    message: "900 of 1,000 vectors were not deleted; `--allow-deletes` deletes them"
                        .to_owned(),
                }],
            }),
            waits: vec![
                Wait {
                    stage: Some("ada".to_owned()),
                    reason: "429: slow down".to_owned(),
                    until: Some(at + TimeDelta::seconds(30)),
                },
                Wait { stage: None, reason: "process 7 holds the ledger".to_owned(), until: None },
            ],
            next_run: Some(at + TimeDelta::hours(1)),
            seconds_behind: Some(180),
            commits_behind: Some(12),
            repositories: vec![
                refused.judged(),
                fresh.judged(),
                repository("acme/handbook", 0x1a, 0x2b, None).judged(),
                repository("acme/old", 0x3c, 0x3c, Some(9)).judged(),
                repository("acme/api", 0x1a, 0x1a, None).judged(),
                empty.judged(),
            ],
        };
        let mut orphan = ProjectStatus { project: "guide".to_owned(), declared: false, ..handbook.clone() };
        orphan.targets.remove(0);
        (orphan.last_run, orphan.next_run, orphan.repositories) = (None, None, Vec::new());
        (orphan.seconds_behind, orphan.commits_behind) = (None, None);
        (orphan.failed_files, orphan.open_intents) = (0, 0);
        orphan.waits.clear();
        let never = ProjectStatus {
            project: "new".to_owned(),
            declared: true,
            enabled: false,
            files: 0,
            vectors: 0,
            ..orphan.clone()
        };
        StatusView {
            at,
            projects: vec![handbook, orphan, never],
            running: Some(Running { process: 4242, since: at - TimeDelta::seconds(40) }),
            orphan_places: vec![OrphanPlace {
                place: "pinecone:docs.example#handbook".to_owned(),
                vectors: 1,
                remedy: "put a stage for it back into the file and run `reposync apply --prune`".to_owned(),
            }],
            refused_config: Some("reposync.toml:3: unknown key `nmae`".to_owned()),
        }
    }

    #[test]
    fn every_project_says_how_current_it_is() {
        insta::assert_snapshot!(render(&status(), &Style::plain(100)), @"
        handbook: partial, last run 3 minutes ago
          indexed       16,800 vectors in 2,400 files
          place         sqlite:.reposync/index.db#handbook
          moving        from sqlite:.reposync/index.db#old, which is kept until a run has brought everything here
          failed        1 file, retried by the next run
          open          2 intents, closed by the next run
          behind        12 commits, 3 minutes
          last error    `docs/a.md`: the content filter refused the text
          withheld      900 of 1,000 vectors were not deleted; `--allow-deletes` deletes them
          waits         until 2024-10-04 00:00:30 UTC, stage `ada`: 429: slow down
          waits         process 7 holds the ledger
          next run      2024-10-04 01:00:00 UTC
          repository     state    commit                        files  vectors  synced
          acme/secret    failed   none yet                          0        0
          acme/fresh     behind   none yet                          0        0
          acme/handbook  behind   1a1a1a1a1a (head 2b2b2b2b2b)  1,200    8,400  3 minutes ago
          acme/old       orphan   3c3c3c3c3c                    1,200    8,400  gone from the source, seen
                                                                                missing 9 days ago
          acme/api       current  1a1a1a1a1a                    1,200    8,400  3 minutes ago
          acme/void      current  no commits                        0        0
          acme/secret: 403: the token may not read it

        guide: orphan, no longer in the file; `reposync apply --prune` removes it
          indexed       16,800 vectors in 2,400 files
          place         sqlite:.reposync/index.db#handbook

        new: disabled
          indexed       0 vectors in 0 files
          place         sqlite:.reposync/index.db#handbook

        orphan place: 1 vector at `pinecone:docs.example#handbook`: put a stage for it back into the file and run `reposync apply --prune`
        A run is in progress: process 4242, started 40 seconds ago.
        the daemon refuses the file on disk: reposync.toml:3: unknown key `nmae`
        ");
    }

    #[test]
    fn an_empty_ledger_is_said() {
        let status = StatusView {
            projects: Vec::new(),
            orphan_places: Vec::new(),
            running: None,
            refused_config: None,
            ..status()
        };
        assert_eq!(render(&status, &Style::plain(100)), "No project is declared or indexed.\n");
    }
}
