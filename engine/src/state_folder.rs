//! Folders for the program's own files: ledger, caches, index, logs.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

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

/// The folder of a service or a user, for files of this machine. `id`: distinguishes several states.
pub(crate) fn of_service(id: &str, env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let variable = |name: &str| env(name).filter(|value| !value.is_empty());
    if let Some(folders) = variable("STATE_DIRECTORY") {
        return folders.split(':').next().map(PathBuf::from);
    }
    let base = variable("XDG_STATE_HOME").map(PathBuf::from).or_else(|| {
        let home = variable("HOME").or_else(|| variable("LOCALAPPDATA"))?;
        Some(Path::new(&home).join(".local/state"))
    })?;
    Some(base.join("reposync").join(id))
}

/// `own`, the folder next to a configuration file, unless it is on media that cannot be written to: then [`of_service`].
pub(crate) fn of_machine(id: &str, own: &Path, env: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    let target = if own.exists() { own } else { own.parent().unwrap_or(own) };
    chosen(own, is_read_only(target), || of_service(id, env))
}

fn chosen(own: &Path, is_read_only: bool, other: impl FnOnce() -> Option<PathBuf>) -> PathBuf {
    let other = if is_read_only { other() } else { None };
    other.unwrap_or_else(|| own.to_owned())
}

#[cfg(unix)]
fn is_read_only(folder: &Path) -> bool {
    folder.exists() && rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_err()
}

#[cfg(not(unix))]
fn is_read_only(_folder: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_service_comes_from_systemd_or_from_the_user() {
        let user = |name: &str| match name {
            "XDG_STATE_HOME" => Some("/state".to_owned()),
            "HOME" => Some("/home/a".to_owned()),
            _ => None,
        };
        assert_eq!(of_service("1f", &user), Some(PathBuf::from("/state/reposync/1f")));
        let home = |name: &str| (name == "HOME").then(|| "/home/a".to_owned());
        assert_eq!(of_service("1f", &home), Some(PathBuf::from("/home/a/.local/state/reposync/1f")));
        let systemd = |name: &str| (name == "STATE_DIRECTORY").then(|| "/var/lib/reposync:/other".to_owned());
        assert_eq!(of_service("1f", &systemd), Some(PathBuf::from("/var/lib/reposync")));
        assert_eq!(of_service("1f", &|_| None), None);
    }

    #[test]
    fn files_of_the_machine_are_next_to_the_configuration_unless_that_cannot_be_written_to() {
        let env = |name: &str| (name == "XDG_STATE_HOME").then(|| "/state".to_owned());
        let dir = tempfile::tempdir().expect("a folder");
        let own = dir.path().join(".reposync");
        assert_eq!(of_machine("1f", &own, &env), own);
        assert_eq!(chosen(&own, true, || of_service("1f", &env)), PathBuf::from("/state/reposync/1f"));
        assert_eq!(chosen(&own, true, || None), own, "it is reported when it is written to");
    }

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
