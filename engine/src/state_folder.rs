//! Folders for the program's own files: ledger, caches, index, logs.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// Excludes the folder, this file included, from Git.
const GITIGNORE: &str = "# Written by RepoSync when it made this folder.\n*\n";
/// Excludes the folder from backups: <https://bford.info/cachedir/>.
const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # Written by RepoSync when it made this folder: what is in it can be made again.\n\
    # See https://bford.info/cachedir/\n";

/// Creates a folder and its missing parents. The topmost new one is marked so that Git and backups
/// ignore it.
pub(crate) fn make(folder: &Path) -> io::Result<()> {
    let missing = folder.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.exists());
    let Some(topmost) = missing.last() else { return Ok(()) };
    fs::create_dir_all(folder)?;
    mark(topmost, ".gitignore", GITIGNORE)?;
    mark(topmost, "CACHEDIR.TAG", CACHEDIR_TAG)
}

/// Creates a file unless it exists: several processes may create the folder at once.
fn mark(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).open(folder.join(name)) {
        Ok(mut file) => file.write_all(text.as_bytes()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_folder_is_marked_and_an_old_one_left_as_it_is() {
        let root = tempfile::tempdir().expect("a folder");
        let new = root.path().join(".reposync/logs");
        make(&new).expect("made");
        assert!(new.is_dir());
        let read = |path: &str| fs::read_to_string(root.path().join(path));
        assert!(read(".reposync/.gitignore").expect("written").lines().any(|line| line == "*"));
        let tag = read(".reposync/CACHEDIR.TAG").expect("written");
        assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"));
        assert!(!new.join(".gitignore").exists(), "only the topmost new folder is marked");
        assert!(!root.path().join(".gitignore").exists(), "what was there is not marked");

        fs::write(root.path().join(".reposync/.gitignore"), "mine\n").expect("written");
        make(&new).expect("there already");
        make(&root.path().join(".reposync/more")).expect("made");
        assert_eq!(read(".reposync/.gitignore").expect("there"), "mine\n");
    }
}
