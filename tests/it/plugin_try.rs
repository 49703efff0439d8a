//! `plugin try`: the chunks that a stage makes of a file, without indexing it.

use serde_json::json;

use crate::support::component::Fixture;
use crate::support::world::World;

const STAGES: &str = r#"
[stages.tasks]
kind = "pattern"
match = ["**/*.tasks"]
start = '^(?<kind>task|note) (?<name>\w+)(?: due (?<due>\S+))?'

[stages.prose]
kind = "sentence"
max_tokens = 20

[stages.lines]
kind = "wasm"
component = "lines.wasm"

[stages.model]
kind = "local"
"#;

fn world() -> World {
    let world = World::new();
    world.config(STAGES);
    world.write("a.tasks", "list\ntask one due 2024-01-02\n  first\nnote two\n");
    world
}

#[test]
fn chunks_of_a_stage_that_no_project_uses_are_shown() {
    let world = world();
    let shown = world.ok(&["plugin", "try", "tasks", "a.tasks"]).stdout;
    insta::assert_snapshot!(shown, @r#"
        tasks (pattern 1)

        a.tasks: 3 chunks
            1  line 1  4 characters  1 token
               | list
            2  lines 2-3  task  `one`  31 characters  8 tokens
               in task one due 2024-01-02
               attr_due = "2024-01-02"
               | task one due 2024-01-02
            3  line 4  note  `two`  8 characters  2 tokens
               | note two
        "#);
    assert!(!world.path(".reposync").exists(), "nothing is written");
}

#[test]
fn every_field_is_in_the_json() {
    let ran = world().ok(&["plugin", "try", "tasks", "a.tasks", "--json"]).json();
    assert_eq!(ran["chunker"], "pattern 1");
    assert_eq!(ran["files"][0]["path"], "a.tasks");
    assert_eq!(
        ran["files"][0]["chunks"][1],
        json!({
            "lines": [2, 3], "bytes": [5, 36], "characters": 31, "tokens": 8, "kind": "task", "name": "one",
            "context": "task one due 2024-01-02", "attrs": { "due": "2024-01-02" },
            "text": "task one due 2024-01-02\n  first",
        })
    );
}

#[test]
fn every_kind_of_chunker_can_be_tried() {
    let world = world();
    world.write("lines.wasm", Fixture::new("lines").build());
    world.write("a.md", "# Title\n\nText with ü.\n");
    let lines = world.ok(&["plugin", "try", "lines", "a.md", "--json"]).json();
    assert_eq!(lines["files"][0]["chunks"].as_array().map(Vec::len), Some(2));
    let prose = world.ok(&["plugin", "try", "prose", "a.md"]);
    assert!(prose.stderr.contains("tokens are estimated"), "{}", prose.stderr);
}

#[test]
fn what_keeps_a_file_from_its_stage_is_said() {
    let world = world();
    world.write("a.txt", "task one\n");
    world.write("empty.tasks", " \n");
    let ran = world.ok(&["plugin", "try", "tasks", "a.txt", "empty.tasks"]).stdout;
    assert!(ran.contains("note: `match` of this stage does not select `a.txt`"), "{ran}");
    assert!(ran.contains("note: it would not be indexed: empty"), "{ran}");
    let ran = world.run(&["plugin", "try", "model", "a.txt"]).exits(2);
    assert!(ran.stderr.contains("`model` is not a chunker of"), "{}", ran.stderr);
    let ran = world.run(&["plugin", "try", "taks", "a.txt"]).exits(2);
    assert!(ran.stderr.contains("`taks` is not a chunker of"), "{}", ran.stderr);
    world.run(&["plugin", "try", "tasks", "missing.tasks"]).exits(1);
}
