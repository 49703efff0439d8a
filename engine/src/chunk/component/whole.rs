//! Atomic file writes.

use std::io;
use std::path::Path;

/// Writes a file atomically, through a temporary file with a random name in the same folder. With a
/// predictable name, a repository could place a symbolic link there and redirect the write.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".reposync-");
    // Default mode of newly created files; the umask restricts it.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let part = builder.tempfile_in(folder)?;
    std::fs::write(part.path(), bytes)?;
    part.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_replaced_and_no_temporary_file_remains() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("notes.wasm");
        std::fs::write(&path, "old").expect("written");
        write_whole(&path, b"new").expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "new");
        assert_eq!(std::fs::read_dir(dir.path()).expect("there").count(), 1);
        assert!(write_whole(&dir.path().join("missing/file"), b"").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let dir = tempfile::tempdir().expect("a folder");
        let [elsewhere, path] = ["elsewhere", "notes.wasm"].map(|name| dir.path().join(name));
        std::fs::write(&elsewhere, "mine").expect("written");
        std::os::unix::fs::symlink(&elsewhere, &path).expect("linked");
        write_whole(&path, b"new").expect("written");
        assert_eq!(std::fs::read_to_string(&elsewhere).expect("there"), "mine");
    }
}
