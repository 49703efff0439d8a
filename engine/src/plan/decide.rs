//! What leaves the index: repositories that are missing, files without a successor, projects that the
//! file does not declare any more. Both `plan` and `apply` decide here.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::diff::Recorded;
use super::guard::Guard;
use crate::model::{GitSha, GuardKind, Withheld};

/// Whether orphans are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prune {
    /// They are reported.
    No,
    /// `--prune`: the user asked for it, so the deletion guard does not count them.
    Asked,
    /// `[engine].prune`: the deletion guard counts them.
    Standing,
}

/// A repository that the state knows and the listing does not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub name: String,
    /// Why it is missing.
    pub reason: MissingReason,
    /// The reason as a note tells it: `is not in the listing any more`.
    pub cause: &'static str,
}

/// Why a known repository is not among those listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MissingReason {
    /// The file does not select it any more.
    Deselected,
    /// It has another name now, under which its files are indexed.
    Renamed(String),
    /// It vanished. `certain` is false where the whole listing came back empty, which is no reason to
    /// remove anything.
    Orphan {
        /// Whether the absence can be believed.
        certain: bool,
    },
}

/// What becomes of the files of a missing repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// They are removed. The deletion guard counts them if `counted`.
    Dissolve {
        /// Whether the guard counts them.
        counted: bool,
        /// The repository's new name.
        renamed_to: Option<String>,
    },
    /// They stay until all of them are indexed under the new name.
    Wait,
    /// They stay, and the repository is reported.
    Orphan,
}

impl Missing {
    /// A listed repository that is not there, or has no commits where it had files.
    pub fn vanished(name: String, cause: &'static str) -> Self {
        Self { name, reason: MissingReason::Orphan { certain: true }, cause }
    }

    /// Decides. `absent`: repositories under whose name there is nothing; `incomplete`: those that could not
    /// be inspected or had failed files.
    pub fn fate(&self, absent: &BTreeSet<String>, incomplete: &BTreeSet<String>, prune: Prune) -> Fate {
        let certain = match &self.reason {
            MissingReason::Deselected => return Fate::Dissolve { counted: true, renamed_to: None },
            MissingReason::Renamed(to) if !absent.contains(to) => {
                if incomplete.contains(to) {
                    return Fate::Wait;
                }
                return Fate::Dissolve { counted: true, renamed_to: Some(to.clone()) };
            }
            // Renamed, but nothing is there under the new name: it vanished.
            MissingReason::Renamed(_) => true,
            MissingReason::Orphan { certain } => *certain,
        };
        match prune {
            Prune::No => Fate::Orphan,
            _ if !certain => Fate::Orphan,
            Prune::Asked => Fate::Dissolve { counted: false, renamed_to: None },
            Prune::Standing => Fate::Dissolve { counted: true, renamed_to: None },
        }
    }
}

/// A file that is to leave the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The repository.
    pub repository: String,
    /// The path.
    pub path: String,
    /// The blob that the index holds.
    pub blob_sha: Option<GitSha>,
    /// How many vectors it has.
    pub vectors: u64,
    /// Whether the deletion guard counts it.
    pub counted: bool,
    /// True where its content is indexed under another path of the repository: reports show a move.
    pub moved: bool,
    /// Why it leaves: `deleted`, the reason to skip it, `repository leaves the index`.
    pub reason: &'static str,
}

impl Removal {
    /// The removal of a recorded file.
    pub fn of(repository: &str, file: Recorded, counted: bool, reason: &'static str) -> Self {
        Self {
            repository: repository.to_owned(),
            path: file.path,
            blob_sha: file.blob_sha,
            vectors: file.vectors,
            counted,
            moved: false,
            reason,
        }
    }
}

/// What the deletion guard makes of the files that are to leave.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct GuardDecision {
    /// Files to remove.
    pub removed: Vec<Removal>,
    /// Files to keep, because too much would go.
    pub withheld: Vec<Removal>,
    /// What reports show, where something is withheld.
    pub report: Option<Withheld>,
}

impl GuardDecision {
    /// The same, with these files kept besides.
    #[must_use]
    pub fn keeping(mut self, kept: &BTreeSet<(String, String)>) -> Self {
        let is_kept = |file: &Removal| kept.contains(&(file.repository.clone(), file.path.clone()));
        let (more, removed): (Vec<_>, Vec<_>) = self.removed.into_iter().partition(is_kept);
        self.removed = removed;
        self.withheld.extend(more);
        if self.report.is_none() && !self.withheld.is_empty() {
            let vectors = self.withheld.iter().map(|file| file.vectors).sum();
            let message = format!(
                "deletion guard: {vectors} vectors ({} files) are kept, as the plan says. To remove them, plan with \
                 `--allow-deletes`",
                self.withheld.len()
            );
            self.report = Some(Withheld { guard: GuardKind::Deletion, amount: vectors, message });
        }
        self
    }
}

