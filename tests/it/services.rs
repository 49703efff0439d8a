//! The real program against fakes of GitHub, Azure OpenAI, Pinecone and Slack: the right index
//! for the least money and requests, whatever the services do.

use std::path::Path;

use crate::support::github::{ARCHIVE_TOKEN, Fault as GithubFault, TOKEN};
use crate::support::openai::{Fault as AdaFault, Options};
use crate::support::pinecone::KEY as PINECONE_KEY;
use crate::support::server::Fault;
use crate::support::services::{AZURE_KEY, DIMENSIONS, Services, pages};
use crate::support::slack::PATH as SLACK_PATH;

const WORK: [&str; 4] = ["texts_embedded", "texts_cached", "vectors_written", "vectors_deleted"];

fn with_pages(services: &Services, name: &str, n: usize) -> crate::support::git_repo::GitRepo {
    let pages = pages(n);
    let files: Vec<(&str, String)> = pages.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
    services.repository(name, &files)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_is_kept_equal_for_the_least_money_and_requests() {
    let services = Services::start().await;
    // Thirty repositories with the same page, and one of their own each.
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
    assert_eq!(services.slack.messages().len(), 1, "nothing to tell");

    // One push costs its own files.
    repos[7].write("docs/own.md", "Something else.\n");
    services.push("r7", &repos[7]);
    let third = services.apply(&[]).exits(0);
    assert_eq!(third.counts(WORK), [1, 0, 1, 1]);
    assert_eq!(third.count("repositories_unchanged"), 29);
    services.assert_as_fresh().await;
    services.github.assert_conforming();
}

#[tokio::test(flavor = "multi_thread")]
async fn rewritten_history_ends_in_the_index_of_the_new_one() {
    let services = Services::start().await;
    let repo = with_pages(&services, "api", 30);
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
    services.assert_as_fresh().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_text_leaves_everything_else_in() {
    let services =
        Services::with(Options { refuses: Some("unspeakable".into()), ..Options::default() }).await;
    let repo = with_pages(&services, "api", 150);
    repo.write("docs/page-77.md", "Something unspeakable.\n");
    services.push("api", &repo);
    let run = services.apply(&[]).exits(3);
    assert_eq!(run.count("files_failed"), 1);
    assert_eq!(run.report["projects"][0]["failures"][0]["path"], "docs/page-77.md");
    assert_eq!(services.index().len(), 149);
    // It is tried again, and says so again; nothing else is.
    let (texts, times) = services.paid();
    services.apply(&[]).exits(3);
    assert_eq!(services.paid(), (texts, times));
    repo.write("docs/page-77.md", "Something nice.\n");
    services.push("api", &repo);
    services.apply(&[]).exits(0);
    services.assert_as_fresh().await;
}

/// What the file says besides, so that another project can go on.
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

/// Each permanent error ends its project before any cost, names stage and remedy; another goes on.
/// An edit of the file.
type Edit = fn(String) -> String;

#[tokio::test(flavor = "multi_thread")]
async fn permanent_errors_end_their_project_before_any_cost() {
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
        let services = Services::start().await;
        with_pages(&services, "api", 3);
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
        assert_eq!(services.slack.messages().len(), 1, "{what}: failure is told");
        // Mended, it goes on.
        services.pinecone.state().dimension = Some(DIMENSIONS);
        services.world.config(&format!("{}{BESIDES}", services.file()));
        services.apply(&[]).exits(0);
        assert_eq!(services.index().len(), 3, "{what}");
    }
}

/// Faults that pass, one at each service: the run outlasts them, and pays for nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn passing_faults_are_outlasted() {
    let services = Services::start().await;
    with_pages(&services, "api", 30);
    let wait = GithubFault::status(403, "You have exceeded a secondary rate limit.").with("retry-after", "1");
    services.github.fail("/git/trees/", 1, wait);
    services.github.fail("/archive/", 1, GithubFault::Half);
    services.ada.fail([
        AdaFault::Status(429, vec![("retry-after", "1".into())], "{}".into()),
        AdaFault::Status(503, vec![], "<html>".into()),
        AdaFault::Truncated,
    ]);
    let pinecone = &services.pinecone.server;
    pinecone.fail("/indexes/", Fault::status(503, None));
    pinecone.fail("/vectors/upsert", Fault::status(429, Some("1")));
    pinecone.fail("/vectors/upsert", Fault::html());
    pinecone.fail("/vectors/upsert", Fault::AnswerLost);
    pinecone.fail("/vectors/list", Fault::Reset);
    services.slack.server.fail("/services/", Fault::status(500, None));
    let run = services.apply(&[]).exits(0);
    assert_eq!(run.counts(["files_added", "vectors_written"]), [30, 30]);
    assert_eq!(pinecone.faults_left(), 0);
    assert_eq!(services.slack.messages().len(), 1);
    services.assert_as_fresh().await;
}

