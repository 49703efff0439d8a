//! Every service failing in every way while the real program runs. Transient faults are retried. A
//! permanent one ends the run with an error that names stage, cause and remedy, leaves the old or the
//! new version of every file in the index, and the next run completes it.

use std::thread;

use crate::support::git_repo::GitRepo;
use crate::support::github::refusal;
use crate::support::http::{Fault, Response, Server};
use crate::support::services::Services;

/// A call to a service.
struct Place {
    /// A part of `METHOD path`.
    on: &'static str,
    stage: &'static str,
    /// Number of files to change so that this call is made: more than twenty are fetched as an archive.
    changes: usize,
    /// The ledger is lost before, so that the store is listed.
    lost_ledger: bool,
    /// Faults after which the run still succeeds, because it has an alternative.
    otherwise: &'static [&'static str],
}

const PLACES: [Place; 11] = [
    place("/orgs/acme/repos", "github", 2),
    place("/commits/", "github", 2),
    place("/git/trees/", "github", 2),
    place("/git/blobs/", "github", 2),
    // Without an archive the blobs are fetched.
    Place { otherwise: &["page", "truncated", "not found"], ..place("/tarball/", "github", 25) },
    Place { otherwise: &["not found"], ..place("/archive/", "github", 25) },
    place("/embeddings", "ada", 2),
    place("/indexes/", "pinecone", 2),
    Place { lost_ledger: true, ..place("/vectors/list", "pinecone", 2) },
    place("/vectors/upsert", "pinecone", 2),
    place("/vectors/delete", "pinecone", 2),
];

const fn place(on: &'static str, stage: &'static str, changes: usize) -> Place {
    Place { on, stage, changes, lost_ledger: false, otherwise: &[] }
}

/// Faults by name, with the expected part of the error.
fn faults(place: &Place) -> Vec<(&'static str, Fault, &'static str)> {
    let mut faults = vec![
        ("500", Fault::status(500), "500"),
        ("503 with a wait", Fault::status(503).with("retry-after", "0"), "503"),
        ("429", Fault::status(429), ""),
        ("429 with a wait", Fault::status(429).with("retry-after", "0"), ""),
        ("a day's wait", Fault::status(429).with("retry-after", "86400"), "asked to wait 86400 s"),
        ("401", Fault::status(401), "401"),
        ("reset", Fault::Reset, "127.0.0.1"),
        ("silence", Fault::Hang, "no answer in time"),
        ("truncated", Fault::Truncated, ""),
        ("page", Fault::html(), ""),
        ("answer lost", Fault::AnswerLost, "127.0.0.1"),
    ];
    if place.stage == "github" {
        let used_up = refusal(403, "API rate limit exceeded for user ID 1.")
            .with("x-ratelimit-remaining", "0")
            .with("x-ratelimit-reset", "4000000000");
        let slow_down = refusal(403, "You have exceeded a secondary rate limit.").with("retry-after", "0");
        faults.push(("primary limit", used_up, "hourly rate limit"));
        faults.push(("secondary limit", slow_down, "asks to slow down"));
    }
    if place.otherwise.contains(&"not found") {
        faults.push(("not found", refusal(404, "Not Found"), ""));
    }
    // The archive host has other rules and limits.
    faults.retain(|(name, ..)| {
        place.on != "/archive/" || !matches!(*name, "401" | "primary limit" | "secondary limit")
    });
    faults
}

fn server<'a>(services: &'a Services, place: &Place) -> &'a Server {
    match place.stage {
        "github" if place.on == "/archive/" => services.github.archives(),
        "github" => services.github.api(),
        "ada" => &services.ada.server,
        _ => &services.pinecone.server,
    }
}

/// A repository of thirty files, indexed.
fn indexed() -> (Services, GitRepo) {
    let services = Services::start();
    let repo = services.repository("api", &[]);
    for n in 0..30 {
        repo.write(&format!("docs/page-{n}.md"), format!("What page {n} says.\n"));
    }
    services.push("api", &repo);
    services.engine("timeout = \"20s\"");
    services.apply(&[]).exits(0);
    (services, repo)
}

/// Changes this many files, and replaces one by another.
fn change(services: &Services, repo: &GitRepo, round: usize, files: usize) {
    for n in 0..files {
        repo.write(&format!("docs/page-{n}.md"), format!("What page {n} says in round {round}.\n"));
    }
    repo.write(&format!("round-{round}.md"), format!("New in round {round}.\n"));
    if let Some(before) = round.checked_sub(1) {
        repo.git(&["rm", "-q", "--ignore-unmatch", &format!("round-{before}.md")]);
    }
    services.push("api", repo);
}

