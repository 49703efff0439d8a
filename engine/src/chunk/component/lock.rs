//! `reposync.lock`: the components that the last `apply` used. Written by `apply`, never by the
//! daemon; with `--locked` a difference is an error.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::info::ComponentInfo;
use super::location::Location;
use super::whole::write_whole;

/// A component that a run uses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LockedComponent {
    /// Path of its file, relative to `reposync.toml` if it lies below it; always with `/`.
    pub path: String,
    /// Name from its description.
    pub name: String,
    /// Version from its description.
    pub version: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// The interfaces it imports.
    pub imports: Vec<String>,
}

impl LockedComponent {
    /// The component at this location; `folder` is the folder of `reposync.toml`.
    pub fn of(info: &ComponentInfo, location: &Location, folder: &Path) -> Self {
        Self {
            path: locked_as(location, folder),
            name: info.name.clone(),
            version: info.version.clone(),
            sha256: info.sha256.clone(),
            imports: info.imports.clone(),
        }
    }
}

/// The name of a component in the lock file.
fn locked_as(location: &Location, folder: &Path) -> String {
    match location {
        Location::File(path) => {
            path.strip_prefix(folder).unwrap_or(path).to_string_lossy().replace('\\', "/")
        }
        Location::Remote(address) => address.clone(),
    }
}

/// The content of the lock file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Sorted by path, without duplicates.
    pub components: Vec<LockedComponent>,
}

impl Lock {
    /// A lock of these components. A file used by several stages is listed once.
    pub fn of(components: impl IntoIterator<Item = LockedComponent>) -> Self {
        let mut components: Vec<_> = components.into_iter().collect();
        components.sort();
        components.dedup();
        Self { components }
    }

    /// Reads a lock file; `None` if it does not exist.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the lock file atomically, unless its content is up to date.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        if Self::read(path).is_ok_and(|old| old.as_ref() == Some(self)) {
            return Ok(());
        }
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        write_whole(path, text.as_bytes())
    }

    /// The digest that is locked for a component.
    pub fn digest_of(&self, location: &Location, folder: &Path) -> Option<&str> {
        let path = locked_as(location, folder);
        Some(self.components.iter().find(|component| component.path == path)?.sha256.as_str())
    }

    /// The differences between the lock and `now`, one line each.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let find = |lock: &'_ Self, path: &str| {
            lock.components.iter().find(|component| component.path == path).cloned()
        };
        let mut found: Vec<_> = now
            .components
            .iter()
            .filter_map(|new| match find(self, &new.path) {
                None => Some(format!(
                    "`{}` ({} {}, sha256 {}) is not locked",
                    new.path, new.name, new.version, new.sha256
                )),
                Some(old) if old.sha256 != new.sha256 => Some(format!(
                    "`{}` is {} {} with sha256 {}, locked is {} {} with sha256 {}",
                    new.path, new.name, new.version, new.sha256, old.name, old.version, old.sha256
                )),
                Some(_) => None,
            })
            .collect();
        found.extend(
            self.components
                .iter()
                .filter(|old| find(now, &old.path).is_none())
                .map(|old| format!("`{}` ({} {}) is locked but not used", old.path, old.name, old.version)),
        );
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(path: &str, sha256: &str) -> LockedComponent {
        LockedComponent {
            path: path.into(),
            name: "x".into(),
            version: "1.0.0".into(),
            sha256: sha256.into(),
            imports: Vec::new(),
        }
    }

    #[test]
    fn a_written_lock_reads_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("reposync.lock");
        assert_eq!(Lock::read(&path).expect("no file"), None);
        let lock = Lock::of([component("b", "2"), component("a", "1"), component("b", "2")]);
        lock.write(&path).expect("written");
        assert_eq!(Lock::read(&path).expect("read"), Some(lock));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn a_difference_shows_both_digests() {
        let old = Lock::of([component("a", "1"), component("b", "2")]);
        let new = Lock::of([component("a", "1"), component("b", "3"), component("c", "4")]);
        insta::assert_snapshot!(old.differences(&new).join("\n"), @"
        `b` is x 1.0.0 with sha256 3, locked is x 1.0.0 with sha256 2
        `c` (x 1.0.0, sha256 4) is not locked
        ");
        assert_eq!(new.differences(&old).len(), 2);
        assert!(old.differences(&old).is_empty());
    }
}
