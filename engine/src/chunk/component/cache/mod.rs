//! The on-disk cache of compiled components, by digest: `<engine>/<sha256>.cwasm` is machine code, and
//! `<sha256>.info` the component's description. Both are authenticated with the user's key, so that
//! code runs only if this program, run by this user, compiled it. Any file may be missing or rejected
//! at any time; then the component is compiled again. `functions` does the same for single functions.

mod code;
mod functions;
mod key;
mod private;
mod prune;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wasmtime::Engine;
use wasmtime::component::Component;

use self::functions::Pack;
use self::key::{Key, Mac};
use super::folders::Folders;
use super::info::ComponentInfo;

pub(super) use functions::Functions;
pub use prune::remove_former_cache;

/// Maximum size of the cache in bytes; components are evicted in LRU order.
const MAX_BYTES: u64 = 1 << 30;

/// Maximum size of a description file in bytes: a component may return up to 1 MiB of description.
const MAX_INFO: u64 = 4 << 20;

/// Content of the `.info` file. Kept apart from the code, so that the code's file can be mapped into
/// memory instead of being read.
#[derive(Serialize, Deserialize)]
struct InfoFile {
    /// Authentication code of the machine code, in hex.
    code: String,
    info: ComponentInfo,
}

/// The cache of one engine's code.
#[derive(Debug)]
pub(super) struct Cache {
    /// `None`: the cache is disabled.
    place: Option<Place>,
}

#[derive(Debug)]
struct Place {
    /// Contains one folder per engine configuration and version of wasmtime.
    root: PathBuf,
    folder: PathBuf,
    engine: String,
    key: Key,
}

impl Cache {
    pub(super) fn open(folders: &Folders, engine: &Engine) -> Self {
        let place = Place::open(folders, engine).inspect_err(|why| {
            tracing::warn!(
                "compiled components are not cached, so every start compiles them again: {why}; give this user \
                 write access to `[engine].compiled_cache` and to $XDG_STATE_HOME/reposync"
            );
        });
        Self { place: place.ok() }
    }

    /// Loads a compiled component and its description; `None` if they are missing or fail
    /// authentication.
    pub(super) fn load(&self, engine: &Engine, sha256: &str) -> Option<(Component, ComponentInfo)> {
        let place = self.place.as_ref()?;
        let info_file = place.read_info(sha256)?;
        let mac = Mac::from_hex(&info_file.code).ok()?;
        let path = place.file(sha256, "cwasm");
        match code::load(engine, &path, &place.key, &place.about("code", sha256), mac) {
            Ok(component) => Some((component, info_file.info)),
            Err(error) => {
                tracing::warn!(file = %path.display(), "cached component is rejected and compiled again: {error:#}");
                None
            }
        }
    }

    /// Compiles a component. Functions that are the same as in an earlier one are taken from the cache.
    pub(super) fn compile(
        &self,
        engine: &Engine,
        functions: &Functions,
        bytes: &[u8],
    ) -> wasmtime::Result<Component> {
        functions.compile(engine, bytes, self.place.as_ref().map(Place::pack))
    }

    /// Stores a compiled component. Returns false if that fails; the next start compiles it again.
    pub(super) fn store(&self, component: &Component, info: &ComponentInfo) -> bool {
        let Some(place) = &self.place else { return false };
        let written = place.store(component, info).inspect_err(|error| {
            tracing::warn!(folder = %place.folder.display(), %error, "cannot cache the compiled component");
        });
        prune::oldest(&place.root, MAX_BYTES);
        written.is_ok()
    }

    /// The cached description of a component.
    pub(super) fn info(&self, sha256: &str) -> Option<ComponentInfo> {
        Some(self.place.as_ref()?.read_info(sha256)?.info)
    }
}

impl Place {
    fn open(folders: &Folders, engine: &Engine) -> Result<Self, String> {
        let unknown = || "neither HOME nor the XDG variables name a folder of this user".to_owned();
        let root = folders.compiled.clone().ok_or_else(unknown)?;
        let key = Key::load_or_create(folders.key.as_ref().ok_or_else(unknown)?)?;
        // The hash only names the folder; the engine itself rejects incompatible code.
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

    /// The purpose of a file, as input of its authentication code: a file of one component cannot be
    /// passed off as that of another.
    fn about(&self, what: &str, sha256: &str) -> String {
        format!("reposync component {what} {} {sha256}", self.engine)
    }

    /// The compiled functions of all components.
    fn pack(&self) -> Pack<'_> {
        let about = format!("reposync component functions {}", self.engine);
        Pack { path: self.folder.join(functions::FILE), key: &self.key, about }
    }

    fn store(&self, component: &Component, info: &ComponentInfo) -> anyhow::Result<()> {
        let sha256 = &info.sha256;
        let code = component.serialize().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        let mac = self.key.of_bytes(&self.about("code", sha256), &code);
        let info_file = InfoFile { code: mac.to_hex().to_string(), info: info.clone() };
        let json = serde_json::to_string_pretty(&info_file)?;
        let mac = self.key.of_bytes(&self.about("info", sha256), json.as_bytes());
        private::write(&self.file(sha256, "cwasm"), &code)?;
        private::write(&self.file(sha256, "info"), format!("{}\n{json}", mac.to_hex()).as_bytes())?;
        Ok(())
    }

    fn read_info(&self, sha256: &str) -> Option<InfoFile> {
        let file = private::open(&self.file(sha256, "info")).ok()?;
        let mut text = String::new();
        file.take(MAX_INFO).read_to_string(&mut text).ok()?;
        let (mac, json) = text.split_once('\n')?;
        let mac = Mac::from_hex(mac).ok()?;
        if self.key.of_bytes(&self.about("info", sha256), json.as_bytes()) != mac {
            return None;
        }
        serde_json::from_str(json).ok().filter(|file: &InfoFile| file.info.sha256 == sha256)
    }
}
