//! The key that authenticates compiled components: 32 random bytes, created once per user. Without the
//! key, write access to the cache is not enough to get code loaded.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::private;

/// File name of the key in the state folder.
const FILE: &str = "components.key";

/// A message authentication code: BLAKE3 in keyed mode. Comparison takes constant time.
pub(super) type Mac = blake3::Hash;

/// The user's key.
pub(super) struct Key([u8; blake3::KEY_LEN]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Loads the key from this folder, or creates it. The error says why that failed.
    pub(super) fn load_or_create(folder: &Path) -> Result<Self, String> {
        let made = private::make(folder).and_then(|()| fs::canonicalize(folder));
        // With systemd's `DynamicUser=` the folder is a symbolic link; check its target.
        let folder = made.map_err(|error| format!("`{}` cannot be created: {error}", folder.display()))?;
        private::folder(&folder)?;
        let path = folder.join(FILE);
        let failed = |error: io::Error| format!("the key `{}` {error}", path.display());
        match read(&path) {
            Ok(key) => Ok(key),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(&path).map_err(|error| format!("`{}` cannot be created: {error}", path.display()))?;
                // Another process may have created the key first; use that one.
                read(&path).map_err(failed)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The authentication code of `bytes`; `about` states their purpose, so that a code for one purpose
    /// is not valid for another (domain separation).
    pub(super) fn of_bytes(&self, about: &str, bytes: &[u8]) -> Mac {
        self.hasher(about).update(bytes).finalize()
    }

    /// Like [`Self::of_bytes`], for the content of a file.
    pub(super) fn of_file(&self, about: &str, file: &File) -> io::Result<Mac> {
        Ok(self.hasher(about).update_reader(file)?.finalize())
    }

    /// The hasher of [`Self::of_bytes`], for bytes that are not in one piece.
    pub(super) fn hasher(&self, about: &str) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        // `about` never contains a NUL, so the encoding is unambiguous.
        hasher.update(about.as_bytes()).update(&[0]);
        hasher
    }
}

fn read(path: &Path) -> io::Result<Key> {
    let file = private::open(path)?;
    let unusable = |why: &str| io::Error::other(format!("{why}; remove it to have a new one created"));
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::mode(&file.metadata()?) & 0o077 != 0 {
        return Err(unusable("can be read by others"));
    }
    let mut bytes = Vec::new();
    file.take(blake3::KEY_LEN as u64 + 1).read_to_end(&mut bytes)?;
    bytes.try_into().map(Key).map_err(|_| unusable("does not contain 32 bytes"))
}

/// Creates a key unless there is one; keeps a key that another process creates concurrently.
fn make(path: &Path) -> io::Result<()> {
    let mut bytes = [0; blake3::KEY_LEN];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    let part = private::part(path);
    let written = private::create(&part)
        .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
        // Unlike a rename, a hard link never replaces an existing key; the file is complete at once.
        .and_then(|()| fs::hard_link(&part, path));
    drop(fs::remove_file(&part));
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("state");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| Key::load_or_create(&folder).expect("a key").0)).collect();
            threads.into_iter().map(|thread| thread.join().expect("ends")).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]), "one key for all");
        assert_ne!(keys[0], [0; 32]);
        assert_eq!(fs::read_dir(&folder).expect("there").count(), 1, "no temporary file remains");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_the_key() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("state");
        Key::load_or_create(&folder).expect("a key");
        let path = folder.join(FILE);
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!((mode(&folder), mode(&path)), (0o700, 0o600));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        let refused = Key::load_or_create(&folder).expect_err("others can read it");
        assert!(refused.ends_with("can be read by others; remove it to have a new one created"), "{refused}");
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        let root = tempfile::tempdir().expect("a folder");
        for length in [0, 31, 33] {
            private::write(&root.path().join(FILE), &vec![7; length]).expect("written");
            let refused = Key::load_or_create(root.path()).expect_err("no key");
            assert!(refused.contains("does not contain 32 bytes"), "{refused}");
        }
    }

    #[test]
    fn a_code_depends_on_key_purpose_and_bytes() {
        let key = Key([1; 32]);
        let code = key.of_bytes("a", b"b");
        assert_eq!(code, Key([1; 32]).of_bytes("a", b"b"));
        assert_ne!(code, Key([2; 32]).of_bytes("a", b"b"));
        assert_ne!(code, key.of_bytes("b", b"b"));
        assert_ne!(code, key.of_bytes("a", b"c"));
        assert_ne!(key.of_bytes("ab", b"c"), key.of_bytes("a", b"bc"));
    }
}
