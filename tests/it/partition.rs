//! Network partitions between a process and the database, in a real network: another process does the work, and late writes
//! change nothing.

use std::time::Duration;

use serde_json::json;

use crate::support::daemon::Daemon;
use crate::support::http::{Fault, Gate};
use crate::support::island::{Cable, Island};
use crate::support::openai::Options;
use crate::support::shop::{ALONE, SHORT, Shop, counts};
use crate::support::tls_front::TlsFront;
use crate::support::world::Running;

const TOKEN: &str = "a-token-of-the-tests";

/// A shop with its state on the island, and a cable to it. `None`: there is no island.
fn shop(workers: &str, options: Options) -> Option<(Shop, Cable)> {
    let island = Island::start()?;
    let mut shop = Shop::on(&island.server, workers, options);
    shop.services.world = shop.services.world.env("SSL_CERT_FILE", &TlsFront::authority());
    Some((shop, island.cable()))
}

/// A repository whose texts no other one has.
fn repository(shop: &Shop, name: &str) -> crate::support::git_repo::GitRepo {
    let page = |n| format!("What page {n} of {name} says.\n");
    shop.services.repository(name, &[("page-0.md", page(0)), ("page-1.md", page(1)), ("page-2.md", page(2))])
}

fn until_dropped(worker: &mut Running) {
    worker.until("that it drops the unit", |worker| worker.stderr().contains("taken over by another worker"));
}

#[test]
fn a_worker_that_is_cut_off_while_it_embeds_changes_nothing_more() {
    let workers = format!("{ALONE}units = 1\n");
    let Some((shop, cable)) = shop(&workers, Options::default()) else { return };
    repository(&shop, "first");
    repository(&shop, "second");
    let gate = Gate::default();
    shop.services.ada.fail([Fault::None, Fault::Gate(gate.clone())]);
    let mut lonely = shop.worker_at(&cable.url(&shop.url), "lonely", &[]);
    let run = shop.apply();
    gate.until_reached();
    cable.cut();
    // It gets what it has paid for, and cannot keep it.
    gate.open();
    let _other = shop.worker("other");
    assert_eq!(counts(&run.wait().exits(0).json()).0, 6);
    assert_eq!(shop.queue()["counts"]["fenced"], 1);
    let written = || (shop.services.index(), shop.ledger(), shop.services.pinecone.server.requests().len());
    let before = written();
    cable.mend();
    until_dropped(&mut lonely);
    assert_eq!(written(), before);
    // Of the texts only those of the unit under way are paid twice. On a slow machine either can be that unit.
    let held = &shop.services.ada.calls()[1];
    let under_way = if held.json().to_string().contains("of first") { "of first" } else { "of second" };
    for (text, times) in shop.services.ada.embedded() {
        let most = if text.contains(under_way) { 2 } else { 1 };
        assert!(times <= most, "{text}: {times} times");
    }
    shop.assert_right();
}

/// The server has acknowledged a statement and cannot deliver the answer: nothing is left that the worker would send again.
#[test]
fn a_lost_answer_is_not_waited_for_longer_than_a_while() {
    let Some((shop, cable)) = shop(ALONE, Options::default()) else { return };
    let mut lonely = shop.worker_at(&cable.url(&shop.url), "lonely", &[]);
    shop.sql("CREATE TABLE gate (is_open BOOL)");
    let close = "DO $$BEGIN
             LOCK TABLE workers;
             FOR i IN 1..6000 LOOP PERFORM pg_sleep(0.01); EXIT WHEN EXISTS (SELECT 1 FROM gate); END LOOP;
         END$$";
    // Long enough that it has been acknowledged.
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
         AND wait_event_type = 'Lock' AND query LIKE '%INTO workers%' AND query_start < now() - interval '1 s'";
    std::thread::scope(|scope| {
        let closed = scope.spawn(|| shop.sql(close));
        lonely.until("a statement that waits", |_| shop.sql(waiting) != "0");
        cable.cut();
        shop.sql("INSERT INTO gate VALUES (TRUE)");
        closed.join().expect("the gate");
    });
    let again = r#"what="record a worker" failure=connection closed"#;
    lonely.until("that it tries again", |worker| worker.stderr().contains(again));
    cable.mend();
    repository(&shop, "guide");
    assert_eq!(counts(&shop.apply().wait().exits(0).json()).0, 3);
    shop.assert_right();
}

