//! Git's data: repositories, commits, trees.

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

/// The type of a tree entry, from its Git mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryMode {
    /// 100644 and 100755: a file.
    File,
    /// 120000: a symbolic link. The blob holds the path of the target.
    Symlink,
    /// 160000: a commit of another repository.
    Submodule,
}

/// One blob, symbolic link or submodule of a recursive tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeEntry {
    /// The path from the repository's root, `/`-separated. If it is not UTF-8, the invalid bytes
    /// are replaced and `path_is_utf8` is false.
    pub path: String,
    /// False if the path in Git is not UTF-8, or has a component that Git does not check out
    /// (empty, `.`, `..`, `.git`, one with a `/`). Such a file is not indexed.
    pub path_is_utf8: bool,
    /// The type of the entry.
    pub mode: EntryMode,
    /// The blob's id; for a submodule, the id of its commit.
    pub sha: GitSha,
    /// The blob's size in bytes; `None` if the source does not know it without reading the blob.
    pub size: Option<u64>,
}

impl TreeEntry {
    /// A regular file of which only the path is known, for rules that use nothing else.
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

/// How a source identifies a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RepoRef {
    /// `owner/name` on GitHub, the folder's name for local Git. Shown to users and hashed into
    /// chunk ids.
    pub name: String,
    /// The source's own stable key: GitHub's numeric id, which survives renames, or the local path.
    pub key: String,
}

/// A repository in a complete listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoEntry {
    /// The repository.
    pub repo: RepoRef,
    /// The default branch; empty if the listing does not have it.
    pub default_branch: String,
    /// `pushed_at` of the listing. `None`: the source has no such time stamp, so the head must be
    /// fetched.
    pub pushed_at: Option<String>,
    /// True if `pushed_at` was at least 10 s before the server's time. A later push in the same
    /// second would leave a more recent `pushed_at` unchanged.
    pub pushed_at_settled: bool,
}

/// The commit to index, by branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BranchRef {
    /// The repository's default branch (local Git: `HEAD`).
    Default,
    /// A branch by name.
    Named(String),
}

/// A stored response for conditional requests: the ETag and the content it identifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The ETag, verbatim.
    pub etag: String,
    /// The parts of the response that the source needs, in its own encoding. Never holds a secret.
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
