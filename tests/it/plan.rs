//! What a plan promises: what it says is what `apply` does, and a saved one is applied as it was shown.

use crate::support::local::{Local, project};

#[test]
fn a_saved_plan_is_applied_once_and_refused_when_anything_moved() {
    let local = Local::new();
    local.world.ok(&["plan", "--out", "plan.json"]);
    local.world.ok(&["apply", "plan.json"]);
    assert_eq!(local.index().len(), 3);
    let stale = |what: &str| {
        let ran = local.world.run(&["apply", "plan.json"]).exits(1);
        assert!(ran.stderr.contains("the saved plan is out of date"), "{what}: {}", ran.stderr);
    };
    stale("the ledger");
    local.repo.write("README.md", "New words.\n").commit("edit");
    local.world.ok(&["plan", "--out", "plan.json"]);
    local.repo.write("README.md", "Newer words.\n").commit("edit");
    stale("the commit");
    local.world.ok(&["plan", "--out", "plan.json"]);
    local.config(&project("exclude_patterns = [\"x\"]"));
    stale("the file");
    local.world.ok(&["plan", "--out", "plan.json"]);
    local.world.ok(&["apply", "plan.json"]);
    local.assert_as_fresh();
}

/// What the plan says is what the run does, edit by edit.
#[test]
fn an_exact_plan_is_what_apply_then_does() {
    let local = Local::new();
    let check = |what: &str| {
        let plan = local.world.run(&["plan", "--exact", "--json"]).exits(0).json();
        let estimate = &plan["projects"][0]["estimate"];
        let planned: Vec<Option<u64>> =
            ["texts", "texts_cached", "tokens", "vectors_written", "vectors_deleted", "chunks"]
                .map(|name| estimate[name].as_u64())
                .to_vec();
        let run = local.apply(&[]).exits(0);
        let done: Vec<Option<u64>> =
            ["texts_embedded", "texts_cached", "tokens", "vectors_written", "vectors_deleted", "chunks"]
                .map(|name| Some(run.count(name)))
                .to_vec();
        assert_eq!(planned, done, "{what}");
        let repositories = plan["projects"][0]["repositories"].as_array().expect("a list");
        let files = || repositories.iter().flat_map(|repo| repo["files"].as_array().expect("a list"));
        let planned = ["add", "change", "move", "remove"]
            .map(|action| files().filter(|file| file["action"] == action).count() as u64);
        let mut done = run.counts(["files_added", "files_changed", "files_moved", "files_removed"]);
        // A file whose new content is not for the index is gone from it without being removed.
        done[3] += u64::from(what.ends_with("turns binary"));
        assert_eq!(planned, done, "{what}");
    };
    check("the first run");
    check("nothing to do");
    let long = "One sentence to begin with. ".repeat(30);
    local.repo.write("long.md", &long).write("same.md", "Start here and read on.\n").commit("add");
    check("a long file, and a copy");
    local.repo.write("long.md", format!("A new beginning. {long}")).git(&["mv", "guide", "manual"]);
    local.repo.commit("edit and move");
    check("an edit and a move");
    local.repo.git(&["rm", "-q", "same.md"]);
    local.repo.write("README.md", b"\0binary").commit("remove");
    check("a removal, and a file that turns binary");
    local.config(&project("").replace("max_chunk_size = 200", "max_chunk_size = 120"));
    check("smaller chunks");
    local.config(&project("").replace("max_chunk_size = 200", "max_chunk_size = 100"));
    local.repo.write("other.md", "Other.\n").commit("add");
    check("smaller chunks and a new file");
}
