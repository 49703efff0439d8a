//! Upgrades: today's program takes over the state of version 0.1 (`tests/fixtures/0.1`, with open
//! intents, a failed file, leftovers and an orphan) without losing a file or embedding a text that
//! today's recipes do not require.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::Value;

use crate::support::git_repo::git;
use crate::support::local::{Index, read_index};
use crate::support::world::{Ran, World};

/// The folder where the fixture was made; its ledger names repositories and indexes by absolute paths.
const MADE_AT: &str = "/srv/reposync-0.1";
const REPOSITORIES: [&str; 4] = ["api", "guide", "handbook", "notes"];
const STATE: [&str; 4] = ["state.db", "cache.db", "index.db", "second.db"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/0.1").join(name)
}

/// A world with the repositories and the configuration of the fixture, and the files `state` in
/// `.reposync`.
fn world(state: &[&str]) -> World {
    let world = World::new();
    for name in REPOSITORIES {
        git(
            &world.path(""),
            &["clone", "--quiet", &fixture(&format!("{name}.bundle")).to_string_lossy(), name],
        );
    }
    for name in ["reposync.toml", "reposync.lock", "changelog.wasm", "saved.plan"] {
        world.write(name, std::fs::read(fixture(name)).expect("a file of the fixture"));
    }
    for name in state {
        world.write(
            &format!(".reposync/{name}"),
            std::fs::read(fixture(name)).expect("a file of the fixture"),
        );
    }
    if state.contains(&"state.db") {
        move_ledger(&world);
    }
    world
}

/// Replaces the folder where the ledger was made by the world's folder.
fn move_ledger(world: &World) {
    let ledger = Connection::open(world.path(".reposync/state.db")).expect("the ledger");
    let folder = world.path("");
    let folder = folder.to_string_lossy();
    let folder = folder.trim_end_matches('/');
    for (table, column) in [("places", "host"), ("repositories", "key"), ("repositories", "entry")] {
        let sql = format!("UPDATE {table} SET {column} = replace({column}, ?1, ?2)");
        assert!(ledger.execute(&sql, [MADE_AT, folder]).expect("updated") > 0, "{table}.{column}");
    }
}

/// The content of both indexes, without the project that was removed from the configuration.
fn indexes(world: &World) -> [Index; 2] {
    ["index.db", "second.db"].map(|name| {
        let mut index = read_index(&world.path(&format!(".reposync/{name}")));
        index.retain(|(namespace, _), _| namespace != "gone");
        index
    })
}

fn count(world: &World, table: &str) -> i64 {
    let ledger = Connection::open(world.path(".reposync/state.db")).expect("the ledger");
    ledger.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("a count")
}

/// Sums a counter of `apply --json` over all projects.
fn sum(ran: &Ran, count: &str) -> u64 {
    let report = ran.json();
    let projects = report["projects"].as_array().expect("projects");
    projects.iter().map(|project| project["counts"][count].as_u64().unwrap_or_default()).sum()
}

#[test]
fn the_state_of_0_1_ends_in_the_index_of_a_fresh_build() {
    let world = world(&STATE);
    assert_eq!((count(&world, "intents"), count(&world, "leftovers")), (4, 3), "the fixture's open work");
    let ran = world.run(&["apply", "--json"]).exits(0);

    let fresh = self::world(&[]);
    let built = fresh.run(&["apply", "--json"]).exits(0);
    assert!(sum(&ran, "texts_embedded") <= sum(&built, "texts_embedded"));
    assert!(sum(&ran, "vectors_written") <= sum(&built, "vectors_written"));
    assert_eq!(indexes(&world), indexes(&fresh));

    assert_eq!((count(&world, "intents"), count(&world, "leftovers")), (0, 0), "open work is finished");
    world.ok(&["verify"]);
    let again = world.run(&["apply", "--json"]).exits(0);
    assert_eq!((sum(&again, "texts_embedded"), sum(&again, "vectors_written")), (0, 0));
}

/// Vectors of the built-in model are not kept in the cache any more.
#[test]
fn the_vectors_that_0_1_cached_of_the_built_in_model_are_dropped() {
    let world = world(&STATE);
    let cached = || {
        let cache = Connection::open(world.path(".reposync/cache.db")).expect("the cache");
        cache.query_row("SELECT count(*) FROM vectors", [], |row| row.get::<_, i64>(0)).expect("a count")
    };
    world.ok(&["plan"]);
    assert_eq!(cached(), 17, "a plan changes nothing");
    world.ok(&["apply"]);
    assert_eq!(cached(), 0);
}

#[test]
fn the_orphan_of_0_1_stays_until_it_is_pruned() {
    let world = world(&STATE);
    world.ok(&["apply"]);
    let status = world.ok(&["status"]).stdout;
    assert!(status.contains("gone"), "{status}");
    let held =
        || read_index(&world.path(".reposync/index.db")).keys().filter(|(name, _)| name == "gone").count();
    assert_eq!(held(), 1);
    world.ok(&["apply", "--prune"]);
    assert_eq!(held(), 0);
}

