//! How far each project is behind its repositories: the value that `status`, the API and `/health`
//! show.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{GitSha, Outcome, Withheld};

/// The ledger's records of every project.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusView {
    /// When it was read (UTC).
    pub at: DateTime<Utc>,
    /// The projects, in the order of the file.
    pub projects: Vec<ProjectStatus>,
    /// The run in progress, if any.
    pub running: Option<Running>,
    /// Places that hold vectors and that no stage of the file refers to.
    pub orphan_places: Vec<OrphanPlace>,
    /// Why the daemon refused the file on disk; `None` if it did not or none runs.
    pub refused_config: Option<String>,
}

/// A project in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredProject {
    /// Its name.
    pub name: String,
    /// False for a disabled project.
    pub enabled: bool,
    /// The repositories that it lists; empty if it selects from the source's listing.
    pub repositories: Vec<String>,
}

/// The process that is running, on this ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Running {
    /// The process id.
    pub process: u32,
    /// When the run started (UTC).
    #[schema(value_type = String, format = DateTime)]
    pub since: DateTime<Utc>,
}

/// What the run of a project waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Wait {
    /// The stage whose service is not called for now; `None`: the run waits for the lease of another process.
    pub stage: Option<String>,
    /// Why.
    pub reason: String,
    /// Until when (UTC); `None` if unknown.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<DateTime<Utc>>,
}

/// A place that holds vectors and that no stage of the file refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrphanPlace {
    /// The place in the form shown to users.
    pub place: String,
    /// Vectors recorded in the ledger for it.
    pub vectors: u64,
    /// The stage or project to restore so that the place can be cleaned up.
    pub remedy: String,
}

/// The status of a project.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ProjectStatus {
    /// Its name.
    pub project: String,
    /// False for a disabled project.
    pub enabled: bool,
    /// False if the project is in the ledger but no longer in the file.
    pub declared: bool,
    /// The place of its vectors.
    pub place: String,
    /// The places that it has not left: the live one, and one that is being filled.
    pub targets: Vec<Target>,
    /// Files indexed.
    pub files: u64,
    /// Vectors stored.
    pub vectors: u64,
    /// Files that failed; the next run retries them.
    pub failed_files: u64,
    /// Intents that an interrupted run left open; the next run closes them.
    pub open_intents: u64,
    /// Its last run.
    pub last_run: Option<LastRun>,
    /// What its run waits for: pauses that a service asked for, rate limits, the lease of another process.
    pub waits: Vec<Wait>,
    /// When the schedule starts the next run (UTC); `None` without a schedule or a daemon.
    pub next_run: Option<DateTime<Utc>>,
    /// 0 if every repository is indexed at its last seen head; otherwise seconds since the last
    /// sync of the repository that is furthest behind. `None` if one was never synced.
    pub seconds_behind: Option<u64>,
    /// Commits between the indexed commits and the last seen heads, summed over all repositories
    /// and capped at [`MOST_COMMITS`]; `None` if unknown.
    pub commits_behind: Option<u64>,
    /// Every repository that the project selects or still has files of, sorted by
    /// [`RepositoryState`], then by name.
    pub repositories: Vec<RepositoryStatus>,
}

/// A place of a project's vectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Target {
    /// The place in the form shown to users.
    pub place: String,
    /// How far it is.
    pub state: TargetState,
}

/// How far a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetState {
    /// Runs write to it, and none has yet reached the end of everything that the project selects.
    Building,
    /// It holds everything that the project selected at the end of a run.
    Live,
    /// The project has moved to another place; later runs delete the remaining vectors.
    Retired,
}

impl TargetState {
    /// The word in the ledger and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Live => "live",
            Self::Retired => "retired",
        }
    }

    /// The state of a word in the ledger. An unknown word is no proof that everything is there.
    pub fn parse(text: &str) -> Self {
        match text {
            "live" => Self::Live,
            "retired" => Self::Retired,
            _ => Self::Building,
        }
    }
}

/// Cap of the number of commits behind, since counting more costs time and tells users nothing.
pub const MOST_COMMITS: u64 = 1000;

