//! How current each project is: the one value that `status`, the API and `/health` show.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{GitSha, Outcome};

/// What the ledger knows of every project.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusView {
    /// When it was read (UTC).
    pub at: DateTime<Utc>,
    /// The projects, in the order of the file.
    pub projects: Vec<ProjectStatus>,
    /// The run in progress: process and start, where there is one.
    pub running: Option<Running>,
    /// Places that no stage of the file reaches any more.
    pub orphan_places: Vec<OrphanPlace>,
    /// What the daemon says of the file on disk, where it refuses it.
    pub refused_config: Option<String>,
}

/// A project as the file declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredProject {
    /// Its name.
    pub name: String,
    /// False for a disabled project.
    pub enabled: bool,
    /// The repositories that it names; none where a listing decides.
    pub repositories: Vec<String>,
}

/// A run in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The process.
    pub process: u32,
    /// Since when (UTC).
    pub since: DateTime<Utc>,
}

/// A place that no stage of the file reaches any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrphanPlace {
    /// The place as people read it.
    pub place: String,
    /// Vectors believed to be there.
    pub vectors: u64,
    /// What to put back to clean it.
    pub remedy: String,
}

/// One project.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ProjectStatus {
    /// Its name.
    pub project: String,
    /// False for a disabled project.
    pub enabled: bool,
    /// False for one that is in the ledger, but not in the file any more.
    pub declared: bool,
    /// Where its vectors live.
    pub place: String,
    /// Files indexed.
    pub files: u64,
    /// Vectors stored.
    pub vectors: u64,
    /// Files that failed and are tried again by the next run.
    pub failed_files: u64,
    /// Intents that an interrupted run left open; the next run closes them.
    pub open_intents: u64,
    /// Its last run.
    pub last_run: Option<LastRun>,
    /// When the schedule starts the next run (UTC), where a daemon runs.
    pub next_run: Option<DateTime<Utc>>,
    /// 0 when every repository is indexed at its head as last seen; else seconds since the oldest
    /// of those behind was last synced; none where one of them never was.
    pub seconds_behind: Option<u64>,
    /// Commits from what is indexed to the heads as last seen, of all repositories, counted to
    /// [`MOST_COMMITS`]; none where that is not known.
    pub commits_behind: Option<u64>,
    /// Every repository that it selects, and those it still has files of: what needs attention first,
    /// then by name.
    pub repositories: Vec<RepositoryStatus>,
}

/// Commits behind are counted so far: more is all the same to whoever looks.
pub const MOST_COMMITS: u64 = 1000;

impl ProjectStatus {
    /// Sums up how far the repositories are behind their heads. One that is gone from the source
    /// has none.
    pub fn sum_up_behind(&mut self, now: DateTime<Utc>) {
        let came_to_its_end = self.last_run.as_ref().is_some_and(|run| run.outcome == Outcome::Done);
        if self.repositories.is_empty() && !came_to_its_end {
            (self.seconds_behind, self.commits_behind) = (None, None);
            return;
        }
        let there = || self.repositories.iter().filter(|repository| repository.orphan_since.is_none());
        let lagging = there().filter(|repository| repository.commits_behind != Some(0));
        let since: Option<Vec<DateTime<Utc>>> = lagging.map(|repository| repository.synced_at).collect();
        let seconds = |oldest: DateTime<Utc>| u64::try_from((now - oldest).num_seconds()).unwrap_or(0);
        let commits: Option<u64> = there().map(|repository| repository.commits_behind).sum();
        self.seconds_behind = since.map(|since| since.into_iter().min().map_or(0, seconds));
        self.commits_behind = commits.map(|commits| commits.min(MOST_COMMITS));
    }

    /// True where every repository is indexed at its head as last seen, or gone from the source.
    pub fn is_current(&self) -> bool {
        let fine = [RepositoryState::Current, RepositoryState::Orphan];
        self.commits_behind == Some(0)
            && self.repositories.iter().all(|repository| fine.contains(&repository.state))
    }
}

/// The last run of a project.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LastRun {
    /// The run's id.
    pub run: String,
    /// When it ended (UTC).
    pub finished_at: DateTime<Utc>,
    /// How it ended.
    pub outcome: Outcome,
    /// Its error, or the first failure.
    pub error: Option<String>,
}

/// One repository of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RepositoryStatus {
    /// Its name.
    pub repository: String,
    /// How it stands.
    pub state: RepositoryState,
    /// Why the last run could not index it.
    pub error: Option<String>,
    /// True where it has no commits to index.
    pub empty: bool,
    /// The commit that is indexed whole; none before the first.
    pub indexed: Option<GitSha>,
    /// The head as last seen; differs from `indexed` after a run that did not finish it.
    pub head: Option<GitSha>,
    /// Commits from `indexed` to `head`, counted to [`MOST_COMMITS`]; none: never indexed, not
    /// counted yet, or the head does not descend from what is indexed (a force-push).
    pub commits_behind: Option<u64>,
    /// When `indexed` was reached (UTC).
    pub synced_at: Option<DateTime<Utc>>,
    /// Files indexed.
    pub files: u64,
    /// Vectors stored.
    pub vectors: u64,
    /// Files that failed and are tried again by the next run.
    pub failed_files: u64,
    /// Since when it is gone from the source (UTC), where it is.
    pub orphan_since: Option<DateTime<Utc>>,
}

