//! Where a repository's data may lie. Its objects may be borrowed (`objects/info/alternates`), its
//! `.git` may be a file or a link that names another folder. These are followed inside the repository
//! and inside folders that the stage allows: a folder that somebody else made must not bring the
//! objects of another repository into an index.

use std::path::{Path, PathBuf};

use super::files::{LONGEST, MOST_BORROWED, small_file};
use crate::model::StageError;

/// Why a repository's data is not read.
#[derive(Debug)]
pub(in crate::source) enum Refused {
    /// Its objects lie, or are borrowed, from this folder outside, which no setting allows.
    Objects(PathBuf),
    /// Its `.git` leads to this folder outside, which does not lead back.
    GitFolder(PathBuf),
    /// This file of alternates cannot be read, or names too many folders.
    Unreadable(PathBuf),
}

/// The folders of one opened repository.
#[derive(Debug)]
pub(in crate::source) struct Folders {
    /// As it was given: a work tree, its `.git`, or a bare repository.
    pub(in crate::source) given: PathBuf,
    /// Of `HEAD`.
    pub(in crate::source) git: PathBuf,
    /// Of `objects` and the configuration; for a linked work tree that of the main repository.
    pub(in crate::source) common: PathBuf,
    /// `core.worktree` of the repository's configuration.
    pub(in crate::source) worktree: Option<PathBuf>,
}

impl Folders {
    /// Checks every folder that would be read. `allowed` are the folders that the stage names.
    pub(in crate::source) fn check(&self, allowed: &[PathBuf]) -> Result<(), Refused> {
        let allowed: Vec<PathBuf> = allowed.iter().map(|folder| real(folder)).collect();
        self.check_git(&allowed)?;
        self.check_objects(&allowed)
    }

    /// A `.git` that leads elsewhere must be known there: a linked work tree is named by the main
    /// repository, a submodule's folder by its `core.worktree`.
    fn check_git(&self, allowed: &[PathBuf]) -> Result<(), Refused> {
        let dot = if self.given.ends_with(".git") { self.given.clone() } else { self.given.join(".git") };
        let leads = dot.is_file() || dot.symlink_metadata().is_ok_and(|dot| dot.is_symlink());
        let git = real(&self.git);
        if leads {
            let tree = real(dot.parent().unwrap_or(&dot));
            let named = small_file(&git.join("gitdir")).map(|named| git.join(named.trim()));
            let back = named.is_some_and(|named| named.parent().is_some_and(|folder| real(folder) == tree))
                || self.worktree.as_ref().is_some_and(|worktree| real(&git.join(worktree)) == tree);
            if !back && !git.starts_with(&tree) && !within(&git, allowed) {
                return Err(Refused::GitFolder(git));
            }
        }
        let common = real(&self.common);
        if git.starts_with(&common) || within(&common, allowed) {
            Ok(())
        } else {
            Err(Refused::GitFolder(common))
        }
    }

    fn check_objects(&self, allowed: &[PathBuf]) -> Result<(), Refused> {
        let objects = self.common.join("objects");
        let home = real(&self.common);
        let mut seen = Vec::new();
        let mut left = vec![objects.clone()];
        while let Some(folder) = left.pop() {
            let folder = real(&folder);
            if seen.contains(&folder) {
                continue;
            }
            for folder in [folder.clone(), real(&folder.join("pack"))] {
                if !folder.starts_with(&home) && !within(&folder, allowed) {
                    return Err(Refused::Objects(folder));
                }
            }
            let list = folder.join("info").join("alternates");
            match list.metadata() {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Ok(file) if file.is_file() && file.len() <= LONGEST => {
                    let text = std::fs::read(&list).map_err(|_| Refused::Unreadable(list.clone()))?;
                    let named =
                        gix::odb::alternate::parse(&text).map_err(|_| Refused::Unreadable(list.clone()))?;
                    // Relative ones are read from the folder of the repository's own objects.
                    left.extend(named.into_iter().map(|path| objects.join(path)));
                }
                _ => return Err(Refused::Unreadable(list)),
            }
            seen.push(folder);
            if seen.len() + left.len() > MOST_BORROWED {
                return Err(Refused::Unreadable(list));
            }
        }
        Ok(())
    }
}

/// The path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn within(path: &Path, folders: &[PathBuf]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
}

