//! Several processes on one run: workers, their deaths, dead units.

use crate::support::component::Fixture;
use crate::support::openai::Options;
use crate::support::services::Services;
use crate::support::shop::{ALONE, Shop, counts, different_pages};

#[test]
fn workers_do_the_work_of_a_run_and_the_index_is_the_same() {
    let Some(shop) = Shop::open("local = false\n", Options::default()) else { return };
    shop.pages(6, 4);
    let workers = [shop.worker("one"), shop.worker("two")];
    let report = shop.apply().wait().exits(0).json();
    assert_eq!(counts(&report), (24, 24, 6), "{report}");
    assert_eq!(report["outcome"], "done");
    let queue = shop.queue();
    assert_eq!(queue["workers"].as_array().map(Vec::len), Some(2), "{queue}");
    assert_eq!(queue["units"].as_array().map(Vec::len), Some(0), "the run has taken all results: {queue}");
    assert!(
        shop.services.ada.embedded().values().all(|times| *times == 1),
        "nothing is embedded twice: {:?}",
        shop.services.ada.embedded()
    );
    shop.services.world.ok(&["verify"]);
    // Nothing changed: no units, and the workers are not needed.
    drop(workers);
    let report = shop.apply().wait().exits(0).json();
    assert_eq!(counts(&report), (0, 0, 6), "{report}");
    // The same as one process makes it.
    let alone = Services::with(Options::default());
    different_pages(&alone, 6, 4);
    alone.world.ok(&["apply"]);
    assert_eq!(shop.services.pinecone.ids("handbook"), alone.pinecone.ids("handbook"));
}

#[test]
fn without_workers_the_run_does_its_work_itself() {
    let Some(shop) = Shop::open("", Options::default()) else { return };
    shop.pages(3, 2);
    let report = shop.apply().wait().exits(0).json();
    assert_eq!(counts(&report), (6, 6, 3), "{report}");
    // With one, both work.
    let worker = shop.worker("one");
    for n in 0..3 {
        shop.services.with_pages(&format!("more-{n}"), 3);
    }
    let report = shop.apply().wait().exits(0).json();
    assert_eq!(counts(&report), (9, 3, 6), "of the same texts each is sent once: {report}");
    worker.signal("TERM");
    worker.wait().exits(0);
    assert_eq!(shop.queue()["workers"].as_array().map(Vec::len), Some(0), "it has left");
}

#[test]
fn the_unit_of_a_worker_that_dies_is_done_by_another() {
    let slow = Options { latency: std::time::Duration::from_millis(1500), ..Options::default() };
    let Some(shop) = Shop::open(ALONE, slow) else { return };
    shop.pages(1, 3);
    let first = shop.worker("first");
    let run = shop.apply();
    let calls = || shop.services.ada.calls().len();
    let mut first = first;
    first.until("a call", |_| calls() > 0);
    first.signal("KILL");
    let _second = shop.worker("second");
    let report = run.wait().exits(0).json();
    assert_eq!(counts(&report).0, 3, "{report}");
    assert_eq!(shop.queue()["counts"]["fenced"], 1);
    shop.services.world.ok(&["verify"]);
}

#[test]
fn a_repository_that_ends_its_workers_is_given_up_and_named() {
    let slow = Options { latency: std::time::Duration::from_secs(60), ..Options::default() };
    let Some(shop) = Shop::open(&format!("{ALONE}attempts = 2\n"), slow) else { return };
    shop.pages(1, 1);
    let mut run = shop.apply();
    for n in 1..=2 {
        let label = format!("w{n}");
        let mut worker = shop.worker(&label);
        worker.until("that it works", |_| {
            let unit = &shop.queue()["units"][0];
            unit["state"] == "running" && unit["worker"] == *label
        });
        worker.signal("KILL");
    }
    // One that is alive finds that the attempts are used up.
    let _third = shop.worker("w3");
    run.until("its end", |run| run.stdout().contains("outcome"));
    let report = run.wait().exits(3).json();
    let failure = &report["projects"][0]["failures"][0];
    assert_eq!(failure["repository"], "acme/repo-0", "{report}");
    let error = failure["error"].as_str().unwrap_or_default();
    assert!(error.starts_with("workers gave it up"), "{report}");
    let queue = shop.queue();
    let unit = &queue["units"][0];
    assert_eq!((&unit["state"], &unit["attempts"]), (&"dead".into(), &2.into()), "{queue}");
    // It is not begun again by the next run.
    let calls = shop.services.ada.calls().len();
    let report = shop.apply().wait().exits(3).json();
    let error = report["projects"][0]["failures"][0]["error"].to_string();
    assert!(error.contains("in an earlier run"), "{report}");
    assert_eq!(shop.services.ada.calls().len(), calls);
    let id = unit["id"].to_string();
    let shown = shop.services.world.ok(&["queue", "show", &id]);
    assert_eq!(shown.stdout.matches("failed").count(), 2, "{}", shown.stdout);
    shop.services.world.ok(&["queue", "retry", &id]);
    shop.services.world.run(&["queue", "retry", &id]).exits(2);
}

#[test]
fn a_worker_that_is_stopped_gives_its_units_back() {
    let slow = Options { latency: std::time::Duration::from_secs(2), ..Options::default() };
    let Some(shop) = Shop::open(ALONE, slow) else { return };
    shop.pages(1, 2);
    let mut first = shop.worker("first");
    let run = shop.apply();
    first.until("a call", |_| !shop.services.ada.calls().is_empty());
    first.signal("TERM");
    first.wait().exits(0);
    let _second = shop.worker("second");
    let report = run.wait().exits(0).json();
    assert_eq!(counts(&report), (2, 0, 1), "what the first one paid for is in the cache: {report}");
    assert_eq!(shop.queue()["counts"]["fenced"], 0);
}

