//! The tools for chunker authors: `plugin test`, `inspect` and `build`.

use crate::support::component::Fixture;
use crate::support::world::World;

fn world(fixture: &str) -> World {
    let world = World::new();
    let name = format!("{fixture}.wasm");
    world.write(&name, Fixture::new(fixture).build());
    world.write("a.md", "# Title\n\nText with ü.\n");
    world
}

#[test]
fn a_good_component_passes_and_its_output_can_be_pinned() {
    let world = world("lines");
    let first = world.ok(&["plugin", "test", "lines.wasm", "a.md"]);
    assert!(first.stdout.contains("a.md: 3 chunks"), "{}", first.stdout);
    assert!(first.stdout.contains("no golden output"), "{}", first.stdout);
    world.ok(&["plugin", "test", "lines.wasm", "a.md", "--update"]);
    let golden: serde_json::Value = serde_json::from_str(&world.read("a.md.chunks.json")).expect("json");
    assert_eq!(golden[2]["text"], "Text with ü.\n");
    assert_eq!(golden[2]["lines"], serde_json::json!([3, 3]));
    world.ok(&["plugin", "test", "lines.wasm", "a.md"]);
}

#[test]
fn a_difference_from_the_golden_output_fails() {
    let world = world("whole");
    world.ok(&["plugin", "test", "whole.wasm", "a.md", "--update"]);
    world.write("whole.wasm", Fixture::new("lines").build());
    let ran = world.run(&["plugin", "test", "whole.wasm", "a.md"]).exits(1);
    assert!(ran.stdout.contains("FAILED: chunk 1 differs in text, place"), "{}", ran.stdout);
    assert!(ran.stderr.contains("--update"), "{}", ran.stderr);
}

#[test]
fn what_is_not_deterministic_is_found() {
    let world = world("not-deterministic");
    let ran = world.run(&["plugin", "test", "not-deterministic.wasm", "a.md"]).exits(1);
    assert!(ran.stdout.contains("not deterministic: "), "{}", ran.stdout);
    assert!(ran.stdout.contains("on a reused instance"), "{}", ran.stdout);
}

#[test]
fn a_fault_is_shown_with_its_backtrace() {
    let world = world("trap");
    let ran = world.run(&["plugin", "test", "trap.wasm", "a.md", "--json"]).exits(1);
    let report = &ran.json()["documents"][0];
    insta::assert_snapshot!(report["failure"].as_str().expect("a failure"), @"it trapped (`unreachable`: a panic or an abort) in `give_up`; it said: must be 1 to 6; fix the component there, or return a `chunk-error` for documents it cannot split");
    assert!(report["details"].as_str().expect("details").contains("give_up"), "{report}");
}

#[test]
fn instructions_are_counted_instead_of_time() {
    let world = world("lines");
    let args = ["plugin", "test", "lines.wasm", "a.md", "--deterministic", "--json"];
    let notes = |ran: crate::support::world::Ran| ran.json()["documents"][0]["notes"].clone();
    let first = notes(world.ok(&args));
    assert!(first[0].as_str().expect("a note").ends_with(" instructions"), "{first}");
    assert_eq!(first, notes(world.ok(&args)));
}

#[test]
fn a_component_is_inspected() {
    let world = world("lines");
    let shown = world.ok(&["plugin", "inspect", "lines.wasm"]).stdout;
    let shown: Vec<_> = shown.lines().filter(|line| !line.starts_with('s')).collect();
    insta::assert_snapshot!(shown.join("\n"), @"
    lines 1.0.0
    A component for tests.

    offsets     utf8-bytes
    extensions  .md
    imports     reposync:chunker/log@1.1.0, reposync:chunker/types@1.1.0
    config      none
    ");
    let json = world.ok(&["plugin", "inspect", "lines.wasm", "--json"]).json();
    assert_eq!(json["sha256"].as_str().map(str::len), Some(64));
}

#[test]
fn a_folder_without_a_chunker_cannot_be_built() {
    let world = world("lines");
    let ran = world.run(&["plugin", "build", "."]).exits(2);
    assert!(ran.stderr.contains("`.` contains no chunker"), "{}", ran.stderr);
    assert!(ran.stderr.contains("--module"), "{}", ran.stderr);
    assert!(ran.stderr.contains("reposync plugin new"), "{}", ran.stderr);
}

#[test]
fn a_core_module_of_another_tool_is_made_into_a_component() {
    let world = World::new();
    world.write("core.wasm", Fixture::new("lines").core());
    world.write("a.md", "# Title\n\nText with ü.\n");
    world.ok(&["plugin", "build", "--module", "core.wasm"]);
    let tested = world.ok(&["plugin", "test", "lines.wasm", "a.md"]);
    assert!(tested.stdout.contains("a.md: 3 chunks"), "{}", tested.stdout);
    // The component is called `lines`: the core module of that name must be kept.
    world.write("lines.wasm", Fixture::new("lines").core());
    let ran = world.run(&["plugin", "build", "--module", "lines.wasm"]).exits(2);
    assert!(ran.stderr.contains("is the module itself"), "{}", ran.stderr);
    world.ok(&["plugin", "build", "--module", "lines.wasm", "--out", "other.wasm"]);
    let ran = world.run(&["plugin", "build", "--module", "other.wasm"]).exits(2);
    assert!(ran.stderr.contains("is a component already"), "{}", ran.stderr);
}

#[test]
fn a_module_that_does_not_fit_the_contract_is_refused_with_the_reason() {
    let world = World::new();
    world.write("core.wasm", wat::parse_str("(module)").expect("good text"));
    let ran = world.run(&["plugin", "build", "--module", "core.wasm"]).exits(1);
    assert!(ran.stderr.contains("failed to make a component of the module"), "{}", ran.stderr);
    assert!(ran.stderr.contains("`core.wasm` must export the functions of the world"), "{}", ran.stderr);
}
