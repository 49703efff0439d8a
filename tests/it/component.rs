//! A component behaves like a chunker that is built in: identity, matching, offsets in its own
//! unit, declining, compiled code that is kept.

use std::path::Path;

use reposync::chunk::component::{ComponentChunker, ComponentHost};
use reposync::chunk::{ChunkError, Chunker, WasmSettings};
use reposync::model::{Body, Chunk, Document};

use crate::support::component::{Fixture, Unit, settings};

struct Bench {
    folder: tempfile::TempDir,
    host: ComponentHost,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let host = ComponentHost::new(&folder.path().join("cache")).expect("a host");
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
    chunker.chunk(&Document { path: "docs/a.md", text, language: Some("markdown") })
}

fn texts<'a>(text: &'a str, chunks: &'a [Chunk]) -> Vec<&'a str> {
    chunks
        .iter()
        .map(|chunk| match &chunk.body {
            Body::Slice(range) => &text[range.clone()],
            Body::Generated(text) => text,
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
    assert!(one.may_decline());
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
    let Err(ChunkError::Failed { message, .. }) = chunk(&chunker, "!") else { panic!("refused") };
    insta::assert_snapshot!(message, @"component `declines 1.0.0` failed on `docs/a.md`: it finds the document bad: it does not say why");
    let Err(ChunkError::Failed { message, .. }) = chunk(&chunker, "?") else { panic!("refused") };
    insta::assert_snapshot!(message, @"component `declines 1.0.0` failed on `docs/a.md`: declines");
    assert_eq!(chunk(&chunker, "x").expect("chunks").len(), 1);
}

#[test]
fn an_unchanged_component_is_compiled_once() {
    let bench = Bench::new();
    let component = Fixture::new("whole").write(bench.path());
    let first = bench.host.load("stage", &settings(&component)).expect("loads");
    let again = bench.host.load("stage", &settings(&component)).expect("loads");
    assert_eq!(bench.host.compilations(), 1);
    drop((first, again));
    // Nobody holds it any more: this one comes from disk, as after a restart.
    bench.host.load("stage", &settings(&component)).expect("loads");
    let restarted = ComponentHost::new(&bench.path().join("cache")).expect("a host");
    let chunker = restarted.load("stage", &settings(&component)).expect("loads");
    assert_eq!(chunk(&chunker, "text").expect("chunks").len(), 1);
    assert_eq!((bench.host.compilations(), restarted.compilations()), (1, 0));
}

#[test]
fn spoilt_compiled_code_is_made_anew() {
    type Spoil = fn(&mut Vec<u8>);
    let bench = Bench::new();
    let component = Fixture::new("whole").write(bench.path());
    drop(bench.host.load("stage", &settings(&component)).expect("loads"));
    let [code, beside] = ["cwasm", "json"].map(|extension| kept(&bench.path().join("cache"), extension));
    let spoilt: [(&Path, Spoil); 5] = [
        (&code, |bytes| bytes[0] ^= 1),
        (&code, |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }),
        (&code, |bytes| bytes.truncate(bytes.len() - 1)),
        (&code, |bytes| bytes.push(0)),
        (&beside, |bytes| bytes.truncate(bytes.len() / 2)),
    ];
    for (n, (path, spoil)) in (1..).zip(spoilt) {
        let mut bytes = std::fs::read(path).expect("there");
        spoil(&mut bytes);
        std::fs::write(path, bytes).expect("written");
        let chunker = bench.host.load("stage", &settings(&component)).expect("loads");
        assert_eq!(chunk(&chunker, "text").expect("chunks").len(), 1);
        assert_eq!(bench.host.compilations(), 1 + n);
    }
}

/// The one file of this extension among the compiled components.
fn kept(cache: &Path, extension: &str) -> std::path::PathBuf {
    let entries = |folder: &Path| -> Vec<_> {
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
    };
    let mut files = entries(&cache.join("components"))
        .into_iter()
        .flat_map(|folder| entries(&folder))
        .filter(|path| path.extension().is_some_and(|it| it == extension));
    let file = files.next().expect("kept");
    assert_eq!(files.next(), None);
    file
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
    assert_eq!(first.imports, ["reposync:chunker/log@1.0.0", "reposync:chunker/types@1.0.0"]);
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
