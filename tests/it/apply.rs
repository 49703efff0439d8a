//! `apply` with the real program over local repositories: minimal work for each edit, nothing deleted
//! by accident, nothing lost after failures.

use std::process::Stdio;

use reposync::state::sqlite::RunLock;
use rusqlite::Connection;
use serde_json::Value;

use crate::support::local::{Local, STAGES, WORK, project};
use crate::support::world::World;

#[test]
fn the_first_run_indexes_and_the_second_has_nothing_to_do() {
    let local = Local::new();
    let first = local.apply(&[]).exits(0);
    assert_eq!(first.counts(WORK), [3, 0, 3, 0]);
    assert_eq!(local.index().len(), 3);
    let before = std::fs::read(local.world.path(".reposync/index.db")).expect("an index");
    let second = local.world.ok(&["apply"]);
    insta::assert_snapshot!(second.redacted(), @"
    exit: 0
    --- stdout
    docs: nothing to do
      repositories  1, 1 unchanged

    Nothing to do in [TIME].
    --- stderr
    [TIME]: project `docs` started
    [TIME]: project `docs` done
    ");
    assert_eq!(std::fs::read(local.world.path(".reposync/index.db")).expect("an index"), before);
}

#[test]
fn one_changed_file_costs_its_own_texts() {
    let local = Local::applied();
    local.repo.write("guide/start.md", "Start somewhere else.\n").commit("edit");
    let run = local.apply(&[]).exits(0);
    assert_eq!(run.counts(WORK), [1, 0, 1, 1]);
    assert_eq!(run.counts(["files_changed", "files_unchanged"]), [1, 2]);
    local.assert_as_fresh();
}

#[test]
fn a_renamed_folder_is_not_embedded_again() {
    let local = Local::paid_and_applied();
    local.repo.git(&["mv", "guide", "manual"]);
    local.repo.commit("rename");
    let run = local.apply(&[]).exits(0);
    assert_eq!(run.counts(WORK), [0, 2, 2, 2]);
    assert_eq!(run.counts(["files_moved", "files_added", "files_removed"]), [2, 0, 0]);
    local.assert_as_fresh();
}

#[test]
fn a_revert_is_not_embedded_again() {
    let local = Local::paid_and_applied();
    local.repo.write("README.md", "Something else.\n").commit("edit");
    local.apply(&[]).exits(0);
    local.repo.git(&["revert", "--no-edit", "HEAD"]);
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [0, 1, 1, 1]);
    // Rewritten history: the branch is reset to its parent commit.
    local.repo.write("new.md", "A new page.\n").commit("add");
    local.apply(&[]).exits(0);
    local.repo.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [0, 0, 0, 1]);
    local.assert_as_fresh();
}

#[test]
fn a_copy_is_not_embedded_again() {
    let local = Local::paid_and_applied();
    local.repo.write("copy/README.md", "The readme says what it is about.\n").commit("copy");
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [0, 1, 1, 0]);
    local.assert_as_fresh();
}

#[test]
fn patterns_remove_and_bring_back_without_embedding() {
    let local = Local::paid_and_applied();
    local.config(&project("exclude_patterns = [\"guide/**\"]"));
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [0, 0, 0, 2]);
    local.assert_as_fresh();
    local.config(&project("allowed_extensions = [\".md\"]"));
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [0, 2, 2, 0]);
    local.assert_as_fresh();
}

#[test]
fn chunker_settings_embed_only_texts_never_seen() {
    let local = Local::paid_and_applied();
    let text = "A first sentence that is long enough. A second sentence that is long enough.\n";
    local.repo.write("README.md", text).commit("longer");
    local.apply(&[]).exits(0);
    local.config(&project("").replace("max_chunk_size = 200", "max_chunk_size = 45"));
    let run = local.apply(&[]).exits(0);
    // The two short files keep their single texts.
    assert_eq!(run.counts(WORK), [2, 2, 4, 1]);
    local.assert_as_fresh();
}

#[test]
fn another_namespace_is_filled_from_the_cache_and_the_old_one_cleaned() {
    let local = Local::paid_and_applied();
    local.config(&project("namespace = \"elsewhere\""));
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [0, 3, 3, 3]);
    local.assert_as_fresh();
    local.config(&project(""));
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [0, 3, 3, 3]);
    local.assert_as_fresh();
}

