//! Workers that are stopped and wake up, calls to a store that arrive late, a migration during a run, a guard over the
//! work of several workers, a pooler in between.

use std::time::Duration;

use crate::support::git_repo::GitRepo;
use crate::support::http::{Fault, Gate};
use crate::support::openai::Options;
use crate::support::pgbouncer::PgBouncer;
use crate::support::shop::{ALONE, Shop, counts};
use crate::support::world::Running;

/// An embedding service that takes its time.
fn slow() -> Options {
    Options { latency: Duration::from_millis(1500), ..Options::default() }
}

/// Repositories of this many pages, with texts that no other one has.
fn repositories(shop: &Shop, names: &[&str], pages: usize) -> Vec<GitRepo> {
    let repository = |name: &&str| {
        let files: Vec<_> = (0..pages)
            .map(|n| (format!("page-{n}.md"), format!("What page {n} of {name} says.\n")))
            .collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
        shop.services.repository(name, &files)
    };
    names.iter().map(repository).collect()
}

fn until_dropped(worker: &mut Running) {
    worker.until("that it drops the unit", |worker| worker.stderr().contains("taken over by another worker"));
}

#[test]
fn a_stopped_worker_that_wakes_up_after_the_takeover_changes_nothing() {
    let Some(shop) = Shop::open(ALONE, slow()) else { return };
    let repos = repositories(&shop, &["guide"], 3);
    let mut first = shop.worker("first");
    let run = shop.apply();
    first.until("a call", |_| !shop.services.ada.calls().is_empty());
    first.signal("STOP");
    let second = shop.worker("second");
    assert_eq!(counts(&run.wait().exits(0).json()).0, 3);
    assert_eq!(shop.queue()["counts"]["fenced"], 1);
    let (index, ledger) = (shop.services.index(), shop.ledger());
    first.signal("CONT");
    until_dropped(&mut first);
    assert_eq!(shop.services.index(), index);
    assert_eq!(shop.ledger(), ledger);
    // It goes on with later units.
    second.signal("TERM");
    second.wait().exits(0);
    repos[0].write("new.md", "What is new.\n");
    shop.services.push("guide", &repos[0]);
    assert_eq!(counts(&shop.apply().wait().exits(0).json()).0, 1);
    drop(first);
    shop.assert_right();
}

/// It has announced what it is about to write, and stops before it learns that this is recorded.
#[test]
fn a_worker_that_is_stopped_between_intent_and_upsert_sends_nothing_after_the_takeover() {
    let Some(shop) = Shop::open(ALONE, Options::default()) else { return };
    repositories(&shop, &["guide"], 3);
    let mut first = shop.worker("first");
    shop.sql(
        "CREATE TABLE gate (is_open BOOL);
         CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
             WHILE NOT EXISTS (SELECT 1 FROM gate) LOOP PERFORM pg_sleep(0.01); END LOOP;
             RETURN NULL;
         END$$;
         CREATE TRIGGER pass AFTER INSERT ON intents FOR EACH ROW EXECUTE FUNCTION pass()",
    );
    let run = shop.apply();
    let at_the_gate = "SELECT count(*) FROM pg_stat_activity
         WHERE wait_event = 'PgSleep' AND datname = current_database() AND query LIKE '%INTO intents%'";
    first.until("an intent", |_| shop.sql(at_the_gate) == "1");
    first.signal("STOP");
    let upserts = || {
        let requests = shop.services.pinecone.server.requests();
        requests.iter().filter(|request| request.path.ends_with("/vectors/upsert")).count()
    };
    assert_eq!(upserts(), 0);
    shop.sql("INSERT INTO gate VALUES (TRUE)");
    let _second = shop.worker("second");
    assert_eq!(counts(&run.wait().exits(0).json()).0, 3);
    assert_eq!(shop.queue()["counts"]["fenced"], 1);
    let sent = upserts();
    first.signal("CONT");
    until_dropped(&mut first);
    assert_eq!(upserts(), sent);
    shop.assert_right();
}

