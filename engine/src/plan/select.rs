//! Which files of a tree are wanted, as far as names, modes and sizes can tell.

use super::attributes::Attributes;
use crate::model::{EntryMode, PathMatcher, SkipReason, TreeEntry};

/// What a project wants of a repository's files.
#[derive(Debug, Clone)]
pub struct Selector {
    /// Lower case, with the dot; none: every text file.
    pub allowed_extensions: Option<Vec<String>>,
    /// Files that are not indexed.
    pub exclude: PathMatcher,
    /// A file of exactly this many bytes is indexed, a larger one is not.
    pub max_file_bytes: u64,
}

impl Selector {
    /// Why an entry is not indexed; none: its content decides.
    pub fn skip(&self, entry: &TreeEntry, attributes: &Attributes) -> Option<SkipReason> {
        match entry.mode {
            EntryMode::Submodule => return Some(SkipReason::Submodule),
            EntryMode::Symlink => return Some(SkipReason::Symlink),
            EntryMode::File => {}
        }
        if !entry.path_is_utf8 {
            return Some(SkipReason::Undecodable);
        }
        if self.exclude.matches(&entry.path) {
            return Some(SkipReason::Excluded);
        }
        if !self.allows_extension(&entry.path) {
            return Some(SkipReason::OtherExtension);
        }
        if let Some(reason) = attributes.skip(&entry.path) {
            return Some(reason);
        }
        entry.size.is_some_and(|size| size > self.max_file_bytes).then_some(SkipReason::TooLarge)
    }

    fn allows_extension(&self, path: &str) -> bool {
        let Some(allowed) = &self.allowed_extensions else { return true };
        let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
        // `.tar.gz` and `.md` alike; a file named just `.md` is a hidden file of that extension.
        allowed.iter().any(|extension| name.ends_with(extension))
    }
}