/// Nothing of the built-in model is in the cache: a text is embedded whenever its vector is needed, and the index is the
/// same.
#[test]
fn the_built_in_model_embeds_again_instead_of_using_a_cache() {
    let local = Local::new();
    local.repo.write("copy.md", "Start here and read on.\n").commit("a copy");
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [4, 0, 4, 0], "equal texts count each");
    local.repo.git(&["mv", "guide", "manual"]);
    local.repo.commit("rename");
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [2, 0, 2, 2]);
    local.config(&project("namespace = \"elsewhere\""));
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [4, 0, 4, 4]);
    assert_eq!(local.apply(&["--full"]).exits(0).counts(WORK), [4, 0, 4, 0]);
    local.assert_as_fresh();
    lose(&local, "state.db");
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [4, 0, 0, 0], "the index has the records already");
    local.assert_as_fresh();
    assert!(!local.world.path(".reposync/cache.db").exists());
}

#[test]
fn an_unreachable_place_is_reported_and_cleaned_once_it_is_configured_again() {
    let local = Local::applied();
    let other = project("").replace("kind = \"sqlite\"", "kind = \"sqlite\"\npath = \"other.db\"");
    local.config(&other);
    let run = local.apply(&[]).exits(0);
    assert_eq!(run.counts(WORK), [3, 0, 3, 0]);
    assert!(run.notes().contains("orphan place sqlite:"), "{}", run.notes());
    let back = format!("{other}\n[stages.old]\nkind = \"sqlite\"\n");
    local.config(&back);
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [0, 0, 0, 3]);
    assert!(local.index().is_empty());
}

#[test]
fn a_renamed_project_is_not_embedded_again_and_the_old_one_is_an_orphan() {
    let local = Local::paid_and_applied();
    local.config(&project("").replace("[projects.docs]", "[projects.manual]"));
    let run = local.apply(&[]).exits(0);
    assert_eq!(run.counts(WORK), [0, 3, 3, 0]);
    assert!(run.notes().contains("project `docs` is not in the file any more"), "{}", run.notes());
    assert_eq!(local.index().len(), 6);
    local.apply(&["--prune"]).exits(0);
    local.assert_as_fresh();
    assert_eq!(local.apply(&["--prune"]).exits(0).notes(), "");
}

fn two_projects(second: &str) -> String {
    let pipeline = "pipeline = [\"local\", \"prose\", \"model\", \"index\"]";
    format!("{}\n[projects.notes]\n{pipeline}\nrepositories = [\"notes\"]\n{second}", project(""))
}

fn with_notes() -> Local {
    let local = Local::new();
    local.world.repo("notes").write("n.md", "A note on the side.\n").commit("first");
    local.config(&two_projects(""));
    local.apply(&[]).exits(0);
    local
}

#[test]
fn a_removed_project_stays_until_it_is_pruned() {
    let local = with_notes();
    let whole = local.index();
    local.config(&project(""));
    let run = local.apply(&[]).exits(0);
    assert!(
        run.notes().contains("project `notes` is not in the file any more: its 1 vectors"),
        "{}",
        run.notes()
    );
    assert_eq!(local.index(), whole);
    // A run over one project leaves the others alone.
    local.apply(&["--prune", "--project", "docs"]).exits(0);
    assert_eq!(local.index(), whole);
    local.apply(&["--prune"]).exits(0);
    local.assert_as_fresh();
}

#[test]
fn a_disabled_project_is_not_touched() {
    let local = with_notes();
    let whole = local.index();
    local.config(&two_projects("enabled = false"));
    let run = local.apply(&["--prune"]).exits(0);
    assert_eq!(run.report["projects"].as_array().map(Vec::len), Some(1));
    assert_eq!(local.index(), whole);
    local.config(&two_projects(""));
    let run = local.apply(&[]).exits(0);
    assert_eq!(run.report["projects"][1]["counts"]["repositories_unchanged"], 1);
}

#[test]
fn a_deselected_repository_leaves_and_a_vanished_one_stays() {
    let local = Local::new();
    local.world.repo("notes").write("n.md", "A note on the side.\n").commit("first");
    let both = project("").replace("[\"docs\"]", "[\"docs\", \"notes\"]");
    local.config(&both);
    local.apply(&[]).exits(0);
    std::fs::rename(local.world.path("notes"), local.world.path("away")).expect("renamed");
    let run = local.apply(&[]).exits(3);
    assert!(run.notes().contains("repository `notes`"), "{}", run.notes());
    assert_eq!(local.index().len(), 4);
    std::fs::rename(local.world.path("away"), local.world.path("notes")).expect("renamed");
    local.apply(&[]).exits(0);
    local.config(&project(""));
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [0, 0, 0, 1]);
    local.assert_as_fresh();
}

