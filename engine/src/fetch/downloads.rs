//! The cache of fetched components: one file for each, named after its digest.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::chunk::component::write_whole;

/// Maximum number of bytes in the folder. The oldest files leave first.
const MOST: u64 = 1 << 30;

#[derive(Debug, Clone)]
pub(super) struct Downloads(PathBuf);

impl Downloads {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    /// The file with this digest. Its content is checked, since a disk or another program may have
    /// damaged it.
    pub(super) fn find(&self, sha256: &str) -> Option<PathBuf> {
        let file = self.file(sha256)?;
        let bytes = fs::read(&file).ok()?;
        (hex::encode(Sha256::digest(&bytes)) == sha256).then_some(file)
    }

    /// Writes a file with this digest.
    pub(super) fn keep(&self, sha256: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let file = self.file(sha256).ok_or(io::ErrorKind::InvalidInput)?;
        make(&self.0)?;
        write_whole(&file, bytes)?;
        prune(&self.0, &file, MOST);
        Ok(file)
    }

    fn file(&self, sha256: &str) -> Option<PathBuf> {
        is_sha256(sha256).then(|| self.0.join(format!("{sha256}.wasm")))
    }
}

/// Creates a folder and its missing parents for this user alone: compiled components may be stored
/// next to it.
fn make(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// True for the name of a file of this cache.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_suffix(".wasm").is_some_and(is_sha256)
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Removes the oldest files until the others have at most `most` bytes; `keep` stays. What cannot be
/// removed stays, too.
fn prune(folder: &Path, keep: &Path, most: u64) {
    let mut files: Vec<(SystemTime, u64, PathBuf)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            is_ours(&entry.path()).then_some(())?;
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        })
        .collect();
    files.sort();
    let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, size, path) in files {
        if bytes > most && path != keep && fs::remove_file(&path).is_ok() {
            bytes -= size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha256(bytes: &[u8]) -> String {
        hex::encode(Sha256::digest(bytes))
    }

    #[test]
    fn a_file_is_found_by_its_digest_unless_it_is_damaged() {
        let folder = tempfile::tempdir().expect("a folder");
        let downloads = Downloads::new(folder.path().join("downloads"));
        let digest = sha256(b"one");
        assert_eq!(downloads.find(&digest), None);
        let file = downloads.keep(&digest, b"one").expect("written");
        assert_eq!(downloads.find(&digest), Some(file.clone()));
        fs::write(file, "two").expect("written");
        assert_eq!(downloads.find(&digest), None);
        for odd in ["../../x", "", &digest[1..]] {
            assert!(downloads.find(odd).is_none() && downloads.keep(odd, b"").is_err(), "{odd}");
        }
    }

    #[test]
    fn the_oldest_leave_when_there_are_too_many_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let other = folder.path().join("other.wasm");
        fs::write(&other, [0; 99]).expect("written");
        let name = |digit: &str| folder.path().join(format!("{}.wasm", digit.repeat(64)));
        let [one, two, three] = ["1", "2", "3"].map(name);
        for (file, seconds) in [(&one, 1), (&two, 2), (&three, 3)] {
            fs::write(file, [0; 10]).expect("written");
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            fs::File::open(file).and_then(|file| file.set_modified(time)).expect("set");
        }
        prune(folder.path(), &one, 20);
        assert_eq!([&one, &two, &three, &other].map(|file| file.exists()), [true, false, true, true]);
    }
}
