//! What of a clone is whole: a small file, written last.

use std::io;
use std::path::Path;

use crate::model::GitSha;
use crate::private;

/// The first line; another one is not understood, and nothing is believed.
const FORMAT: &str = "reposync clone 1";

/// The commits of a clone whose trees and files are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CloneState {
    /// The last one was fetched last.
    pub(crate) commits: Vec<GitSha>,
    /// Files of this many bytes and more were left on the server; none: all are there.
    pub(crate) left_out: Option<u64>,
}

impl CloneState {
    /// Reads it; the empty state where it is absent, damaged or of another version.
    pub(super) fn read(path: &Path) -> Self {
        std::fs::read_to_string(path).ok().and_then(|text| Self::parse(&text)).unwrap_or_default()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(FORMAT) {
            return None;
        }
        let left_out = match lines.next()?.strip_prefix("left out from bytes: ")? {
            "none" => None,
            bytes => Some(bytes.parse().ok()?),
        };
        let commits = lines.map(|line| line.parse().ok()).collect::<Option<_>>()?;
        Some(Self { commits, left_out })
    }

    /// Writes it, whole or not at all.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let left_out = self.left_out.map_or("none".to_owned(), |bytes| bytes.to_string());
        let mut text = format!("{FORMAT}\nleft out from bytes: {left_out}\n");
        for commit in &self.commits {
            text.push_str(&format!("{commit}\n"));
        }
        private::replace(path, text.as_bytes())
    }

    /// Adds a commit, of which files of `left_out` bytes and more stayed on the server. What an earlier one
    /// left there, the pack of a later one does not bring.
    pub(crate) fn add(&mut self, commit: GitSha, left_out: Option<u64>) {
        self.left_out = match (self.left_out, left_out) {
            (Some(before), Some(now)) => Some(before.min(now)),
            (before, now) => before.or(now),
        };
        self.commits.retain(|known| *known != commit);
        self.commits.push(commit);
    }

    /// Whether a commit is there, with all files of at most `max_file_bytes`.
    pub(crate) fn holds(&self, commit: GitSha, max_file_bytes: u64) -> bool {
        self.has_files_of(max_file_bytes) && self.commits.contains(&commit)
    }

    /// Whether the files of its commits are there that have at most `max_file_bytes`.
    pub(crate) fn has_files_of(&self, max_file_bytes: u64) -> bool {
        self.left_out.is_none_or(|bytes| bytes > max_file_bytes)
    }
}
