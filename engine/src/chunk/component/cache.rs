//! Compiled components on disk, by digest: `<engine>/<sha256>.cwasm`, and beside it what they said of
//! themselves. Everything here may be lost or refused at any time; then it is made anew.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::info::ComponentInfo;

/// What stands beside the compiled code, in a file of its own: so the code's file is nothing but
/// code, and can be mapped into memory instead of being read.
#[derive(Serialize, Deserialize)]
struct Beside {
    /// BLAKE3 of the code, in hex.
    code: String,
    info: ComponentInfo,
}

/// What all compiled components may take together; the oldest go first.
const MAX_BYTES: u64 = 1 << 30;

/// The folder for one engine's code.
#[derive(Debug)]
pub(super) struct Cache {
    root: PathBuf,
    folder: PathBuf,
    /// None where the folder cannot be trusted; then nothing is loaded from it or written to it.
    owner: Option<Owner>,
}

impl Cache {
    /// `root` holds one folder for each engine setting and version of wasmtime.
    pub(super) fn open(root: &Path, engine: &Engine) -> Self {
        // Only a name: what does not match is refused by the engine itself.
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let folder = root.join(format!("wasmtime48-{:016x}", hasher.finish()));
        let owner = Owner::of(&folder).unwrap_or_else(|error| {
            tracing::warn!(folder = %folder.display(), %error, "compiled components are not kept");
            None
        });
        Self { root: root.to_owned(), folder, owner }
    }

    fn file(&self, sha256: &str, extension: &str) -> PathBuf {
        self.folder.join(format!("{sha256}.{extension}"))
    }

    /// The compiled component and what it says of itself, if this program left it here and it is
    /// whole.
    pub(super) fn load(&self, engine: &Engine, sha256: &str) -> Option<(Component, ComponentInfo)> {
        let beside = self.beside(sha256)?;
        let path = self.file(sha256, "cwasm");
        let file = File::open(&path).ok()?;
        if !self.owner.as_ref()?.wrote(&file) {
            tracing::warn!(file = %path.display(), "not loaded: others can write to this compiled component");
            return None;
        }
        if digest(&file).ok()? != beside.code {
            tracing::debug!(file = %path.display(), "compiled component is not what was written");
            return None;
        }
        match mapped(engine, &path) {
            Ok(component) => {
                // Marks it as used, for `prune`; no harm where it fails.
                drop(file.set_modified(SystemTime::now()));
                Some((component, beside.info))
            }
            Err(error) => {
                tracing::debug!(file = %path.display(), %error, "compiled component does not fit");
                None
            }
        }
    }

    /// Keeps a compiled component. A failure costs the next start its time, nothing else.
    pub(super) fn store(&self, component: &Component, info: &ComponentInfo) {
        let Some(owner) = &self.owner else { return };
        let written = (|| -> anyhow::Result<()> {
            let code = component.serialize().map_err(|error| anyhow::anyhow!("{error:#}"))?;
            let beside = Beside { code: blake3::hash(&code).to_hex().to_string(), info: info.clone() };
            owner.write(&self.file(&info.sha256, "cwasm"), &code)?;
            owner.write(&self.file(&info.sha256, "json"), &serde_json::to_vec_pretty(&beside)?)?;
            Ok(())
        })();
        if let Err(error) = written {
            tracing::warn!(folder = %self.folder.display(), %error, "compiled component is not kept");
        }
        prune(&self.root, MAX_BYTES);
    }

    /// What a component said of itself when it was compiled.
    pub(super) fn info(&self, sha256: &str) -> Option<ComponentInfo> {
        self.beside(sha256).map(|beside| beside.info)
    }