/// Applies the deletion guard to removals, each with whether its content stays in the index under another
/// path. `vectors_before`: vectors of the project before the run.
pub fn apply_guard(removals: Vec<(Removal, bool)>, vectors_before: u64, guard: &Guard) -> GuardDecision {
    let counts = |(file, has_successor): &(Removal, bool)| file.counted && !has_successor;
    let vectors: u64 = removals.iter().filter(|file| counts(file)).map(|(file, _)| file.vectors).sum();
    let withholds = guard.withholds(vectors, vectors_before);
    let (withheld, removed): (Vec<_>, Vec<_>) =
        removals.into_iter().partition(|file| withholds && counts(file));
    let files = |list: Vec<(Removal, bool)>| list.into_iter().map(|(file, _)| file).collect::<Vec<_>>();
    let report = (!withheld.is_empty()).then(|| Withheld {
        guard: GuardKind::Deletion,
        amount: vectors,
        message: format!(
            "deletion guard: {vectors} of {vectors_before} vectors would go ({} files), more than \
             `max_delete_ratio` allows; they are kept. To allow it: `reposync apply --allow-deletes` \
             (daemon: POST /sync {{\"allow_deletes\": true}})",
            withheld.len()
        ),
    });
    GuardDecision { removed: files(removed), withheld: files(withheld), report }
}

/// What becomes of a project that the file does not declare any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrphanFate {
    /// It is reported with this note.
    Reported(String),
    /// The deletion guard keeps it.
    Withheld(Withheld),
    /// It is removed.
    Removed,
}

/// Decides about an orphaned project with `vectors` vectors.
pub fn orphan_fate(project: &str, vectors: u64, prune: Prune, guard: &Guard) -> OrphanFate {
    let told = |why: &str| {
        format!(
            "project `{project}` is not in the file any more: its {vectors} vectors stay searchable{why}; \
             remove them with `reposync apply --prune`"
        )
    };
    match prune {
        Prune::No => OrphanFate::Reported(told("")),
        // A whole project is always more than its share.
        Prune::Standing if guard.withholds(vectors, vectors) => OrphanFate::Withheld(Withheld {
            guard: GuardKind::Deletion,
            amount: vectors,
            message: told("; the deletion guard keeps them (`--allow-deletes`)"),
        }),
        Prune::Asked | Prune::Standing => OrphanFate::Removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(reason: MissingReason) -> Missing {
        Missing { name: "old".into(), reason, cause: "is not in the listing any more" }
    }

    #[test]
    fn a_missing_repository_is_kept_unless_somebody_asked() {
        let none = BTreeSet::new();
        let new: BTreeSet<String> = ["new".to_owned()].into();
        let dissolve = |counted| Fate::Dissolve { counted, renamed_to: None };
        let renamed = || MissingReason::Renamed("new".into());
        let orphan = |certain| MissingReason::Orphan { certain };
        for (reason, absent, incomplete, prune, fate) in [
            (MissingReason::Deselected, &none, &none, Prune::No, dissolve(true)),
            (orphan(true), &none, &none, Prune::No, Fate::Orphan),
            (orphan(true), &none, &none, Prune::Asked, dissolve(false)),
            (orphan(true), &none, &none, Prune::Standing, dissolve(true)),
            (orphan(false), &none, &none, Prune::Asked, Fate::Orphan),
            (
                renamed(),
                &none,
                &none,
                Prune::No,
                Fate::Dissolve { counted: true, renamed_to: Some("new".into()) },
            ),
            (renamed(), &none, &new, Prune::Asked, Fate::Wait),
            (renamed(), &new, &none, Prune::No, Fate::Orphan),
            (renamed(), &new, &none, Prune::Asked, dissolve(false)),
        ] {
            let missing = missing(reason);
            assert_eq!(missing.fate(absent, incomplete, prune), fate, "{missing:?} {prune:?}");
        }
    }

    #[test]
    fn files_with_a_successor_or_not_counted_leave_whatever_the_guard_says() {
        let file = |path: &str, counted| Removal {
            repository: "a".into(),
            path: path.into(),
            blob_sha: None,
            vectors: 101,
            counted,
            moved: false,
            reason: "deleted",
        };
        let removals = || vec![(file("1", true), false), (file("2", true), true), (file("3", false), false)];
        let guard = Guard { max_delete_ratio: 0.5, allow_deletes: false };
        let paths = |files: &[Removal]| files.iter().map(|file| file.path.clone()).collect::<Vec<_>>();
        let decision = apply_guard(removals(), 200, &guard);
        assert_eq!(
            (paths(&decision.removed), paths(&decision.withheld)),
            (vec!["2".into(), "3".into()], vec!["1".into()])
        );
        assert_eq!(decision.report.map(|report| report.amount), Some(101));
        let allowed = apply_guard(removals(), 200, &Guard { allow_deletes: true, ..guard });
        assert_eq!((allowed.removed.len(), allowed.report), (3, None));
    }

    #[test]
    fn a_project_is_removed_where_somebody_asked_or_it_is_small() {
        let guard = Guard { max_delete_ratio: 0.5, allow_deletes: false };
        let fate = |vectors, prune| orphan_fate("p", vectors, prune, &guard);
        assert!(matches!(fate(1000, Prune::No), OrphanFate::Reported(_)));
        assert_eq!(fate(1000, Prune::Asked), OrphanFate::Removed);
        assert!(matches!(fate(1000, Prune::Standing), OrphanFate::Withheld(_)));
        assert_eq!(fate(100, Prune::Standing), OrphanFate::Removed);
    }
}
