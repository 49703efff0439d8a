//! GitHub as a source with faults: each fault ends in the right result or in an accurate error, and no
//! secret is sent to another host or shown in a message.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use reposync::model::{
    BranchRef, ErrorKind, Event, EventSink, GitSha, Secret, StageError, StageResult, TreeEntry,
};
use reposync::net::{RetryPolicy, Timeouts};
use reposync::source::github::{GithubSettings, GithubSource};
use reposync::source::{Head, Source};
use tokio_util::sync::CancellationToken;

use crate::source_github::{awkward, entry, owner, source};
use crate::support::git_repo::GitRepo;
use crate::support::github::{APP_KEY, ARCHIVE_TOKEN, FakeGithub, TOKEN, refusal};
use crate::support::http::{Fault, Response, Server};
use crate::support::sources::{Answers, fetch};

/// Panics if a message or a log could show a secret of this error.
fn assert_discreet(error: &StageError) {
    let shown = format!("{error} {error:?} {} {:?}", error.one_line(), error.hint);
    for secret in [TOKEN, ARCHIVE_TOKEN, "ghs_", "Bearer", APP_KEY.lines().nth(3).expect("a key")] {
        assert!(!shown.contains(secret), "`{secret}` in {shown}");
    }
}

fn hub_of(settings: &GithubSettings, tries: u32, answer: Duration, events: EventSink) -> GithubSource {
    let (first_pause, longest_pause) = (Duration::from_millis(2), Duration::from_millis(10));
    GithubSource::new("hub", settings, 4, CancellationToken::new(), events)
        .expect("good settings")
        .with_timeouts(Timeouts { retry: RetryPolicy { tries, first_pause, longest_pause }, answer })
}

/// Does everything once: lists, reads the head and the tree, fetches all files.
async fn everything(hub: &GithubSource, commit: GitSha) -> StageResult<usize> {
    let listing = hub.list(&owner("acme"), &Answers::default(), false).await?;
    assert_eq!(listing.repositories.len(), 1);
    let head = hub.head(&entry("acme/r"), &BranchRef::Default, None).await?;
    assert_eq!(head, Head::Commit(commit));
    let repo = entry("acme/r").repo;
    let tree = hub.tree(&repo, commit).await?;
    let got = fetch(hub, &repo, commit, tree).await?;
    assert!(got.errors.is_empty(), "{:?}", got.errors);
    Ok(got.contents.len())
}

fn repository(files: u8) -> (GitRepo, GitSha) {
    let repo = GitRepo::init("r");
    for i in 0..files {
        // Incompressible content, so that half of an archive holds some files.
        let noise: String = (0..40u8).map(|n| blake3::hash(&[i, n]).to_hex().to_string()).collect();
        repo.write(&format!("f{i:02}.md"), noise);
    }
    let commit = repo.commit("all");
    (repo, commit)
}

#[tokio::test]
async fn transient_faults_are_retried_at_every_call() {
    let (few, few_commit) = repository(3);
    let (many, many_commit) = repository(60);
    let places = [
        ("/orgs/acme/repos", false),
        ("/commits/", false),
        ("/git/trees/", false),
        ("/git/blobs/", false),
        ("/tarball/", true),
        ("/archive/", true),
    ];
    let faults = [
        ("500", refusal(500, "Server Error")),
        ("502 page", Fault::Answer(Response::of(502, "text/html", "<html>"))),
        ("503 retry-after", refusal(503, "busy").with("retry-after", "0")),
        ("429", refusal(429, "slow").with("retry-after", "0")),
        ("secondary", refusal(403, "You have exceeded a secondary rate limit").with("retry-after", "0")),
        ("reset", Fault::Reset),
        ("half", Fault::Truncated),
        ("html", Fault::html()),
        ("empty", Fault::Answer(Response::status(200))),
    ];
    for (place, archive) in places {
        for (name, fault) in &faults {
            // Answers without body cannot be truncated; an archive host has other rules.
            let (repo, commit, files) =
                if archive { (&many, many_commit, 60) } else { (&few, few_commit, 3) };
            let github = FakeGithub::start();
            github.repository("acme/r", Some(repo.path()));
            github.fail(place, 2, fault.clone());
            let done = everything(&source(&github.settings()), commit).await;
            assert_eq!(done.map_err(|e| e.one_line()), Ok(files), "{name} at {place}");
            github.assert_conforming();
        }
    }
}

