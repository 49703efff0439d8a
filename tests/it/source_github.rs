//! GitHub as a source without faults: what is listed and read, and how many requests that takes.

use std::time::Duration;

use reposync::model::{
    BranchRef, EntryMode, ErrorKind, EventSink, GitSha, RepoEntry, RepoRef, StageError, TreeEntry,
};
use reposync::net::{RetryPolicy, Timeouts};
use reposync::source::git::GitSource;
use reposync::source::github::{GithubSettings, GithubSource};
use reposync::source::{Head, Listing, Selection, Source};
use tokio_util::sync::CancellationToken;

use crate::support::git_repo::GitRepo;
use crate::support::github::FakeGithub;
use crate::support::http::Exchange;
use crate::support::sources::{Answers, fetch};

/// A source that retries without delay.
pub(crate) fn source(settings: &GithubSettings) -> GithubSource {
    let retry = RetryPolicy {
        tries: 4,
        first_pause: Duration::from_millis(2),
        longest_pause: Duration::from_millis(10),
    };
    GithubSource::new("hub", settings, 8, CancellationToken::new(), EventSink::none())
        .expect("good settings")
        .with_timeouts(Timeouts { retry, answer: Duration::from_secs(20) })
}

pub(crate) fn owner(owner: &str) -> Selection {
    Selection::Owner { owner: owner.into(), keyword: None }
}

pub(crate) fn entry(name: &str) -> RepoEntry {
    RepoEntry {
        repo: RepoRef { name: name.into(), key: "1000".into() },
        default_branch: "main".into(),
        pushed_at: None,
        pushed_at_settled: false,
    }
}

fn named(names: &[&str]) -> Selection {
    Selection::Named(names.iter().map(|name| RepoRef { name: (*name).into(), key: String::new() }).collect())
}

fn names(listing: &Listing) -> Vec<&str> {
    listing.repositories.iter().map(|entry| entry.repo.name.as_str()).collect()
}

fn paths(seen: &[Exchange]) -> Vec<String> {
    seen.iter().map(|seen| format!("{} {:?}", seen.request.path, seen.status.unwrap_or(0))).collect()
}

/// A repository with every unusual kind of entry.
pub(crate) fn awkward() -> (GitRepo, GitSha) {
    let repo = GitRepo::init("awkward");
    for i in 0..40 {
        repo.write(&format!("docs/page {i}.md"), format!("# Page {i}\n"));
    }
    repo.write(".gitattributes", "secret.md export-ignore\nversion.txt export-subst\n")
        .write("secret.md", "left out of archives")
        .write("version.txt", "altered in archives: $Format:%H$")
        .write("copy a.md", "twice")
        .write("copy b.md", "twice")
        .write("deep/er/ünï \"quoted\" 50%#?.md", "odd")
        .write(&format!("long/{}/name.md", "n".repeat(150)), "long names have headers of their own")
        .write("empty.md", "")
        .write("binary.bin", [0, 159, 146, 150]);
    #[cfg(unix)]
    std::os::unix::fs::symlink("docs", repo.path().join("link")).expect("a link");
    let commit = repo.commit("awkward");
    let module = format!("160000,{commit},module");
    repo.git(&["update-index", "--add", "--cacheinfo", &module]);
    repo.git(&["commit", "--quiet", "-m", "with a submodule"]);
    let commit = repo.sha("HEAD");
    (repo, commit)
}

fn readable(tree: Vec<TreeEntry>) -> Vec<TreeEntry> {
    tree.into_iter().filter(|entry| entry.mode != EntryMode::Submodule).collect()
}