/// The call reaches the store only after another worker has done the unit, and after the file has changed.
#[test]
fn an_upsert_of_a_worker_that_is_cut_off_is_given_up_and_repaired() {
    let Some((shop, cable)) = shop(ALONE, Options::default()) else { return };
    let repo = repository(&shop, "guide");
    let gate = Gate::default();
    shop.services.pinecone.server.fail("/vectors/upsert", Fault::Gate(gate.clone()));
    let mut lonely = shop.worker_at(&cable.url(&shop.url), "lonely", &[]);
    let run = shop.apply();
    gate.until_reached();
    cable.cut();
    let other = shop.worker("other");
    assert_eq!(counts(&run.wait().exits(0).json()).0, 3);
    assert!(shop.services.ada.embedded().values().all(|times| *times == 1), "the vectors were in the cache");
    repo.write("page-0.md", "Page 0 in other words.\n");
    repo.git(&["rm", "-q", "page-1.md"]);
    shop.services.push("guide", &repo);
    shop.apply().wait().exits(0);
    shop.assert_right();
    let right = shop.services.index();
    cable.mend();
    // The service has not answered yet.
    until_dropped(&mut lonely);
    assert_eq!(shop.services.index(), right);
    gate.open();
    lonely.until("the late call", |_| shop.services.index() != right);
    // Ten minutes later.
    shop.sql("UPDATE suspects SET look_at = now()");
    shop.apply().wait().exits(0);
    assert_eq!(shop.services.index(), right);
    drop(other);
    shop.assert_right();
}

#[test]
fn a_dispatcher_that_is_cut_off_is_replaced_and_stands_by_when_it_is_back() {
    let slow = Options { latency: Duration::from_millis(500), ..Options::default() };
    let Some((shop, cable)) = shop("", slow) else { return };
    repository(&shop, "guide");
    let api = format!("{SHORT}\n[api]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\n");
    shop.config("${STATE}", &api);
    let start = |url: String| {
        let mut daemon = Daemon::start_with(&shop.services.world, vec![("STATE".to_owned(), url)]);
        daemon.token = Some(TOKEN.to_owned());
        daemon
    };
    let role = |daemon: &Daemon| daemon.get("/health").json()["role"].clone();
    let mut lonely = start(cable.url(&shop.url));
    lonely.until("that it is the dispatcher", |daemon| role(daemon) == "dispatcher");
    lonely.until_runs(1);
    let mut other = start(shop.url.clone());
    assert_eq!(role(&other), "standby");
    repository(&shop, "more");
    let calls = shop.services.ada.calls().len();
    let run = other.post("/sync", &json!({ "project": "handbook" })).is(202).json();
    lonely.until("a call", |_| shop.services.ada.calls().len() > calls);
    cable.cut();
    other.until("that it is the dispatcher", |daemon| role(daemon) == "dispatcher");
    let ended = other.until_ended(run["run"].as_str().expect("an id"));
    assert_eq!(ended["outcome"], "done", "{ended}");
    let (index, ledger) = (shop.services.index(), shop.ledger());
    lonely.until("that it gives up its role", |daemon| role(daemon) == "standby");
    cable.mend();
    let again = lonely.post("/sync", &json!({ "project": "handbook" })).is(202).json();
    assert_eq!(other.until_ended(again["run"].as_str().expect("an id"))["outcome"], "done");
    assert_eq!((shop.services.index(), shop.ledger()), (index, ledger));
    let embedded = shop.services.ada.embedded();
    assert!(embedded.values().all(|times| *times <= 2), "{embedded:?}");
    drop((lonely, other));
    shop.config(&shop.url, SHORT);
    shop.assert_right();
}
