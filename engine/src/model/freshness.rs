//! How current the index of a repository is.

use serde::{Deserialize, Serialize};

use super::{GitSha, MOST_COMMITS};

/// How current the index of a repository is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Freshness {
    /// The project.
    pub project: String,
    /// The repository.
    pub repository: String,
    /// The last commit that was indexed completely; `None` before the first.
    #[schema(value_type = Option<String>)]
    pub indexed_commit: Option<GitSha>,
    /// The last seen head.
    #[schema(value_type = Option<String>)]
    pub head: Option<GitSha>,
    /// Commits from `indexed_commit` to `head`, at most [`MOST_COMMITS`]; `None`: see
    /// `unknown`.
    pub commits_behind: Option<u64>,
    /// Why `commits_behind` is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// Tracked files of the work tree that differ from the indexed commit; `None`: the source has no work tree,
    /// or it could not be compared in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differing_files: Option<u64>,
}

impl Freshness {
    /// A repository of which nothing is known, and why.
    pub fn unknown(project: &str, repository: &str, why: &str) -> Self {
        Self {
            project: project.to_owned(),
            repository: repository.to_owned(),
            unknown: Some(why.to_owned()),
            ..Self::default()
        }
    }

    /// `commits_behind` as a value: a number, or `unknown (REASON)`.
    pub fn behind(&self) -> String {
        match (self.commits_behind, &self.unknown) {
            (Some(count), _) => count.to_string(),
            (None, Some(why)) => format!("unknown ({why})"),
            (None, None) => "unknown".to_owned(),
        }
    }

    /// What is not current, as a sentence without its subject; `None` if nothing is known to differ.
    pub fn lag(&self) -> Option<String> {
        let mut parts = Vec::new();
        match self.commits_behind {
            None | Some(0) => {}
            Some(1) => parts.push("1 commit behind".to_owned()),
            Some(MOST_COMMITS) => parts.push(format!("{MOST_COMMITS} commits or more behind")),
            Some(count) => parts.push(format!("{count} commits behind")),
        }
        match self.differing_files {
            None | Some(0) => {}
            Some(1) => parts.push("1 file differs from the indexed commit".to_owned()),
            Some(count) => parts.push(format!("{count} files differ from the indexed commit")),
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_current_is_said() {
        let of = |commits_behind, differing_files| {
            Freshness { commits_behind, differing_files, ..Freshness::default() }.lag()
        };
        for (commits, files, expected) in [
            (Some(0), Some(0), None),
            (None, None, None),
            (Some(1), None, Some("1 commit behind")),
            (Some(1000), Some(0), Some("1000 commits or more behind")),
            (Some(2), Some(1), Some("2 commits behind, 1 file differs from the indexed commit")),
            (Some(0), Some(2), Some("2 files differ from the indexed commit")),
        ] {
            assert_eq!(of(commits, files).as_deref(), expected);
        }
        assert_eq!(Freshness::unknown("p", "r", "a force-push").behind(), "unknown (a force-push)");
    }
}
