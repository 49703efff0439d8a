//! The spending guard: a run that would embed most of a project again, or cost more than `max_cost`,
//! embeds nothing until that is allowed; work that needs no embedding is done.

use crate::support::local::Local;
use crate::support::services::Services;

/// More than the 10,000 texts below which no ratio is enforced.
const TEXTS: usize = 10_200;

/// A project over one file of [`TEXTS`] chunks, already indexed.
fn large(local: Local) -> Local {
    local.config(&file(24));
    let lines: String =
        (0..TEXTS).map(|n| format!("Line {n:05} of the text.\n\n")).collect::<Vec<_>>().concat();
    local.repo.write("large.md", lines).commit("large");
    let first = local.apply(&[]).exits(0);
    assert!(first.count("texts_embedded") > 10_000, "{}", first.count("texts_embedded"));
    local
}

fn file(max_chunk_size: usize) -> String {
    crate::support::local::project("").replace("= 200", &format!("= {max_chunk_size}"))
}

#[test]
fn a_recipe_change_of_a_large_project_is_withheld_until_it_is_allowed() {
    let local = large(Local::paid());
    let before = local.index();
    // About as many chunks, all different: none is in the cache. Also an edit that costs nothing.
    local.config(&file(25));
    local.repo.git(&["mv", "guide/end.md", "guide/finish.md"]);
    local.repo.git(&["rm", "-q", "README.md"]);
    local.repo.commit("other files");
    let edited: String =
        (0..TEXTS).map(|n| format!("Line {n:05} of a text.\n\n")).collect::<Vec<_>>().concat();
    local.repo.write("large.md", edited).commit("edited");

    let plan = local.world.run(&["plan", "--json"]).exits(0).json();
    let guard = &plan["projects"][0]["guards"][0];
    assert_eq!(guard["guard"], "spending");
    let text = local.world.run(&["plan"]).exits(0).stdout;
    assert!(text.contains("reposync apply --allow-cost"), "{text}");

    let withheld = local.apply(&[]).exits(3);
    assert_eq!(withheld.counts(["texts_embedded", "files_withheld"]), [0, 1]);
    assert!(withheld.notes().contains("POST /sync {\"allow_cost\": true}"), "{}", withheld.notes());
    assert_eq!(withheld.report["projects"][0]["withheld"][0]["amount"], guard["amount"], "as planned");
    let paths = |index: &crate::support::local::Index, path: &str| {
        index.values().filter(|(facts, ..)| facts["file_path"] == path).count()
    };
    let now = local.index();
    assert_eq!(paths(&now, "large.md"), paths(&before, "large.md"), "the old chunks stay");
    assert_eq!((paths(&now, "README.md"), paths(&now, "guide/finish.md")), (0, 1), "what is free is done");
    let status = local.world.run(&["status"]).exits(0).stdout;
    assert!(status.contains("spending guard"), "{status}");

    assert_eq!(local.apply(&[]).exits(3).count("texts_embedded"), 0, "withheld again");
    let allowed = local.apply(&["--allow-cost"]).exits(0);
    assert_eq!(allowed.report["projects"][0]["counts"]["texts_embedded"], guard["amount"]);
    local.assert_as_fresh();
    assert_eq!(local.apply(&[]).exits(0).count("vectors_written"), 0);
}

#[test]
fn nothing_is_withheld_from_an_embedder_that_is_free() {
    let local = large(Local::new());
    local.config(&file(25));
    let plan = local.world.run(&["plan", "--json"]).exits(0).json();
    let planned = &plan["projects"][0];
    assert_eq!(
        (&planned["guards"], &planned["estimate"]["texts_cached"]),
        (&serde_json::json!([]), &0.into())
    );
    let applied = local.apply(&[]).exits(0);
    assert!(applied.count("texts_embedded") > 10_000);
    assert_eq!(planned["estimate"]["texts"], applied.count("texts_embedded"));
}

#[test]
fn a_first_run_and_its_continuation_are_not_withheld_for_their_share() {
    let local = Local::paid();
    local.config(&file(24));
    let lines: String =
        (0..TEXTS).map(|n| format!("Line {n:05} of the text.\n\n")).collect::<Vec<_>>().concat();
    local.repo.write("large.md", lines).commit("large");
    // A first run that fails: the index refuses the large file's records.
    local.world.write(".reposync/index.db/in-the-way", "");
    local.world.run(&["apply"]).exits(1);
    std::fs::remove_dir_all(local.world.path(".reposync/index.db")).expect("removed");
    // A run that ends without the repository, which it may not read, leaves nothing to compare with.
    let outside = tempfile::tempdir().expect("a folder");
    local.repo.write(".git/objects/info/alternates", format!("{}\n", outside.path().display()));
    local.apply(&[]).exits(3);
    std::fs::remove_file(local.repo.path().join(".git/objects/info/alternates")).expect("removed");
    local.apply(&[]).exits(0);
    local.assert_as_fresh();
}

#[test]
fn a_run_beyond_max_cost_is_withheld_on_the_first_run_too() {
    let services = Services::start();
    let _repo = services.with_pages("api", 12);
    let file = services.file();
    services.world.config(&format!("{file}max_cost = 0.0000001\n"));
    let withheld = services.apply(&[]).exits(3);
    assert_eq!(withheld.counts(["texts_embedded", "files_withheld"]), [0, 12]);
    assert!(withheld.notes().contains("more than `max_cost`"), "{}", withheld.notes());
    assert_eq!(services.paid().1, 0, "no text was sent");
    services.world.config(&format!("{file}max_cost = 1.0\n"));
    services.apply(&[]).exits(0);
    services.assert_as_fresh();
}

#[test]
fn a_cost_bound_without_a_price_is_a_problem() {
    let services = Services::start();
    let file = services.file().replace("price_per_million_tokens = 0.02\n", "");
    services.world.config(&format!("{file}max_cost = 1.0\n"));
    let ran = services.world.run(&["validate"]).exits(2);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains("the price of stage `ada` is not known"), "{told}");
    assert!(told.contains("price_per_million_tokens"), "{told}");
}

/// Sizes alone do not show that the run stays below `max_cost`, so the guard reads the contents. The plan then has no
/// need to estimate, or to read them again.
#[test]
fn a_plan_uses_what_the_guard_counted() {
    let services = Services::start();
    // More files than a plan samples; both repositories hold the same texts.
    let _repos = ["api", "web"].map(|name| services.with_pages(name, 40));
    services.world.config(&format!("{}max_cost = 0.00005\n", services.file()));
    for args in [&["plan", "--json"][..], &["plan", "--json", "--exact"]] {
        let plan = services.world.ok(args).json();
        let project = &plan["projects"][0];
        assert_eq!((&plan["exact"], &project["guards"]), (&true.into(), &serde_json::json!([])), "{plan}");
        assert_eq!(project["estimate"]["texts"], 40, "{plan}");
        assert_eq!(services.github.take_archive_seen().len(), 2, "each repository is read once");
    }
    assert_eq!(services.apply(&[]).exits(0).count("texts_embedded"), 40);
}
