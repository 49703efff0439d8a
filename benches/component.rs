//! The cost of chunking in a component compared with the same chunker as native code: calls, documents,
//! starts. Component and native twin are compared behind the engine's chunker trait, where both take
//! the engine's document and return the engine's chunks; the bare function, which takes a prepared
//! document and returns the SDK's chunks, is measured separately. The components are those that
//! `plugins/build.sh` left in `target/components`, else those in the repository; missing ones are
//! skipped. Documents and deadlines are those of a run.
//!
//! `cargo bench --bench component`; compare the fastest column: single runs vary by half.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use changelog::Changelog;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use reposync::chunk::Chunker;
use reposync::chunk::component::WasmSettings;
use reposync::chunk::component::{ComponentChunker, ComponentHost, Folders, Trial};
use reposync::model::Document;
use reposync_plugin_sdk::Chunker as _;

#[path = "../tests/it/support/twin.rs"]
mod twin;

use twin::Twin;

#[expect(clippy::print_stdout, reason = "a measurement that is no time")]
fn main() {
    for plugin in plugins() {
        let (_host, chunker) = plugin.load();
        let mut trial = Trial::new(&chunker);
        trial.chunk(&Document { path: "a.md", text: "", language: None, ..Document::default() });
        println!("{plugin}: {} KiB of memory in an idle instance", trial.memory() >> 10);
    }
    divan::main();
}

/// A component whose file exists.
struct Plugin {
    name: &'static str,
    component: PathBuf,
}

impl fmt::Display for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

fn plugins() -> Vec<Plugin> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    ["changelog", "sql", "restructuredtext", "notebook"]
        .into_iter()
        .filter_map(|name| {
            let places = ["target/components", "plugins"].map(|folder| root.join(folder));
            let component = places
                .iter()
                .map(|folder| folder.join(name).with_extension("wasm"))
                .find(|it| it.exists())?;
            Some(Plugin { name, component })
        })
        .collect()
}

impl Plugin {
    fn settings(&self) -> WasmSettings {
        serde_json::from_value(serde_json::json!({ "component": self.component })).expect("settings")
    }

