//! Finds the configuration file: in the current folder, or in a parent folder that can be trusted.

use std::path::{Path, PathBuf};

use super::FILE_NAME;
use super::problems::Problems;
use crate::settings::Problem;

/// Finds the file: `explicit` if given, otherwise `reposync.toml` in `start` or its nearest parent
/// folder, up to the top level of the Git checkout that contains `start`.
///
/// A configuration decides where secrets are sent. A file found in a parent folder must therefore
/// belong to this user or to root and must not be world-writable. A file in `start` itself or given
/// explicitly is the user's choice.
pub fn find(start: &Path, explicit: Option<&Path>) -> Result<PathBuf, Problems> {
    if let Some(path) = explicit {
        return Ok(start.join(path));
    }
    let mut folders = start.ancestors();
    for folder in folders.by_ref() {
        let path = folder.join(FILE_NAME);
        if path.is_file() {
            if folder != start
                && let Some(why) = distrust(&path)
            {
                return Err(refused(&path, &why));
            }
            return Ok(path);
        }
        if folder.join(".git").symlink_metadata().is_ok() {
            return Err(not_in_checkout(folder, folders));
        }
    }
    let problem = Problem::new("", format!("no {FILE_NAME} in this folder or a parent folder"))
        .hint("create one with `reposync init`, or pass `--config FILE`");
    Err(Problems::new(Path::new(FILE_NAME), "", vec![problem]))
}

fn not_in_checkout<'p>(top: &Path, above: impl Iterator<Item = &'p Path>) -> Problems {
    let message = format!(
        "no {FILE_NAME} in this folder or a parent folder, up to the Git top level `{}`",
        top.display()
    );
    let hint = match above.map(|folder| folder.join(FILE_NAME)).find(|path| path.is_file()) {
        Some(path) => {
            let path = path.display();
            format!("`{path}` is outside this checkout; to use it, pass `--config {path}`")
        }
        None => "create one with `reposync init`, or pass `--config FILE`".to_owned(),
    };
    Problems::new(Path::new(FILE_NAME), "", vec![Problem::new("", message).hint(hint)])
}

fn refused(path: &Path, why: &str) -> Problems {
    let hint = format!("review it, and if you trust it, pass `--config {}`", path.display());
    let message = format!("found in a parent folder, but not used: {why}");
    Problems::new(path, "", vec![Problem::new("", message).hint(hint)])
}

/// Why a file in a parent folder must not be used; `None` if it may be.
#[cfg(unix)]
fn distrust(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let own = rustix::process::geteuid().as_raw();
    // For a symbolic link, both the link and its target are checked, since either decides what is
    // read.
    for metadata in [path.symlink_metadata(), path.metadata()] {
        match metadata {
            Ok(metadata) => {
                let link = metadata.is_symlink(); // the mode of a symbolic link has no effect
                if let Some(why) = distrusted(metadata.uid(), metadata.mode(), link, own) {
                    return Some(why);
                }
            }
            Err(error) => return Some(format!("cannot read its owner: {error}")),
        }
    }
    None
}

#[cfg(unix)]
fn distrusted(owner: u32, mode: u32, link: bool, own: u32) -> Option<String> {
    if owner != own && owner != 0 {
        return Some(format!("it belongs to another user (uid {owner})"));
    }
    (!link && mode & 0o002 != 0).then(|| "every user can write to it".to_owned())
}

#[cfg(not(unix))]
fn distrust(_: &Path) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(problems: &Problems) -> String {
        problems.render(false, 300)
    }

    #[test]
    fn the_search_ends_at_the_top_of_a_checkout() {
        let root = tempfile::tempdir().expect("a folder");
        let above = root.path().join(FILE_NAME);
        let clone = root.path().join("clone");
        let deep = clone.join("a/b");
        std::fs::create_dir_all(&deep).expect("made");
        std::fs::write(&above, "").expect("written");
        assert_eq!(find(&deep, None).expect("no checkout yet"), above);
        // `.git` is a file in worktrees and submodules, and a folder in clones.
        std::fs::write(clone.join(".git"), "gitdir: elsewhere").expect("written");
        let refused = shown(&find(&deep, None).expect_err("outside"));
        assert!(refused.contains(&format!("`--config {}`", above.display())), "{refused}");
        let own = clone.join(FILE_NAME);
        std::fs::write(&own, "").expect("written");
        assert_eq!(find(&deep, None).expect("at the top level"), own);
        assert_eq!(find(&clone, None).expect("here"), own);
    }

    #[cfg(unix)]
    #[test]
    fn what_everybody_may_write_is_used_only_where_it_lies_or_is_named() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().expect("a folder");
        let (path, deep) = (root.path().join(FILE_NAME), root.path().join("a"));
        std::fs::create_dir(&deep).expect("made");
        std::fs::write(&path, "").expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).expect("set");
        let refused = shown(&find(&deep, None).expect_err("not trusted"));
        assert!(refused.contains("every user can write to it") && refused.contains("--config "), "{refused}");
        assert_eq!(find(root.path(), None).expect("here"), path);
        assert_eq!(find(&deep, Some(&path)).expect("named"), path);
    }

    #[cfg(unix)]
    #[test]
    fn only_this_user_and_root_are_trusted() {
        assert_eq!(distrusted(1000, 0o100_644, false, 1000), None);
        assert_eq!(distrusted(0, 0o100_644, false, 1000), None);
        assert_eq!(distrusted(0, 0o120_777, true, 1000), None);
        let why = distrusted(1001, 0o100_644, false, 1000).expect("another's");
        assert_eq!(why, "it belongs to another user (uid 1001)");
        assert!(distrusted(1000, 0o100_644, false, 0).is_some(), "root trusts root alone");
        assert!(distrusted(1000, 0o100_646, false, 1000).is_some());
    }
}
