//! What chunking in a component costs beside the same chunker as native code: calls, documents,
//! starts. The components are those in `plugins/`, as built by `reposync plugin build`; those that
//! are not there are left out. Documents and deadlines are a run's.
//!
//! `cargo bench --bench component`; compare the fastest column: single runs scatter by half.

use std::fmt;
use std::path::{Path, PathBuf};

use changelog::Changelog;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use reposync::chunk::component::{ComponentChunker, ComponentHost, Trial};
use reposync::chunk::{Chunker, WasmSettings};
use reposync::model::Document;
use reposync_plugin_sdk::Chunker as _;
use tempfile::TempDir;

#[expect(clippy::print_stdout, reason = "a measurement that is no time")]
fn main() {
    for plugin in plugins() {
        let (_host, chunker, _cache) = plugin.load();
        let mut trial = Trial::new(&chunker);
        trial.chunk(&Document { path: "a.md", text: "", language: None });
        println!("{plugin}: {} KiB of memory in an idle instance", trial.memory() >> 10);
    }
    divan::main();
}

/// A component that is there.
struct Plugin {
    name: String,
    component: PathBuf,
}

impl fmt::Display for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins")
}

fn plugins() -> Vec<Plugin> {
    let mut components: Vec<PathBuf> = std::fs::read_dir(folder())
        .expect("the plugins")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .collect();
    components.sort();
    components
        .into_iter()
        .map(|component| {
            let name = component.file_stem().expect("a name").to_string_lossy().into_owned();
            Plugin { name, component }
        })
        .collect()
}

impl Plugin {
    fn settings(&self) -> WasmSettings {
        serde_json::from_value(serde_json::json!({ "component": self.component })).expect("settings")
    }

    fn load(&self) -> (ComponentHost, ComponentChunker, TempDir) {
        let cache = tempfile::tempdir().expect("a folder");
        let host = ComponentHost::new(cache.path()).expect("a host");
        let chunker = host.load(&self.name, &self.settings()).expect("loads");
        (host, chunker, cache)
    }

    /// A document of its kind: its fixture, over and over; a notebook is one whole.
    fn document(&self, bytes: usize) -> (String, String) {
        if self.name == "changelog" {
            return ("CHANGELOG.md".to_owned(), releases(bytes));
        }
        let fixture = std::fs::read_dir(folder().join(&self.name).join("fixtures"))
            .expect("fixtures")
            .map(|entry| entry.expect("an entry").path())
            .find(|path| path.extension().is_some_and(|extension| extension != "json"))
            .expect("a fixture");
        let text = std::fs::read_to_string(&fixture).expect("text");
        let times = if self.name == "notebook" { 1 } else { bytes.div_ceil(text.len()) };
        (fixture.display().to_string(), text.repeat(times))
    }
}

/// A changelog of about so many bytes.
fn releases(bytes: usize) -> String {
    let mut text = "# Changelog\n\nAll notable changes.\n\n".to_owned();
    let mut minor = 0;
    while text.len() < bytes {
        minor += 1;
        text.push_str(&format!(
            "## [1.{minor}.0] - 2024-05-01\n\n### Added\n\n- A setting for the level of headings, so that \
             other layouts of changelogs work too (#{minor}).\n- Names of releases as attributes of every \
             chunk, so that a search can be narrowed to one.\n\n### Fixed\n\n- Empty releases are left out, \
             and so are links at the end of the file.\n\n"
        ));
    }
    text.truncate(bytes);
    text
}

const SIZES: [usize; 2] = [10_000, 1_000_000];

#[divan::bench(args = SIZES)]
fn native_changelog(bencher: Bencher, bytes: usize) {
    let native = Changelog::configure(changelog::Config::default()).expect("configured");
    let document = reposync_plugin_sdk::Document::new("CHANGELOG.md", releases(bytes));
    bencher
        .counter(BytesCount::new(bytes))
        .bench_local(|| native.split(black_box(&document)).expect("chunks"));
}

#[divan::bench(args = plugins(), consts = [10_000, 1_000_000], max_time = 10)]
fn document<const BYTES: usize>(bencher: Bencher, plugin: &Plugin) {
    let (_host, chunker, _cache) = plugin.load();
    let (path, text) = plugin.document(BYTES);
    let document = Document { path: &path, text: &text, language: None };
    bencher
        .counter(BytesCount::new(text.len()))
        .bench_local(|| chunker.chunk(black_box(&document)).expect("chunks"));
}

#[divan::bench(args = plugins())]
fn call_with_an_empty_document(bencher: Bencher, plugin: &Plugin) {
    let (_host, chunker, _cache) = plugin.load();
    let document = Document { path: "empty", text: "", language: None };
    // What it answers does not matter: some refuse an empty document.
    bencher.bench_local(|| drop(chunker.chunk(black_box(&document))));
}

#[divan::bench(args = plugins())]
fn another_instance(bencher: Bencher, plugin: &Plugin) {
    let (_host, chunker, _cache) = plugin.load();
    bencher.bench_local(|| chunker.start_time(1));
}

#[divan::bench(args = plugins())]
fn start_from_the_cache(bencher: Bencher, plugin: &Plugin) {
    let (host, chunker, cache) = plugin.load();
    drop((host, chunker));
    bencher.bench_local(|| {
        let host = ComponentHost::new(cache.path()).expect("a host");
        host.load(&plugin.name, &plugin.settings()).expect("loads")
    });
}

#[divan::bench(args = plugins(), sample_count = 1, sample_size = 1)]
fn compile(bencher: Bencher, plugin: &Plugin) {
    bencher.bench_local(|| plugin.load());
}