#[tokio::test]
async fn the_contract_holds_for_both_sources() {
    let (repo, commit) = awkward();
    let local = GitSource::new("git");
    let at = RepoRef { name: "awkward".into(), key: repo.key() };
    let expected_tree = local.tree(&at, commit).await.expect("a tree");
    let expected = fetch(&local, &at, commit, readable(expected_tree.clone())).await.expect("contents");
    assert!(expected.errors.is_empty());

    for enterprise in [false, true] {
        let github = if enterprise { FakeGithub::start_enterprise() } else { FakeGithub::start() };
        github.repository("acme/awkward", Some(repo.path()));
        github.edit("acme/awkward", |repo| repo.private = true);
        let hub = source(&github.settings());
        let there = entry("acme/awkward").repo;
        let tree = hub.tree(&there, commit).await.expect("a tree");
        assert_eq!(tree, expected_tree);

        // Many files: one archive, plus blobs for files that the archive left out or altered.
        github.take_seen();
        let got = fetch(&hub, &there, commit, readable(tree.clone())).await.expect("contents");
        assert!(got.errors.is_empty(), "{:?}", got.errors);
        assert_eq!(got.contents, expected.contents);
        let seen = paths(&github.take_seen());
        assert_eq!(seen.iter().filter(|path| path.contains("/tarball/")).count(), 1);
        let healed = seen.iter().filter(|path| path.contains("/git/blobs/")).count();
        assert_eq!(healed, 3, "secret.md, version.txt and the link: {seen:?}");
        assert_eq!(github.take_archive_seen().len(), 1);

        // Few files: no archive; equal contents are fetched once.
        let few: Vec<TreeEntry> = readable(tree).into_iter().filter(|e| e.path.starts_with("copy")).collect();
        let got = fetch(&hub, &there, commit, few).await.expect("contents");
        assert_eq!(got.contents["copy a.md"], "twice");
        assert_eq!(github.take_seen().len(), 1);

        // Heads.
        let main = BranchRef::Named("main".into());
        let head = hub.head(&entry("acme/awkward"), &main, None).await.expect("a head");
        let here = RepoEntry { repo: at.clone(), ..entry("awkward") };
        assert_eq!(head, local.head(&here, &main, None).await.expect("a head"));
        assert_eq!(head, Head::Commit(commit));
        github.assert_conforming();
    }
}

#[tokio::test]
async fn a_thousand_unchanged_repositories_cost_ten_requests_answered_304() {
    let github = FakeGithub::start();
    for i in 0..1000 {
        github.repository(&format!("acme/r{i:04}"), None);
    }
    let answers = Answers::default();
    let hub = source(&github.settings());
    let first = hub.list(&owner("acme"), &answers, false).await.expect("a listing");
    assert_eq!(first.repositories.len(), 1000);
    assert!(first.repositories.iter().all(|entry| entry.pushed_at_settled));
    assert_eq!(github.take_seen().len(), 10);

    // The first unchanged run also has to request the page after the last full one.
    hub.list(&owner("acme"), &answers, false).await.expect("a listing");
    github.take_seen();
    for _ in 0..2 {
        let again = hub.list(&owner("ACME"), &answers, false).await.expect("a listing");
        assert_eq!(again.repositories, first.repositories);
        let seen = github.take_seen();
        assert!(seen.len() <= 12, "{} requests", seen.len());
        assert!(seen.iter().all(|seen| seen.status == Some(304)), "{:?}", paths(&seen));
    }

    // A repository on a new page after the last full one is found.
    github.repository("acme/r1000", None);
    let more = hub.list(&owner("acme"), &answers, false).await.expect("a listing");
    assert_eq!(more.repositories.len(), 1001);
    // A push is noticed and costs only its page.
    github.take_seen();
    github.edit("acme/r0500", |repo| repo.pushed_at = Some("2026-03-01T00:00:00Z".into()));
    let pushed = hub.list(&owner("acme"), &answers, false).await.expect("a listing");
    assert_eq!(pushed.repositories[500].pushed_at.as_deref(), Some("2026-03-01T00:00:00Z"));
    assert_eq!(github.take_seen().iter().filter(|seen| seen.status == Some(200)).count(), 1);
    // With `fresh`, no stored ETag is used.
    hub.list(&owner("acme"), &answers, true).await.expect("a listing");
    assert!(github.take_seen().iter().all(|seen| seen.status == Some(200)));
    github.assert_conforming();
}

