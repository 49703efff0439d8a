//! Repositories over ssh, against a real `sshd`. Where this machine has none, each test says that it skips.

use std::path::Path;
use std::time::Duration;

use reposync::model::{BranchRef, ErrorKind, EventSink, RepoEntry, StageResult};
use reposync::net::{RetryPolicy, Timeouts};
use reposync::source::git_remote::{GitRemoteSettings, GitRemoteSource};
use reposync::source::{Head, Source};
use tokio_util::sync::CancellationToken;

use crate::support::git_repo::GitRepo;
use crate::support::sources::fetch;
use crate::support::sshd::Sshd;

fn settings(sshd: &Sshd, key: &str, hosts: &str) -> GitRemoteSettings {
    GitRemoteSettings {
        base_url: sshd.url(),
        ssh_key: Some(sshd.file(key)),
        known_hosts: Some(sshd.file(hosts)),
        ..GitRemoteSettings::default()
    }
}

fn source(settings: &GitRemoteSettings, clones: &Path) -> GitRemoteSource {
    let pause = Duration::from_millis(1);
    let retry = RetryPolicy { tries: 2, first_pause: pause, longest_pause: pause };
    let (cancel, events) = (CancellationToken::new(), EventSink::none());
    let source =
        GitRemoteSource::new("lab", settings, clones.to_owned(), 4, cancel, events).expect("a source");
    source.with_timeouts(Timeouts { retry, answer: Duration::from_secs(20) })
}

fn entry(settings: &GitRemoteSettings, path: &str) -> RepoEntry {
    RepoEntry {
        repo: settings.find(path.trim_start_matches('/'), None).expect("a repository"),
        default_branch: String::new(),
        pushed_at: None,
        pushed_at_settled: false,
    }
}

async fn head(settings: &GitRemoteSettings, path: &str) -> StageResult<Head> {
    let clones = tempfile::tempdir().expect("a folder");
    source(settings, clones.path()).head(&entry(settings, path), &BranchRef::Default, None).await
}

#[tokio::test]
async fn heads_and_files_are_read_with_one_connection_each() {
    let Some(sshd) = Sshd::start() else { return };
    let repo = GitRepo::init("it's a repository");
    repo.git(&["config", "uploadpack.allowFilter", "true"]);
    let first = repo.write("README.md", "read me\n").commit("one");
    let settings = settings(&sshd, "client", "known_hosts");
    let clones = tempfile::tempdir().expect("a folder");
    let source = source(&settings, clones.path());
    let entry = entry(&settings, &repo.key());
    assert_eq!(entry.repo.name, repo.key().trim_start_matches('/'));
    let head = source.head(&entry, &BranchRef::Default, None).await.expect("a head");
    assert_eq!(head, Head::Commit(first));
    assert_eq!(sshd.connections(), 1);
    let tree = source.tree(&entry.repo, first).await.expect("a tree");
    let got = fetch(&source, &entry.repo, first, tree).await.expect("contents");
    assert_eq!(&got.contents["README.md"][..], b"read me\n");
    assert_eq!(sshd.connections(), 1);
    let second = repo.write("README.md", "read on\n").commit("two");
    let head = source.head(&entry, &BranchRef::Named("main".into()), Some(first)).await.expect("a head");
    assert_eq!(head, Head::Commit(second));
    let tree = source.tree(&entry.repo, second).await.expect("a tree");
    let got = fetch(&source, &entry.repo, second, tree).await.expect("contents");
    assert_eq!(&got.contents["README.md"][..], b"read on\n");
    assert_eq!(source.commits_between(&entry.repo, first, second).await.expect("counted"), Some(1));
}

#[tokio::test]
async fn wrong_keys_end_the_project_and_name_the_remedy() {
    let Some(sshd) = Sshd::start() else { return };
    let repo = GitRepo::init("app");
    repo.write("README.md", "read me\n").commit("one");
    std::fs::write(sshd.file("empty"), "").expect("a file");
    for (key, hosts, expected) in [
        ("client", "other_hosts", "does not show a key that"),
        ("client", "empty", "does not show a key that"),
        ("stranger", "known_hosts", "does not accept the key"),
        ("absent", "known_hosts", "cannot read the key"),
        ("client", "absent", "cannot read the host keys"),
    ] {
        let error = head(&settings(&sshd, key, hosts), &repo.key()).await.expect_err("refused");
        assert_eq!(error.kind, ErrorKind::Misconfigured, "{error:?}");
        assert!(error.message.contains(expected), "{}", error.one_line());
        assert!(error.hint.is_some());
        assert!(sshd.connections() <= 1, "not tried again");
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_from_a_server_that_is_down() {
    let Some(sshd) = Sshd::start() else { return };
    let repo = GitRepo::init("app");
    let settings = settings(&sshd, "client", "known_hosts");
    assert_eq!(head(&settings, &repo.key()).await.expect("a head"), Head::Empty);
    let error = head(&settings, "srv/absent").await.expect_err("absent");
    assert_eq!(error.message, "`srv/absent` is not there, or not visible to these credentials");
    sshd.stop();
    let error = head(&settings, &repo.key()).await.expect_err("down");
    assert!(matches!(error.kind, ErrorKind::Transient { .. }), "{error:?}");
}

#[tokio::test]
async fn no_configuration_of_the_user_is_used() {
    let Some(sshd) = Sshd::start() else { return };
    let repo = GitRepo::init("app");
    let first = repo.write("README.md", "read me\n").commit("one");
    let settings = settings(&sshd, "client", "known_hosts");
    // A host that options could be smuggled in by is refused before anything runs.
    for base_url in ["ssh://-oProxyCommand=touch%20x/a", "-oProxyCommand=touch x@host:a", "ext::sh -c id"] {
        let hostile = GitRemoteSettings { base_url: base_url.to_owned(), ..settings.clone() };
        let made = GitRemoteSource::new(
            "lab",
            &hostile,
            sshd.file("clones"),
            1,
            CancellationToken::new(),
            EventSink::none(),
        );
        assert_eq!(made.expect_err("refused").kind, ErrorKind::Misconfigured, "{base_url}");
    }
    assert_eq!(head(&settings, &repo.key()).await.expect("a head"), Head::Commit(first));
}
