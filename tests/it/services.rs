//! The real program against fakes of GitHub, Azure OpenAI, Pinecone and Slack: the correct index at
//! minimal cost in money and requests, whatever the services do.

use crate::support::github::refusal;
use crate::support::http::{Fault, Response};
use crate::support::local::WORK;
use crate::support::openai::Options;
use crate::support::services::{DIMENSIONS, Services};

#[test]
fn an_organisation_is_kept_equal_for_the_least_money_and_requests() {
    let services = Services::start();
    // Thirty repositories that share one page and have one unique page each.
    let mut repos = Vec::new();
    for n in 0..30 {
        let own = format!("What only repository {n} says.\n");
        let files = [
            ("README.md", "The same everywhere.\n".into()),
            ("docs/own.md", own),
            ("code.rs", "fn main() {}".into()),
        ];
        repos.push(services.repository(&format!("r{n}"), &files));
    }
    let plan = services.world.run(&["plan", "--exact", "--json"]).exits(0).json();
    let estimate = &plan["projects"][0]["estimate"];
    assert_eq!(services.ada.calls().len(), 0, "a plan costs nothing");
    let first = services.apply(&[]).exits(0);
    assert_eq!(first.counts(WORK), [31, 29, 60, 0]);
    assert_eq!(services.paid(), (31, 31));
    assert_eq!(services.index().len(), 60);
    assert_eq!(estimate["tokens"].as_u64(), Some(services.ada.tokens()));
    assert_eq!(estimate["texts"], 31);
    assert_eq!(estimate["vectors_written"], 60);
    assert_eq!(services.slack.messages().len(), 1);

    // Nothing has changed.
    services.github.take_seen();
    let calls = services.ada.calls().len();
    services.pinecone.server.take_requests();
    let second = services.apply(&[]).exits(0);
    assert_eq!(second.counts(WORK), [0; 4]);
    let asked = services.github.take_seen().len();
    assert!(asked <= 12, "{asked} requests for thirty unchanged repositories");
    assert_eq!(services.ada.calls().len(), calls);
    let written = services.pinecone.server.take_requests();
    assert!(written.iter().all(|request| request.method == "GET"), "{written:?}");
    assert_eq!(services.slack.messages().len(), 1, "nothing to report");

    // A push costs only the files it changed.
    repos[7].write("docs/own.md", "Something else.\n");
    services.push("r7", &repos[7]);
    let third = services.apply(&[]).exits(0);
    assert_eq!(third.counts(WORK), [1, 0, 1, 1]);
    assert_eq!(third.count("repositories_unchanged"), 29);
    services.assert_as_fresh();
    services.github.assert_conforming();
}

#[test]
fn rewritten_history_ends_in_the_index_of_the_new_one() {
    let services = Services::start();
    let repo = services.with_pages("api", 30);
    services.apply(&[]).exits(0);
    repo.git(&["checkout", "-q", "--orphan", "other"]);
    repo.git(&["rm", "-f", "-q", "docs/page-3.md", "docs/page-4.md"]);
    repo.write("docs/page-5.md", "Rewritten.\n").write("docs/new.md", "New.\n");
    repo.commit("another beginning");
    repo.git(&["branch", "-M", "other", "main"]);
    repo.git(&["reflog", "expire", "--expire=now", "--all"]);
    repo.git(&["gc", "-q", "--prune=now"]);
    services.pushed("api");
    let run = services.apply(&[]).exits(0);
    assert_eq!(run.counts(WORK), [2, 0, 2, 3]);
    services.assert_as_fresh();
}