fn a_fault_that_stays(place: &Place) {
    let (services, repo) = indexed();
    for (round, (name, fault, cause)) in faults(place).into_iter().enumerate() {
        let what = format!("{name} at {}", place.on);
        change(&services, &repo, round, place.changes);
        if place.lost_ledger {
            for file in ["state.db", "state.db-wal", "state.db-shm"] {
                drop(std::fs::remove_file(services.world.path(&format!(".reposync/{file}"))));
            }
        }
        let impatient = matches!(fault, Fault::Hang);
        services.engine(if impatient { "retries = 0\ntimeout = \"5s\"" } else { "retries = 0" });
        server(&services, place).fail_times(place.on, usize::MAX, fault);
        let run = services.apply(&[]);
        let project = &run.report["projects"][0];
        if place.otherwise.contains(&name) {
            assert_eq!(run.ran.code, Some(0), "{what}: {}", run.report);
        } else {
            assert_eq!(run.ran.code, Some(1), "{what}: {}\n{}", run.report, run.ran.stderr);
            let error = &project["error"];
            assert_eq!(error["stage"], place.stage, "{what}: {error}");
            let said = error["error"].as_str().unwrap_or_default();
            assert!(said.contains(cause) && said.contains("127.0.0.1"), "{what}: {error}");
            assert!(error["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{what}: {error}");
            if name == "a day's wait" {
                assert_eq!(project["retry_after"], 86_400, "{what}: {project}");
            }
        }
        // A file that was indexed before and is still wanted stays searchable.
        let texts = services.index();
        for n in 0..30 {
            let path = format!("docs/page-{n}.md");
            assert!(
                texts.values().any(|(_, metadata)| metadata["file_path"] == path.as_str()),
                "{what}: {path}"
            );
        }
        server(&services, place).heal();
        services.engine("");
        services.apply(&[]).exits(0);
        services.assert_holds(&repo, &what);
    }
    services.world.ok(&["verify"]);
    services.assert_as_fresh();
    services.github.assert_conforming();
}

#[test]
fn a_fault_that_stays_at_github() {
    each_on_a_thread(PLACES.iter().filter(|place| place.stage == "github"));
}

#[test]
fn a_fault_that_stays_at_the_embedder() {
    each_on_a_thread(PLACES.iter().filter(|place| place.stage == "ada"));
}

#[test]
fn a_fault_that_stays_at_the_store() {
    each_on_a_thread(PLACES.iter().filter(|place| place.stage == "pinecone"));
}

fn each_on_a_thread(places: impl Iterator<Item = &'static Place>) {
    thread::scope(|scope| {
        let threads: Vec<_> =
            places.map(|place| (place, scope.spawn(|| a_fault_that_stays(place)))).collect();
        for (place, thread) in threads {
            assert!(thread.join().is_ok(), "{}: see above", place.on);
        }
    });
}

/// Each kind of fault strikes once at every call, all in one run.
#[test]
fn a_transient_fault_at_each_service_is_retried() {
    let passing = |place: &'static Place| {
        // Faults with long waits are tested elsewhere with paused time.
        let waited = ["429", "a day's wait", "401", "primary limit", "not found"];
        faults(place).into_iter().filter(move |(name, ..)| !waited.contains(name))
    };
    let names: Vec<&str> = passing(&PLACES[0]).map(|(name, ..)| name).collect();
    thread::scope(|scope| {
        for name in names {
            scope.spawn(move || {
                let (services, repo) = indexed();
                change(&services, &repo, 0, 25);
                services.engine("timeout = \"2s\"");
                for place in PLACES.iter().filter(|place| !place.lost_ledger && place.on != "/git/blobs/") {
                    for (_, fault, _) in passing(place).filter(|(fault, ..)| *fault == name) {
                        server(&services, place).fail(place.on, fault);
                    }
                }
                services.slack.server.fail("/services/", Fault::Answer(Response::text(500, "rollup_error")));
                let run = services.apply(&[]);
                assert_eq!(run.ran.code, Some(0), "{name}: {}\n{}", run.report, run.ran.stderr);
                services.assert_holds(&repo, name);
                for server in [services.github.api(), &services.ada.server, &services.pinecone.server] {
                    assert_eq!(server.faults_left(), 0, "{name}");
                }
                assert_eq!(services.slack.messages().len(), 2, "{name}: the first run's and this one's");
                services.world.ok(&["verify"]);
            });
        }
    });
}

/// Whatever happens to Slack messages, the run succeeds.
#[test]
fn a_notifier_that_fails_never_fails_the_run() {
    let (services, repo) = indexed();
    let faults = [
        Fault::status(404),
        Fault::status(429).with("retry-after", "86400"),
        Fault::status(500),
        Fault::Reset,
        Fault::Hang,
    ];
    services.engine("retries = 0\ntimeout = \"5s\"");
    for (round, fault) in faults.into_iter().enumerate() {
        let what = format!("{fault:?}");
        change(&services, &repo, round, 1);
        services.slack.server.fail("/services/", fault);
        let ran = services.world.run(&["apply"]);
        assert_eq!(ran.code, Some(0), "{what}: {}", ran.stderr);
        assert!(ran.stderr.contains("team"), "{what}: it is told: {}", ran.stderr);
        services.assert_holds(&repo, &what);
    }
}