#[test]
fn a_worker_without_a_secret_says_so_and_leaves_the_work_to_others() {
    let Some(shop) = Shop::open(ALONE, Options::default()) else { return };
    shop.pages(2, 1);
    let args = ["worker", "--state", &shop.url, "--label", "poor"];
    let mut command = shop.services.world.command(&args);
    let mut poor = shop.services.world.start(command.env_remove("PINECONE_API_KEY"), &args);
    poor.until("that it waits", |worker| worker.stderr().contains("waits for units"));
    let run = shop.apply();
    poor.until("a refusal", |worker| worker.stderr().contains("cannot be used here"));
    let queue = shop.queue();
    let refused = queue["workers"][0]["refused"].as_str().unwrap_or_default().to_owned();
    assert!(refused.contains("PINECONE_API_KEY"), "{queue}");
    let _rich = shop.worker("rich");
    assert_eq!(counts(&run.wait().exits(0).json()).0, 2);
}

#[test]
fn a_worker_of_another_version_says_so_and_leaves_the_work_to_others() {
    let Some(shop) = Shop::open(ALONE, Options::default()) else { return };
    shop.pages(2, 1);
    let mut run = shop.apply();
    run.until("tables", |_| shop.sql("SELECT to_regclass('units') IS NOT NULL") == "t");
    run.until("units", |_| shop.sql("SELECT count(*) FROM units") == "2");
    let version = shop.sql("SELECT version FROM generations");
    // As if a program of another version had written it.
    let written_by = |from: &str, to: &str| {
        shop.sql(&format!(
            "UPDATE generations SET version = '{to}',
                 content = replace(content::text, '\"version\":\"{from}\"', '\"version\":\"{to}\"')::json"
        ))
    };
    written_by(&version, "0.0.9");
    let mut other = shop.worker("other");
    other.until("a refusal", |worker| worker.stderr().contains("cannot be used here"));
    let refused = shop.queue()["workers"][0]["refused"].to_string();
    assert!(refused.contains(&format!("it is of RepoSync 0.0.9, and this worker of {version}")), "{refused}");
    written_by("0.0.9", &version);
    let _same = shop.worker("same");
    assert_eq!(counts(&run.wait().exits(0).json()).0, 2);
    assert!(!other.has_ended());
}

#[test]
fn components_come_to_workers_through_the_database() {
    let Some(shop) = Shop::open(ALONE, Options::default()) else { return };
    let services = &shop.services;
    let component = Fixture::new("lines").build();
    services.world.write("chunkers/changes.wasm", component);
    let text = services.world.read("reposync.toml");
    let text = text.replace(
        "[projects.handbook]",
        "[stages.changes]\nkind = \"wasm\"\ncomponent = \"chunkers/changes.wasm\"\nmatch = [\"**/CHANGELOG.md\"]\n\n[projects.handbook]",
    );
    services.world.config(&text.replace("\"github\", \"prose\"", "\"github\", \"changes\", \"prose\""));
    services.repository("lib", &[("CHANGELOG.md", "# Changelog\n\n## 1.0.0\n\n- First.\n".into())]);
    let worker = shop.worker("far");
    let report = shop.apply().wait().exits(0).json();
    assert_eq!(counts(&report).0, 1, "{report}");
    let kept = services.world.path(".local/state/reposync");
    assert!(kept.is_dir(), "{}", worker.stderr());
    // The daemon's process and the worker agree on how the file is made.
    let report = shop.apply().wait().exits(0).json();
    assert_eq!(counts(&report).0, 0, "{report}");
}

#[test]
fn what_is_wrong_is_said() {
    let Some(shop) = Shop::open("", Options::default()) else { return };
    let world = &shop.services.world;
    for (state, expected) in [
        ("state.db", "the state is a file"),
        ("postgres://ann:hunter2hunter2@db", "--state: it names no database"),
    ] {
        let ran = world.run(&["worker", "--state", state]);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
        assert!(ran.code != Some(0) && !ran.stderr.contains("hunter2"), "{}", ran.stderr);
    }
    let early = world.run(&["queue", "list"]).exits(1);
    assert!(early.stderr.contains("holds no state yet"), "{}", early.stderr);
    shop.pages(1, 1);
    world.ok(&["apply"]);
    world.run(&["queue", "show", "77"]).exits(2);
    let text = world.read("reposync.toml");
    for (workers, expected) in [
        ("units = 0", "outside 1 to 64"),
        ("lease = \"1s\"", "outside 3s to 10min"),
        ("renew = \"40s\"", "within a third"),
        ("attempt = 5", "did you mean"),
    ] {
        world.config(&text.replace("[workers]\n", &format!("[workers]\n{workers}\n")));
        let ran = world.run(&["validate"]);
        assert!(ran.code == Some(2) && ran.stderr.contains(expected), "{workers}: {}", ran.stderr);
    }
    world.config(
        &text
            .replace(&format!("state = \"{}\"\n", shop.url), "")
            .replace("[workers]\n", "[workers]\nunits = 2\n"),
    );
    let ran = world.run(&["validate"]).exits(2);
    assert!(ran.stderr.contains("the state is no PostgreSQL database"), "{}", ran.stderr);
    world.config(&shop.services.file());
    let ran = world.run(&["queue", "list"]);
    assert!(ran.code != Some(0) && ran.stderr.contains("no workers and no queue"), "{}", ran.stderr);
}
