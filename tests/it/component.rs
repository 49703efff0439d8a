//! A component behaves like a built-in chunker: identity, matching, offsets in its declared unit,
//! declining, cached compiled code.

use std::path::Path;

use reposync::chunk::component::{ComponentChunker, ComponentHost, Folders};
use reposync::chunk::component::{OnError, WasmSettings};
use reposync::chunk::{ChunkError, Chunker};
use reposync::model::{Body, Chunk, Document};

use crate::support::component::{Fixture, Unit, settings};

struct Bench {
    folder: tempfile::TempDir,
    host: ComponentHost,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let host = ComponentHost::new(&Folders::below(&folder.path().join("cache"))).expect("a host");
        Self { folder, host }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn load(&self, fixture: &Fixture) -> ComponentChunker {
        self.host.load("stage", &settings(&fixture.write(self.path()))).expect("loads")
    }
}

fn chunk(chunker: &impl Chunker, text: &str) -> Result<Vec<Chunk>, ChunkError> {
    chunker.chunk(&Document { path: "docs/a.md", text, language: Some("markdown"), ..Document::default() })
}

fn texts<'a>(text: &'a str, chunks: &'a [Chunk]) -> Vec<&'a str> {
    chunks
        .iter()
        .map(|chunk| match &chunk.body {
            Body::Slice(range) => &text[range.clone()],
            Body::Generated(text) => text,
            Body::Derived(derived) => &derived.text,
        })
        .collect()
}

#[test]
fn ranges_come_back_as_bytes() {
    let bench = Bench::new();
    let chunker = bench.load(&Fixture::new("lines"));
    let text = "eins\nzwei ü\n\ndrei";
    let chunks = chunk(&chunker, text).expect("chunks");
    assert_eq!(texts(text, &chunks), ["eins\n", "zwei ü\n", "\n", "drei"]);
}

#[test]
fn an_empty_list_means_nothing_to_index() {
    let bench = Bench::new();
    let chunker = bench.load(&Fixture::new("lines"));
    assert_eq!(chunk(&chunker, "").expect("chunks"), []);
}

#[test]
fn offsets_are_taken_in_the_declared_unit() {
    // `mid-character` cuts after two units and at the text's length in bytes.
    let bench = Bench::new();
    for (unit, text, first) in [
        (Unit::Utf8Bytes, "üa", Some("ü")),
        (Unit::Utf16Units, "🦀a", Some("🦀")),
        (Unit::CodePoints, "🦀a", Some("🦀a")),
        (Unit::CodePoints, "🦀", None),
        (Unit::CodePoints, "abcd", Some("ab")),
    ] {
        let chunker = bench.load(&Fixture::new("first-two").unit(unit));
        let answer = chunk(&chunker, text);
        assert_eq!(
            answer.ok().map(|chunks| texts(text, &chunks)[0].to_owned()).as_deref(),
            first,
            "{unit:?}"
        );
    }
}