#[tokio::test]
async fn owners_are_narrowed() {
    let github = FakeGithub::start();
    for name in ["docs-site", "api", "tools", "old", "forked", "handbook"] {
        github.repository(&format!("docs-team/{name}"), None);
    }
    github.edit("docs-team/api", |repo| repo.description = Some("Our DOCS of the API".into()));
    github.edit("docs-team/tools", |repo| repo.topics = vec!["docs".into()]);
    github.edit("docs-team/old", |repo| repo.archived = true);
    github.edit("docs-team/forked", |repo| repo.fork = true);
    let answers = Answers::default();
    let list = async |settings: GithubSettings, keyword: Option<&str>| {
        let selection = Selection::Owner { owner: "docs-team".into(), keyword: keyword.map(Into::into) };
        let listing = source(&settings).list(&selection, &answers, false).await.expect("a listing");
        listing.repositories.into_iter().map(|entry| entry.repo.name[10..].to_owned()).collect::<Vec<_>>()
    };
    let all = ["api", "docs-site", "forked", "handbook", "old", "tools"];
    assert_eq!(list(github.settings(), None).await, all);
    assert_eq!(list(github.settings(), Some("Docs")).await, ["api", "docs-site", "tools"]);
    let narrow = GithubSettings { forks: false, archived: false, ..github.settings() };
    assert_eq!(list(narrow, None).await, ["api", "docs-site", "handbook", "tools"]);
    github.assert_conforming();
}

#[tokio::test]
async fn every_kind_of_owner_is_listed_as_far_as_the_credentials_see() {
    let github = FakeGithub::start();
    for name in ["ada/public", "ada/private", "acme/public", "acme/private"] {
        github.repository(name, None);
        github.edit(name, |repo| repo.private = name.ends_with("private"));
    }
    github.owner("bob", "User");
    github.owner("empty", "Organization");
    for (settings, login, expected) in [
        (github.settings(), "acme", vec!["acme/private", "acme/public"]),
        (github.anonymous(), "acme", vec!["acme/public"]),
        (github.settings(), "Ada", vec!["ada/private", "ada/public"]),
        (github.anonymous(), "ada", vec!["ada/public"]),
        (github.app_settings(), "acme", vec!["acme/private", "acme/public"]),
        (github.app_settings(), "ada", vec!["ada/private", "ada/public"]),
        (github.settings(), "bob", vec![]),
        (github.settings(), "empty", vec![]),
    ] {
        let hub = source(&settings);
        let answers = Answers::default();
        for _ in 0..2 {
            let listing = hub.list(&owner(login), &answers, false).await.expect(login);
            assert_eq!(names(&listing), expected, "{login} {settings:?}");
        }
        github.take_seen();
        hub.list(&owner(login), &answers, false).await.expect(login);
        let seen = github.take_seen();
        assert_eq!(paths(&seen).len(), 1, "the kind of owner is cached: {:?}", paths(&seen));
    }
    let error = source(&github.settings()).list(&owner("nobody"), &Answers::default(), false).await;
    let error = error.expect_err("not there");
    assert_eq!(error.kind, ErrorKind::Misconfigured);
    assert_eq!(error.message, "the repositories of `nobody` cannot be listed (404: Not Found)");
    github.assert_conforming();
}

