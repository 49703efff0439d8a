//! Permissions of what the program keeps: ledger, caches, index, logs, records and saved plans are
//! for their owner alone, unless the owner opened them to a group.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// From here on, whatever the process creates is for its user alone; also what libraries create,
/// such as the log file of a new day.
pub(crate) fn restrict_process() {
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// Options that create a file for its owner alone. An existing file keeps its permissions.
pub(crate) fn options() -> OpenOptions {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "modes are of Unix"))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Creates an empty file where there is none. SQLite gives `-wal` and `-shm` the permissions of
/// the database they belong to.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    match options().write(true).create_new(true).open(path) {
        Ok(file) => drop::<File>(file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Opens a regular file for reading. A symbolic link is refused, not followed.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let refused = |why| io::Error::new(io::ErrorKind::InvalidInput, why);
    #[cfg(unix)]
    let file = {
        use rustix::fs::{Mode, OFlags};
        // Without NONBLOCK the opening of a pipe would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::LOOP) => return Err(refused("it is a symbolic link")),
            Err(error) => return Err(error.into()),
        }
    };
    #[cfg(not(unix))]
    let file = {
        if path.symlink_metadata()?.is_symlink() {
            return Err(refused("it is a symbolic link"));
        }
        File::open(path)?
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(refused("it is no regular file")) }
}

/// True for an open file that only this user can read and write.
pub(crate) fn is_own_alone(file: &File) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        const GROUP_AND_OTHERS: u32 = 0o077;
        let metadata = file.metadata()?;
        let own = metadata.uid() == rustix::process::geteuid().as_raw();
        Ok(own && metadata.mode() & GROUP_AND_OTHERS == 0)
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        Ok(true)
    }
}

/// Writes a file for its owner alone, whole or not at all. A file or link of that name is replaced.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    // The library creates it with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// Takes away what everybody may do with a file or folder of this user, as older versions created
/// them. What is open to its group alone was opened on purpose and stays so. A link is left alone.
pub(crate) fn narrow(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mode = metadata.mode();
        let own = metadata.uid() == rustix::process::geteuid().as_raw();
        if own && !metadata.is_symlink() && mode & 0o007 != 0 {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode & 0o700))?;
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// The same for a database with its `-wal` and `-shm` files.
pub(crate) fn narrow_database(path: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        narrow(Path::new(&name))?;
    }
    Ok(())
}

/// The same for a ledger, its lock and daemon record, and its folder if that is `.reposync`.
pub(crate) fn narrow_state(ledger: &Path) -> io::Result<()> {
    narrow_database(ledger)?;
    for suffix in [".lock", ".daemon"] {
        let mut name = ledger.as_os_str().to_owned();
        name.push(suffix);
        narrow(Path::new(&name))?;
    }
    match ledger.parent() {
        Some(folder) if folder.file_name().is_some_and(|name| name == ".reposync") => narrow(folder),
        _ => Ok(()),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn new_files_are_for_their_owner_and_old_ones_are_narrowed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.db");
        create(&path).expect("made");
        assert_eq!(mode(&path), 0o600);
        for (before, after) in
            [(0o644, 0o600), (0o664, 0o600), (0o640, 0o640), (0o600, 0o600), (0o755, 0o700)]
        {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(before)).expect("set");
            narrow_database(&path).expect("narrowed");
            assert_eq!(mode(&path), after, "{before:o}");
        }
        create(&path).expect("there already");
        assert_eq!(mode(&path), 0o700, "what is there keeps its permissions");
        let link = folder.path().join("link");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("set");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        narrow(&link).expect("left alone");
        assert_eq!(mode(&path), 0o644);
        narrow(&folder.path().join("none")).expect("nothing there");
    }
}

/// Makes `text` the whole of an open file.
pub(crate) fn rewrite(file: &mut File, text: &[u8]) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text)
}