/// An edit counts as one even if the first run did not finish.
#[test]
fn a_repository_deselected_after_a_partial_first_run_leaves() {
    let local = Local::new();
    local.config(&project("").replace("[\"docs\"]", "[\"docs\", \"nowhere\"]"));
    local.apply(&[]).exits(3);
    local.world.repo("notes").write("n.md", "A note on the side.\n").commit("first");
    local.config(&project("").replace("[\"docs\"]", "[\"notes\"]"));
    local.apply(&[]).exits(0);
    local.assert_as_fresh();
}

fn many() -> Local {
    let local = Local::new();
    for n in 0..150 {
        local.repo.write(&format!("many/{n}.md"), format!("This is page number {n}.\n"));
    }
    local.repo.commit("many");
    local.apply(&[]).exits(0);
    local
}

#[test]
fn the_deletion_guard_withholds_until_deletes_are_allowed() {
    let local = many();
    let whole = local.index();
    local.config(&project("exclude_patterns = [\"many/**\"]"));
    let plan = local.world.run(&["plan", "--json"]).json();
    assert_eq!(plan["projects"][0]["withheld"], 150);
    let run = local.apply(&[]).exits(3);
    assert_eq!(run.count("vectors_withheld"), 150);
    assert!(run.notes().contains("reposync apply --allow-deletes"), "{}", run.notes());
    assert!(run.notes().contains("{\"allow_deletes\": true}"), "{}", run.notes());
    assert_eq!(local.index(), whole);
    // The next run reports it again and does the rest.
    local.repo.write("README.md", "New words.\n").commit("edit");
    let run = local.apply(&[]).exits(3);
    assert_eq!(run.counts(WORK), [1, 0, 1, 1]);
    assert_eq!(local.apply(&["--allow-deletes"]).exits(0).count("vectors_deleted"), 150);
    local.assert_as_fresh();
}

#[test]
fn the_deletion_guard_does_not_count_what_moves_or_changes() {
    let local = many();
    local.repo.git(&["mv", "many", "few"]);
    local.repo.commit("rename");
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [150, 0, 150, 150]);
    for n in 0..150 {
        local.repo.write(&format!("few/{n}.md"), format!("This was page number {n}.\n"));
    }
    local.repo.commit("rewritten");
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [150, 0, 150, 150]);
    local.config(&project("namespace = \"elsewhere\""));
    local.apply(&[]).exits(0);
    local.assert_as_fresh();
}

fn lose(local: &Local, name: &str) {
    for suffix in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(local.world.path(&format!(".reposync/{name}{suffix}"))));
    }
}

#[test]
fn a_lost_ledger_costs_a_listing() {
    let local = Local::paid_and_applied();
    lose(&local, "state.db");
    let run = local.apply(&[]).exits(0);
    assert_eq!(run.counts(WORK), [0, 3, 0, 0]);
    // Without the cache as well: vectors come from the store.
    lose(&local, "state.db");
    lose(&local, "cache.db");
    local.repo.write("README.md", "New words.\n").git(&["rm", "-q", "guide/end.md"]);
    local.repo.commit("edit");
    let run = local.apply(&[]).exits(0);
    assert_eq!(run.counts(WORK), [1, 1, 1, 2]);
    local.assert_as_fresh();
}

#[test]
fn a_damaged_ledger_is_refused_and_left_alone() {
    let local = Local::applied();
    lose(&local, "state.db-wal");
    local.world.write(".reposync/state.db", b"this is no database, but it is somebody's file".repeat(200));
    let before = std::fs::read(local.world.path(".reposync/state.db")).expect("a file");
    for command in ["apply", "plan", "status", "verify"] {
        let ran = local.world.run(&[command]).exits(1);
        assert!(ran.stderr.contains("the ledger is damaged"), "{}", ran.stderr);
    }
    assert_eq!(std::fs::read(local.world.path(".reposync/state.db")).expect("a file"), before);
    assert_eq!(local.index().len(), 3);
}

#[test]
fn a_newer_ledger_is_refused() {
    let local = Local::applied();
    let db = Connection::open(local.world.path(".reposync/state.db")).expect("a ledger");
    db.pragma_update(None, "user_version", 99).expect("written");
    drop(db);
    let ran = local.world.run(&["apply"]).exits(1);
    assert!(ran.stderr.contains("was written by a newer RepoSync (ledger version 99"), "{}", ran.stderr);
}