#[test]
fn one_refused_text_leaves_everything_else_in() {
    let services = Services::with(Options { refuses: Some("unspeakable".into()), ..Options::default() });
    let repo = services.with_pages("api", 150);
    repo.write("docs/page-77.md", "Something unspeakable.\n");
    services.push("api", &repo);
    let run = services.apply(&[]).exits(3);
    assert_eq!(run.count("files_failed"), 1);
    assert_eq!(run.report["projects"][0]["failures"][0]["path"], "docs/page-77.md");
    assert_eq!(services.index().len(), 149);
    // Only the failed file is tried again, and it is reported again.
    let (texts, times) = services.paid();
    services.apply(&[]).exits(3);
    assert_eq!(services.paid(), (texts, times));
    repo.write("docs/page-77.md", "Something nice.\n");
    services.push("api", &repo);
    services.apply(&[]).exits(0);
    services.assert_as_fresh();
}

/// A second project, which must be unaffected.
const BESIDES: &str = r#"
[stages.here]
kind = "git"
[stages.model]
kind = "local"
[stages.file]
kind = "sqlite"
[projects.besides]
pipeline = ["here", "prose", "model", "file"]
repositories = ["repos/api"]
"#;

/// An edit of the configuration.
type Edit = fn(String) -> String;

/// Each permanent error ends its project before any cost and names the stage and the remedy; other
/// projects continue.
#[test]
fn permanent_errors_end_their_project_before_any_cost() {
    let github = |file: String| file.replace("${GITHUB_TOKEN}", "ghp_wrong");
    let azure = |file: String| file.replace("${AZURE_OPENAI_API_KEY}", "wrong-azure-key");
    let deployment =
        |file: String| file.replace("deployment = \"text-embedding-3-small\"", "deployment = \"nosuch\"");
    let pinecone = |file: String| file.replace("${PINECONE_API_KEY}", "pcsk_wrong");
    let index = |file: String| file.replace("index = \"docs\"", "index = \"nosuch\"");
    let same = |file: String| file;
    let cases: [(&str, Edit, usize, &str, &str); 6] = [
        ("a wrong token", github, DIMENSIONS, "github", "token"),
        ("a wrong key of Azure", azure, DIMENSIONS, "ada", "api_key"),
        ("a missing deployment", deployment, DIMENSIONS, "ada", "deployment"),
        ("a wrong key of Pinecone", pinecone, DIMENSIONS, "pinecone", "api_key"),
        ("a missing index", index, DIMENSIONS, "pinecone", "index"),
        ("a wrong dimension", same, 32, "pinecone", "dimension"),
    ];
    for (what, edit, dimension, stage, remedy) in cases {
        let services = Services::start();
        services.with_pages("api", 3);
        services.pinecone.state().dimension = Some(dimension);
        services.world.config(&format!("{}{BESIDES}", edit(services.file())));
        let run = services.apply(&[]).exits(1);
        let error = &run.report["projects"][0]["error"];
        assert_eq!(error["stage"], stage, "{what}: {error}");
        let said = error.to_string();
        assert!(said.contains(remedy) && error["hint"].is_string(), "{what}: {said}");
        assert!(!said.contains("wrong-azure-key") && !said.contains("_wrong"), "{what}: {said}");
        assert_eq!(services.paid(), (0, 0), "{what}");
        assert_eq!(services.pinecone.state().upserted, [0; 0], "{what}");
        assert_eq!(run.report["projects"][1]["outcome"], "done", "{what}: {}", run.report);
        assert_eq!(services.slack.messages().len(), 1, "{what}: the failure is reported");
        // Once the cause is fixed, the project continues.
        services.pinecone.state().dimension = Some(DIMENSIONS);
        services.world.config(&format!("{}{BESIDES}", services.file()));
        services.apply(&[]).exits(0);
        assert_eq!(services.index().len(), 3, "{what}");
    }
}

