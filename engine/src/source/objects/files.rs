//! The files of a repository that are read whole: each must be a regular file of bounded size. A pipe or a
//! device in its place would block the reader or exhaust memory, so all are checked before any is opened.

use std::fs::Metadata;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

/// Bytes of a file of configuration, of a reference, and of one that names a folder.
pub(in crate::source) const LONGEST: u64 = 1 << 20;
/// Folders and files below `refs`.
const MOST_REFERENCES: usize = 1_000_000;
/// Files read from a repository's folder, besides objects and references.
const NAMES: [&str; 5] = ["HEAD", "config", "config.worktree", "commondir", "gitdir"];
/// Folders that one repository may borrow objects from, directly and through others.
pub(in crate::source) const MOST_BORROWED: usize = 64;

/// A file of a repository that is not read, and why.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::source) struct Odd {
    pub(in crate::source) path: PathBuf,
    pub(in crate::source) why: String,
}

/// The folders that may turn out to be the repository at `path`: itself, its `.git`, and the folder
/// that this names; each with its common folder.
pub(in crate::source) fn candidates(path: &Path) -> Result<Vec<PathBuf>, Odd> {
    let dot = path.join(".git");
    let mut folders = Vec::new();
    // Files of a work tree may have such names, too: then they are not Git's.
    if !dot.exists() || ["HEAD", "objects", "refs"].iter().all(|name| path.join(name).exists()) {
        folders.push(path.to_owned());
    }
    if !dot.is_dir() {
        plain(&dot, LONGEST)?;
        if let Some(text) = small_file(&dot) {
            folders.push(path.join(text.strip_prefix("gitdir:").unwrap_or_default().trim()));
        }
    }
    folders.push(dot);
    for n in 0..folders.len() {
        let file = folders[n].join("commondir");
        plain(&file, LONGEST)?;
        if let Some(common) = small_file(&file) {
            folders.push(folders[n].join(common.trim()));
        }
    }
    Ok(folders)
}

/// Checks what is read to open the repository. `most_packed`: bytes of packed references that may be
/// held in memory.
pub(in crate::source) fn check(folders: &[PathBuf], most_packed: u64) -> Result<(), Odd> {
    for folder in folders {
        for name in NAMES {
            plain(&folder.join(name), LONGEST)?;
        }
        let packed = folder.join("packed-refs");
        // A sorted file is searched where it lies; any other is sorted in memory.
        let most = if plain(&packed, u64::MAX)? && is_sorted(&packed) { u64::MAX } else { most_packed };
        plain(&packed, most)?;
        check_borrowed(folder)?;
    }
    Ok(())
}

/// Checks the lists of folders that objects are borrowed from. Whether these may be borrowed from is
/// decided when the repository is open.
fn check_borrowed(folder: &Path) -> Result<(), Odd> {
    let objects = folder.join("objects");
    let mut folders = vec![objects.clone()];
    let mut n = 0;
    while n < folders.len() {
        let list = folders[n].join("info").join("alternates");
        n += 1;
        if !plain(&list, LONGEST)? {
            continue;
        }
        let text = std::fs::read(&list).unwrap_or_default();
        for named in gix::odb::alternate::parse(&text).unwrap_or_default() {
            // Relative ones are read from the folder of the repository's own objects.
            let named = objects.join(named);
            if !folders.contains(&named) {
                folders.push(named);
            }
            if folders.len() > MOST_BORROWED {
                return Err(Odd { path: list, why: format!("leads to more than {MOST_BORROWED} folders") });
            }
        }
    }
    Ok(())
}

/// Checks the references that are files of their own.
pub(in crate::source) fn check_references(folders: &[PathBuf]) -> Result<(), Odd> {
    let mut left: Vec<PathBuf> = folders.iter().map(|folder| folder.join("refs")).collect();
    let mut seen = 0;
    while let Some(folder) = left.pop() {
        let Ok(entries) = folder.read_dir() else { continue };
        for entry in entries.flatten() {
            seen += 1;
            if seen > MOST_REFERENCES {
                return Err(Odd { path: folder, why: format!("holds more than {MOST_REFERENCES} files") });
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => left.push(entry.path()),
                _ => drop(plain(&entry.path(), LONGEST)?),
            }
        }
    }
    Ok(())
}

