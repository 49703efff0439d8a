//! A repository outside the engine: two branches, a name, a key, and its former names and trees.

use std::collections::{BTreeMap, BTreeSet};

use reposync::model::{EntryMode, GitSha};

pub(crate) const BRANCHES: [&str; 2] = ["main", "dev"];

/// The mode of a tree entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mode {
    File,
    Executable,
    Symlink,
    Submodule,
}

impl Mode {
    pub(super) fn entry(self) -> EntryMode {
        match self {
            Self::File | Self::Executable => EntryMode::File,
            Self::Symlink => EntryMode::Symlink,
            Self::Submodule => EntryMode::Submodule,
        }
    }
}

/// A tree entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Blob {
    pub(crate) text: String,
    pub(crate) mode: Mode,
}

impl Blob {
    /// A plain file.
    pub(crate) fn file(text: impl Into<String>) -> Self {
        Self { text: text.into(), mode: Mode::File }
    }

    pub(super) fn sha(&self) -> GitSha {
        sha_of(&self.text)
    }
}

/// The entry at each path.
pub(crate) type Tree = BTreeMap<String, Blob>;

#[derive(Debug, Clone)]
pub(crate) struct Repo {
    /// The source's stable key; changes when the repository is recreated.
    pub(crate) key: String,
    pub(crate) name: String,
    /// Every name it has had under this key.
    pub(crate) names: BTreeSet<String>,
    pub(crate) listed: bool,
    /// `false` if it has no commits.
    pub(crate) commits: bool,
    /// Grows with every push.
    pub(crate) stamp: u64,
    pub(crate) branches: [Tree; 2],
    pub(crate) default: usize,
    /// Trees of older commits.
    pub(crate) history: Vec<Tree>,
    /// The ledger does not know the key under this name: the repository was recreated, or the ledger
    /// was lost, and no finished run has seen it since.
    pub(crate) unseen: bool,
}

impl Repo {
    /// Forgets the former names.
    pub(crate) fn forget(&mut self) {
        self.names = [self.name.clone()].into();
        self.unseen = true;
    }

    /// Whether a listing shows it and it has commits.
    pub(crate) fn is_there(&self) -> bool {
        self.listed && self.commits
    }

    /// The tree that a project follows.
    pub(crate) fn tree(&self, branch: Option<usize>) -> &Tree {
        &self.branches[branch.unwrap_or(self.default)]
    }

    /// Mutable access to that tree.
    pub(crate) fn tree_mut(&mut self, branch: Option<usize>) -> &mut Tree {
        &mut self.branches[branch.unwrap_or(self.default)]
    }
}

pub(super) fn sha_of(text: &str) -> GitSha {
    let mut sha = [0; 20];
    sha.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..20]);
    GitSha(sha)
}