/// The call was sent before the worker stopped; the service carries it out after another worker has finished the unit,
/// and after the file has changed.
#[test]
fn an_upsert_that_arrives_after_the_takeover_is_repaired() {
    let Some(shop) = Shop::open(ALONE, Options::default()) else { return };
    let repos = repositories(&shop, &["guide"], 3);
    let gate = Gate::default();
    shop.services.pinecone.server.fail("/vectors/upsert", Fault::Gate(gate.clone()));
    let first = shop.worker("first");
    let run = shop.apply();
    gate.until_reached();
    first.signal("STOP");
    let _second = shop.worker("second");
    run.wait().exits(0);
    repos[0].write("page-0.md", "Page 0 in other words.\n");
    repos[0].git(&["rm", "-q", "page-1.md"]);
    shop.services.push("guide", &repos[0]);
    shop.apply().wait().exits(0);
    shop.assert_right();
    let right = shop.services.index();
    // The fake answers a call after the handler; the next one shows that this one is done.
    let mut first = first;
    gate.open();
    first.until("the late call", |_| shop.services.index() != right);
    first.signal("CONT");
    until_dropped(&mut first);
    let found = shop.services.world.run(&["verify"]);
    assert_ne!(found.code, Some(0), "{}", found.stdout);
    // Ten minutes later.
    assert_ne!(shop.sql("SELECT count(*) FROM suspects"), "0");
    shop.sql("UPDATE suspects SET look_at = now()");
    shop.apply().wait().exits(0);
    assert_eq!(shop.services.index(), right);
    shop.assert_right();
}

#[test]
fn files_that_vanish_for_several_workers_at_once_are_withheld() {
    let Some(shop) = Shop::open("local = false\n", Options::default()) else { return };
    let names = ["a", "b", "c", "d", "e", "f"];
    let repos = repositories(&shop, &names, 30);
    let _workers = ["one", "two", "three"].map(|label| shop.worker(label));
    assert_eq!(counts(&shop.apply().wait().exits(0).json()), (180, 180, 6));
    let index = shop.services.index();
    // 60 % of all files, and more than a guard lets pass, but few of each repository.
    let vanishing: Vec<String> = (0..18).map(|n| format!("page-{n}.md")).collect();
    for (name, repo) in names.iter().zip(&repos) {
        for path in &vanishing {
            drop(repo.git(&["rm", "-q", path]));
        }
        repo.write("page-20.md", format!("Page 20 of {name} in other words.\n"));
        shop.services.push(name, repo);
    }
    let report = shop.apply().wait().exits(3).json();
    let project = &report["projects"][0];
    assert_eq!(project["withheld"].as_array().map(Vec::len), Some(1), "{report}");
    assert_eq!(project["counts"]["files_removed"], 0, "{report}");
    let held = shop.services.index();
    let vanished = |record: &(Vec<f32>, serde_json::Map<String, serde_json::Value>)| {
        vanishing.iter().any(|path| record.1["file_path"] == **path)
    };
    for (id, record) in index.iter().filter(|(_, record)| vanished(record)) {
        assert_eq!(held.get(id), Some(record), "it was deleted without a permission");
    }
    shop.services.apply(&["--allow-deletes"]).exits(0);
    assert_eq!(shop.services.index().len(), 72);
    shop.assert_right();
}

#[test]
fn two_workers_work_through_a_pooler_of_transactions() {
    let Some(shop) = Shop::open("", Options::default()) else { return };
    let Some(pooler) = PgBouncer::start(&shop.url) else { return };
    let url = pooler.url(&shop.url);
    shop.config(&url, &format!("{ALONE}[engine.postgres]\nlisten = false\n"));
    shop.pages(6, 4);
    let workers = ["one", "two"].map(|label| shop.worker_at(&url, label, &["--no-listen"]));
    let report = shop.apply().wait().exits(0).json();
    assert_eq!(counts(&report), (24, 24, 6), "{report}");
    assert!(shop.services.ada.embedded().values().all(|times| *times == 1));
    for worker in workers {
        assert!(!worker.stderr().contains("WARN"), "{}", worker.stderr());
        worker.signal("TERM");
        worker.wait().exits(0);
    }
    shop.assert_right();
}

#[test]
fn a_pooler_that_does_not_deliver_notifications_is_noticed() {
    let Some(shop) = Shop::open(ALONE, Options::default()) else { return };
    let Some(pooler) = PgBouncer::start(&shop.url) else { return };
    let direct = shop.worker("direct");
    let mut pooled = shop.worker_at(&pooler.url(&shop.url), "pooled", &[]);
    repositories(&shop, &["guide", "notes"], 3);
    assert_eq!(counts(&shop.apply().wait().exits(0).json()).0, 6);
    pooled.until("a warning", |worker| worker.stderr().contains("start workers with `--no-listen`"));
    assert!(!direct.stderr().contains("WARN"), "{}", direct.stderr());
    let said = pooled.stderr();
    assert_eq!(said.matches("WARN").count(), 1, "{said}");
    shop.assert_right();
}

