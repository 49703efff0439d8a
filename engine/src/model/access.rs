//! What the holder of an API token may do and see.

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// A group of actions that a token may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApiScope {
    /// Search what is indexed.
    Query,
    /// Read how projects stand, their runs, files and metrics.
    Read,
    /// Plan and start runs.
    Sync,
    /// The single operations of a pipeline: sources, chunkers, embedders, stores.
    Write,
    /// Reload, override the guards, read the audit log and the configuration.
    Admin,
}

impl ApiScope {
    /// All scopes.
    pub const ALL: [Self; 5] = [Self::Query, Self::Read, Self::Sync, Self::Write, Self::Admin];

    /// The word in the file and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Read => "read",
            Self::Sync => "sync",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for ApiScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ApiScope {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(())
    }
}

/// Which projects and repositories may be seen. The default is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    projects: Option<Names>,
    repositories: Option<Names>,
}

impl Access {
    /// Access to the projects and repositories whose names match; `None`: to all of them. The error is the first
    /// pattern that is not a glob, and why.
    pub fn new(
        projects: Option<&[String]>,
        repositories: Option<&[String]>,
    ) -> Result<Self, (String, String)> {
        Ok(Self {
            projects: projects.map(Names::new).transpose()?,
            repositories: repositories.map(Names::new).transpose()?,
        })
    }

    /// True if everything may be seen.
    pub fn is_whole(&self) -> bool {
        self.projects.is_none() && self.repositories.is_none()
    }

    /// True if every repository of a visible project may be seen.
    pub fn is_of_all_repositories(&self) -> bool {
        self.repositories.is_none()
    }

    /// True if the project may be seen.
    pub fn has_project(&self, name: &str) -> bool {
        self.projects.as_ref().is_none_or(|names| names.matches(name))
    }

    /// True if the repository may be seen, in a project that may be seen.
    pub fn has_repository(&self, name: &str) -> bool {
        self.repositories.as_ref().is_none_or(|names| names.matches(name))
    }

    /// The globs of repositories that may be seen; empty: all repositories.
    pub fn repositories(&self) -> &[String] {
        self.repositories.as_ref().map_or(&[], |names| &names.patterns)
    }
}

/// Names by globs, case-sensitive. `*` does not cross `/`.
#[derive(Debug, Clone)]
struct Names {
    patterns: Vec<String>,
    set: GlobSet,
}

impl Names {
    fn new(patterns: &[String]) -> Result<Self, (String, String)> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let glob = GlobBuilder::new(pattern).literal_separator(true).build();
            set.add(glob.map_err(|error| (pattern.clone(), error.kind().to_string()))?);
        }
        let set = set.build().map_err(|error| (String::new(), error.kind().to_string()))?;
        Ok(Self { patterns: patterns.to_vec(), set })
    }

    fn matches(&self, name: &str) -> bool {
        self.set.is_match(name)
    }
}

impl Eq for Names {}

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn names_are_matched_whole_and_as_they_are_written() {
        let (projects, repositories) = (texts(&["handbook", "acme-*"]), texts(&["acme/*"]));
        let access = Access::new(Some(&projects), Some(&repositories)).expect("globs");
        for (name, expected) in [
            ("handbook", true),
            ("Handbook", false),
            ("handbook2", false),
            ("acme-", true),
            ("xacme-a", false),
        ] {
            assert_eq!(access.has_project(name), expected, "{name}");
        }
        for (name, expected) in [
            ("acme/api", true),
            ("acme/a/b", false),
            ("acme", false),
            ("Acme/api", false),
            ("x/acme/api", false),
        ] {
            assert_eq!(access.has_repository(name), expected, "{name}");
        }
        assert!(!access.is_whole() && Access::default().is_whole());
        assert!(Access::default().has_project("any") && Access::default().has_repository("any/thing"));
        let nothing = Access::new(Some(&[]), None).expect("no glob");
        assert!(!nothing.has_project("any") && nothing.is_of_all_repositories());
        let broken = Access::new(Some(&texts(&["a["])), None).expect_err("no glob");
        assert_eq!(broken.0, "a[");
    }
}