    fn beside(&self, sha256: &str) -> Option<Beside> {
        let mut file = File::open(self.file(sha256, "json")).ok()?;
        if !self.owner.as_ref()?.wrote(&file) {
            return None;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        serde_json::from_slice(&bytes).ok().filter(|beside: &Beside| beside.info.sha256 == sha256)
    }
}

/// The BLAKE3 of a file's content, in hex.
fn digest(file: &File) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Compiled code as it lies on disk: what is not run is not even read.
#[expect(unsafe_code, reason = "compiled code cannot be checked; see the safety comment")]
fn mapped(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the code must be what `Component::serialize` gave, and stay it. The digest has shown
    // that the file is whole, and that it is ours follows from its owner and mode: only this user
    // can have put it into this folder, and this program is the one that writes there (by `store`),
    // always a whole new file under the name, never into one that is there.
    // An engine of another version or setting is refused by `deserialize` itself.
    unsafe {
        Component::deserialize_file(engine, path).or_else(|refused| {
            // Where the folder is mounted without the right to execute, a copy can still be.
            let bytes = fs::read(path).map_err(|_| refused)?;
            Component::deserialize(engine, bytes)
        })
    }
}

/// Removes the files used longest ago until the rest fits.
fn prune(root: &Path, max_bytes: u64) {
    let files_of = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = files_of(root)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .flat_map(|folder| files_of(&folder.path()))
        .filter_map(|entry| {
            let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        })
        .collect();
    files.sort();
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in files {
        if total <= max_bytes {
            break;
        }
        if fs::remove_file(&path).is_ok() {
            total -= bytes;
        }
    }
}

/// The user this program runs as, as the file system sees it.
#[derive(Debug)]
struct Owner {
    #[cfg(unix)]
    uid: u32,
}

impl Owner {
    /// Makes the folder if need be. None where others could put files into it.
    fn of(folder: &Path) -> std::io::Result<Option<Self>> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
        let probe = folder.join(format!(".owner-{}", unique()));
        let file = create(&probe)?;
        #[cfg(unix)]
        let owner = {
            use std::os::unix::fs::MetadataExt;
            let owner = Self { uid: file.metadata()?.uid() };
            let metadata = fs::symlink_metadata(folder)?;
            (metadata.is_dir() && metadata.uid() == owner.uid && metadata.mode() & 0o022 == 0)
                .then_some(owner)
        };
        #[cfg(not(unix))]
        let owner = Some(Self {});
        drop(file);
        fs::remove_file(&probe)?;
        if owner.is_none() {
            tracing::warn!(
                folder = %folder.display(),
                "compiled components are not kept: the folder belongs to someone else, or others can write to it"
            );
        }
        Ok(owner)
    }

    #[cfg_attr(not(unix), expect(clippy::unused_self, reason = "owners are known on Unix only"))]
    fn wrote(&self, file: &File) -> bool {
        let Ok(metadata) = file.metadata() else { return false };
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            metadata.is_file() && metadata.uid() == self.uid && metadata.mode() & 0o022 == 0
        }
        #[cfg(not(unix))]
        metadata.is_file()
    }

    /// Whole or not at all: written beside it, then renamed.
    #[expect(clippy::unused_self, reason = "only who owns the folder writes to it")]
    fn write(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let part = path.with_extension(format!("part-{}", unique()));
        let written = create(&part)
            .and_then(|mut file| std::io::Write::write_all(&mut file, bytes))
            .and_then(|()| fs::rename(&part, path));
        if written.is_err() {
            drop(fs::remove_file(&part));
        }
        written
    }
}

/// A new file that only this user can write to.
fn create(path: &Path) -> std::io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Different in each process and at each call.
fn unique() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("engine");
        fs::create_dir(&folder).expect("a folder");
        for (age, name) in [(300, "old"), (200, "mid"), (100, "new")] {
            fs::write(folder.join(name), [0; 100]).expect("written");
            let file = File::options().append(true).open(folder.join(name)).expect("open");
            file.set_modified(SystemTime::now() - std::time::Duration::from_secs(age)).expect("set");
        }
        prune(root.path(), 200);
        let left = |name: &str| folder.join(name).exists();
        assert_eq!([left("old"), left("mid"), left("new")], [false, true, true]);
    }

    #[cfg(unix)]
    #[test]
    fn what_others_can_write_to_is_not_trusted() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("engine");
        let owner = Owner::of(&folder).expect("made").expect("trusted");
        owner.write(&folder.join("x"), b"x").expect("written");
        assert!(owner.wrote(&File::open(folder.join("x")).expect("open")));
        fs::set_permissions(folder.join("x"), fs::Permissions::from_mode(0o666)).expect("set");
        assert!(!owner.wrote(&File::open(folder.join("x")).expect("open")));
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("set");
        assert!(Owner::of(&folder).expect("looked at").is_none());
    }
}