    /// Loads it; compiled once for all results except those of compiling.
    fn load(&self) -> (ComponentHost, ComponentChunker) {
        self.load_from(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-components"))
    }

    fn load_from(&self, cache: &Path) -> (ComponentHost, ComponentChunker) {
        let host = ComponentHost::new(&Folders::below(cache)).expect("a host");
        let chunker = host.load(self.name, &self.settings()).expect("loads");
        (host, chunker)
    }

    /// A document of the component's kind with about this many bytes, and its path.
    fn document(&self, bytes: usize) -> (&'static str, String) {
        match self.name {
            "changelog" => ("CHANGELOG.md", releases(bytes)),
            "notebook" => ("analysis.ipynb", notebook(bytes)),
            "restructuredtext" => ("handbook.rst", handbook(bytes)),
            "sql" => ("schema.sql", schema(bytes)),
            other => panic!("`{other}` has no document here"),
        }
    }
}

/// Concatenated pieces, cut to a size.
fn pieces(bytes: usize, head: &str, piece: impl Fn(usize) -> String) -> String {
    let mut text = head.to_owned();
    let mut number = 0;
    while text.len() < bytes {
        number += 1;
        text.push_str(&piece(number));
    }
    text.truncate(bytes);
    text
}

/// A changelog; a release has 430 bytes.
fn releases(bytes: usize) -> String {
    pieces(bytes, "# Changelog\n\nAll notable changes.\n\n", |minor| {
        format!(
            "## [1.{minor}.0] - 2024-05-01\n\n### Added\n\n- A setting for the level of headings, so that \
             other layouts of changelogs work too (#{minor}).\n- Names of releases as attributes of every \
             chunk, so that a search can be narrowed to one.\n\n### Fixed\n\n- Empty releases are left out, \
             and so are links at the end of the file.\n\n"
        )
    })
}

const PROSE: &str = "The search looks through every passage that was indexed and answers with those \
                     that are nearest in meaning, together with the file and the lines they stand in.\n";

/// A manual; a section has 1,400 bytes, as in the documentation of large Python projects.
fn handbook(bytes: usize) -> String {
    pieces(bytes, "========\nHandbook\n========\n\n", |number| {
        let title = format!("Section {number}");
        let mark = if number % 4 == 1 { "=" } else { "-" }.repeat(title.len());
        format!(".. _part-{number}:\n\n{title}\n{mark}\n\n{}\n::\n\n    $ search it\n\n", PROSE.repeat(8))
    })
}

/// A schema with its rows; a statement has 150 bytes.
fn schema(bytes: usize) -> String {
    pieces(bytes, "-- What the shop holds.\n\n", |number| {
        format!(
            "-- Table {number}.\nCREATE TABLE shop.item_{number} (\n  id bigint PRIMARY KEY,\n  name text NOT \
             NULL DEFAULT 'none; yet',\n  price numeric(10, 2)\n);\nCREATE INDEX item_{number}_name ON \
             shop.item_{number} (name);\nINSERT INTO shop.item_{number} VALUES (1, 'a \"first\" one', 2.50);\n\n"
        )
    })
}

/// A notebook that alternates prose and code with its output; a cell has 600 bytes.
fn notebook(bytes: usize) -> String {
    let mut cells = Vec::new();
    let mut size = 0;
    while size < bytes {
        let number = cells.len() + 1;
        let lines = |text: &str| text.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>();
        let cell = if number % 2 == 1 {
            let text = format!("## Part {number}\n\n{}", PROSE.repeat(3));
            serde_json::json!({ "cell_type": "markdown", "metadata": {}, "source": lines(&text) })
        } else {
            let code = "frame = read(\"items.csv\")\nframe[frame[\"price\"] > 2.5].sum()\n".repeat(2);
            let printed = "0    1.25\n1    2.50\n2    3.75\n".repeat(8);
            serde_json::json!({
                "cell_type": "code", "execution_count": number, "metadata": {}, "source": lines(&code),
                "outputs": [{ "output_type": "stream", "name": "stdout", "text": lines(&printed) }],
            })
        };
        size += cell.to_string().len();
        cells.push(cell);
    }
    serde_json::json!({
        "cells": cells, "metadata": { "language_info": { "name": "python" } }, "nbformat": 4, "nbformat_minor": 5,
    })
    .to_string()
}

const SIZES: [usize; 2] = [10_000, 1_000_000];

/// The bare function, as an author measures it on the host.
#[divan::bench(args = SIZES)]
fn native_function(bencher: Bencher, bytes: usize) {
    let native = Changelog::configure(changelog::Config::default()).expect("configured");
    let document = reposync_plugin_sdk::Document::new("CHANGELOG.md", releases(bytes));
    bencher
        .counter(BytesCount::new(bytes))
        .bench_local(|| native.split(black_box(&document)).expect("chunks"));
}

/// The native twin: the same work as the component's `document`.
#[divan::bench(args = SIZES)]
fn native_twin(bencher: Bencher, bytes: usize) {
    let plugins = plugins();
    let Some(plugin) = plugins.iter().find(|plugin| plugin.name == "changelog") else { return };
    let (_host, component) = plugin.load();
    let twin = Twin::of(Arc::new(component), "{}");
    let (path, text) = plugin.document(bytes);
    let document = Document { path, text: &text, language: None, ..Document::default() };
    bencher
        .counter(BytesCount::new(text.len()))
        .bench_local(|| twin.chunk(black_box(&document)).expect("chunks"));
}

#[divan::bench(args = plugins(), consts = [10_000, 1_000_000], max_time = 10)]
fn document<const BYTES: usize>(bencher: Bencher, plugin: &Plugin) {
    let (_host, chunker) = plugin.load();
    let (path, text) = plugin.document(BYTES);
    let document = Document { path, text: &text, language: None, ..Document::default() };
    bencher
        .counter(BytesCount::new(text.len()))
        .bench_local(|| chunker.chunk(black_box(&document)).expect("chunks"));
}

#[divan::bench(args = plugins())]
fn call_with_an_empty_document(bencher: Bencher, plugin: &Plugin) {
    let (_host, chunker) = plugin.load();
    let document = Document { path: "empty", text: "", language: None, ..Document::default() };
    // The result does not matter: some components refuse an empty document.
    bencher.bench_local(|| drop(chunker.chunk(black_box(&document))));
}

#[divan::bench(args = plugins())]
fn another_instance(bencher: Bencher, plugin: &Plugin) {
    let (_host, chunker) = plugin.load();
    bencher.bench_local(|| chunker.start_time(1));
}

#[divan::bench(args = plugins())]
fn start_from_the_cache(bencher: Bencher, plugin: &Plugin) {
    drop(plugin.load());
    bencher.bench_local(|| plugin.load());
}

#[divan::bench(args = plugins(), sample_count = 1, sample_size = 1)]
fn compile(bencher: Bencher, plugin: &Plugin) {
    bencher.bench_local(|| {
        let cache = tempfile::tempdir().expect("a folder");
        (plugin.load_from(cache.path()), cache)
    });
}
