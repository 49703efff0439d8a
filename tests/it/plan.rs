//! A plan says exactly what `apply` does, and a saved plan is carried out as it was shown.

use serde_json::Value;

use crate::support::local::{Local, STAGES, project};

/// The texts in the index.
fn texts(local: &Local) -> Vec<String> {
    local.index().into_values().map(|(_, text, _)| text).collect()
}

/// The files of a plan's project, as sign and path.
fn files(plan: &Value, project: usize) -> Vec<String> {
    let repositories = plan["projects"][project]["repositories"].as_array().expect("a list");
    let files = repositories.iter().flat_map(|repository| repository["files"].as_array().expect("a list"));
    files
        .map(|file| {
            format!("{} {}", file["action"].as_str().expect("one"), file["path"].as_str().expect("one"))
        })
        .collect()
}

#[test]
fn a_saved_plan_is_carried_out_and_does_nothing_the_second_time() {
    let local = Local::new();
    local.world.ok(&["plan", "--out", "plan.json"]);
    local.world.ok(&["apply", "plan.json"]);
    assert_eq!(local.index().len(), 3);
    let again = local.apply(&["plan.json"]).exits(0);
    assert_eq!(again.counts(["files", "vectors_written", "vectors_deleted"]), [0, 0, 0]);
    local.assert_as_fresh();
}

#[test]
fn a_saved_plan_with_full_writes_everything_once() {
    let local = Local::paid_and_applied();
    local.world.ok(&["plan", "--full", "--out", "plan.json"]);
    assert_eq!(local.apply(&["plan.json"]).exits(0).counts(["vectors_written", "texts_embedded"]), [3, 0]);
    assert_eq!(local.apply(&["plan.json"]).exits(0).count("vectors_written"), 0);
}

#[test]
fn a_saved_plan_in_which_a_project_failed_is_refused() {
    let local = Local::new();
    local.world.ok(&["plan", "--out", "plan.json"]);
    let plan = local.world.read("plan.json");
    let lines: Vec<&str> = plan.lines().collect();
    let kept: String = lines[..lines.len() - 1]
        .iter()
        .filter(|line| !line.starts_with("{\"end\""))
        .flat_map(|line| [line, "\n"])
        .collect();
    let digest = blake3::hash(kept.as_bytes()).to_hex();
    local.world.write("plan.json", format!("{kept}{{\"digest\":\"{digest}\"}}\n"));
    let ran = local.world.run(&["apply", "plan.json"]).exits(1);
    assert!(ran.stderr.contains("planning project `docs` failed"), "{}", ran.stderr);
}

#[test]
fn a_commit_that_lands_after_the_plan_is_left_for_the_next_run() {
    let local = Local::applied();
    local.repo.write("README.md", "The planned words.\n").commit("planned");
    local.world.ok(&["plan", "--out", "plan.json"]);
    local.repo.write("README.md", "Newer words.\n").write("new.md", "Not planned.\n").commit("newer");
    let applied = local.apply(&["plan.json"]).exits(0);
    assert_eq!(applied.counts(["files_changed", "files_added"]), [1, 0]);
    assert!(applied.notes().contains("has moved on to"), "{}", applied.notes());
    assert!(texts(&local).contains(&"The planned words.".to_owned()), "{:?}", texts(&local));
    assert!(!texts(&local).iter().any(|text| text.contains("Newer") || text.contains("Not planned")));
    local.world.ok(&["apply"]);
    local.assert_as_fresh();
}

#[test]
fn a_commit_that_was_taken_out_of_the_history_does_not_come_back() {
    let local = Local::applied();
    let before = local.index();
    local.repo.write("key.md", "The key is s3cr3t.\n").commit("a slip");
    local.world.ok(&["plan", "--out", "plan.json"]);
    local.repo.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    local.repo.write("other.md", "Another commit.\n").commit("another");
    let refused = local.apply(&["plan.json"]).exits(3);
    let error = refused.report["projects"][0]["failures"][0]["error"].as_str().expect("an error").to_owned();
    assert!(error.contains("its history was rewritten"), "{error}");
    assert_eq!(local.index(), before);
}