/// How a repository stands. Ordered: what needs attention comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RepositoryState {
    /// The last run could not index it.
    Failed,
    /// Some of its files failed.
    Partial,
    /// It is not indexed at its head, or not at all yet.
    #[default]
    Behind,
    /// It is gone from the source.
    Orphan,
    /// It is indexed at its head as last seen, or has no commits.
    Current,
}

impl RepositoryState {
    /// As the API and people name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Partial => "partial",
            Self::Behind => "behind",
            Self::Orphan => "orphan",
            Self::Current => "current",
        }
    }
}

impl RepositoryStatus {
    /// A selected repository of which nothing is known yet.
    pub fn unknown(repository: String) -> Self {
        Self {
            repository,
            state: RepositoryState::Behind,
            error: None,
            empty: false,
            indexed: None,
            head: None,
            commits_behind: None,
            synced_at: None,
            files: 0,
            vectors: 0,
            failed_files: 0,
            orphan_since: None,
        }
    }

    /// Sets `state` by what the other fields say.
    #[must_use]
    pub fn judged(mut self) -> Self {
        self.state = if self.error.is_some() {
            RepositoryState::Failed
        } else if self.orphan_since.is_some() {
            RepositoryState::Orphan
        } else if self.failed_files > 0 {
            RepositoryState::Partial
        } else if self.commits_behind == Some(0) {
            RepositoryState::Current
        } else {
            RepositoryState::Behind
        };
        self
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn repository(commits: Option<u64>, minutes: Option<i64>) -> RepositoryStatus {
        RepositoryStatus {
            commits_behind: commits,
            synced_at: minutes.map(|minutes| DateTime::UNIX_EPOCH - TimeDelta::minutes(minutes)),
            ..RepositoryStatus::unknown("r".into())
        }
    }

    #[test]
    fn a_project_is_current_only_where_all_of_its_repositories_are() {
        let current = || repository(Some(0), Some(9)).judged();
        let gone = RepositoryStatus { orphan_since: Some(DateTime::UNIX_EPOCH), ..repository(None, None) };
        let refused = RepositoryStatus { error: Some("403".into()), ..repository(None, None) };
        let partial = RepositoryStatus { failed_files: 1, ..repository(Some(0), Some(9)) };
        for (other, state, is_current) in [
            (current(), RepositoryState::Current, true),
            (gone.judged(), RepositoryState::Orphan, true),
            (repository(None, None).judged(), RepositoryState::Behind, false),
            (partial.judged(), RepositoryState::Partial, false),
            (refused.judged(), RepositoryState::Failed, false),
        ] {
            assert_eq!(other.state, state);
            let mut status =
                ProjectStatus { repositories: vec![current(), other], ..ProjectStatus::default() };
            status.sum_up_behind(DateTime::UNIX_EPOCH);
            assert_eq!(status.is_current(), is_current, "{state:?}");
        }
    }

    #[test]
    fn a_first_run_that_failed_is_not_behind_nothing() {
        let run =
            |outcome| LastRun { run: "1".into(), finished_at: DateTime::UNIX_EPOCH, outcome, error: None };
        for (outcome, behind) in [(Outcome::Failed, None), (Outcome::Done, Some(0))] {
            let mut status = ProjectStatus { last_run: Some(run(outcome)), ..ProjectStatus::default() };
            status.sum_up_behind(DateTime::UNIX_EPOCH);
            assert_eq!(status.commits_behind, behind, "{outcome:?}");
        }
    }

    #[test]
    fn a_project_is_as_far_behind_as_its_repositories_together() {
        let gone = RepositoryStatus { orphan_since: Some(DateTime::UNIX_EPOCH), ..repository(None, None) };
        for (repositories, seconds, commits) in [
            (vec![], None, None),
            (vec![repository(Some(0), Some(9)), gone], Some(0), Some(0)),
            (
                vec![
                    repository(Some(0), Some(9)),
                    repository(Some(2), Some(2)),
                    repository(Some(3), Some(5)),
                ],
                Some(300),
                Some(5),
            ),
            (vec![repository(Some(2), Some(2)), repository(None, Some(3))], Some(180), None),
            (vec![repository(Some(2), Some(2)), repository(None, None)], None, None),
            (
                vec![repository(Some(900), Some(1)), repository(Some(900), Some(1))],
                Some(60),
                Some(MOST_COMMITS),
            ),
        ] {
            let mut status = ProjectStatus { repositories, ..ProjectStatus::default() };
            status.sum_up_behind(DateTime::UNIX_EPOCH);
            assert_eq!((status.seconds_behind, status.commits_behind), (seconds, commits));
        }
    }
}