#[tokio::test]
async fn faults_that_stay_end_with_their_cause() {
    let (repo, commit) = repository(3);
    for (place, fault, expected) in [
        ("/orgs/", refusal(500, "Server Error"), "is in trouble (500: Server Error)"),
        ("/commits/", Fault::Reset, "failed request to 127.0.0.1"),
        ("/git/trees/", Fault::html(), "sent something else than the JSON expected (text/html)"),
        ("/git/trees/", Fault::Truncated, "broken answer from 127.0.0.1"),
        ("/git/blobs/", Fault::html(), "sent another content for `f0"),
    ] {
        let github = FakeGithub::start();
        github.repository("acme/r", Some(repo.path()));
        github.fail(place, usize::MAX, fault);
        let error = everything(&source(&github.settings()), commit).await.expect_err(expected);
        assert!(matches!(error.kind, ErrorKind::Transient { .. }), "{error:?}");
        assert!(error.message.contains(expected), "{} / {expected}", error.message);
        assert_discreet(&error);
    }
}

#[tokio::test]
async fn a_silent_service_times_out() {
    let (repo, commit) = repository(30);
    for place in ["/orgs/", "/archive/"] {
        let github = FakeGithub::start();
        github.repository("acme/r", Some(repo.path()));
        github.fail(place, 1, Fault::Hang);
        let hub = hub_of(&github.settings(), 6, Duration::from_secs(1), EventSink::none());
        assert_eq!(everything(&hub, commit).await.map_err(|e| e.one_line()), Ok(30), "{place}");
    }
    let github = FakeGithub::start();
    github.fail("/orgs/", usize::MAX, Fault::Hang);
    let hub = hub_of(&github.settings(), 2, Duration::from_millis(50), EventSink::none());
    let error = hub.list(&owner("acme"), &Answers::default(), false).await.expect_err("silence");
    assert_eq!(error.message, "no answer in time from 127.0.0.1");
}

