//! Compiled components on disk, by digest: `<engine>/<sha256>.cwasm` holds machine code, and
//! `<sha256>.info` the component's description. Both carry a message authentication code under the
//! user's key, so that code is run only if this program, run by this user, compiled it. Everything
//! here may be lost or refused at any time; then it is compiled again.

mod code;
mod key;
mod private;
mod prune;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wasmtime::Engine;
use wasmtime::component::Component;

use self::key::{Key, Mac};
use super::folders::Folders;
use super::info::ComponentInfo;

pub use prune::remove_former_cache;

/// Bytes of all compiled components together at most; the oldest go first.
const MAX_BYTES: u64 = 1 << 30;

/// Bytes of a description at most: a component may hand over a mebibyte of it.
const MAX_INFO: u64 = 4 << 20;

/// What stands beside the compiled code, in a file of its own: so the code's file is nothing but
/// code, and can be mapped into memory instead of being read.
#[derive(Serialize, Deserialize)]
struct Beside {
    /// The code's own authentication code, in hex.
    code: String,
    info: ComponentInfo,
}

/// The cache of one engine's code.
#[derive(Debug)]
pub(super) struct Cache {
    /// `None`: nothing is loaded or kept.
    place: Option<Place>,
}

#[derive(Debug)]
struct Place {
    /// Holds one folder for each engine setting and version of wasmtime.
    root: PathBuf,
    folder: PathBuf,
    engine: String,
    key: Key,
}

impl Cache {
    pub(super) fn open(folders: &Folders, engine: &Engine) -> Self {
        let place = Place::open(folders, engine).inspect_err(|why| {
            tracing::warn!(
                "compiled components are not kept, so every start compiles them again: {why}; let this user \
                 write to `[engine].compiled_cache` and to $XDG_STATE_HOME/reposync"
            );
        });
        Self { place: place.ok() }
    }

    /// The compiled component and what it says of itself, if this program left it here and it is
    /// whole.
    pub(super) fn load(&self, engine: &Engine, sha256: &str) -> Option<(Component, ComponentInfo)> {
        let place = self.place.as_ref()?;
        let beside = place.beside(sha256)?;
        let mac = Mac::from_hex(&beside.code).ok()?;
        let path = place.file(sha256, "cwasm");
        match code::load(engine, &path, &place.key, &place.about("code", sha256), mac) {
            Ok(component) => Some((component, beside.info)),
            Err(error) => {
                tracing::warn!(file = %path.display(), "compiled component is compiled again: {error:#}");
                None
            }
        }
    }

    /// Keeps a compiled component. False where it is not kept; the next start compiles it again.
    pub(super) fn store(&self, component: &Component, info: &ComponentInfo) -> bool {
        let Some(place) = &self.place else { return false };
        let written = place.store(component, info).inspect_err(|error| {
            tracing::warn!(folder = %place.folder.display(), %error, "compiled component is not kept");
        });
        prune::oldest(&place.root, MAX_BYTES);
        written.is_ok()
    }

    /// What a component said of itself when it was compiled.
    pub(super) fn info(&self, sha256: &str) -> Option<ComponentInfo> {
        Some(self.place.as_ref()?.beside(sha256)?.info)
    }
}

impl Place {
    fn open(folders: &Folders, engine: &Engine) -> Result<Self, String> {
        let unknown = || "neither HOME nor the XDG variables name a folder of this user".to_owned();
        let root = folders.compiled.clone().ok_or_else(unknown)?;
        let key = Key::load_or_create(folders.key.as_ref().ok_or_else(unknown)?)?;
        // Only a name: what does not match is refused by the engine itself.
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let engine = format!("mac1-wasmtime48-{:016x}", hasher.finish());
        let folder = root.join(&engine);
        private::folder(&root)?;
        private::folder(&folder)?;
        Ok(Self { root, folder, engine, key })
    }

    fn file(&self, sha256: &str, extension: &str) -> PathBuf {
        self.folder.join(format!("{sha256}.{extension}"))
    }

    /// What a file is, for its authentication code: one component's file cannot stand for another's.
    fn about(&self, what: &str, sha256: &str) -> String {
        format!("reposync component {what} {} {sha256}", self.engine)
    }

    fn store(&self, component: &Component, info: &ComponentInfo) -> anyhow::Result<()> {
        let sha256 = &info.sha256;
        let code = component.serialize().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        let mac = self.key.of_bytes(&self.about("code", sha256), &code);
        let beside = Beside { code: mac.to_hex().to_string(), info: info.clone() };
        let beside = serde_json::to_string_pretty(&beside)?;
        let mac = self.key.of_bytes(&self.about("info", sha256), beside.as_bytes());
        private::write(&self.file(sha256, "cwasm"), &code)?;
        private::write(&self.file(sha256, "info"), format!("{}\n{beside}", mac.to_hex()).as_bytes())?;
        Ok(())
    }

    fn beside(&self, sha256: &str) -> Option<Beside> {
        let file = private::open(&self.file(sha256, "info")).ok()?;
        let mut text = String::new();
        file.take(MAX_INFO).read_to_string(&mut text).ok()?;
        let (mac, beside) = text.split_once('\n')?;
        let mac = Mac::from_hex(mac).ok()?;
        if self.key.of_bytes(&self.about("info", sha256), beside.as_bytes()) != mac {
            return None;
        }
        serde_json::from_str(beside).ok().filter(|beside: &Beside| beside.info.sha256 == sha256)
    }
}