impl ProjectStatus {
    /// Computes the project's lag from its repositories. Repositories that are gone from the source
    /// are ignored.
    pub fn sum_up_behind(&mut self, now: DateTime<Utc>) {
        let completed = self.last_run.as_ref().is_some_and(|run| run.outcome == Outcome::Done);
        if self.repositories.is_empty() && !completed {
            (self.seconds_behind, self.commits_behind) = (None, None);
            return;
        }
        let present = || self.repositories.iter().filter(|repository| repository.orphan_since.is_none());
        let lagging = present().filter(|repository| repository.commits_behind != Some(0));
        let since: Option<Vec<DateTime<Utc>>> = lagging.map(|repository| repository.synced_at).collect();
        let seconds = |oldest: DateTime<Utc>| u64::try_from((now - oldest).num_seconds()).unwrap_or(0);
        let commits: Option<u64> = present().map(|repository| repository.commits_behind).sum();
        self.seconds_behind = since.map(|since| since.into_iter().min().map_or(0, seconds));
        self.commits_behind = commits.map(|commits| commits.min(MOST_COMMITS));
    }

    /// True if every repository is indexed at its last seen head or gone from the source.
    pub fn is_current(&self) -> bool {
        let fine = [RepositoryState::Current, RepositoryState::Orphan];
        self.commits_behind == Some(0)
            && self.repositories.iter().all(|repository| fine.contains(&repository.state))
    }
}

/// The last run of a project.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct LastRun {
    /// The run's id.
    pub run: String,
    /// When it ended (UTC).
    #[schema(value_type = String, format = DateTime)]
    pub finished_at: DateTime<Utc>,
    /// How it ended.
    pub outcome: Outcome,
    /// The error that failed the run, or the first failure of an item.
    pub error: Option<String>,
    /// What the guards withheld, which stays as it is until it is allowed.
    pub withheld: Vec<Withheld>,
}

/// The status of a repository of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RepositoryStatus {
    /// Its name.
    pub repository: String,
    /// Derived from the other fields; see [`RepositoryStatus::judged`].
    pub state: RepositoryState,
    /// Why the last run could not index it; `None` if it could.
    pub error: Option<String>,
    /// True if it has no commits.
    pub empty: bool,
    /// The last commit that was indexed completely; `None` before the first.
    #[schema(value_type = Option<String>)]
    pub indexed: Option<GitSha>,
    /// The last seen head. Differs from `indexed` if the last run did not complete the repository.
    #[schema(value_type = Option<String>)]
    pub head: Option<GitSha>,
    /// Commits from `indexed` to `head`, capped at [`MOST_COMMITS`]; `None` if it was never
    /// indexed, the commits were not counted yet, or `head` does not descend from `indexed` (a
    /// force-push).
    pub commits_behind: Option<u64>,
    /// When `indexed` was completed (UTC).
    #[schema(value_type = Option<String>, format = DateTime)]
    pub synced_at: Option<DateTime<Utc>>,
    /// Files indexed.
    pub files: u64,
    /// Vectors stored.
    pub vectors: u64,
    /// Files that failed; the next run retries them.
    pub failed_files: u64,
    /// Since when the source no longer has it (UTC); `None` if the source has it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub orphan_since: Option<DateTime<Utc>>,
}

/// The state of a repository. Ordered by how much it needs attention.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RepositoryState {
    /// The last run could not index it.
    Failed,
    /// Some of its files failed.
    Partial,
    /// It is not indexed at its last seen head, or not indexed yet.
    #[default]
    Behind,
    /// The source no longer has it.
    Orphan,
    /// It is indexed at its last seen head, or has no commits.
    Current,
}

impl RepositoryState {
    /// The name in the API and in messages.
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
    /// A selected repository that the ledger has no record of yet.
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

    /// Sets `state` from the other fields.
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
        let run = |outcome| LastRun {
            run: "1".into(),
            finished_at: DateTime::UNIX_EPOCH,
            outcome,
            error: None,
            withheld: Vec::new(),
        };
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
