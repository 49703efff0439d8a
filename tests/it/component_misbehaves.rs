//! A hostile or broken component fails only its own files, and the message tells its author what
//! happened, where, and what to do.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use reposync::chunk::component::WasmSettings;
use reposync::chunk::component::{ComponentHost, Folders, HostOptions, RefusedConfig};
use reposync::chunk::{ChunkError, Chunker};
use reposync::model::{Document, StageError};

use crate::support::component::{Fixture, Unit, settings};

struct Bench {
    folder: tempfile::TempDir,
    host: ComponentHost,
}

impl Bench {
    fn new() -> Self {
        Self::with(HostOptions::default())
    }

    fn with(options: HostOptions) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let host =
            ComponentHost::with(&Folders::below(&folder.path().join("cache")), options).expect("a host");
        Self { folder, host }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn chunker(&self, fixture: &Fixture) -> impl Chunker + use<> {
        let path = fixture.write(self.path());
        self.host.load("notes", &small(&path)).expect("loads")
    }

    /// The message shown if a stage cannot be built.
    fn refusal(&self, bytes: &[u8]) -> String {
        let path = self.path().join("x.wasm");
        std::fs::write(&path, bytes).expect("written");
        self.refusal_of(&small(&path))
    }

    fn refusal_of(&self, settings: &WasmSettings) -> String {
        match self.host.load("notes", settings) {
            Ok(_) => panic!("it loads"),
            Err(error) => self.shown(&error),
        }
    }

    fn shown(&self, error: &StageError) -> String {
        let mut shown = format!("{error}\n");
        for cause in error.source.iter().flat_map(|source| source.chain()) {
            writeln!(shown, "caused by: {cause}").expect("written");
        }
        if let Some(hint) = &error.hint {
            writeln!(shown, "hint: {hint}").expect("written");
        }
        self.without_paths(&shown)
    }

    /// The message shown if a file fails.
    fn failure(&self, chunker: &impl Chunker, text: &str) -> String {
        match chunker.chunk(&Document { path: "docs/a.md", text, language: None, ..Document::default() }) {
            Ok(chunks) => panic!("{} chunks", chunks.len()),
            Err(ChunkError::NotMine) => "not mine\n".to_owned(),
            Err(ChunkError::Left { why }) => self.without_paths(&format!("left: {why}\n")),
            Err(ChunkError::Stopped { message }) => self.without_paths(&format!("{message}\n")),
            Err(ChunkError::Failed { message, hint }) => {
                let hint = hint.map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
                self.without_paths(&format!("{message}\n{hint}"))
            }
        }
    }

    fn without_paths(&self, shown: &str) -> String {
        let folder = self.path().display().to_string();
        shown
            .replace(&folder, "DIR")
            .split_inclusive(|c: char| !c.is_ascii_hexdigit())
            .map(|word| {
                let digits = word.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
                if digits.len() >= 12 { word.replace(digits, "DIGEST") } else { word.to_owned() }
            })
            .collect()
    }
}

/// Small limits, so that the tests are quick; only an endless loop exceeds the deadline.
fn small(component: &Path) -> WasmSettings {
    WasmSettings {
        memory: "16 MiB".parse().expect("a size"),
        deadline: "20s".parse().expect("a duration"),
        output: "8 MiB".parse().expect("a size"),
        ..settings(component)
    }
}

/// The message of a fixture's failure.
fn failure_of(fixture: &str) -> String {
    let bench = Bench::new();
    let chunker = bench.chunker(&Fixture::new(fixture));
    bench.failure(&chunker, "one\ntwo\n")
}