/// An upsert whose answer is lost, over and over, until the tries are used up: the next run
/// completes it and embeds nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_goes_away_is_completed_by_the_next_run() {
    let services = Services::start().await;
    let repo = with_pages(&services, "api", 12);
    services.apply(&[]).exits(0);
    repo.write("docs/page-0.md", "New words.\n").git(&["rm", "-q", "docs/page-1.md"]);
    services.push("api", &repo);
    services.pinecone.server.fail("/vectors/upsert", Fault::AnswerLost);
    // Refused for good, as a key that is taken back: no tries are lost on it.
    services.pinecone.server.fail("/vectors/upsert", Fault::status(401, None));
    let run = services.apply(&[]).exits(1);
    assert_eq!(run.report["projects"][0]["error"]["stage"], "pinecone");
    assert_eq!(services.index().len(), 13, "old and new vectors, whole");
    let paid = services.paid();
    services.apply(&[]).exits(0);
    assert_eq!(services.paid(), paid);
    services.assert_as_fresh().await;
    services.world.ok(&["verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_listing_that_is_denied_or_empty_deletes_anything() {
    let services = Services::start().await;
    let repo = with_pages(&services, "api", 3);
    services.apply(&[]).exits(0);
    let whole = services.index();
    for args in [&[][..], &["--prune"], &["--full", "--prune", "--allow-deletes"]] {
        // The token lost its rights.
        services.github.fail(
            "/orgs/acme/repos",
            1,
            GithubFault::status(403, "Resource not accessible by personal access token"),
        );
        services.apply(args).exits(1);
        assert_eq!(services.index(), whole, "{args:?}");
    }
    // Everything is gone from the listing.
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
    // One of two: an orphan until it is pruned.
    services.repository("other", &[("a.md", "Other words.\n".into())]);
    let run = services.apply(&[]).exits(0);
    assert!(run.notes().contains("`acme/api` is not in the listing any more"), "{}", run.notes());
    assert_eq!(services.index().len(), 4);
    // It comes back as it was.
    services.github.repository("acme/api", Some(repo.path()));
    assert_eq!(services.apply(&[]).exits(0).counts(WORK)[0], 0);
    let status = services.world.run(&["status", "--json"]).exits(0).json();
    assert!(!status.to_string().contains("\"orphan_since\":\""), "{status}");
    services.github.remove("acme/api");
    assert_eq!(services.apply(&["--prune"]).exits(0).count("vectors_deleted"), 3);
    services.assert_as_fresh().await;
}

/// A repository that answers 403 or 451 is partial; its files stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_repository_keeps_its_files() {
    let services = Services::start().await;
    let repo = with_pages(&services, "api", 3);
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
    services.assert_as_fresh().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_repository_is_followed_without_embedding() {
    let services = Services::start().await;
    with_pages(&services, "api", 5);
    services.apply(&[]).exits(0);
    services.github.edit("acme/api", |repo| {
        repo.full_name = "acme/service".into();
        repo.former.push("acme/api".into());
    });
    let run = services.apply(&[]).exits(0);
    assert_eq!(run.counts(WORK), [0, 5, 5, 5]);
    assert!(run.notes().contains("repository `acme/api` is now `acme/service`"), "{}", run.notes());
    services.assert_as_fresh().await;
}

/// A head that was seen by a run that then failed is not hidden by the listing's shortcut.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_a_failed_run_saw_is_not_forgotten() {
    let services = Services::start().await;
    let repo = with_pages(&services, "api", 3);
    services.apply(&[]).exits(0);
    // The listing's stamp lags behind the push.
    repo.write("docs/page-0.md", "New words.\n").commit("push");
    services.github.fail("/git/trees/", 1, GithubFault::status(401, "Bad credentials"));
    services.apply(&["--full"]).exits(1);
    assert_eq!(services.apply(&[]).exits(0).counts(WORK), [1, 0, 1, 1]);
    services.assert_as_fresh().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_namespace_costs_no_embedding_and_another_dimension_is_refused_first() {
    let services = Services::start().await;
    with_pages(&services, "api", 5);
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

/// Ctrl-C: the batch in hand is finished, the next run completes, nothing is paid for twice.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_is_completed_by_the_next() {
    let latency = std::time::Duration::from_millis(300);
    let services = Services::with(Options { latency, ..Options::default() }).await;
    with_pages(&services, "api", 60);
    let file = services.file().replace("batch_size = 100", "batch_size = 5");
    services.world.config(&file.replace("[engine]\n", "[engine]\nconcurrency = 1\n"));
    let mut running = services.world.spawn(&["apply"]);
    running.until("a first batch", |_| !services.ada.calls().is_empty());
    running.signal("INT");
    let ran = running.wait().exits(130);
    assert!(ran.stderr.contains("interrupted: finishing the batch in hand"), "{}", ran.stderr);
    let (_, paid) = services.paid();
    assert!(paid < 60, "{paid} texts were embedded before the end");
    services.apply(&[]).exits(0);
    assert_eq!(services.paid(), (60, 60));
    services.world.ok(&["verify"]);
    services.assert_as_fresh().await;
}

/// No secret is printed, logged, kept, or sent to a host that is not its own.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_stay_where_they_belong() {
    let services = Services::start().await;
    with_pages(&services, "api", 30);
    let mut said = String::new();
    let mut run = |args: &[&str]| {
        let ran = services.world.run(args);
        said.push_str(&ran.stdout);
        said.push_str(&ran.stderr);
    };
    run(&["validate", "--show"]);
    run(&["plan", "-vv"]);
    services.ada.fail([AdaFault::Status(500, vec![], AZURE_KEY.into())]);
    services.pinecone.server.fail("/vectors/upsert", Fault::status(500, None));
    run(&["apply", "-vv"]);
    for command in ["status", "history", "verify", "apply"] {
        run(&[command, "-vv"]);
    }
    // Every service refuses.
    services.github.fail("/orgs/acme", 2, GithubFault::status(401, &format!("Bad credentials {TOKEN}")));
    run(&["apply", "-vv", "--full"]);
    services.pinecone.server.fail("/indexes/", Fault::status(401, None));
    run(&["apply", "-vv"]);
    assert_eq!(services.index().len(), 30, "{said}");

    let secrets = [("github", TOKEN), ("ada", AZURE_KEY), ("pinecone", PINECONE_KEY), ("slack", SLACK_PATH)];
    for (_, secret) in secrets.iter().chain(&[("archive", ARCHIVE_TOKEN)]) {
        assert!(!said.contains(secret), "`{secret}` was printed");
        assert_eq!(files_with(&services.world.path("."), secret), [""; 0], "`{secret}` was kept");
    }
    let requests = [
        ("github", format!("{:?}", services.github.take_seen())),
        ("archive", format!("{:?}", services.github.take_archive_seen())),
        (
            "ada",
            services
                .ada
                .calls()
                .iter()
                .map(|call| format!("{} {:?} {}", call.target, call.headers, call.body))
                .collect::<Vec<_>>()
                .join("\n"),
        ),
        ("pinecone", printed(&services.pinecone.server.requests())),
        ("slack", printed(&services.slack.server.requests())),
    ];
    for (host, seen) in requests {
        assert!(!seen.is_empty(), "{host} was asked");
        for (owner, secret) in secrets.iter().filter(|(owner, _)| *owner != host) {
            assert!(!seen.contains(secret), "the secret of {owner} reached {host}");
        }
    }
}

fn printed(requests: &[crate::support::server::Seen]) -> String {
    let text = |request: &crate::support::server::Seen| {
        format!(
            "{} {:?} {:?} {}",
            request.path,
            request.query,
            request.headers,
            String::from_utf8_lossy(&request.body)
        )
    };
    requests.iter().map(text).collect()
}

/// Files below a folder that hold a text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if std::fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
        {
            found.push(path.display().to_string());
        }
    }
    found
}
