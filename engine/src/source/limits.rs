//! `[engine.limits]`: how much of one repository is read before it is refused. Git stores equal
//! trees once, so a few kilobytes can name 10^10 paths; sizes on disk bound nothing.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::{ByteSize, EntryMode, StageError, TreeEntry};

/// Bytes that all paths of a repository may have together, for each of the files it may have.
/// Source trees have 30 to 110 bytes per path.
const BYTES_PER_PATH: usize = 128;

/// Bounds on one repository. One that is beyond a bound is refused; the others of its project go on.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Files of a repository, links and submodules included; and as many folders. All paths together
    /// may have 128 bytes for each file.
    pub files: usize,
    /// Bytes of one path.
    pub path_bytes: usize,
    /// Folders within folders.
    pub depth: usize,
    /// Bytes of one commit, tag or tree object when it is inflated; for GitHub, of one answer that
    /// lists a tree.
    pub object_bytes: ByteSize,
    /// Requests for the tree of one commit, where GitHub cuts the recursive listing short.
    pub tree_requests: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            files: 1_000_000,
            path_bytes: 4096,
            depth: 512,
            object_bytes: ByteSize::mib(64),
            tree_requests: 2000,
        }
    }
}

/// Counts what a walk has found, entry by entry, before the entry is kept.
#[derive(Debug, Clone)]
pub(super) struct TreeTotals<'a> {
    limits: &'a Limits,
    stage: &'a str,
    /// The repository, for messages.
    repo: &'a str,
    files: usize,
    folders: usize,
    path_bytes: usize,
}

impl<'a> TreeTotals<'a> {
    pub(super) fn new(limits: &'a Limits, stage: &'a str, repo: &'a str) -> Self {
        Self { limits, stage, repo, files: 0, folders: 0, path_bytes: 0 }
    }

    /// Counts a file, a link or a submodule by its path.
    pub(super) fn file(&mut self, path: &[u8]) -> Result<(), StageError> {
        self.files += 1;
        if self.files > self.limits.files {
            return Err(self.beyond(format!("it has more than {} files", self.limits.files), "files"));
        }
        self.path(path)
    }

    /// Counts a folder by its path.
    pub(super) fn folder(&mut self, path: &[u8]) -> Result<(), StageError> {
        self.folders += 1;
        if self.folders > self.limits.files {
            return Err(self.beyond(format!("it has more than {} folders", self.limits.files), "files"));
        }
        self.path(path)
    }

    fn path(&mut self, path: &[u8]) -> Result<(), StageError> {
        if path.len() > self.limits.path_bytes {
            return Err(
                self.beyond(format!("a path has more than {} bytes", self.limits.path_bytes), "path_bytes")
            );
        }
        self.path_bytes += path.len();
        let most = self.limits.files.saturating_mul(BYTES_PER_PATH);
        if self.path_bytes > most {
            return Err(self.beyond(format!("its paths have more than {most} bytes together"), "files"));
        }
        Ok(())
    }

    /// Checks how deep a folder lies; the folders at the top have the depth 1.
    pub(super) fn depth(&self, depth: usize) -> Result<(), StageError> {
        if depth > self.limits.depth {
            return Err(
                self.beyond(format!("it has more than {} nested folders", self.limits.depth), "depth")
            );
        }
        Ok(())
    }

    /// The refusal of a repository that is beyond the bound `key`.
    pub(super) fn beyond(&self, what: impl Into<String>, key: &str) -> StageError {
        beyond(self.stage, self.repo, &what.into(), key)
    }
}

/// The refusal of a repository that is beyond the bound `key`.
pub(super) fn beyond(stage: &str, repo: &str, what: &str, key: &str) -> StageError {
    StageError::refused(stage, format!("`{repo}` is refused: {what}"))
        .hint(format!("raise `{key}` in [engine.limits] if this is meant to be, or leave the repository out"))
}