#[test]
fn an_endless_loop_ends_at_its_deadline() {
    let bench = Bench::new();
    let path = Fixture::new("endless-loop").write(bench.path());
    let settings = WasmSettings { deadline: "100ms".parse().expect("a duration"), ..small(&path) };
    let chunker = bench.host.load("notes", &settings).expect("loads");
    insta::assert_snapshot!(bench.failure(&chunker, "one\ntwo\n"), @"
    component `endless-loop 1.0.0` failed on `docs/a.md`: it ran longer than its deadline of 100ms
    hint: raise `deadline` of the stage `notes`, or look for an infinite loop in the component; `reposync plugin test DIR/endless-loop.wasm DIR/cache/failed-documents/endless-loop_1.0.0-DIGEST/a.md` replays it
    ");
}

#[test]
fn an_endless_recursion_ends_at_its_stack() {
    insta::assert_snapshot!(failure_of("endless-recursion"), @"
    component `endless-recursion 1.0.0` failed on `docs/a.md`: it exceeded its stack limit of 1 MiB in `deeper`
    hint: look for infinite recursion in the component; `reposync plugin test DIR/endless-recursion.wasm DIR/cache/failed-documents/endless-recursion_1.0.0-DIGEST/a.md` replays it
    ");
}

#[test]
fn a_memory_bomb_ends_at_its_limit() {
    insta::assert_snapshot!(failure_of("memory-bomb"), @"
    component `memory-bomb 1.0.0` failed on `docs/a.md`: it exceeded its memory limit of 16 MiB
    hint: raise `memory` of the stage `notes`, or make the component use less memory; `reposync plugin test DIR/memory-bomb.wasm DIR/cache/failed-documents/memory-bomb_1.0.0-DIGEST/a.md` replays it
    ");
}

#[test]
fn a_table_bomb_ends_at_the_same_limit() {
    insta::assert_snapshot!(failure_of("table-bomb"), @"
    component `table-bomb 1.0.0` failed on `docs/a.md`: it exceeded its memory limit of 16 MiB
    hint: raise `memory` of the stage `notes`, or make the component use less memory; `reposync plugin test DIR/table-bomb.wasm DIR/cache/failed-documents/table-bomb_1.0.0-DIGEST/a.md` replays it
    ");
}

#[test]
fn an_output_flood_ends_at_its_limit() {
    insta::assert_snapshot!(failure_of("output-flood"), @"
    component `output-flood 1.0.0` failed on `docs/a.md`: it exceeded its output limit of 8 MiB
    hint: raise `output` of the stage `notes`, or make the component return ranges instead of texts; `reposync plugin test DIR/output-flood.wasm DIR/cache/failed-documents/output-flood_1.0.0-DIGEST/a.md` replays it
    ");
}

#[test]
fn a_chunk_flood_is_refused() {
    insta::assert_snapshot!(failure_of("chunk-flood"), @"
    component `chunk-flood 1.0.0` failed on `docs/a.md`: it returned 60000 chunks; the limit is 50000
    hint: this is a bug in the component; report it to its author
    ");
}

#[test]
fn a_trap_is_reported_with_frames_and_last_words() {
    insta::assert_snapshot!(failure_of("trap"), @"
    component `trap 1.0.0` failed on `docs/a.md`: it trapped (`unreachable`: a panic or an abort) in `give_up`; it said: must be 1 to 6
    hint: this is a bug in the component; report it to its author; `reposync plugin test DIR/trap.wasm DIR/cache/failed-documents/trap_1.0.0-DIGEST/a.md` replays it
    ");
}

#[test]
fn a_panic_is_reported_with_its_place_and_message() {
    insta::assert_snapshot!(failure_of("panic"), @"
    component `panic 1.0.0` failed on `docs/a.md`: it panicked at `src/lib.rs:12:5`: must be 1 to 6
    hint: this is a bug in the component; report it to its author; `reposync plugin test DIR/panic.wasm DIR/cache/failed-documents/panic_1.0.0-DIGEST/a.md` replays it
    ");
}

#[test]
fn an_answer_outside_of_its_memory_is_refused() {
    insta::assert_snapshot!(failure_of("wild-pointer"), @"
    component `wild-pointer 1.0.0` failed on `docs/a.md`: its result violates the contract: pointer out of bounds of memory
    hint: this is a bug in the component; report it to its author; `reposync plugin test DIR/wild-pointer.wasm DIR/cache/failed-documents/wild-pointer_1.0.0-DIGEST/a.md` replays it
    ");
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    insta::assert_snapshot!(failure_of("not-text"), @"
    component `not-text 1.0.0` failed on `docs/a.md`: its result violates the contract: invalid utf-8 sequence of 1 bytes from index 0
    hint: this is a bug in the component; report it to its author; `reposync plugin test DIR/not-text.wasm DIR/cache/failed-documents/not-text_1.0.0-DIGEST/a.md` replays it
    ");
}

#[test]
fn bad_ranges_name_the_chunk() {
    let mut all = String::new();
    for fixture in ["unordered", "out-of-bounds", "empty-range"] {
        all.push_str(&failure_of(fixture));
    }
    insta::assert_snapshot!(all, @"
    component `unordered 1.0.0` failed on `docs/a.md`: chunk 2 starts at 0, before the previous chunk does (3)
    hint: this is a bug in the component; report it to its author
    component `out-of-bounds 1.0.0` failed on `docs/a.md`: chunk 1 ends at 9, past the end of the text (8 UTF-8 bytes)
    hint: this is a bug in the component; report it to its author
    component `empty-range 1.0.0` failed on `docs/a.md`: chunk 2 is empty (8..8)
    hint: this is a bug in the component; report it to its author
    ");
}

#[test]
fn a_cut_inside_a_character_names_it_and_the_likely_unit() {
    let bench = Bench::new();
    let chunker = bench.chunker(&Fixture::new("mid-character"));
    insta::assert_snapshot!(bench.failure(&chunker, "aü\n"), @"
    component `mid-character 1.0.0` failed on `docs/a.md`: chunk 1 ends at 2, inside the character `ü` of line 1
    hint: this is a bug in the component; report it to its author
    ");
}

#[test]
fn a_wrong_unit_is_guessed() {
    // It counts bytes, whatever it declares.
    let bench = Bench::new();
    let mut all = String::new();
    for unit in [Unit::Utf16Units, Unit::CodePoints] {
        let chunker = bench.chunker(&Fixture::new("whole").unit(unit));
        all.push_str(&bench.failure(&chunker, "naïve 🦀\n"));
    }
    insta::assert_snapshot!(all, @"
    component `whole 1.0.0` failed on `docs/a.md`: chunk 1 ends at 12, past the end of the text (9 UTF-16 units); its offsets look like UTF-8 bytes, but it declares `utf16-units`
    hint: this is a bug in the component; report it to its author
    component `whole 1.0.0` failed on `docs/a.md`: chunk 1 ends at 12, past the end of the text (8 code points); its offsets look like UTF-8 bytes, but it declares `code-points`
    hint: this is a bug in the component; report it to its author
    ");
}

#[test]
fn a_log_flood_is_cut_off_and_the_work_goes_on() {
    let bench = Bench::new();
    let path = Fixture::new("log-flood").write(bench.path());
    let chunker = bench.host.load("notes", &small(&path)).expect("loads");
    let document = Document { path: "a.md", text: "text", language: None, ..Document::default() };
    assert_eq!(chunker.chunk(&document).expect("chunks").len(), 1);
}

#[test]
fn sleeping_counts_towards_the_deadline() {
    let bench = Bench::new();
    let wasi = "package wasi:io@0.2.0;\ninterface poll { resource pollable { block: func(); } }\n";
    let clocks = "package wasi:clocks@0.2.0;\ninterface monotonic-clock {\n  use wasi:io/poll@0.2.0.{pollable};\n  \
                  subscribe-duration: func(when: u64) -> pollable;\n}\n";
    let fixture = Fixture::new("sleeper")
        .importing("wasi:io/poll@0.2.0;\n  import wasi:clocks/monotonic-clock@0.2.0")
        .package("clocks.wit", clocks)
        .package("io.wit", wasi);
    let chunker = bench.chunker(&fixture);
    let document = Document { path: "a.md", text: "text", language: None, ..Document::default() };
    assert_eq!(chunker.chunk(&document).expect("chunks").len(), 1);
}

#[test]
fn every_document_gets_an_instance_of_its_own() {
    // It traps on the second document of an instance.
    let bench = Bench::new();
    let chunker = bench.chunker(&Fixture::new("trap-every-second"));
    for n in 0..6 {
        let text = format!("document {n}");
        let document = Document { path: "a.md", text: &text, language: None, ..Document::default() };
        assert_eq!(chunker.chunk(&document).expect("chunks").len(), 1);
    }
}

#[test]
fn one_bad_document_does_not_spoil_the_others() {
    let bench = Bench::new();
    let chunker = bench.chunker(&Fixture::new("trap-on-x"));
    for n in 0..10 {
        let text = format!("{} {n}", if n % 2 == 0 { "good" } else { "x" });
        let document = Document { path: "a.md", text: &text, language: None, ..Document::default() };
        let answer = chunker.chunk(&document);
        assert_eq!(answer.is_ok(), n % 2 == 0, "{n}: {answer:?}");
        assert!(!matches!(answer, Err(ChunkError::Stopped { .. })), "{n}");
    }
}

#[test]
fn three_bad_documents_in_a_row_stop_it_until_the_next_run() {
    let bench = Bench::new();
    let chunker = bench.chunker(&Fixture::new("trap-on-x"));
    let chunk = |path, text| chunker.chunk(&Document { path, text, language: None, ..Document::default() });
    // Repeats of the same document count once.
    for _ in 0..4 {
        assert!(matches!(chunk("a.md", "x"), Err(ChunkError::Failed { .. })));
    }
    assert!(matches!(chunk("b.md", "x"), Err(ChunkError::Failed { .. })));
    assert!(matches!(chunk("c.md", "x"), Err(ChunkError::Failed { .. })));
    insta::assert_snapshot!(bench.failure(&chunker, "good"), @"component `trap-on-x 1.0.0` is stopped for this run: it failed on 3 documents in a row (`a.md`, `b.md`, `c.md`), the last time because it trapped (`unreachable`: a panic or an abort) in `split`");
    chunker.begin_run();
    assert_eq!(chunk("d.md", "good").expect("chunks").len(), 1);
}

#[test]
fn a_failed_document_can_be_replayed() {
    let bench = Bench::new();
    let chunker = bench.chunker(&Fixture::new("trap"));
    let Err(ChunkError::Failed { hint: Some(hint), .. }) = chunker.chunk(&Document {
        path: "docs/my notes.md",
        text: "text\n",
        language: None,
        ..Document::default()
    }) else {
        panic!("refused with a hint")
    };
    let kept = hint
        .split(['`', ' '])
        .find(|word| word.contains("failed-documents"))
        .expect("the command names the document");
    assert_eq!(std::fs::read_to_string(kept).expect("kept"), "text\n");
    let report = std::fs::read_to_string(Path::new(kept).with_file_name("failure.txt")).expect("kept");
    insta::assert_snapshot!(bench.without_paths(&report), @"
    docs/my notes.md: component `trap 1.0.0` failed: it trapped (`unreachable`: a panic or an abort) in `give_up`; it said: must be 1 to 6

    backtrace, innermost first:
      give_up
      split
      <wasm function 10>

    log:
      must be 1 to 6
    ");
}

#[test]
fn a_file_that_is_not_a_component_is_recognised() {
    let bench = Bench::new();
    let whole = Fixture::new("whole").build();
    let mut all = String::new();
    for bytes in [
        &wat::parse_str("(module)").expect("good text")[..],
        &whole[..whole.len() / 2],
        &whole[..whole.len() - 1],
        b"export function split() {}\n",
        b"",
    ] {
        all.push_str(&bench.refusal(bytes));
    }
    insta::assert_snapshot!(all, @"
    stage `notes`: component `DIR/x.wasm` is a core WebAssembly module, not a component
    hint: turn it into one: `reposync plugin build`, the target `wasm32-wasip2`, or `wasm-tools component new`
    stage `notes`: component `DIR/x.wasm` is truncated
    hint: copy or build it again; the file on disk is incomplete
    stage `notes`: component `DIR/x.wasm` is truncated
    hint: copy or build it again; the file on disk is incomplete
    stage `notes`: component `DIR/x.wasm` is a text file, not a WebAssembly component
    hint: name the built component, not its source; `reposync plugin build` builds it
    stage `notes`: component `DIR/x.wasm` is an empty file
    hint: build it with `reposync plugin build`
    ");
}

#[test]
fn a_huge_file_is_not_even_read() {
    let bench = Bench::new();
    let path = bench.path().join("huge.wasm");
    let file = std::fs::File::create(&path).expect("created");
    file.set_len(100 << 20).expect("a hole of 100 MB");
    insta::assert_snapshot!(bench.refusal_of(&small(&path)), @"
    stage `notes`: component `DIR/huge.wasm` is 100 MiB large; the limit is 64 MiB
    hint: check that this is the right file; build it stripped and optimized for size
    ");
}

#[test]
fn a_missing_file_and_a_folder_are_told_apart() {
    let bench = Bench::new();
    let missing = bench.refusal_of(&small(&bench.path().join("none.wasm")));
    let folder = bench.refusal_of(&small(bench.path()));
    insta::assert_snapshot!(format!("{missing}{folder}"), @"
    stage `notes`: component `DIR/none.wasm` does not exist
    hint: correct the path in `component`, or build it with `reposync plugin build`
    stage `notes`: component `DIR` is not a file
    hint: set `component` to the component's file
    ");
}

#[test]
fn another_world_says_what_it_exports() {
    let bench = Bench::new();
    let chunker = "other:tool/chunker@1.0.0";
    let wit = reposync::chunk::component::WIT
        .replace("package reposync:chunker@1.1.0;", "package other:tool@1.0.0;");
    let fixture = Fixture::new("whole").contract(chunker, wit).log("other:tool/log@1.0.0");
    insta::assert_snapshot!(bench.refusal(&fixture.build()), @"
    stage `notes`: component `DIR/x.wasm` exports no `reposync:chunker/chunker`; it exports `other:tool/chunker@1.0.0`
    hint: build it against the contract that `reposync plugin wit` prints (world `chunker-plugin`)
    ");
}

#[test]
fn another_major_is_named() {
    let bench = Bench::new();
    let wit = reposync::chunk::component::WIT.replace("chunker@1.1.0;", "chunker@2.1.0;");
    let fixture = Fixture::new("whole")
        .contract("reposync:chunker/chunker@2.1.0", wit)
        .log("reposync:chunker/log@2.1.0");
    insta::assert_snapshot!(bench.refusal(&fixture.build()), @"
    stage `notes`: component `DIR/x.wasm` exports `reposync:chunker/chunker` in version 2.1.0; this program supports 1.x
    hint: build it against the contract that `reposync plugin wit` prints, or use another RepoSync release
    ");
}

#[test]
fn a_later_minor_version_is_accepted() {
    let bench = Bench::new();
    let wit = reposync::chunk::component::WIT.replace("chunker@1.1.0;", "chunker@1.4.2;");
    let fixture = Fixture::new("whole")
        .contract("reposync:chunker/chunker@1.4.2", wit)
        .log("reposync:chunker/log@1.4.2");
    let chunker = bench.chunker(&fixture);
    let document = Document { path: "a.md", text: "text", language: None, ..Document::default() };
    assert_eq!(chunker.chunk(&document).expect("chunks").len(), 1);
}

#[test]
fn what_a_later_minor_version_added_asks_for_a_later_program() {
    let bench = Bench::new();
    // Another interface, and another function of a known one.
    let wit = reposync::chunk::component::WIT.replace("chunker@1.1.0;", "chunker@1.4.0;");
    let wit = wit.replace("import log;", "import log;\n  import stopwatch;");
    let wit = format!("{wit}\ninterface stopwatch {{ elapsed: func() -> u64; }}\n");
    let fixture = Fixture::new("measures")
        .contract("reposync:chunker/chunker@1.4.0", wit)
        .log("reposync:chunker/log@1.4.0");
    insta::assert_snapshot!(bench.refusal(&fixture.build()), @"
    stage `notes`: component `DIR/x.wasm` was built for version 1.4.0 of the contract and uses what it added: `reposync:chunker/stopwatch@1.4.0`; this program supports 1.1
    hint: use a RepoSync release that supports this version, or build the component against the contract that `reposync plugin wit` prints
    ");
    let wit = reposync::chunk::component::WIT.replace("chunker@1.1.0;", "chunker@1.4.0;");
    let wit = wit.replace("interface log {", "interface log {\n  flush: func();");
    let fixture = Fixture::new("flushes")
        .contract("reposync:chunker/chunker@1.4.0", wit)
        .log("reposync:chunker/log@1.4.0");
    let refusal = bench.refusal(&fixture.build());
    assert!(
        refusal.contains("was built for version 1.4.0 of the contract, and this program supports 1.1: "),
        "{refusal}"
    );
    assert!(refusal.contains("hint: use a RepoSync release that supports this version"), "{refusal}");
}

#[test]
fn the_clocks_stand_still_but_not_at_zero() {
    let bench = Bench::new();
    let clocks = "package wasi:clocks@0.2.0;\ninterface monotonic-clock { now: func() -> u64; }\n\
                  interface wall-clock {\n  record datetime { seconds: u64, nanoseconds: u32 }\n  \
                  now: func() -> datetime;\n}\n";
    let fixture = Fixture::new("needs-time")
        .importing("wasi:clocks/monotonic-clock@0.2.0;\n  import wasi:clocks/wall-clock@0.2.0")
        .package("clocks.wit", clocks);
    let chunker = bench.chunker(&fixture);
    let document = Document { path: "a.md", text: "text", language: None, ..Document::default() };
    assert_eq!(chunker.chunk(&document).expect("chunks").len(), 1);
}

#[test]
fn forbidden_imports_are_listed() {
    let bench = Bench::new();
    let network = "package outside:net@1.0.0;\ninterface http { get: func(url: string) -> string; }\n";
    let fixture = Fixture::new("reaches-out").importing("outside:net/http@1.0.0").package("net.wit", network);
    insta::assert_snapshot!(bench.refusal(&fixture.build()), @"
    stage `notes`: component `DIR/x.wasm` imports interfaces that chunkers have no access to: `outside:net/http@1.0.0`
    hint: build it without these imports; a chunker may import only the interfaces `log` and `host` and WASI 0.2
    ");
}

#[test]
fn a_slow_start_is_stopped() {
    let options = HostOptions { start_deadline: Duration::from_millis(300), ..HostOptions::default() };
    let bench = Bench::with(options);
    insta::assert_snapshot!(bench.refusal(&Fixture::new("slow-start").build()), @"
    stage `notes`: component `DIR/x.wasm` cannot start: it ran longer than its deadline of 300ms
    hint: fix what the component does at start-up and in `describe`; both must be fast and need little memory
    ");
}

#[test]
fn a_refused_config_points_at_the_key() {
    let bench = Bench::new();
    let path = Fixture::new("refuses-config").write(bench.path());
    let error = bench.host.load("notes", &small(&path)).err().expect("refused");
    insta::assert_snapshot!(bench.shown(&error), @"
    stage `notes`: component `refuses-config 1.0.0` refuses the stage's `config`
    caused by: `config.level`: must be 1 to 6
    hint: `reposync plugin inspect DIR/refuses-config.wasm` shows which configuration it accepts
    ");
    let refused = error.source.as_ref().and_then(|source| source.downcast_ref::<RefusedConfig>());
    assert_eq!(refused.expect("typed").problems[0].keys(), ["config", "level"]);
}

#[test]
fn another_digest_than_the_pinned_one_is_refused() {
    let bench = Bench::new();
    let path = Fixture::new("whole").write(bench.path());
    let digest = bench.host.describe("notes", &settings(&path)).expect("described").sha256;
    let pinned = |sha256: String| WasmSettings { sha256: Some(sha256), ..small(&path) };
    assert!(bench.host.load("notes", &pinned(digest.to_uppercase())).is_ok());
    insta::assert_snapshot!(bench.refusal_of(&pinned("0".repeat(64))), @"
    stage `notes`: component `DIR/whole.wasm` does not match its pinned digest: its sha256 is DIGEST, pinned is DIGEST
    hint: to accept the new component, set `sha256` to its digest
    ");
}