/// One transient fault at each service: the run succeeds and pays for nothing twice.
#[test]
fn transient_faults_are_retried() {
    let services = Services::start();
    services.with_pages("api", 30);
    let wait = refusal(403, "You have exceeded a secondary rate limit.").with("retry-after", "1");
    services.github.fail("/git/trees/", 1, wait);
    services.github.fail("/archive/", 1, Fault::Truncated);
    services.ada.fail([
        Fault::Answer(Response::text(429, "{}").with("retry-after", "1")),
        Fault::Answer(Response::text(503, "<html>")),
        Fault::Truncated,
    ]);
    let pinecone = &services.pinecone.server;
    pinecone.fail("/indexes/", Fault::status(503));
    pinecone.fail("/vectors/upsert", Fault::status(429).with("retry-after", "1"));
    pinecone.fail("/vectors/upsert", Fault::html());
    pinecone.fail("/vectors/upsert", Fault::AnswerLost);
    pinecone.fail("/vectors/list", Fault::Reset);
    services.slack.server.fail("/services/", Fault::status(500));
    let run = services.apply(&[]).exits(0);
    assert_eq!(run.counts(["files_added", "vectors_written"]), [30, 30]);
    assert_eq!(pinecone.faults_left(), 0);
    assert_eq!(services.slack.messages().len(), 1);
    services.assert_as_fresh();
}

/// The answer to an upsert is lost until all retries are used up: the next run completes it without
/// embedding anything.
#[test]
fn a_store_that_goes_away_is_completed_by_the_next_run() {
    let services = Services::start();
    let repo = services.with_pages("api", 12);
    services.apply(&[]).exits(0);
    repo.write("docs/page-0.md", "New words.\n").git(&["rm", "-q", "docs/page-1.md"]);
    services.push("api", &repo);
    services.pinecone.server.fail("/vectors/upsert", Fault::AnswerLost);
    // A permanent refusal (a revoked key) is not retried.
    services.pinecone.server.fail("/vectors/upsert", Fault::status(401));
    let run = services.apply(&[]).exits(1);
    assert_eq!(run.report["projects"][0]["error"]["stage"], "pinecone");
    assert_eq!(services.index().len(), 13, "old and new vectors, whole");
    let paid = services.paid();
    services.apply(&[]).exits(0);
    assert_eq!(services.paid(), paid);
    services.assert_as_fresh();
    services.world.ok(&["verify"]);
}

#[test]
fn no_listing_that_is_denied_or_empty_deletes_anything() {
    let services = Services::start();
    let repo = services.with_pages("api", 3);
    services.apply(&[]).exits(0);
    let whole = services.index();
    for args in [&[][..], &["--prune"], &["--full", "--prune", "--allow-deletes"]] {
        // The token lost its permissions.
        services.github.fail(
            "/orgs/acme/repos",
            1,
            refusal(403, "Resource not accessible by personal access token"),
        );
        services.apply(args).exits(1);
        assert_eq!(services.index(), whole, "{args:?}");
    }
    // The listing is empty.
    services.github.remove("acme/api");
    for args in [&[][..], &["--prune"], &["--full", "--prune", "--allow-deletes"]] {
        let run = services.apply(args).exits(0);
        assert!(
            run.notes().contains("`acme/api` is not in the listing any more"),
            "{args:?}: {}",
            run.notes()
        );
        assert_eq!(services.index(), whole, "{args:?}");
    }
    // One of two repositories is missing: an orphan until it is pruned.
    services.repository("other", &[("a.md", "Other words.\n".into())]);
    let run = services.apply(&[]).exits(0);
    assert!(run.notes().contains("`acme/api` is not in the listing any more"), "{}", run.notes());
    assert_eq!(services.index().len(), 4);
    // It reappears unchanged.
    services.github.repository("acme/api", Some(repo.path()));
    assert_eq!(services.apply(&[]).exits(0).counts(WORK)[0], 0);
    let status = services.world.run(&["status", "--json"]).exits(0).json();
    assert!(!status.to_string().contains("\"orphan_since\":\""), "{status}");
    services.github.remove("acme/api");
    assert_eq!(services.apply(&["--prune"]).exits(0).count("vectors_deleted"), 3);
    services.assert_as_fresh();
}