impl Refused {
    /// The error for the repository at `path`.
    pub(in crate::source) fn refusal(self, stage: &str, path: &str) -> StageError {
        let allow =
            |folder: &Path| format!("allow it: alternates = [\"{}\"] in [stages.{stage}]", folder.display());
        match self {
            Self::Objects(folder) => {
                let message = format!(
                    "`{path}` borrows objects from `{}`, which lies outside it and is not allowed",
                    folder.display()
                );
                let hint = format!(
                    "{}; or make the repository complete: `git -C {path} repack -a -d`, then remove its \
                     `objects/info/alternates`",
                    allow(&folder)
                );
                StageError::refused(stage, message).hint(hint)
            }
            Self::GitFolder(folder) => {
                let message = format!(
                    "the `.git` of `{path}` leads to `{}`, which lies outside it and does not lead back",
                    folder.display()
                );
                let hint = format!("{}; or name that repository itself", allow(&folder));
                StageError::refused(stage, message).hint(hint)
            }
            Self::Unreadable(list) => {
                StageError::refused(stage, format!("cannot read `{}` of `{path}`", list.display()))
                    .hint("it must be a small file that names the object folders to borrow from, one a line")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn temporary() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().canonicalize().expect("it exists");
        (folder, path)
    }

    /// A bare repository's folder whose objects borrow from these folders.
    fn borrows(root: &Path, name: &str, from: &str) -> PathBuf {
        let common = root.join(name);
        fs::create_dir_all(common.join("objects/info")).expect("folders");
        if !from.is_empty() {
            fs::write(common.join("objects/info/alternates"), from).expect("a file");
        }
        common
    }

    fn check(folder: &Path, allowed: &[PathBuf]) -> Result<(), Refused> {
        let [given, git, common] = [folder; 3].map(Path::to_owned);
        Folders { given, git, common, worktree: None }.check(allowed)
    }

    #[test]
    fn only_allowed_folders_are_borrowed_from() {
        let (_folder, root) = temporary();
        let third = borrows(&root, "third", "");
        let second = borrows(&root, "second", &format!("{}/objects\n", third.display()));
        let inside = borrows(&root, "inside", "# a comment\n../pool/objects\n");
        borrows(&inside, "pool", "");
        assert!(check(&third, &[]).is_ok());
        assert!(check(&inside, &[]).is_ok());

        let first = borrows(&root, "first", "../../second/objects\n");
        let outside = |allowed: &[PathBuf]| match check(&first, allowed) {
            Err(Refused::Objects(folder)) => folder,
            other => panic!("{other:?}"),
        };
        assert_eq!(outside(&[]), second.join("objects"));
        // What is borrowed from may itself borrow.
        assert_eq!(outside(std::slice::from_ref(&second)), third.join("objects"));
        assert!(check(&first, &[second.join("objects"), third]).is_ok());
        assert!(check(&first, &[root]).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn links_and_endless_lists_are_refused() {
        let (_folder, root) = temporary();
        let other = borrows(&root, "other", "");
        let linked = root.join("linked");
        fs::create_dir_all(&linked).expect("a folder");
        std::os::unix::fs::symlink(other.join("objects"), linked.join("objects")).expect("a link");
        assert!(matches!(check(&linked, &[]), Err(Refused::Objects(_))));
        let packs = borrows(&root, "packs", "");
        fs::create_dir_all(other.join("objects/pack")).expect("a folder");
        std::os::unix::fs::symlink(other.join("objects/pack"), packs.join("objects/pack")).expect("a link");
        assert!(matches!(check(&packs, &[]), Err(Refused::Objects(_))));

        let many: String = (0..=MOST_BORROWED).map(|n| format!("f{n}\n")).collect::<Vec<_>>().concat();
        assert!(matches!(check(&borrows(&root, "many", &many), &[]), Err(Refused::Unreadable(_))));
        let odd = borrows(&root, "odd", "");
        std::os::unix::fs::symlink("/dev/zero", odd.join("objects/info/alternates")).expect("a link");
        assert!(matches!(check(&odd, &[]), Err(Refused::Unreadable(_))));
    }

    #[test]
    fn a_git_file_must_be_known_where_it_leads() {
        let (_folder, root) = temporary();
        let git = borrows(&root, "victim/.git", "");
        let tree = root.join("tree");
        fs::create_dir_all(&tree).expect("a folder");
        fs::write(tree.join(".git"), format!("gitdir: {}\n", git.display())).expect("a file");
        let folders = |given: &Path, worktree: Option<PathBuf>| Folders {
            given: given.to_owned(),
            git: git.clone(),
            common: git.clone(),
            worktree,
        };
        for given in [tree.clone(), tree.join(".git")] {
            let refused = folders(&given, None).check(&[]);
            assert!(matches!(refused, Err(Refused::GitFolder(_))), "{refused:?}");
            assert!(folders(&given, Some("../../tree".into())).check(&[]).is_ok());
            assert!(folders(&given, Some(tree.clone())).check(&[]).is_ok());
            assert!(folders(&given, None).check(std::slice::from_ref(&root)).is_ok());
        }
        fs::write(git.join("gitdir"), tree.join(".git").to_str().expect("UTF-8")).expect("a file");
        assert!(folders(&tree, None).check(&[]).is_ok());
        // A `commondir` that leads elsewhere.
        let elsewhere = Folders { common: borrows(&root, "elsewhere", ""), ..folders(&tree, None) };
        assert!(matches!(elsewhere.check(&[]), Err(Refused::GitFolder(_))));
    }
}
