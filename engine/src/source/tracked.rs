//! Refuses state files that a Git repository tracks. The program trusts what it stores (ledger, caches, index),
//! so these files must not come with a clone.

use std::path::{Component, Path, PathBuf};

use gix::index::entry::Mode;

use crate::model::{StageError, StageResult};

/// What stands behind a database's name in the names of the files that belong to it.
const BESIDE_A_DATABASE: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// Refuses when the Git repository around one of these databases tracks it, or anything else in a
/// folder `.reposync`.
pub fn refuse_tracked(databases: &[&Path]) -> StageResult<()> {
    let mut repositories: Vec<(PathBuf, Vec<String>)> = Vec::new();
    for database in databases {
        for path in [lexical(database), real(database)] {
            for root in path.ancestors().skip(1).filter(|folder| folder.join(".git").exists()) {
                let Some(inside) = path.strip_prefix(root).ok().and_then(Path::to_str) else { continue };
                let inside = inside.replace('\\', "/");
                match repositories.iter_mut().find(|(known, _)| known == root) {
                    Some((_, paths)) if paths.contains(&inside) => {}
                    Some((_, paths)) => paths.push(inside),
                    None => repositories.push((root.to_owned(), vec![inside])),
                }
            }
        }
    }
    for (root, paths) in repositories {
        if let Some(found) = tracked(&root, &paths)? {
            let message = format!("`{found}` is tracked by the Git repository `{}`", root.display());
            return Err(StageError::local("engine", message).hint(format!(
                "RepoSync believes what it keeps there, so it must not come with a clone: look at who added it, then \
                 `git -C {} rm -r --cached {found}`, delete the files and commit; \
                 or set `state` and `cache` in [engine] to a folder outside the repository",
                root.display()
            )));
        }
    }
    Ok(())
}

/// The first tracked entry that is one of the paths, belongs to one, or leads to one by a link.
fn tracked(root: &Path, paths: &[String]) -> StageResult<Option<String>> {
    let dot = root.join(".git");
    let folder = match std::fs::read_to_string(&dot) {
        // A submodule's or a linked work tree's.
        Ok(text) => root.join(text.strip_prefix("gitdir:").unwrap_or_default().trim()),
        Err(_) => dot,
    };
    let index = folder.join("index");
    if !index.exists() {
        return Ok(None);
    }
    let options = gix::index::decode::Options::default();
    let index = gix::index::File::at(&index, gix::hash::Kind::Sha1, true, options).map_err(|error| {
        let message = format!("cannot tell what the Git repository `{}` tracks", root.display());
        StageError::local("engine", message).caused_by(error).hint(
            "RepoSync believes what it keeps beside the configuration, so it must not come with a clone: set \
             `state` and `cache` in [engine], and `path` of a `sqlite` store, to a folder outside the repository",
        )
    })?;
    let entries = index.entries().iter();
    let found = entries
        .map(|entry| (entry.path(&index), entry.mode))
        .find(|(entry, mode)| paths.iter().any(|path| concerns(entry, mode.contains(Mode::SYMLINK), path)));
    Ok(found.map(|(entry, _)| entry.to_string()))
}

/// Whether a tracked entry is the database at `path`, or in its `.reposync`, or a link on the way to it.
/// Case is ignored: some file systems do. Called for every entry of an index, so it stops at the first
/// name that differs and allocates nothing.
fn concerns(entry: &[u8], is_link: bool, path: &str) -> bool {
    let mut end = 0;
    for name in path.split('/') {
        end += name.len();
        let Some(rest) = after(entry, &path[..end]) else { return false };
        let (is_same, is_below) = (rest.is_empty(), rest.first() == Some(&b'/'));
        if (is_link && is_same) || (name == ".reposync" && (is_same || is_below)) {
            return true;
        }
        end += 1;
    }
    after(entry, path).is_some_and(|rest| {
        let is_file = BESIDE_A_DATABASE.iter().any(|suffix| rest.eq_ignore_ascii_case(suffix.as_bytes()));
        is_file || rest.first() == Some(&b'/')
    })
}

/// What follows `start` in `entry`, which begins with it.
fn after<'a>(entry: &'a [u8], start: &str) -> Option<&'a [u8]> {
    let (head, rest) = entry.split_at_checked(start.len())?;
    head.eq_ignore_ascii_case(start.as_bytes()).then_some(rest)
}

/// The path without `.` and `..`.
fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(out.pop()),
            part => out.push(part),
        }
    }
    out
}

/// The path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    match there {
        Some((above, real)) => path.strip_prefix(above).map_or(real.clone(), |rest| real.join(rest)),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_a_database() {
        let state = "docs/.reposync/state.db";
        for entry in [
            "docs/.reposync/state.db",
            "docs/.reposync/state.db-wal",
            "docs/.reposync/components/x.cwasm",
            "docs/.reposync/.gitignore",
            "docs/.RepoSync/state.db",
            "docs/.reposync",
        ] {
            assert!(concerns(entry.as_bytes(), false, state), "{entry}");
        }
        for entry in ["docs/.reposyncs", "docs/reposync.toml", ".reposync/state.db", "docs", "docs/.repo"] {
            assert!(!concerns(entry.as_bytes(), false, state), "{entry}");
        }
        // Outside a `.reposync`, the database alone counts.
        let plain = "var/state.db";
        for (entry, expected) in [
            ("var/state.db", true),
            ("var/state.db-journal", true),
            ("var/state.db/x", true),
            ("var/state.db.md", false),
            ("var/other", false),
        ] {
            assert_eq!(concerns(entry.as_bytes(), false, plain), expected, "{entry}");
        }
        // A link that is tracked decides where the path leads.
        assert!(concerns(b"docs", true, state));
        assert!(!concerns(b"doc", true, state));
    }
}