/// A repository that answers 403 or 451 is partial; its files are kept.
#[test]
fn a_refused_repository_keeps_its_files() {
    let services = Services::start();
    let repo = services.with_pages("api", 3);
    services.repository("other", &[("a.md", "Other words.\n".into())]);
    services.apply(&[]).exits(0);
    repo.git(&["rm", "-q", "docs/page-0.md"]);
    services.push("api", &repo);
    services.github.edit("acme/api", |repo| repo.denied = Some(451));
    let run = services.apply(&[]).exits(3);
    assert_eq!(run.report["projects"][0]["failures"][0]["repository"], "acme/api");
    assert_eq!(services.index().len(), 4);
    services.github.edit("acme/api", |repo| repo.denied = None);
    services.apply(&[]).exits(0);
    services.assert_as_fresh();
}

#[test]
fn a_renamed_repository_is_followed_without_embedding() {
    let services = Services::start();
    services.with_pages("api", 5);
    services.apply(&[]).exits(0);
    services.github.edit("acme/api", |repo| {
        repo.full_name = "acme/service".into();
        repo.former.push("acme/api".into());
    });
    let run = services.apply(&[]).exits(0);
    assert_eq!(run.counts(WORK), [0, 5, 5, 5]);
    assert!(run.notes().contains("repository `acme/api` is now `acme/service`"), "{}", run.notes());
    services.assert_as_fresh();
}

/// A head that was seen by a failed run is not skipped because the listing's `pushed_at` is unchanged.
#[test]
fn a_push_that_a_failed_run_saw_is_not_forgotten() {
    let services = Services::start();
    let repo = services.with_pages("api", 3);
    services.apply(&[]).exits(0);
    // The listing's `pushed_at` lags behind the push.
    repo.write("docs/page-0.md", "New words.\n").commit("push");
    services.github.fail("/git/trees/", 1, refusal(401, "Bad credentials"));
    services.apply(&["--full"]).exits(1);
    assert_eq!(services.apply(&[]).exits(0).counts(WORK), [1, 0, 1, 1]);
    services.assert_as_fresh();
}

#[test]
fn another_namespace_costs_no_embedding_and_another_dimension_is_refused_first() {
    let services = Services::start();
    services.with_pages("api", 5);
    services.apply(&[]).exits(0);
    let paid = services.paid();
    services.world.config(&services.file().replace("namespace = \"handbook\"", "namespace = \"manual\""));
    assert_eq!(services.apply(&[]).exits(0).counts(WORK), [0, 5, 5, 5]);
    assert_eq!((services.pinecone.ids("handbook").len(), services.pinecone.ids("manual").len()), (0, 5));
    services.world.config(&services.file().replace("dimensions = 64", "dimensions = 32"));
    let run = services.apply(&[]).exits(1);
    assert!(run.report["projects"][0]["error"]["hint"].is_string(), "{}", run.report);
    assert_eq!(services.paid(), paid);
}

/// Ctrl-C: the current batch is finished, the next run completes the rest, and nothing is paid for
/// twice.
#[cfg(unix)]
#[test]
fn an_interrupted_run_is_completed_by_the_next() {
    let latency = std::time::Duration::from_millis(300);
    let services = Services::with(Options { latency, ..Options::default() });
    services.with_pages("api", 60);
    let file = services.file().replace("batch_size = 100", "batch_size = 5");
    services.world.config(&file.replace("[engine]\n", "[engine]\nconcurrency = 1\n"));
    let mut running = services.world.spawn(&["apply"]);
    running.until("a first batch", |_| !services.ada.calls().is_empty());
    running.signal("INT");
    let ran = running.wait().exits(130);
    assert!(ran.stderr.contains("interrupted: finishing the current batch"), "{}", ran.stderr);
    let (_, paid) = services.paid();
    assert!(paid < 60, "{paid} texts were embedded before the interrupt");
    services.apply(&[]).exits(0);
    assert_eq!(services.paid(), (60, 60));
    services.world.ok(&["verify"]);
    services.assert_as_fresh();
}
