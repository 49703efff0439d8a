//! Decides which files a component's stage takes.

use crate::model::{BadPattern, PathMatcher};

/// The stage's patterns, or else the extensions that the component declares.
#[derive(Debug, Clone)]
pub(super) enum Matching {
    Patterns(PathMatcher),
    Extensions(Vec<String>),
}

impl Matching {
    pub(super) fn patterns(patterns: &[String]) -> Result<Self, BadPattern> {
        PathMatcher::new(patterns).map(Self::Patterns)
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Patterns(patterns) => patterns.matches(path),
            Self::Extensions(extensions) => {
                let path = path.to_lowercase();
                extensions.iter().any(|extension| path.ends_with(extension.as_str()))
            }
        }
    }
}