#[test]
fn another_database_is_no_ledger() {
    let local = Local::new();
    local.config(&format!("[engine]\nstate = \"mine.db\"\n{}", project("")));
    let db = Connection::open(local.world.path("mine.db")).expect("a database");
    db.execute_batch("CREATE TABLE precious (x); INSERT INTO precious VALUES (1);").expect("written");
    drop(db);
    let ran = local.world.run(&["apply"]).exits(1);
    assert!(ran.stderr.contains("is an SQLite database, but not a ledger"), "{}", ran.stderr);
    let db = Connection::open(local.world.path("mine.db")).expect("a database");
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).expect("read");
    assert_eq!(tables, 1);
}

#[test]
fn a_damaged_cache_is_recreated() {
    let local = Local::paid_and_applied();
    lose(&local, "cache.db-wal");
    local.world.write(".reposync/cache.db", b"garbage".repeat(1000));
    local.repo.write("README.md", "New words.\n").commit("edit");
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [1, 0, 1, 1]);
    assert!(
        std::fs::read(local.world.path(".reposync/cache.db"))
            .expect("a cache")
            .starts_with(b"SQLite format 3")
    );
}

#[test]
fn a_state_folder_that_cannot_be_made_is_reported() {
    let local = Local::new();
    local.world.write("blocked", "a file where a folder should be");
    local.config(&format!("[engine]\nstate = \"blocked/state.db\"\n{}", project("")));
    let ran = local.world.run(&["apply"]).exits(1);
    assert!(ran.stderr.contains("blocked") && ran.stderr.contains("hint:"), "{}", ran.stderr);
    assert!(!local.world.path(".reposync/index.db").exists());
}

#[test]
fn a_second_run_is_refused_or_waits() {
    let local = Local::new();
    let lock = RunLock::try_take(&local.world.path(".reposync/state.db")).expect("io").expect("free");
    let ran = local.world.run(&["apply"]).exits(1);
    let process = std::process::id();
    assert!(
        ran.stderr.contains(&format!("another run is in progress (process {process}, since 20")),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("`--wait`"), "{}", ran.stderr);
    // Reading needs no lock.
    local.world.ok(&["plan"]);
    assert!(local.world.ok(&["status"]).stdout.contains(&format!("process {process}")));

    let mut waiting = local.world.spawn(&["apply", "--wait"]);
    let files = format!("/proc/{}/fd", waiting.id());
    waiting.until("waiting for the lock", |_| {
        let open = std::fs::read_dir(&files).into_iter().flatten().flatten();
        open.filter_map(|file| std::fs::read_link(file.path()).ok())
            .any(|file| file.ends_with("state.db.lock"))
    });
    assert!(!local.world.path(".reposync/state.db").exists(), "the ledger is read after the lock is taken");
    drop(lock);
    waiting.wait().exits(0);
    assert_eq!(local.index().len(), 3);
}

#[test]
fn a_reader_that_leaves_does_not_end_the_run() {
    let local = Local::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = local.world.command(&["apply"]).stdout(Stdio::from(writer)).output().expect("the program");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(local.index().len(), 3);
}

#[test]
fn invalid_repositories_are_reported_and_the_others_indexed() {
    let local = Local::new();
    local.world.write("plain/a.md", "No repository.\n");
    local.world.repo("empty");
    local.config(&project("").replace("[\"docs\"]", "[\"docs\", \"plain\", \"nowhere\", \"empty\"]"));
    let run = local.apply(&[]).exits(3);
    let failures: Vec<&str> = run.report["projects"][0]["failures"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|failure| failure["repository"].as_str())
        .collect();
    assert_eq!(failures, ["nowhere", "plain"]);
    assert_eq!(local.index().len(), 3);
}

#[test]
fn an_empty_repository_is_reported_and_not_a_failure() {
    let world = World::new();
    world.repo("docs");
    world.config(&project(""));
    for command in [&["plan"][..], &["apply"], &["apply", "--full"]] {
        let ran = world.run(command).exits(0);
        assert!(ran.stdout.contains("without commits: `docs`"), "{}", ran.stdout);
    }
}

#[test]
fn a_repository_that_becomes_empty_keeps_its_files_searchable() {
    let local = Local::applied();
    local.repo.git(&["update-ref", "-d", "HEAD"]);
    for args in [&[][..], &["--full"]] {
        let run = local.apply(args).exits(0);
        assert!(
            run.notes().contains("repository `docs` has no commits any more"),
            "{args:?}: {}",
            run.notes()
        );
        assert_eq!(local.index().len(), 3);
    }
    assert_eq!(local.apply(&["--prune"]).exits(0).counts(WORK), [0, 0, 0, 3]);
}