#[tokio::test]
async fn named_repositories_are_found_missing_refused_or_followed() {
    let github = FakeGithub::start();
    for name in ["acme/one", "acme/new-name", "acme/blocked", "other/taken-down"] {
        github.repository(name, None);
    }
    github.edit("acme/new-name", |repo| repo.former = vec!["acme/old-name".into()]);
    github.edit("acme/blocked", |repo| repo.denied = Some(403));
    github.edit("other/taken-down", |repo| repo.denied = Some(451));
    let hub = source(&github.settings());
    let answers = Answers::default();
    let wanted = named(&["ACME/One", "acme/old-name", "other/taken-down", "acme/absent", "nonsense", "a/.."]);
    let check = |listing: &Listing| {
        assert_eq!(names(listing), ["acme/new-name", "acme/one"]);
        assert_eq!(listing.repositories[0].repo.key, "1001");
        assert_eq!(
            listing.missing.iter().map(|repo| repo.name.as_str()).collect::<Vec<_>>(),
            ["acme/absent"]
        );
        let refused: Vec<_> = listing.refused.iter().map(|(_, error)| error.message.as_str()).collect();
        assert_eq!(
            refused,
            [
                "`a/..` is not a repository's name",
                "`nonsense` is not a repository's name",
                "repository other/taken-down is refused (451: Repository access blocked)"
            ]
        );
        assert!(listing.refused.iter().all(|(_, error)| error.kind == ErrorKind::Refused));
    };
    check(&hub.list(&wanted, &answers, false).await.expect("a listing"));
    github.take_seen();
    check(&hub.list(&wanted, &answers, false).await.expect("a listing"));
    let again = github.take_seen();
    assert_eq!(again.iter().filter(|seen| seen.status == Some(304)).count(), 2, "{:?}", paths(&again));
    github.assert_conforming();
}

#[tokio::test]
async fn many_names_of_one_owner_cost_the_owners_pages() {
    let github = FakeGithub::start();
    let all: Vec<String> = (0..250).map(|i| format!("acme/r{i:03}")).collect();
    for name in &all {
        github.repository(name, None);
    }
    github.edit("acme/r007", |repo| repo.former = vec!["acme/bond".into()]);
    let hub = source(&github.settings());
    let answers = Answers::default();
    let wanted: Vec<&str> =
        all[10..60].iter().map(String::as_str).chain(["acme/bond", "acme/absent"]).collect();
    let listing = hub.list(&named(&wanted), &answers, false).await.expect("a listing");
    assert_eq!(listing.repositories.len(), 51);
    assert_eq!(listing.missing.len(), 1);
    // Three pages, a renamed one (with its redirect), a missing one.
    assert_eq!(github.take_seen().len(), 3 + 2 + 1);

    // Four repositories of an owner with many pages are requested individually.
    for i in 250..700 {
        github.repository(&format!("acme/r{i:03}"), None);
    }
    let four = named(&["acme/r001", "acme/r002", "acme/r003", "acme/r004"]);
    let listing = hub.list(&four, &Answers::default(), false).await.expect("a listing");
    assert_eq!(listing.repositories.len(), 4);
    assert_eq!(github.take_seen().len(), 1 + 4);
    github.assert_conforming();
}

