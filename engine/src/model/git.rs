//! What Git knows: repositories, commits, trees.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A SHA-1 object id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GitSha(pub [u8; 20]);

impl FromStr for GitSha {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 20];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for GitSha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for GitSha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for GitSha {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GitSha {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a tree entry is, by its Git mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryMode {
    /// 100644 and 100755: a file.
    File,
    /// 120000: its content is the target's path.
    Symlink,
    /// 160000: a commit of another repository.
    Submodule,
}

/// One blob, link or submodule of a recursive tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeEntry {
    /// The path from the repository's root, `/`-separated. Bytes that are not UTF-8 were
    /// replaced, and `path_is_utf8` is false.
    pub path: String,
    /// False where the path in Git is not UTF-8, or has a name that Git does not check out (empty, `.`,
    /// `..`, `.git`, one with a `/`); such a file is not indexed.
    pub path_is_utf8: bool,
    /// What it is.
    pub mode: EntryMode,
    /// The blob's id (a commit's, for a submodule).
    pub sha: GitSha,
    /// The blob's size in bytes, where the source knows it without reading the blob.
    pub size: Option<u64>,
}

impl TreeEntry {
    /// A file of which only the path is known, for rules that look at nothing else.
    pub fn of_path(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            path_is_utf8: true,
            mode: EntryMode::File,
            sha: GitSha([0; 20]),
            size: None,
        }
    }
}

/// How a source finds a repository again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RepoRef {
    /// `owner/name` for GitHub, the folder's name for local Git: what users see and what ids are made of.
    pub name: String,
    /// The source's own stable key: GitHub's numeric id, or the local path. Survives renames on GitHub.
    pub key: String,
}

/// A repository as a complete listing shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoEntry {
    /// Name and key.
    pub repo: RepoRef,
    /// The default branch; empty where the listing does not tell.
    pub default_branch: String,
    /// `pushed_at` as the listing gave it. `None`: the source has no such stamp, ask the head.
    pub pushed_at: Option<String>,
    /// True when `pushed_at` was at least 10 s older than the server's clock, so that a push in
    /// the same moment cannot hide behind it.
    pub pushed_at_settled: bool,
}

/// Which commit of a repository is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BranchRef {
    /// The repository's default branch (local Git: `HEAD`).
    Default,
    /// A branch by name.
    Named(String),
}

/// An answer of a service that is kept to ask conditionally: an ETag and what it stood for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The ETag, verbatim.
    pub etag: String,
    /// What the source needs of the answer, in its own form. Never a secret.
    pub body: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shas_round_trip() {
        let text = "0123456789abcdef0123456789abcdef01234567";
        let sha: GitSha = text.parse().expect("valid");
        assert_eq!(sha.to_string(), text);
        assert!("0123".parse::<GitSha>().is_err());
    }
}
