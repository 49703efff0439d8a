//! Loads a component from its file of compiled code: authenticates and maps the same file descriptor.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::key::{Key, Mac};
use super::private;

/// Loads the code in `path` if its message authentication code under `key` is `mac`.
pub(super) fn load(
    engine: &Engine,
    path: &Path,
    key: &Key,
    about: &str,
    mac: Mac,
) -> anyhow::Result<Component> {
    let mut file = private::open(path)?;
    if key.of_file(about, &file)? != mac {
        bail!("does not match its authentication code");
    }
    // Record the last use for `prune`; best effort, fails on read-only media.
    drop(file.set_modified(std::time::SystemTime::now()));
    if let Some(component) = descriptor(&file).and_then(|same| trusted(engine, &Code::Mapped(&same)).ok()) {
        return Ok(component);
    }
    // Fall back to a copy in memory if there are no descriptor paths or the folder is mounted with
    // `noexec`. The copy is a second read, so it is authenticated again.
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    if key.of_bytes(about, &bytes) != mac {
        bail!("changed while it was being read");
    }
    trusted(engine, &Code::Copied(&bytes))
        .map_err(|error| anyhow::anyhow!("{error:#}"))
        .context("does not match this engine")
}

/// A path to the open file itself, independent of its name: wasmtime can map a component only by path,
/// and a lookup by name would be a TOCTOU race.
#[cfg(unix)]
fn descriptor(file: &File) -> Option<std::path::PathBuf> {
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::MetadataExt as _;
    let folder = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    let path = Path::new(folder).join(file.as_raw_fd().to_string());
    let (same, own) = (std::fs::metadata(&path).ok()?, file.metadata().ok()?);
    ((same.dev(), same.ino()) == (own.dev(), own.ino())).then_some(path)
}

#[cfg(not(unix))]
fn descriptor(_: &File) -> Option<std::path::PathBuf> {
    None
}

/// Authenticated code.
enum Code<'a> {
    /// Mapped from the path of an open file; pages that are not executed are never read.
    Mapped(&'a Path),
    /// A copy in memory.
    Copied(&'a [u8]),
}

#[expect(unsafe_code, reason = "compiled code cannot be validated; see the safety comment")]
fn trusted(engine: &Engine, code: &Code<'_>) -> wasmtime::Result<Component> {
    // SAFETY: the code must be the output of `Component::serialize` and must not change while it is
    // mapped. `load` has verified its message authentication code, whose key only this user can read,
    // so this program, run by this user, wrote it, and it is complete. It does not change: the mapped
    // file is the open one that was authenticated, no other user can write to it, and this program
    // replaces files instead of writing to them. `deserialize` itself rejects code of another engine
    // version or configuration.
    unsafe {
        match code {
            Code::Mapped(path) => Component::deserialize_file(engine, path),
            Code::Copied(bytes) => Component::deserialize(engine, bytes),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_descriptor_outlives_the_name() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("x");
        private::write(&path, b"old").expect("written");
        let file = private::open(&path).expect("open");
        private::write(&path, b"new").expect("replaced");
        let same = descriptor(&file).expect("this system has descriptor paths");
        assert_eq!(std::fs::read(same).expect("readable"), b"old");
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(std::fs::read(descriptor(&file).expect("still")).expect("readable"), b"old");
    }
}