#[tokio::test]
async fn heads_in_every_state() {
    let (repo, commit) = awkward();
    repo.git(&["branch", "feature/x"]);
    let github = FakeGithub::start();
    github.repository("acme/full", Some(repo.path()));
    github.repository("acme/bare", None);
    let hub = source(&github.settings());
    let head = async |name: &str, branch: Option<&str>, known: Option<GitSha>| {
        let branch = branch.map_or(BranchRef::Default, |branch| BranchRef::Named(branch.into()));
        hub.head(&entry(name), &branch, known).await.expect("a head")
    };
    assert_eq!(head("acme/full", None, None).await, Head::Commit(commit));
    github.take_seen();
    assert_eq!(head("acme/full", None, Some(commit)).await, Head::Commit(commit));
    assert_eq!(github.take_seen()[0].status, Some(304), "a known head costs nothing of the budget");
    assert_eq!(head("acme/full", None, Some(GitSha([1; 20]))).await, Head::Commit(commit));
    assert_eq!(head("acme/full", Some("absent"), None).await, Head::NoBranch);
    assert_eq!(head("acme/bare", None, None).await, Head::Empty);
    assert_eq!(head("acme/gone", None, None).await, Head::Missing);

    // The default branch was renamed after it was listed.
    repo.git(&["branch", "-m", "main", "trunk"]);
    github.edit("acme/full", |repo| repo.default_branch = "trunk".into());
    assert_eq!(head("acme/full", None, None).await, Head::Commit(commit));
    assert_eq!(head("acme/full", Some("main"), None).await, Head::NoBranch);
    // The repository was renamed after it was listed.
    github.edit("acme/full", |repo| {
        repo.full_name = "elsewhere/moved".into();
        repo.former = vec!["acme/full".into()];
    });
    assert_eq!(head("acme/full", Some("trunk"), None).await, Head::Commit(commit));
    // The archive of a renamed repository redirects twice.
    let tree = hub.tree(&entry("acme/full").repo, commit).await.expect("a tree");
    github.take_seen();
    fetch(&hub, &entry("acme/full").repo, commit, readable(tree)).await.expect("contents");
    assert_eq!(github.take_archive_seen().len(), 1);
    github.remove("elsewhere/moved");
    assert_eq!(head("acme/full", Some("trunk"), None).await, Head::Missing);
    github.assert_conforming();
}

#[tokio::test]
async fn truncated_trees_are_walked() {
    let repo = GitRepo::init("big");
    for folder in 0..12 {
        for file in 0..6 {
            repo.write(&format!("d{folder:02}/e/f{file}.md"), format!("{folder} {file}"));
        }
    }
    let commit = repo.write("top.md", "top").commit("all");
    let github = FakeGithub::start();
    github.repository("acme/big", Some(repo.path()));
    let hub = source(&github.settings());
    let whole = hub.tree(&entry("acme/big").repo, commit).await.expect("a tree");
    assert_eq!(whole.len(), 73);
    for limit in [20, 6, 2] {
        github.limit_trees(limit);
        let walked = hub.tree(&entry("acme/big").repo, commit).await.expect("a tree");
        assert_eq!(walked, whole, "at most {limit} entries");
    }
    github.assert_conforming();
}

#[tokio::test]
async fn servers_without_raw_blobs_are_understood() {
    let (repo, commit) = awkward();
    let github = FakeGithub::start();
    github.repository("acme/a", Some(repo.path()));
    github.serve_blobs_as_json();
    let hub = source(&github.settings());
    let tree = hub.tree(&entry("acme/a").repo, commit).await.expect("a tree");
    let some: Vec<TreeEntry> = tree
        .into_iter()
        .filter(|e| ["binary.bin", "empty.md", "secret.md"].contains(&e.path.as_str()))
        .collect();
    let got = fetch(&hub, &entry("acme/a").repo, commit, some).await.expect("contents");
    assert_eq!(got.contents.len(), 3);
    assert_eq!(&got.contents["binary.bin"][..], [0, 159, 146, 150]);
    github.assert_conforming();
}