/// True if there is a file; an error if it is no plain file, or longer than that.
fn plain(path: &Path, longest: u64) -> Result<bool, Odd> {
    let odd = |why: String| Err(Odd { path: path.to_owned(), why });
    match path.metadata() {
        Ok(file) if file.is_dir() => Ok(false),
        Ok(file) if !file.is_file() => odd("is no plain file".to_owned()),
        Ok(file) if file.len() > longest => odd(too_long(&file, longest)),
        Ok(_) => Ok(true),
        Err(_) => Ok(false),
    }
}

fn too_long(file: &Metadata, longest: u64) -> String {
    format!("has {} bytes, more than {longest}", file.len())
}

/// Whether packed references say of themselves that they are sorted.
fn is_sorted(path: &Path) -> bool {
    let Ok(file) = std::fs::File::open(path) else { return false };
    let mut first = Vec::new();
    let read = BufReader::new(file.take(4096)).read_until(b'\n', &mut first);
    read.is_ok()
        && first.starts_with(b"# pack-refs")
        && first.split(|byte| *byte == b' ').any(|word| word.trim_ascii() == b"sorted")
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;

    use super::*;

    fn repository() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let git = folder.path().join(".git");
        for name in ["objects/info", "refs/heads"] {
            fs::create_dir_all(git.join(name)).expect("folders");
        }
        fs::write(git.join("HEAD"), "ref: refs/heads/main\n").expect("a file");
        (folder, git)
    }

    fn judge(path: &Path) -> Result<(), Odd> {
        let folders = candidates(path)?;
        check(&folders, 100)?;
        check_references(&folders)
    }

    fn pipe(path: &Path) {
        let made = std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo runs");
        assert!(made.success());
    }

    #[test]
    fn pipes_and_devices_are_refused_before_they_are_opened() {
        for name in
            ["HEAD", "config", "commondir", "packed-refs", "objects/info/alternates", "refs/heads/main"]
        {
            for device in [false, true] {
                let (folder, git) = repository();
                assert_eq!(judge(folder.path()), Ok(()));
                drop(fs::remove_file(git.join(name)));
                if device {
                    std::os::unix::fs::symlink("/dev/zero", git.join(name)).expect("a link");
                } else {
                    pipe(&git.join(name));
                }
                let odd = Odd { path: git.join(name), why: "is no plain file".to_owned() };
                assert_eq!(judge(folder.path()), Err(odd));
                assert!(judge(&git).is_err(), "{name} of a bare repository");
            }
        }
        let folder = tempfile::tempdir().expect("a folder");
        pipe(&folder.path().join(".git"));
        assert!(judge(folder.path()).is_err());
    }

    #[test]
    fn what_is_named_elsewhere_is_looked_at_too() {
        let (folder, git) = repository();
        let tree = tempfile::tempdir().expect("a folder");
        fs::write(tree.path().join(".git"), format!("gitdir: {}\n", git.display())).expect("a file");
        assert_eq!(judge(tree.path()), Ok(()));
        pipe(&git.join("config"));
        assert!(judge(tree.path()).is_err());
        let linked = tempfile::tempdir().expect("a folder");
        fs::write(linked.path().join("commondir"), git.to_str().expect("UTF-8")).expect("a file");
        assert!(judge(linked.path()).is_err());
        drop(folder);
    }

    #[test]
    fn long_files_are_refused_unless_they_are_searched_in_place() {
        let (folder, git) = repository();
        let lines = "1111111111111111111111111111111111111111 refs/heads/a\n".repeat(3);
        fs::write(git.join("packed-refs"), &lines).expect("a file");
        let odd = judge(folder.path()).expect_err("longer than 100 bytes");
        assert_eq!(odd.why, "has 162 bytes, more than 100");
        fs::write(git.join("packed-refs"), format!("# pack-refs with: peeled sorted \n{lines}"))
            .expect("a file");
        assert_eq!(judge(folder.path()), Ok(()));
        let long = fs::File::create(git.join("refs/heads/long")).expect("a file");
        long.set_len(LONGEST + 1).expect("without contents");
        assert_eq!(judge(folder.path()).expect_err("too long").path, git.join("refs/heads/long"));
    }
}

/// The text of a file that names something; none where it is not there, or more than that.
pub(in crate::source) fn small_file(path: &Path) -> Option<String> {
    let small = path.metadata().is_ok_and(|file| file.is_file() && file.len() <= LONGEST);
    if small { std::fs::read_to_string(path).ok() } else { None }
}