#[test]
fn a_repository_whose_index_has_changed_is_refused_and_others_go_on() {
    let local = Local::new();
    local.world.repo("more").write("README.md", "More to read.\n").commit("first");
    local.config(&project("").replace("[\"docs\"]", "[\"docs\", \"more\"]"));
    local.world.ok(&["apply"]);
    local.repo.write("README.md", "Second words.\n").commit("second");
    local.world.repo("more").write("README.md", "Second words of more.\n").commit("second");
    local.world.ok(&["plan", "--out", "plan.json"]);
    local.repo.write("README.md", "Third words.\n").commit("third");
    local.config(&project(""));
    local.world.ok(&["apply"]);
    local.config(&project("").replace("[\"docs\"]", "[\"docs\", \"more\"]"));
    local.world.ok(&["plan", "--out", "other.json"]);
    // The selection was edited and edited back: `more` is planned as new, `docs` has changed since.
    let refused = local.apply(&["plan.json"]).exits(3);
    let failures = refused.report["projects"][0]["failures"].as_array().expect("a list").clone();
    let of = |repository: &str| failures.iter().any(|failure| failure["repository"] == repository);
    assert!(of("docs"), "{failures:?}");
    assert!(texts(&local).contains(&"Third words.".to_owned()));
}

#[test]
fn a_saved_plan_is_refused_whole_before_anything_is_written() {
    let local = Local::new();
    local.world.ok(&["plan", "--out", "plan.json"]);
    let plan = local.world.read("plan.json");
    let refused = |why: &str| {
        let ran = local.world.run(&["apply", "plan.json"]).exits(1);
        assert!(ran.stderr.contains(why), "{why}: {}", ran.stderr);
        assert!(ran.stderr.contains("reposync plan --out FILE"), "{}", ran.stderr);
        assert!(!local.world.path(".reposync/index.db").exists(), "{why}: something was written");
    };
    local.config(&project("exclude_patterns = [\"x\"]"));
    refused("the configuration or a component of project `docs` has changed");
    local.config(&project("").replace("[\"docs\"]", "[\"docs\", \"more\"]"));
    local.world.repo("more").write("a.md", "More.\n").commit("first");
    refused("the configuration or a component of project `docs` has changed");
    local.config(&project(""));
    local.world.write("plan.json", &plan[..plan.len() - 20]);
    refused("is truncated or was edited");
    let lines: Vec<&str> = plan.lines().collect();
    local.world.write("plan.json", lines[..lines.len() - 1].join("\n") + "\n");
    refused("is truncated or was edited");
    local.world.write("plan.json", plan.replace("README.md", "OTHER.md"));
    refused("is truncated or was edited");
    local.world.write("plan.json", plan.replacen(env!("CARGO_PKG_VERSION"), "0.0.1", 1));
    refused("was saved by RepoSync 0.0.1");
    local.world.write("plan.json", plan.replacen("\"reposync_plan\":2", "\"reposync_plan\":3", 1));
    refused("is no plan that this version of RepoSync saved");
    local.world.write("plan.json", plan);
    local.world.ok(&["apply", "plan.json"]);
    local.assert_as_fresh();
}

#[cfg(unix)]
#[test]
fn a_saved_plan_is_for_its_owner_alone_and_put_in_place_whole() {
    use std::os::unix::fs::PermissionsExt as _;
    let local = Local::new();
    local.world.ok(&["plan", "--out", "plan.json"]);
    let mode = std::fs::metadata(local.world.path("plan.json")).expect("a plan").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let plan = local.world.read("plan.json");
    // A plan that cannot be finished leaves the previous file.
    local.config(&project("").replace("[\"docs\"]", "[\"gone\"]"));
    local.world.run(&["plan", "--out", "plan.json", "--project", "other"]).exits(2);
    assert_eq!(local.world.read("plan.json"), plan);
    let left = std::fs::read_dir(local.world.path("")).expect("a folder");
    let left =
        left.filter_map(Result::ok).filter(|entry| entry.file_name().to_string_lossy().contains(".part-"));
    assert_eq!(left.count(), 0);
}

