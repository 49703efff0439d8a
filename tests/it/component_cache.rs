//! Compiled components are run only if this program, run by this user, compiled them; without a usable
//! cache folder components still work.

use std::path::{Path, PathBuf};

use reposync::chunk::Chunker;
use reposync::chunk::component::WasmSettings;
use reposync::chunk::component::{ComponentHost, Folders};
use reposync::model::Document;

use crate::support::component::{Fixture, settings};
use crate::support::local::{Local, STAGES};

struct Bench {
    folder: tempfile::TempDir,
    folders: Folders,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let folders = Folders::below(&folder.path().join("cache"));
        Self { folder, folders }
    }

    fn component(&self, name: &str) -> WasmSettings {
        settings(&Fixture::new(name).write(self.folder.path()))
    }

    /// Loads a component as a new process would; returns the number of chunks of a two-line document
    /// and the number of compilations.
    fn started(&self, settings: &WasmSettings) -> (usize, u64) {
        let host = ComponentHost::new(&self.folders).expect("a host");
        let chunker = host.load("notes", settings).expect("loads");
        let document = Document { path: "a.md", text: "one\ntwo\n", language: None, ..Document::default() };
        (chunker.chunk(&document).expect("chunks").len(), host.compilations())
    }

    /// Path of the compiled code (`cwasm`) or the description of a component.
    fn kept(&self, settings: &WasmSettings, extension: &str) -> PathBuf {
        let host = ComponentHost::new(&self.folders).expect("a host");
        let sha256 = host.describe("notes", settings).expect("described").sha256;
        self.engine().join(format!("{sha256}.{extension}"))
    }

    /// The cache folder of this version of the engine.
    fn engine(&self) -> PathBuf {
        let root = self.folders.compiled.as_ref().expect("a cache");
        let mut engines = std::fs::read_dir(root).expect("a folder");
        engines.next().expect("one engine").expect("an entry").path()
    }
}

const LINES: usize = 2;
const WHOLE: usize = 1;

#[test]
fn compiled_code_is_kept_from_one_start_to_the_next() {
    let bench = Bench::new();
    let lines = bench.component("lines");
    assert_eq!(bench.started(&lines), (LINES, 1));
    assert_eq!(bench.started(&lines), (LINES, 0));
}

#[test]
fn patched_code_with_a_recomputed_digest_is_compiled_again_and_not_run() {
    let bench = Bench::new();
    let (lines, whole) = (bench.component("lines"), bench.component("whole"));
    assert_eq!((bench.started(&lines), bench.started(&whole)), ((LINES, 1), (WHOLE, 1)));
    let [code, info] = ["cwasm", "info"].map(|extension| bench.kept(&lines, extension));
    // Other code that would run, with a description that names its digest and is authenticated with a
    // key that an attacker could have.
    let patched = std::fs::read(bench.kept(&whole, "cwasm")).expect("kept");
    let text = std::fs::read_to_string(&info).expect("kept");
    let (_, beside) = text.split_once('\n').expect("a code and a description");
    let mut beside: serde_json::Value = serde_json::from_str(beside).expect("JSON");
    beside["code"] = blake3::hash(&patched).to_hex().to_string().into();
    let beside = serde_json::to_string_pretty(&beside).expect("JSON");
    for mac in [
        blake3::hash(beside.as_bytes()),
        blake3::keyed_hash(&[0; 32], beside.as_bytes()),
        blake3::Hash::from_hex(text.split_once('\n').expect("a code").0).expect("hex"),
    ] {
        std::fs::write(&code, &patched).expect("written");
        std::fs::write(&info, format!("{}\n{beside}", mac.to_hex())).expect("written");
        assert_eq!(bench.started(&lines), (LINES, 1), "compiled again, not run");
        assert_eq!(bench.started(&lines), (LINES, 0), "and cached again");
    }
}

#[test]
fn code_of_one_component_does_not_stand_for_another() {
    let bench = Bench::new();
    let (lines, whole) = (bench.component("lines"), bench.component("whole"));
    assert_eq!((bench.started(&lines), bench.started(&whole)), ((LINES, 1), (WHOLE, 1)));
    for extensions in [&["cwasm"][..], &["cwasm", "info"]] {
        for extension in extensions {
            std::fs::copy(bench.kept(&whole, extension), bench.kept(&lines, extension)).expect("copied");
        }
        assert_eq!(bench.started(&lines), (LINES, 1), "{extensions:?}");
    }
}

