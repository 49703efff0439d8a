//! Decides which files a component's stage takes.

use crate::model::{BadPattern, PathMatcher};

/// The stage's patterns, or else the extensions that the component declares.
#[derive(Debug, Clone)]
pub(super) enum Matching {
    Patterns(PathMatcher),
    /// Extensions that end the path, and names and globs.
    Declared(Vec<String>, Option<PathMatcher>),
}

impl Matching {
    pub(super) fn patterns(patterns: &[String]) -> Result<Self, BadPattern> {
        PathMatcher::new(patterns).map(Self::Patterns)
    }

    /// What a component declares: see [`ComponentInfo::extensions`](super::info::ComponentInfo).
    pub(super) fn declared(all: &[String]) -> Result<Self, BadPattern> {
        let is_extension =
            |text: &&String| text.starts_with('.') && !text.contains(['/', '*', '?', '[', '{']);
        let extensions = all.iter().filter(is_extension).cloned().collect();
        let others: Vec<&String> = all.iter().filter(|text| !is_extension(text)).collect();
        let others = if others.is_empty() { None } else { Some(PathMatcher::new(&others)?) };
        Ok(Self::Declared(extensions, others))
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Patterns(patterns) => patterns.matches(path),
            Self::Declared(extensions, others) => {
                let lower = path.to_lowercase();
                extensions.iter().any(|extension| lower.ends_with(extension.as_str()))
                    || others.as_ref().is_some_and(|others| others.matches(path))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_names_and_globs_are_declared() {
        let declared = [".md", "makefile", "docs/**/*.txt", ".env"].map(str::to_owned);
        let matching = Matching::declared(&declared).expect("good patterns");
        for path in ["a/B.MD", "Makefile", "sub/MAKEFILE", "docs/a/b.txt", "prod.env"] {
            assert!(matching.matches(path), "{path}");
        }
        for path in ["Makefile.am", "a.txt", "other/docs/a.txt"] {
            assert!(!matching.matches(path), "{path}");
        }
    }
}