/// Options mean the same for `plan` and `apply`, and `--detailed-exitcode` tells whether there are
/// changes.
#[test]
fn plan_and_apply_agree_on_full_prune_and_allow_deletes() {
    let local = Local::paid();
    let lines: Vec<String> = (0..120).map(|n| format!("Sentence number {n} stands alone.\n\n")).collect();
    let lines = lines.concat();
    let prose = |name: &str| format!("{name}/{}", "long.md");
    for name in ["a", "b"] {
        local.repo.write(&prose(name), &lines);
    }
    local.repo.commit("long files");
    let small = "max_chunk_size = 40";
    let config = |text: String| local.config(&text.replace("max_chunk_size = 200", small));
    config(project(""));
    local.apply(&[]).exits(0);
    let detailed = |args: &[&str], code: i32| {
        local.world.run(&[&["plan", "--json", "--detailed-exitcode"], args].concat()).exits(code).json()
    };
    detailed(&[], 0);
    // Everything is written again, and nothing is paid for.
    let plan = detailed(&["--full"], 2);
    let applied = local.apply(&["--full"]).exits(0);
    assert_eq!(plan["projects"][0]["estimate"]["vectors_written"], applied.count("vectors_written"));
    assert_eq!(plan["projects"][0]["estimate"]["texts"], 0);

    // The deletion guard.
    local.repo.git(&["rm", "-q", "-r", "a", "b"]);
    local.repo.commit("remove");
    let plan = detailed(&[], 2);
    assert_eq!(files(&plan, 0), ["withhold a/long.md", "withhold b/long.md"]);
    let shown = local.world.ok(&["plan"]).stdout;
    assert!(shown.contains("! a/long.md") && shown.contains("deletion guard"), "{shown}");
    local.apply(&[]).exits(3);
    assert_eq!(files(&detailed(&["--allow-deletes"], 2), 0), ["remove a/long.md", "remove b/long.md"]);
    local.apply(&["--allow-deletes"]).exits(0);
    detailed(&[], 0);

    // An orphaned project.
    config(format!(
        "{STAGES}\n[projects.other]\npipeline = [\"local\", \"prose\", \"model\", \"index\"]\nrepositories = [\"docs\"]\nnamespace = \"other\"\n"
    ));
    local.apply(&[]).exits(0);
    let plan = detailed(&[], 0);
    assert_eq!(
        (&plan["projects"][1]["project"], &plan["projects"][1]["orphan"]),
        (&"docs".into(), &true.into())
    );
    let note = plan["projects"][1]["notes"][0].as_str().expect("a note");
    assert!(note.contains("is not in the file any more"), "{note}");
    assert!(local.world.ok(&["plan"]).stdout.contains("is not in the file any more"));
    let plan = detailed(&["--prune"], 2);
    let planned = files(&plan, 1);
    assert_eq!(planned, ["remove README.md", "remove guide/end.md", "remove guide/start.md"]);
    local.world.ok(&["plan", "--prune", "--out", "plan.json"]);
    let applied = local.apply(&["plan.json"]).exits(0);
    assert_eq!(applied.report["projects"][1]["counts"]["files_removed"], 3);
    detailed(&["--prune"], 0);
}

/// Compares the plan with the run for one edit after the other, with cached vectors and without.
#[test]
fn an_exact_plan_is_what_apply_then_does() {
    exactly_as_planned(&Local::new());
    exactly_as_planned(&Local::paid());
}

fn exactly_as_planned(local: &Local) {
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
        // A file that its new content excludes leaves the index without being counted as removed.
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
