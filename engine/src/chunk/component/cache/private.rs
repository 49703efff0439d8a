//! Folders and files to which only this user has write access.

use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::path::Path;

/// Creates a folder and its missing parents with mode 0700.
pub(super) fn make(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Creates a folder if it is missing. The error says why it cannot be created or trusted.
pub(super) fn folder(path: &Path) -> Result<(), String> {
    let shown = path.display();
    // An existing folder is no error, and neither is a link to one, which is rejected below.
    make(path).map_err(|error| format!("`{shown}` cannot be created: {error}"))?;
    let metadata =
        fs::symlink_metadata(path).map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
    if !metadata.is_dir() {
        return Err(format!("`{shown}` is a symbolic link or not a folder"));
    }
    match why_untrusted(&metadata) {
        Some(why) => Err(format!("`{shown}` {why}")),
        None => Ok(()),
    }
}

/// Opens a regular file for reading, if this user owns it and no other user can write to it. Does not
/// follow a symbolic link. Checks the open file, not its path, which rules out a TOCTOU race.
pub(super) fn open(path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    let file = {
        use rustix::fs::{Mode, OFlags};
        // Without NONBLOCK, opening a pipe would block until there is a writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        File::from(rustix::fs::open(path, flags, Mode::empty())?)
    };
    #[cfg(not(unix))]
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let refused = |why: String| io::Error::new(io::ErrorKind::PermissionDenied, why);
    if !metadata.is_file() {
        return Err(refused("is not a regular file".to_owned()));
    }
    match why_untrusted(&metadata) {
        Some(why) => Err(refused(why)),
        None => Ok(file),
    }
}

/// Why another user may have written to this file or folder; `None` if that is impossible.
#[cfg(unix)]
fn why_untrusted(metadata: &Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own {
        Some(format!("belongs to another user (uid {}, not {own})", metadata.uid()))
    } else if metadata.mode() & 0o022 != 0 {
        Some(format!("can be written to by others (mode {:04o})", metadata.mode() & 0o7777))
    } else {
        None
    }
}

/// Owners and modes exist only on Unix; elsewhere the authentication code is the only protection.
#[cfg(not(unix))]
fn why_untrusted(_: &Metadata) -> Option<String> {
    None
}

/// Creates a new file with mode 0600.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Writes a file atomically: writes a temporary file and renames it. A file that is mapped into memory
/// is replaced, never modified.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(path, |file| file.write_all(bytes))
}

/// Like [`write()`], for content that `fill` writes.
pub(super) fn write_with(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let part = part(path);
    let written = create(&part).and_then(|mut file| fill(&mut file)).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        drop(fs::remove_file(&part));
    }
    written
}

/// A temporary file name next to `path`, unique per process and call.
pub(super) fn part(path: &Path) -> std::path::PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    path.with_extension(format!("part-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("a/b");
        folder(&path).expect("made");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o700);
        for (mode, fine) in [(0o700, true), (0o755, true), (0o775, false), (0o707, false)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set");
            assert_eq!(folder(&path).is_ok(), fine, "{mode:o}");
        }
    }

    #[test]
    fn links_are_not_followed() {
        let root = tempfile::tempdir().expect("a folder");
        let real = root.path().join("real");
        folder(&real).expect("made");
        write(&real.join("x"), b"x").expect("written");
        let link = root.path().join("link");
        symlink(&real, &link).expect("linked");
        let refused = folder(&link).expect_err("a link");
        assert!(refused.ends_with("is a symbolic link or not a folder"), "{refused}");
        symlink(real.join("x"), real.join("y")).expect("linked");
        assert!(open(&real.join("x")).is_ok());
        assert!(open(&real.join("y")).is_err());
        assert!(open(&real).is_err(), "a folder is not a file");
    }

    #[test]
    fn a_file_that_others_can_write_to_is_refused() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("x");
        write(&path, b"x").expect("written");
        assert!(open(&path).is_ok());
        fs::set_permissions(&path, Permissions::from_mode(0o660)).expect("set");
        let error = open(&path).expect_err("refused").to_string();
        assert_eq!(error, "can be written to by others (mode 0660)");
    }

    #[test]
    fn a_pipe_is_refused_without_waiting_for_a_writer() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
        assert!(made.success());
        assert_eq!(open(&path).expect_err("refused").to_string(), "is not a regular file");
    }

    #[test]
    fn another_users_folder_is_refused() {
        // `/` belongs to root. When the tests run as root, change the owner of a folder instead.
        if rustix::process::geteuid().is_root() {
            let root = tempfile::tempdir().expect("a folder");
            let path = root.path().join("x");
            folder(&path).expect("made");
            std::os::unix::fs::chown(&path, Some(12_345), None).expect("root may");
            let refused = folder(&path).expect_err("another user's");
            assert!(refused.ends_with("belongs to another user (uid 12345, not 0)"), "{refused}");
        } else {
            let refused = folder(Path::new("/")).expect_err("root's");
            assert!(refused.contains("belongs to another user (uid 0"), "{refused}");
        }
    }
}