/// Brings a tree into the form that `Source::tree` promises: sorted by path, each path once. Of
/// entries that have the same path the first counts, as for `git show COMMIT:PATH`.
pub(super) fn in_order(mut entries: Vec<TreeEntry>, repo: &str) -> Vec<TreeEntry> {
    // A path that is readable as it stands counts before one in which bytes were replaced.
    entries.sort_by(|a, b| a.path.cmp(&b.path).then(b.path_is_utf8.cmp(&a.path_is_utf8)));
    let before = entries.len();
    entries.dedup_by(|later, first| later.path == first.path);
    if entries.len() < before {
        let times = before - entries.len();
        tracing::warn!(
            repository = repo,
            times,
            "a tree holds one path more than once; the first entry counts"
        );
    }
    entries
}

/// True for a name that Git would check out as a file or folder. A tree may hold others, which no
/// path, link or file system can be trusted with.
pub(super) fn is_plain_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/') && !name.eq_ignore_ascii_case(b".git")
}

/// One entry of a tree. `plain`: all names of the path are [plain](is_plain_name).
pub(super) fn entry(path: Vec<u8>, plain: bool, mode: EntryMode, sha: crate::model::GitSha) -> TreeEntry {
    let (path, utf8) = match String::from_utf8(path) {
        Ok(path) => (path, true),
        Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), false),
    };
    TreeEntry { path, path_is_utf8: utf8 && plain, mode, sha, size: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::GitSha;

    fn small() -> Limits {
        Limits { files: 3, path_bytes: 10, depth: 2, ..Limits::default() }
    }

    fn hint_of(error: &StageError) -> &str {
        error.hint.as_deref().unwrap_or_default()
    }

    #[test]
    fn each_bound_is_counted_and_named() {
        let limits = small();
        let mut tally = TreeTotals::new(&limits, "git", "r");
        for path in ["a", "b/c", "0123456789"] {
            tally.file(path.as_bytes()).expect("within the bounds");
            tally.folder(path.as_bytes()).expect("within the bounds");
        }
        let error = tally.file(b"d").expect_err("the fourth");
        assert_eq!(error.message, "`r` is refused: it has more than 3 files");
        assert!(error.kind.is_item());
        assert!(hint_of(&error).contains("`files` in [engine.limits]"));
        assert!(hint_of(&tally.folder(b"d").expect_err("the fourth")).contains("`files`"));
        let mut tally = TreeTotals::new(&limits, "git", "r");
        let error = tally.file(b"0123456789a").expect_err("too long");
        assert!(hint_of(&error).contains("`path_bytes`"), "{error}");
        tally.depth(2).expect("within the bound");
        assert!(hint_of(&tally.depth(3).expect_err("too deep")).contains("`depth`"));
    }

    #[test]
    fn the_bytes_of_all_paths_are_bounded_together() {
        let limits = Limits { files: 2, path_bytes: 1000, ..Limits::default() };
        let mut tally = TreeTotals::new(&limits, "git", "r");
        tally.folder(&[b'a'; 128]).expect("within the bounds");
        tally.file(&[b'a'; 128]).expect("within the bounds");
        let error = tally.file(b"a").expect_err("one byte more");
        assert_eq!(error.message, "`r` is refused: its paths have more than 256 bytes together");
    }

    #[test]
    fn a_path_is_there_once_and_the_first_entry_counts() {
        let file = |path: &str, plain, sha| entry(path.into(), plain, EntryMode::File, GitSha([sha; 20]));
        let tree = vec![
            file("c", true, 1),
            file("a", true, 2),
            file("a", true, 3),
            file("b", false, 4),
            file("b", true, 5),
        ];
        let tree = in_order(tree, "r");
        let shown: Vec<_> = tree.iter().map(|e| (e.path.as_str(), e.path_is_utf8, e.sha.0[0])).collect();
        assert_eq!(shown, [("a", true, 2), ("b", true, 5), ("c", true, 1)]);
    }

    #[test]
    fn names_that_git_does_not_check_out() {
        for name in ["a", ".gitignore", "..a", "a..", ".git2", "\u{fffd}"] {
            assert!(is_plain_name(name.as_bytes()), "{name}");
        }
        for name in ["", ".", "..", ".git", ".GIT", "a/b", "/"] {
            assert!(!is_plain_name(name.as_bytes()), "{name}");
        }
    }
}