#[test]
fn a_missing_branch_is_a_failure_and_deletes_nothing() {
    let local = Local::applied();
    local.config(&project("branch = \"nosuch\""));
    let ran = local.world.run(&["apply"]).exits(3);
    assert!(ran.stdout.contains("branch `nosuch` does not exist"), "{}", ran.stdout);
    assert_eq!(local.index().len(), 3);
    local.repo.git(&["branch", "nosuch"]);
    local.apply(&[]).exits(0);
}

#[test]
fn odd_names_are_indexed() {
    let local = Local::new();
    let deep = "d/".repeat(60);
    for (n, path) in [
        "with space/a b.md",
        "quo\"te's.md",
        "100%41.md",
        "ümläut/日本.md",
        ".hidden/x.md",
        "-rf.md",
        "tab\there.md",
        &format!("{deep}end.md"),
    ]
    .iter()
    .enumerate()
    {
        local.repo.write(path, format!("Odd page {n}.\n"));
    }
    local.repo.commit("odd");
    let run = local.apply(&[]).exits(0);
    assert_eq!(run.counts(WORK), [11, 0, 11, 0]);
    local.repo.git(&["rm", "-r", "-q", "--", "-rf.md", "ümläut", "with space"]);
    local.repo.commit("fewer");
    assert_eq!(local.apply(&[]).exits(0).count("vectors_deleted"), 3);
    local.assert_as_fresh();
}

#[test]
fn verify_finds_holes_and_orphans_and_repairs_them() {
    let local = Local::applied();
    let whole = local.index();
    local.world.ok(&["verify"]);
    let db = Connection::open(local.world.path(".reposync/index.db")).expect("an index");
    db.execute_batch(
        "CREATE TEMP TABLE one AS SELECT * FROM records WHERE facts LIKE '%README.md%';
         INSERT INTO records SELECT row + 1000, namespace, 'orphan-' || id, facts, text FROM one;
         INSERT INTO vectors SELECT row + 1000, file, norm, vector FROM vectors WHERE row IN (SELECT row FROM one);
         DELETE FROM vectors WHERE row IN (SELECT row FROM one);
         DELETE FROM records WHERE row IN (SELECT row FROM one);",
    )
    .expect("damage");
    drop(db);
    let found = local.world.run(&["verify", "--json"]).exits(3).json();
    let found = &found["projects"][0];
    assert_eq!((found["missing"].as_u64(), found["orphans"].as_u64()), (Some(1), Some(1)), "{found}");
    let mended = local.world.run(&["verify", "--repair", "--json"]).exits(0).json();
    let mended = &mended["projects"][0];
    assert_eq!((mended["written"].as_u64(), mended["deleted"].as_u64()), (Some(1), Some(1)), "{mended}");
    local.world.ok(&["verify"]);
    assert_eq!(local.index(), whole);
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [0; 4]);
}

/// A file whose content is excluded leaves the index, and comes back.
#[test]
fn a_file_that_turns_binary_leaves_and_comes_back() {
    let local = Local::applied();
    local.repo.write("README.md", b"\0\x01\x02").commit("binary");
    let run = local.apply(&[]).exits(0);
    assert_eq!(run.counts(WORK), [0, 0, 0, 1]);
    assert_eq!(run.report["projects"][0]["skipped"][0]["reason"], Value::from("binary"));
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [0; 4]);
    local.repo.write("other.md", "Other.\n").commit("more");
    let run = local.apply(&[]).exits(0);
    assert_eq!(run.counts(["files_added", "files_skipped"]), [1, 1], "known as skipped, still reported");
    local.repo.git(&["revert", "--no-edit", "HEAD", "HEAD~1"]);
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [1, 0, 1, 1]);
    local.assert_as_fresh();
}

#[test]
fn full_writes_everything_again_without_embedding() {
    let local = Local::paid_and_applied();
    let whole = local.index();
    let db = Connection::open(local.world.path(".reposync/index.db")).expect("an index");
    db.execute("UPDATE records SET text = 'tampered with'", []).expect("damage");
    drop(db);
    assert_eq!(local.apply(&["--full"]).exits(0).counts(WORK), [0, 3, 3, 0]);
    assert_eq!(local.index(), whole);
}

#[test]
fn an_unknown_project_is_refused() {
    let local = Local::new();
    let ran = local.world.run(&["apply", "--project", "dosc"]);
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("dosc") && ran.stderr.contains("docs"), "{}", ran.stderr);
    assert!(STAGES.contains("sqlite") && !local.world.path(".reposync/index.db").exists());
}