#[test]
fn a_text_that_four_workers_need_is_sent_once() {
    let slow = Options { latency: Duration::from_millis(300), ..Options::default() };
    let Some(shop) = Shop::open("local = false\nunits = 1\n", slow) else { return };
    for n in 0..8 {
        shop.services.with_pages(&format!("copy-{n}"), 6);
    }
    let _workers = ["one", "two", "three", "four"].map(|label| shop.worker(label));
    let report = shop.apply().wait().exits(0).json();
    assert_eq!(counts(&report), (48, 6, 8), "{report}");
    let embedded = shop.services.ada.embedded();
    assert!(embedded.len() == 6 && embedded.values().all(|times| *times == 1), "{embedded:?}");
    shop.assert_right();
}

/// A worker that is alive and renews its leases, but does not get on with its unit.
#[test]
fn a_unit_without_progress_is_given_to_another_worker() {
    let Some(shop) = Shop::open(&format!("{ALONE}stuck = \"2s\"\n"), Options::default()) else { return };
    repositories(&shop, &["guide"], 3);
    let gate = Gate::default();
    shop.services.github.fail("/git/blobs/", 1, Fault::Gate(gate.clone()));
    let mut first = shop.worker("stuck");
    let run = shop.apply();
    gate.until_reached();
    first.until("that it gives up", |worker| worker.stderr().contains("no progress within 2s"));
    let _second = shop.worker("other");
    run.wait().exits(0);
    gate.open();
    shop.assert_right();
}

#[test]
fn a_run_without_progress_ends_and_leaves_its_projects_to_the_next() {
    let Some(shop) = Shop::open("stuck = \"3s\"\n", Options::default()) else { return };
    repositories(&shop, &["guide"], 3);
    let gate = Gate::default();
    shop.services.github.fail("/git/blobs/", 1, Fault::Gate(gate.clone()));
    let ran = shop.services.world.run(&["apply"]).exits(1);
    assert!(ran.stdout.contains("no progress within 3s"), "{}", ran.stdout);
    assert!(ran.stdout.contains("`[workers] stuck` is the time that is allowed"), "{}", ran.stdout);
    assert!(!ran.stderr.contains("ERROR"), "it has ended by itself: {}", ran.stderr);
    assert_eq!(shop.sql("SELECT count(*) FROM leases"), "0");
    assert_eq!(shop.sql("SELECT outcome FROM runs"), "failed");
    gate.open();
    shop.apply().wait().exits(0);
    shop.assert_right();
}

/// The run itself has nothing to do meanwhile.
#[test]
fn a_run_whose_units_wait_for_workers_is_not_stuck() {
    let Some(shop) = Shop::open(&format!("{ALONE}stuck = \"4s\"\n"), Options::default()) else { return };
    repositories(&shop, &["guide"], 3);
    let early = shop.worker("early");
    early.signal("TERM");
    early.wait().exits(0);
    let mut run = shop.apply();
    let held = "SELECT count(*) FROM leases
         WHERE unit IS NULL AND until > now() AND since < now() - interval '9 s'";
    run.until("that it has waited", |_| shop.sql(held) == "1");
    assert_eq!(shop.queue()["counts"]["ready"], 1);
    let _worker = shop.worker("late");
    assert_eq!(counts(&run.wait().exits(0).json()).0, 3);
    shop.assert_right();
}

/// A newer program migrates the database: leases go, so that work of the older one ends.
#[test]
fn a_migration_ends_runs_and_workers_of_the_older_program() {
    let Some(shop) = Shop::open(ALONE, Options::default()) else { return };
    repositories(&shop, &["guide"], 3);
    let gate = Gate::default();
    shop.services.ada.fail([Fault::Gate(gate.clone())]);
    let mut worker = shop.worker("old");
    let run = shop.apply();
    gate.until_reached();
    shop.sql("BEGIN; UPDATE reposync_schema SET version = 999; DELETE FROM leases; COMMIT");
    let ledger = shop.ledger();
    gate.open();
    let ran = run.wait().exits(1);
    assert!(ran.stderr.contains("error"), "{}", ran.stderr);
    until_dropped(&mut worker);
    // A unit that is ready is of no interest to it any more.
    shop.sql("UPDATE units SET state = 'ready', epoch = NULL, not_before = now()");
    let ended = worker.wait().exits(1);
    assert!(ended.stderr.contains("newer RepoSync (version 999"), "{}", ended.stderr);
    assert_eq!(shop.sql("SELECT count(*) FROM leases"), "0");
    assert_eq!(shop.ledger(), ledger);
    assert!(shop.services.index().is_empty());
    let refused = shop.services.world.run(&["apply"]).exits(1);
    assert!(refused.stderr.contains("newer RepoSync (version 999"), "{}", refused.stderr);
}
