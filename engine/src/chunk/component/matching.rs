//! Which files a component's stage takes.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Patterns of the stage, or extensions that the component declares.
#[derive(Debug, Clone)]
pub(super) enum Matching {
    Patterns(GlobSet),
    Extensions(Vec<String>),
}

impl Matching {
    pub(super) fn patterns(patterns: &[String]) -> Result<Self, globset::Error> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let anywhere = if pattern.contains('/') { pattern.clone() } else { format!("**/{pattern}") };
            set.add(GlobBuilder::new(&anywhere).literal_separator(true).case_insensitive(true).build()?);
        }
        Ok(Self::Patterns(set.build()?))
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Patterns(set) => set.is_match(path),
            Self::Extensions(extensions) => {
                let path = path.to_lowercase();
                extensions.iter().any(|extension| path.ends_with(extension.as_str()))
            }
        }
    }
}