#[test]
fn a_plan_reads_the_state_of_0_1_and_leaves_it_as_it_is() {
    let world = world(&STATE);
    let before = std::fs::read(world.path(".reposync/state.db")).expect("the ledger");
    let plan = world.ok(&["plan", "--json"]).json();
    let failed: BTreeSet<&str> = plan["projects"][0]["repositories"]
        .as_array()
        .expect("repositories")
        .iter()
        .flat_map(|repository| repository["files"].as_array().expect("files"))
        .filter_map(|file| file["path"].as_str())
        .collect();
    for path in ["docs/broken.md", "docs/install.md", "docs/new.md"] {
        assert!(failed.contains(path), "{path} is to be written: {failed:?}");
    }
    assert_eq!(std::fs::read(world.path(".reposync/state.db")).expect("the ledger"), before);
}

fn version(world: &World, file: &str) -> i64 {
    let ledger = Connection::open(world.path(&format!(".reposync/{file}"))).expect("a ledger");
    ledger.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version")
}

#[test]
fn the_ledger_of_0_1_is_left_behind_as_a_copy() {
    let world = world(&STATE);
    world.ok(&["apply"]);
    assert_eq!((version(&world, "state.db"), version(&world, "state.db.v2.bak")), (7, 2));
    let copy = Connection::open(world.path(".reposync/state.db.v2.bak")).expect("the copy");
    let intents: i64 = copy.query_row("SELECT count(*) FROM intents", [], |row| row.get(0)).expect("a count");
    assert_eq!(intents, 4, "the copy holds what was there before");
    let runs = world.ok(&["history", "--json"]).json();
    let of = |run: &Value| (run["request"].is_string(), run["run"].clone());
    assert!(runs.as_array().expect("runs").iter().all(|run| of(run).0), "{runs}");
}

/// Creates the lock of a run and the record of a daemon as 0.1 did.
#[test]
fn a_program_of_0_1_at_work_is_noticed() {
    for (file, words) in [("state.db.lock", "run"), ("state.db.daemon", "stop the daemon")] {
        let world = world(&STATE);
        let held = format!(".reposync/{file}");
        let config = world.read("reposync.toml");
        world.config(&format!("{config}\n[api]\nlisten = \"127.0.0.1:0\"\n"));
        world.write(&held, r#"{"process": 4242, "since": "2026-01-01T00:00:00Z"}"#);
        let lock = std::fs::File::open(world.path(&held)).expect("the file");
        lock.lock().expect("locked");
        for command in ["apply", "daemon"] {
            let refused = world.run(&[command]).exits(1);
            assert!(refused.stderr.contains("4242"), "{command} {}", refused.stderr);
            assert!(refused.stderr.contains(words), "{command} {}", refused.stderr);
        }
        assert_eq!(version(&world, "state.db"), 2, "{file}");
        assert!(!world.path(".reposync/state.db.v2.bak").exists());
        // Readers need no upgrade.
        world.ok(&["status"]);
        drop(lock);
        world.ok(&["apply"]);
        assert_eq!(version(&world, "state.db"), 7, "{file}");
    }
}

#[test]
fn a_saved_plan_of_0_1_is_refused() {
    let world = world(&STATE);
    let before = indexes(&world);
    let plan: Value = serde_json::from_str(&world.read("saved.plan")).expect("JSON");
    assert_eq!(plan["version"], 1);
    world.run(&["apply", "saved.plan"]).exits(1);
    assert_eq!(indexes(&world), before, "nothing was written");
}

/// The words and file numbers of an index, which 0.1 did not have.
fn is_upgraded(world: &World, file: &str) -> bool {
    let index = Connection::open(world.path(&format!(".reposync/{file}"))).expect("an index");
    let count = |sql: &str| -> i64 { index.query_row(sql, [], |row| row.get(0)).expect("a count") };
    let records = count("SELECT count(*) FROM records");
    assert_eq!(count("SELECT sum(chunks) FROM files"), records);
    assert_eq!(count("SELECT count(*) FROM vectors JOIN files ON number = file"), records);
    index.execute("INSERT INTO words (words) VALUES ('integrity-check')", []).expect("an intact index");
    records > 0 && count("SELECT count(*) FROM words WHERE words MATCH 'path : md'") > 0
}

#[test]
fn a_query_upgrades_the_index_of_0_1() {
    let world = world(&STATE);
    let before = indexes(&world);
    let found = world.ok(&["query", "how to install", "--json"]).json();
    assert!(found["matches"].as_array().is_some_and(|matches| !matches.is_empty()), "{found}");
    assert!(found.get("notes").is_none(), "{found}");
    assert_eq!(version(&world, "index.db"), 2);
    assert!(is_upgraded(&world, "index.db"));
    assert_eq!(indexes(&world), before, "records and vectors are as they were");
}

/// The index cannot be written: the journal's file cannot be created.
#[cfg(unix)]
#[test]
fn an_index_of_0_1_that_cannot_be_written_is_searched_by_vector() {
    let world = world(&STATE);
    for file in ["index.db", "second.db"] {
        let link = world.path(&format!(".reposync/{file}-shm"));
        std::os::unix::fs::symlink("/nowhere/at-all", link).expect("a link");
    }
    let ran = world.ok(&["query", "how to install"]);
    assert!(ran.stdout.contains("1. "), "{}", ran.stdout);
    assert!(ran.stderr.contains("words are not searched"), "{}", ran.stderr);
    std::fs::remove_file(world.path(".reposync/index.db-shm")).expect("removed");
    assert_eq!(version(&world, "index.db"), 1);
}