#[test]
fn identity_is_binary_and_config_whatever_the_order_of_keys() {
    let bench = Bench::new();
    let component = Fixture::new("whole").write(bench.path());
    let with = |config: &str| -> ComponentChunker {
        let settings = WasmSettings {
            config: serde_json::from_str(config).expect("json"),
            memory: "128 MiB".parse().expect("a size"),
            ..settings(&component)
        };
        bench.host.load("stage", &settings).expect("loads")
    };
    let one = with(r#"{"a": 1, "b": 2}"#);
    assert_eq!(one.label(), "whole 1.0.0");
    assert!(one.identity().starts_with("whole 1.0.0 sha256:"), "{}", one.identity());
    assert_eq!(one.identity(), with(r#"{"b": 2, "a": 1}"#).identity());
    assert_ne!(one.identity(), with(r#"{"b": 2, "a": 2}"#).identity());
    let default = bench.host.load("other", &settings(&component)).expect("loads");
    assert!(default.identity().ends_with(" {}"), "{}", default.identity());
    assert!(one.may_decline("a.txt"));
}

#[test]
fn files_are_matched_by_pattern_or_declared_extension() {
    let bench = Bench::new();
    let component = Fixture::new("whole").write(bench.path());
    let declared = bench.host.load("stage", &settings(&component)).expect("loads");
    assert!(declared.matches("docs/README.MD"));
    assert!(!declared.matches("docs/readme.txt"));
    let patterns = Some(vec!["**/changelog.md".to_owned(), "*.rst".to_owned()]);
    let chosen = bench.host.load("stage", &WasmSettings { patterns, ..settings(&component) }).expect("loads");
    assert!(chosen.matches("CHANGELOG.md") && chosen.matches("a/CHANGELOG.md") && chosen.matches("a/b.rst"));
    assert!(!chosen.matches("README.md"));
}

#[test]
fn refusals_are_told_apart() {
    let bench = Bench::new();
    let chunker = bench.load(&Fixture::new("declines"));
    assert!(matches!(chunk(&chunker, "\nx"), Err(ChunkError::NotMine)));
    let Err(ChunkError::Left { why }) = chunk(&chunker, "!") else { panic!("left to the next") };
    insta::assert_snapshot!(why, @"component `declines 1.0.0`: it rejected the document: it gave no reason");
    let Err(ChunkError::Failed { message, .. }) = chunk(&chunker, "?") else { panic!("refused") };
    insta::assert_snapshot!(message, @"component `declines 1.0.0` failed on `docs/a.md`: declines");
    assert_eq!(chunk(&chunker, "x").expect("chunks").len(), 1);
}

#[test]
fn on_error_decides_about_files_that_cannot_be_chunked() {
    let bench = Bench::new();
    let declines = settings(&Fixture::new("declines").write(bench.path()));
    let loop_for_ever = settings(&Fixture::new("endless-loop").write(bench.path()));
    let traps = settings(&Fixture::new("trap").write(bench.path()));
    let loop_for_ever = WasmSettings { deadline: "50ms".parse().expect("a duration"), ..loop_for_ever };
    let outcome = |settings: &WasmSettings, on_error: Option<OnError>, text: &str| {
        let settings = WasmSettings { on_error, ..settings.clone() };
        let chunker = bench.host.load("stage", &settings).expect("loads");
        match chunk(&chunker, text) {
            Err(ChunkError::NotMine) => "not mine",
            Err(ChunkError::Left { .. }) => "next",
            Err(ChunkError::Failed { .. } | ChunkError::Stopped { .. }) => "fail",
            Ok(_) => "chunks",
        }
    };
    let (next, fail) = (Some(OnError::Next), Some(OnError::Fail));
    for (what, settings, text, expected) in [
        ("not mine", &declines, "\n", ["not mine"; 3]),
        ("bad document", &declines, "!", ["next", "next", "fail"]),
        ("failed", &declines, "?", ["fail", "next", "fail"]),
        ("trap", &traps, "x", ["fail", "next", "fail"]),
        // A deadline depends on the machine, and the index must not.
        ("deadline", &loop_for_ever, "x", ["fail"; 3]),
    ] {
        assert_eq!([None, next, fail].map(|on_error| outcome(settings, on_error, text)), expected, "{what}");
    }
}

#[test]
fn on_error_is_part_of_the_recipe() {
    let bench = Bench::new();
    let plain = settings(&Fixture::new("whole").write(bench.path()));
    let identity = |on_error: Option<OnError>| {
        let settings = WasmSettings { on_error, ..plain.clone() };
        bench.host.load("stage", &settings).expect("loads").identity().to_owned()
    };
    assert_eq!(identity(Some(OnError::Fail)), format!("{} on_error:fail", identity(None)));
    assert_ne!(identity(Some(OnError::Fail)), identity(Some(OnError::Next)));
}

#[test]
fn an_unchanged_component_is_compiled_once() {
    let bench = Bench::new();
    let component = Fixture::new("whole").write(bench.path());
    let first = bench.host.load("stage", &settings(&component)).expect("loads");
    let again = bench.host.load("stage", &settings(&component)).expect("loads");
    assert_eq!(bench.host.compilations(), 1);
    drop((first, again));
    // The cached instance is gone, so this one is loaded from disk, as after a restart.
    bench.host.load("stage", &settings(&component)).expect("loads");
    let restarted = ComponentHost::new(&Folders::below(&bench.path().join("cache"))).expect("a host");
    let chunker = restarted.load("stage", &settings(&component)).expect("loads");
    assert_eq!(chunk(&chunker, "text").expect("chunks").len(), 1);
    assert_eq!((bench.host.compilations(), restarted.compilations()), (1, 0));
}

#[test]
fn a_component_replaced_while_in_use_goes_on_as_it_was() {
    let bench = Bench::new();
    let path = Fixture::new("whole").write(bench.path());
    let old = bench.host.load("stage", &settings(&path)).expect("loads");
    std::fs::write(&path, Fixture::new("lines").build()).expect("written");
    let text = "a\nb\n";
    assert_eq!(texts(text, &chunk(&old, text).expect("chunks")), ["a\nb\n"]);
    let new = bench.host.load("stage", &settings(&path)).expect("loads");
    assert_eq!(texts(text, &chunk(&new, text).expect("chunks")), ["a\n", "b\n"]);
    assert_ne!(old.identity(), new.identity());
}

#[test]
fn a_description_needs_no_start_once_it_is_known() {
    let bench = Bench::new();
    let path = Fixture::new("whole").write(bench.path());
    let first = bench.host.describe("stage", &settings(&path)).expect("described");
    let second = bench.host.describe("stage", &settings(&path)).expect("described");
    assert_eq!(first, second);
    assert_eq!(first.imports, ["reposync:chunker/log@1.1.0", "reposync:chunker/types@1.1.0"]);
    assert_eq!(bench.host.compilations(), 1);
}

#[test]
fn many_threads_share_one_component() {
    let bench = Bench::new();
    let chunker = bench.load(&Fixture::new("lines"));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let chunker = &chunker;
            scope.spawn(move || {
                for n in 0..200 {
                    let text = format!("{thread}\n{n}\n");
                    let chunks = chunk(chunker, &text).expect("chunks");
                    assert_eq!(texts(&text, &chunks), [format!("{thread}\n"), format!("{n}\n")]);
                }
            });
        }
    });
}