#[tokio::test]
async fn an_interrupted_run_does_not_wait() {
    let github = FakeGithub::start();
    github.fail("/orgs/", usize::MAX, Fault::Hang);
    let cancel = CancellationToken::new();
    let hub =
        GithubSource::new("hub", &github.settings(), 1, cancel.clone(), EventSink::none()).expect("good");
    let (selection, answers) = (owner("acme"), Answers::default());
    let listing = hub.list(&selection, &answers, false);
    let interrupt = async {
        while github.take_seen().is_empty() {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(listing, interrupt);
    assert_eq!(result.expect_err("interrupted").kind, ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_used_up_budget_is_an_end_and_nothing_more_is_asked() {
    let (repo, commit) = repository(3);
    let github = FakeGithub::start();
    github.repository("acme/r", Some(repo.path()));
    // Enough for the listing and the head.
    github.limit_budget(2, 3000);
    let hub = source(&github.settings());
    let error = everything(&hub, commit).await.expect_err("used up");
    let ErrorKind::Transient { retry_after: Some(wait) } = error.kind else { panic!("{error:?}") };
    assert!((2900..=3001).contains(&wait.as_secs()), "{wait:?}");
    assert!(
        error.message.starts_with("the hourly rate limit of 127.0.0.1 is used up (asked to wait "),
        "{error}"
    );
    assert!(error.hint.is_some());
    github.take_seen();
    let again = hub.tree(&entry("acme/r").repo, commit).await.expect_err("still used up");
    assert!(matches!(again.kind, ErrorKind::Transient { .. }));
    assert!(github.take_seen().is_empty(), "asking on may get the account banned");
}

#[tokio::test]
async fn rate_limits_are_waited_out_and_reported() {
    let (repo, commit) = repository(3);
    let github = FakeGithub::start();
    github.repository("acme/r", Some(repo.path()));
    let limited = refusal(403, "You have exceeded a secondary rate limit.").with("retry-after", "1");
    github.fail("/git/trees/", 1, limited);
    let waits = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&waits);
    let events = EventSink::new(move |event| {
        if let Event::Waiting { seconds, reason, .. } = event {
            seen.lock().expect("not poisoned").push((seconds, reason));
        }
    });
    let hub = hub_of(&github.settings(), 3, Duration::from_secs(20), events);
    let before = std::time::Instant::now();
    assert_eq!(everything(&hub, commit).await.map_err(|e| e.one_line()), Ok(3));
    assert!(before.elapsed() >= Duration::from_secs(1), "waited for Retry-After");
    let waits = waits.lock().expect("not poisoned").clone();
    assert_eq!(waits.len(), 1);
    assert!((waits[0].0 - 1.0).abs() < 0.001, "{waits:?}");
    assert!(waits[0].1.contains("asks to slow down"), "{waits:?}");
}

#[tokio::test]
async fn waits_that_are_too_long_end_at_once() {
    let reset = SystemTime::now() + Duration::from_secs(4000);
    let reset = reset.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs().to_string();
    for fault in [
        refusal(429, "slow down").with("retry-after", "86400"),
        refusal(403, "limit").with("x-ratelimit-remaining", "0").with("x-ratelimit-reset", reset),
    ] {
        let github = FakeGithub::start();
        github.owner("acme", "Organization");
        github.fail("/orgs/", usize::MAX, fault);
        let error = source(&github.settings()).list(&owner("acme"), &Answers::default(), false).await;
        let error = error.expect_err("too long");
        assert!(error.message.contains("(asked to wait "), "{}", error.message);
        assert_eq!(github.take_seen().len(), 1);
    }
}

#[tokio::test]
async fn credentials_that_are_not_accepted_are_named_with_the_remedy() {
    let github = FakeGithub::start();
    github.repository("acme/r", None);
    let wrong_token = GithubSettings { token: Some(Secret::new("ghp_wrong")), ..github.settings() };
    let wrong_app = GithubSettings { app_id: Some(1), ..github.app_settings() };
    let wrong_installation = GithubSettings { installation_id: Some(99), ..github.app_settings() };
    for (settings, message, hint) in [
        (wrong_token, "127.0.0.1 does not accept the credentials (401: Bad credentials)", "`token`"),
        (wrong_app, "127.0.0.1 does not accept the credentials (401: Bad credentials)", "`app_id`"),
        (
            wrong_installation,
            "127.0.0.1 gives no token for the App's installation (404: Not Found)",
            "`installation_id`",
        ),
    ] {
        github.take_seen();
        let error = source(&settings).list(&owner("acme"), &Answers::default(), false).await;
        let error = error.expect_err("not accepted");
        assert_eq!(error.kind, ErrorKind::Misconfigured);
        assert_eq!(error.stage, "hub");
        assert_eq!(error.message, message);
        assert!(error.hint.as_deref().expect("a remedy").contains(hint), "{error:?}");
        assert_discreet(&error);
        assert!(github.take_seen().len() <= 2, "no hammering");
    }
}

#[tokio::test]
async fn an_installations_token_is_renewed_in_mid_run() {
    let (repo, commit) = repository(3);
    let github = FakeGithub::start_enterprise();
    github.repository("acme/r", Some(repo.path()));
    github.edit("acme/r", |repo| repo.private = true);
    let hub = source(&github.app_settings());
    assert_eq!(everything(&hub, commit).await.map_err(|e| e.one_line()), Ok(3));
    assert_eq!(github.tokens_issued(), 1);
    github.expire_installation_token();
    assert_eq!(everything(&hub, commit).await.map_err(|e| e.one_line()), Ok(3));
    assert_eq!(github.tokens_issued(), 2);
    github.assert_conforming();
}

#[tokio::test]
async fn lost_permissions_concern_one_repository_but_a_denied_listing_the_project() {
    let (repo, commit) = repository(3);
    let github = FakeGithub::start();
    github.repository("acme/r", Some(repo.path()));
    github.edit("acme/r", |repo| repo.denied = Some(403));
    let hub = source(&github.settings());
    let head = hub.head(&entry("acme/r"), &BranchRef::Default, None).await.expect_err("refused");
    assert_eq!(head.kind, ErrorKind::Refused);
    assert_eq!(head.message, "the head of acme/r is refused (403: Repository access blocked)");
    let tree = hub.tree(&entry("acme/r").repo, commit).await.expect_err("refused");
    assert_eq!(tree.kind, ErrorKind::Refused);

    let permission = refusal(403, "Resource not accessible by personal access token");
    github.fail("/orgs/", 1, permission.clone().with("x-accepted-github-permissions", "metadata=read"));
    let listing = hub.list(&owner("acme"), &Answers::default(), false).await.expect_err("denied");
    assert_eq!(listing.kind, ErrorKind::Misconfigured);
    assert!(listing.message.contains("`acme` cannot be listed (403: Resource not accessible"), "{listing}");

    // With single sign-on GitHub leaves entries out of a 200 answer.
    let partial = Fault::Answer(Response::json(200, &serde_json::json!([])))
        .with("x-github-sso", "partial-results; organizations=21955855");
    github.fail("/orgs/", 1, partial);
    let listing = hub.list(&owner("acme"), &Answers::default(), false).await.expect_err("partial");
    assert_eq!(listing.kind, ErrorKind::Misconfigured);
    assert!(listing.hint.expect("a remedy").contains("single sign-on"));
}

#[tokio::test]
async fn one_refused_file_does_not_stop_the_others() {
    let (repo, commit) = repository(3);
    let github = FakeGithub::start();
    github.repository("acme/r", Some(repo.path()));
    let hub = source(&github.settings());
    let tree = hub.tree(&entry("acme/r").repo, commit).await.expect("a tree");
    let refused = tree[1].clone();
    github.fail(&refused.sha.to_string(), 1, refusal(403, "This API returns blobs up to 100 MB in size"));
    let got = fetch(&hub, &entry("acme/r").repo, commit, tree).await.expect("the others");
    assert_eq!(got.contents.len(), 2);
    let error = &got.errors[&refused.path];
    assert_eq!(error.kind, ErrorKind::Refused);
    assert_eq!(
        error.message,
        "`f01.md` of acme/r is refused (403: This API returns blobs up to 100 MB in size)"
    );
}

#[tokio::test]
async fn archives_that_lack_or_alter_everything_are_healed() {
    let (repo, commit) = awkward();
    let github = FakeGithub::start();
    github.repository("acme/r", Some(repo.path()));
    let hub = source(&github.settings());
    let there = entry("acme/r").repo;
    let files: Vec<TreeEntry> = hub
        .tree(&there, commit)
        .await
        .expect("a tree")
        .into_iter()
        .filter(|entry| entry.size.is_some())
        .collect();
    let (other, _) = repository(30);
    let foreign = crate::support::git_repo::git(other.path(), &["rev-parse", "HEAD"]);
    assert_ne!(foreign, commit.to_string());
    for fault in [
        // The archive is gone, empty, or not an archive.
        refusal(404, "Not Found"),
        refusal(410, "Gone"),
    ] {
        github.fail("/archive/", 1, fault);
        let got = fetch(&hub, &there, commit, files.clone()).await.expect("contents");
        assert!(got.errors.is_empty());
        assert_eq!(got.contents.len(), files.len());
    }
    github.assert_conforming();
}

#[tokio::test]
async fn a_broken_archive_is_asked_for_again_for_the_rest_alone() {
    let (repo, commit) = repository(60);
    let github = FakeGithub::start();
    github.repository("acme/r", Some(repo.path()));
    github.fail("/archive/", 1, Fault::Truncated);
    let hub = source(&github.settings());
    let there = entry("acme/r").repo;
    let tree = hub.tree(&there, commit).await.expect("a tree");
    github.take_seen();
    let got = fetch(&hub, &there, commit, tree).await.expect("contents");
    assert_eq!(got.contents.len(), 60);
    assert_eq!(github.take_archive_seen().len(), 2);
    assert_eq!(github.take_seen().len(), 2, "two addresses, no blob");
}

#[tokio::test]
async fn credentials_go_to_no_other_host() {
    let (repo, commit) = repository(30);
    let other = Server::start(|_| Response::json(200, &serde_json::json!([])));
    for settings in [FakeGithub::settings, FakeGithub::app_settings] {
        let github = FakeGithub::start();
        github.repository("acme/r", Some(repo.path()));
        let hub = source(&settings(&github));
        let redirect =
            |status| refusal(status, "moved").with("location", format!("{}/orgs/acme/repos", other.url()));
        for status in [301, 302, 307, 308] {
            github.fail("/orgs/", 1, redirect(status));
            let error = hub.list(&owner("acme"), &Answers::default(), false).await.expect_err("elsewhere");
            assert_eq!(error.kind, ErrorKind::Misconfigured);
            assert_discreet(&error);
        }
        let page = Fault::Answer(Response::json(200, &serde_json::json!([])))
            .with("link", format!("<{}/orgs/acme/repos?page=2>; rel=\"next\"", other.url()));
        github.fail("/orgs/", 1, page);
        let error = hub.list(&owner("acme"), &Answers::default(), false).await.expect_err("elsewhere");
        assert_eq!(error.kind, ErrorKind::Misconfigured);
        assert!(other.requests().is_empty(), "not even asked");

        // The archive is on another host, which gets no credentials.
        assert_eq!(everything(&hub, commit).await.map_err(|e| e.one_line()), Ok(30));
        let archives = github.take_archive_seen();
        assert_eq!(archives.len(), 1);
        assert!(archives[0].request.header("authorization").is_none());
        github.assert_conforming();

        // The next redirect of an archive host gets no credentials either.
        let onward = refusal(302, "moved").with("location", format!("{}/elsewhere", other.url()));
        github.fail("/archive/", 1, onward);
        let there = entry("acme/r").repo;
        let tree = hub.tree(&there, commit).await.expect("a tree");
        // The target returns no archive, so the files are fetched as blobs.
        let got = fetch(&hub, &there, commit, tree).await.expect("contents");
        assert_eq!(got.contents.len(), 30);
        let onward = other.take_requests();
        assert_eq!(onward.len(), 1);
        assert!(onward[0].header("authorization").is_none());
        assert!(!format!("{onward:?}").contains(ARCHIVE_TOKEN));
    }
}