#[test]
fn code_under_another_key_is_compiled_again() {
    let bench = Bench::new();
    let lines = bench.component("lines");
    assert_eq!(bench.started(&lines), (LINES, 1));
    let key = bench.folders.key.as_ref().expect("a folder").join("components.key");
    assert_eq!(std::fs::read(&key).expect("a key").len(), 32);
    std::fs::remove_file(&key).expect("removed");
    assert_eq!(bench.started(&lines), (LINES, 1));
    assert_eq!(bench.started(&lines), (LINES, 0));
}

#[test]
fn spoilt_compiled_code_is_compiled_again() {
    type Spoil = fn(&mut Vec<u8>);
    let bench = Bench::new();
    let lines = bench.component("lines");
    bench.started(&lines);
    let [code, info] = ["cwasm", "info"].map(|extension| bench.kept(&lines, extension));
    let middle = |bytes: &mut Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    };
    let spoilt: [(&Path, Spoil); 7] = [
        (&code, |bytes| bytes[0] ^= 1),
        (&code, middle),
        (&code, |bytes| bytes.truncate(bytes.len() - 1)),
        (&code, |bytes| bytes.push(0)),
        (&code, Vec::clear),
        (&info, middle),
        (&info, |bytes| bytes.truncate(bytes.len() / 2)),
    ];
    for (path, spoil) in spoilt {
        let mut bytes = std::fs::read(path).expect("there");
        spoil(&mut bytes);
        std::fs::write(path, bytes).expect("written");
        assert_eq!(bench.started(&lines), (LINES, 1));
    }
}

#[test]
fn without_a_place_to_keep_it_a_component_is_compiled_once_in_a_process() {
    let bench = Bench::new();
    let lines = bench.component("lines");
    let blocked = bench.folder.path().join("file");
    std::fs::write(&blocked, "no folder").expect("written");
    let usable = &bench.folders;
    for folders in [
        Folders { compiled: Some(blocked.join("components")), ..usable.clone() },
        Folders { key: Some(blocked.join("state")), ..usable.clone() },
        Folders { compiled: None, ..usable.clone() },
        Folders { key: None, ..usable.clone() },
    ] {
        let host = ComponentHost::new(&folders).expect("a host");
        for _ in 0..3 {
            drop(host.load("notes", &lines).expect("loads"));
        }
        assert_eq!(host.compilations(), 1, "{folders:?}");
    }
}

#[cfg(unix)]
#[test]
fn folders_that_others_can_write_to_are_not_trusted() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let bench = Bench::new();
    let lines = bench.component("lines");
    assert_eq!(bench.started(&lines), (LINES, 1));
    let mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
    };
    let root = bench.folders.compiled.clone().expect("a cache");
    for folder in [&root, &bench.engine(), bench.folders.key.as_ref().expect("a folder")] {
        mode(folder, 0o770);
        assert_eq!(bench.started(&lines), (LINES, 1), "{} is group-writable", folder.display());
        mode(folder, 0o700);
        assert_eq!(bench.started(&lines), (LINES, 0));
    }
    let moved = bench.folder.path().join("moved");
    std::fs::rename(&root, &moved).expect("moved");
    symlink(&moved, &root).expect("linked");
    assert_eq!(bench.started(&lines), (LINES, 1), "a link is not followed");
}

/// A project whose files go through a component.
fn project(engine: &str) -> Local {
    let local = Local::new();
    local.world.write("plugins/lines.wasm", Fixture::new("lines").build());
    local.config(&format!(
        "[engine]\n{engine}\n{STAGES}\n[stages.notes]\nkind = \"wasm\"\ncomponent = \"plugins/lines.wasm\"\n\
         [projects.docs]\npipeline = [\"local\", \"notes\", \"model\", \"index\"]\nrepositories = [\"docs\"]\n"
    ));
    local
}

#[test]
fn compiled_code_lies_in_the_users_folders_and_a_former_cache_is_removed_by_the_next_writing_run() {
    let local = project("");
    let former = format!(".reposync/components/wasmtime48-0123456789abcdef/{}", "a".repeat(64));
    local.world.write(&format!("{former}.cwasm"), "code").write(&format!("{former}.json"), "{}");
    local.world.ok(&["plan"]);
    assert!(local.world.path(&format!("{former}.cwasm")).exists(), "`plan` writes nothing to the project");
    local.world.ok(&["apply"]);
    assert!(!local.world.path(".reposync/components").exists());
    assert!(local.world.path(".local/state/reposync/components.key").exists());
    assert!(local.world.path(".cache/reposync/components").is_dir());
}

#[test]
fn a_cache_that_cannot_be_written_is_a_note_and_no_failure() {
    let local = project("compiled_cache = \"reposync.toml/components\"");
    let ran = local.world.ok(&["apply"]);
    assert_eq!(ran.stderr.matches("compiled components are not cached").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("`[engine].compiled_cache`"), "{}", ran.stderr);
    assert!(!local.index().is_empty());
}