#[tokio::test]
async fn changes_come_from_the_comparison_or_from_the_trees() {
    let repo = GitRepo::init("r");
    let one = repo.write("a.md", "a".repeat(50)).write("b.md", "b").write("c.md", "c").commit("one");
    std::fs::rename(repo.path().join("a.md"), repo.path().join("z.md")).expect("a rename");
    std::fs::remove_file(repo.path().join("c.md")).expect("a removal");
    let two = repo.write("b.md", "bb").write("new.md", "n").commit("two");
    for i in 0..320 {
        repo.write(&format!("many/{i:03}.md"), format!("{i}"));
    }
    let three = repo.commit("three");
    repo.git(&["checkout", "--quiet", "--orphan", "other"]);
    let unrelated = repo.write("b.md", "else").commit("unrelated");

    let github = FakeGithub::start();
    github.repository("acme/r", Some(repo.path()));
    let hub = source(&github.settings());
    let there = entry("acme/r").repo;
    let local = GitSource::new("git");
    let here = RepoRef { name: "r".into(), key: repo.key() };
    for (base, head, by_comparison) in [
        (one, two, true),
        (two, two, true),
        (two, three, false),
        (three, one, false),
        (two, unrelated, false),
    ] {
        github.take_seen();
        let changes = hub.changes(&there, base, head).await.expect("changes");
        assert_eq!(changes, local.changes(&here, base, head).await.expect("changes"), "{base} {head}");
        let seen = paths(&github.take_seen());
        assert_eq!(seen.len(), if by_comparison { 1 } else { 3 }, "{seen:?}");
    }
    let missing = hub.changes(&there, GitSha([9; 20]), two).await.expect_err("no such commit");
    assert_eq!(missing.kind, ErrorKind::Refused);
    assert_eq!(
        hub.permalink(&there, two, "d ir/b.md", (3, 4)),
        format!("{}/acme/r/blob/{two}/d%20ir/b.md#L3-L4", github.api_url())
    );
    github.assert_conforming();
}

#[tokio::test]
async fn nothing_of_the_credentials_is_stored() {
    let github = FakeGithub::start();
    github.repository("acme/a", None);
    for settings in [github.settings(), github.app_settings()] {
        let answers = Answers::default();
        source(&settings).list(&owner("acme"), &answers, false).await.expect("a listing");
        let stored = answers.dump();
        assert!(stored.contains("acme/a"));
        for secret in [crate::support::github::TOKEN, "ghs_", "PRIVATE KEY", "Bearer"] {
            assert!(!stored.contains(secret), "{secret} in {stored}");
        }
    }
    // An answer stored for one token is not used for another.
    let answers = Answers::default();
    source(&github.settings()).list(&owner("acme"), &answers, false).await.expect("a listing");
    github.take_seen();
    source(&github.anonymous()).list(&owner("acme"), &answers, false).await.expect("a listing");
    assert!(github.take_seen().iter().all(|seen| seen.request.header("if-none-match").is_none()));
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_before_any_request() {
    let build = |settings: &GithubSettings| {
        GithubSource::new("hub", settings, 1, CancellationToken::new(), EventSink::none()).map(|_| ())
    };
    let refused = |settings: &GithubSettings| -> StageError { build(settings).expect_err("refused") };
    for api_url in ["http://github.example.com", "not a url", "ftp://h"] {
        let settings = GithubSettings { api_url: api_url.into(), ..GithubSettings::default() };
        assert_eq!(refused(&settings).kind, ErrorKind::Misconfigured, "{api_url}");
    }
    assert!(build(&GithubSettings::default()).is_ok());
}

#[tokio::test]
async fn commits_between_two_cost_one_request() {
    let repo = GitRepo::init("r");
    let one = repo.write("a.md", "1").commit("one");
    let two = repo.write("a.md", "2").commit("two");
    let three = repo.write("a.md", "3").commit("three");
    repo.git(&["checkout", "--quiet", "-b", "side", &one.to_string()]);
    let side = repo.write("b.md", "4").commit("side");
    let github = FakeGithub::start();
    github.repository("acme/r", Some(repo.path()));
    let hub = source(&github.settings());
    let there = entry("acme/r").repo;
    for (base, head, expected) in [
        (one, three, Some(2)),
        (two, two, Some(0)),
        (three, one, None),
        (two, side, None),
        (GitSha([9; 20]), two, None),
    ] {
        github.take_seen();
        assert_eq!(hub.commits_between(&there, base, head).await.expect("an answer"), expected);
        let seen = paths(&github.take_seen());
        let status = if base == GitSha([9; 20]) { 404 } else { 200 };
        assert_eq!(seen, [format!("/repos/acme/r/compare/{base}...{head} {status}")]);
    }
    github.assert_conforming();
}
