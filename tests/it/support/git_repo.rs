//! Local Git repositories made by the real `git`, with fixed names and times, so that the same steps
//! give the same ids.

use std::path::{Path, PathBuf};
use std::process::Command;

use reposync::model::GitSha;

/// A repository with a work tree.
pub(crate) struct GitRepo {
    _dir: Option<tempfile::TempDir>,
    path: PathBuf,
}

impl GitRepo {
    /// An empty repository on the branch `main` in a new folder at this path, which the caller removes.
    pub(crate) fn at(path: &Path) -> Self {
        std::fs::create_dir_all(path).expect("a folder");
        let repo = Self { _dir: None, path: path.to_owned() };
        repo.git(&["init", "--quiet", "--initial-branch=main"]);
        repo
    }

    /// The same in a folder of this name in a new temporary folder.
    pub(crate) fn init(name: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        // The real path: on some systems the temporary folder is a link.
        let path = dir.path().canonicalize().expect("exists").join(name);
        Self { _dir: Some(dir), ..Self::at(&path) }
    }

    /// The work tree's folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder as text.
    pub(crate) fn key(&self) -> String {
        self.path.to_str().expect("UTF-8").to_owned()
    }

    /// Runs `git` in the work tree; returns its standard output without the last newline.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        git(&self.path, args)
    }

    /// Writes a file of the work tree.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path.join(path);
        std::fs::create_dir_all(path.parent().expect("inside")).expect("folders");
        std::fs::write(path, content).expect("a file");
        self
    }

    /// Commits everything in the work tree.
    pub(crate) fn commit(&self, message: &str) -> GitSha {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.sha("HEAD")
    }

    /// The object that a revision names.
    pub(crate) fn sha(&self, revision: &str) -> GitSha {
        self.git(&["rev-parse", revision]).parse().expect("an object id")
    }
}

/// Runs `git` in a folder, isolated from the user's configuration.
pub(crate) fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .args(["-c", "protocol.file.allow=always", "-c", "gc.auto=0", "-c", "core.autocrlf=false"])
        .args(args)
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", "Ada")
        .env("GIT_AUTHOR_EMAIL", "ada@example.com")
        .env("GIT_AUTHOR_DATE", "2026-01-02T03:04:05Z")
        .env("GIT_COMMITTER_NAME", "Ada")
        .env("GIT_COMMITTER_EMAIL", "ada@example.com")
        .env("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z")
        .output()
        .expect("the `git` program");
    assert!(
        output.status.success(),
        "git {args:?} in {}: {}",
        folder.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned()
}
