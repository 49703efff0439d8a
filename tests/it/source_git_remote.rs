//! Repositories on a server, against the real `git http-backend`: what is asked, what is read, what is refused.

use std::path::Path;
use std::time::Duration;

use reposync::model::{
    BranchRef, ByteSize, ErrorKind, EventSink, GitSha, RepoEntry, RepoRef, Secret, StageError, StageResult,
};
use reposync::net::{RetryPolicy, Timeouts};
use reposync::source::git_remote::{GitRemoteSettings, GitRemoteSource};
use reposync::source::{Head, Limits, Selection, Source};
use tokio_util::sync::CancellationToken;

use crate::support::git_host::{Asked, GitHost};
use crate::support::git_repo::GitRepo;
use crate::support::http::{Fault, Response, Server};
use crate::support::sources::{Answers, fetch};

/// Files of more bytes are not indexed.
const MAX_FILE_BYTES: u64 = 1000;

/// A source with its folder of clones.
struct Lab {
    source: GitRemoteSource,
    settings: GitRemoteSettings,
    clones: tempfile::TempDir,
}

fn settings(url: &str) -> GitRemoteSettings {
    GitRemoteSettings { base_url: url.to_owned(), ..GitRemoteSettings::default() }
}

/// Three tries, and a quick end where nothing answers.
fn timeouts() -> Timeouts {
    let pause = Duration::from_millis(1);
    let retry = RetryPolicy { tries: 3, first_pause: pause, longest_pause: pause };
    Timeouts { retry, answer: Duration::from_secs(20) }
}

impl Lab {
    fn new(settings: GitRemoteSettings) -> Self {
        let clones = tempfile::tempdir().expect("a folder");
        Self { source: source(&settings, clones.path()), settings, clones }
    }

    fn of(url: &str) -> Self {
        Self::new(settings(url))
    }

    /// The same folder, as a later run sees it.
    fn again(self) -> Self {
        Self { source: source(&self.settings, self.clones.path()), ..self }
    }

    fn with_limits(self, limits: Limits, max_file_bytes: u64) -> Self {
        Self { source: self.source.with_limits(limits, max_file_bytes), ..self }
    }

    fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { source: self.source.with_timeouts(timeouts), ..self }
    }

    fn repo(&self, path: &str) -> RepoRef {
        self.settings.find(path, None).unwrap_or_else(|(why, _)| panic!("{path}: {why}"))
    }

    async fn head_of(&self, path: &str, branch: BranchRef) -> StageResult<Head> {
        let entry = RepoEntry {
            repo: self.repo(path),
            default_branch: String::new(),
            pushed_at: None,
            pushed_at_settled: false,
        };
        self.source.head(&entry, &branch, None).await
    }

    async fn head(&self, path: &str) -> StageResult<Head> {
        self.head_of(path, BranchRef::Default).await
    }

    /// The files of a commit with their contents; those that are too large without.
    async fn files(&self, path: &str, commit: GitSha) -> StageResult<Vec<(String, String)>> {
        let repo = self.repo(path);
        let mut tree = self.source.tree(&repo, commit).await?;
        let large: Vec<_> =
            tree.extract_if(.., |entry| entry.size.expect("known") > MAX_FILE_BYTES).collect();
        let got = fetch(&self.source, &repo, commit, tree).await?;
        assert!(got.errors.is_empty(), "{:?}", got.errors);
        let text = |content: &[u8]| String::from_utf8(content.to_vec()).expect("text");
        let mut files: Vec<_> = got.contents.iter().map(|(path, it)| (path.clone(), text(it))).collect();
        files.extend(large.into_iter().map(|entry| (entry.path, "(too large)".to_owned())));
        Ok(files)
    }

    /// Bytes of all packs.
    fn pack_bytes(&self) -> u64 {
        fn below(folder: &Path) -> u64 {
            let entries = folder.read_dir().expect("a folder").map(|entry| entry.expect("readable"));
            entries
                .map(|entry| match entry.metadata().expect("readable") {
                    data if data.is_dir() => below(&entry.path()),
                    data => data.len(),
                })
                .sum()
        }
        below(self.clones.path())
    }
}

fn source(settings: &GitRemoteSettings, clones: &Path) -> GitRemoteSource {
    let (cancel, events) = (CancellationToken::new(), EventSink::none());
    let source =
        GitRemoteSource::new("lab", settings, clones.to_owned(), 4, cancel, events).expect("a source");
    source.with_timeouts(timeouts()).with_limits(Limits::default(), MAX_FILE_BYTES)
}

fn named(name: &str) -> BranchRef {
    BranchRef::Named(name.to_owned())
}

fn pairs(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files.iter().map(|(path, content)| ((*path).to_owned(), (*content).to_owned())).collect()
}

/// A repository with two files, one of them in a folder.
fn two_files(host: &GitHost, path: &str) -> (GitRepo, GitSha) {
    let repo = host.repo(path);
    let commit = repo.write("README.md", "read me\n").write("guide/start.md", "start\n").commit("one");
    (repo, commit)
}

#[tokio::test]
async fn heads_and_files_are_read_in_both_protocols() {
    for old in [false, true] {
        let host = GitHost::start();
        if old {
            host.speak_the_old_protocol();
        }
        let (repo, first) = two_files(&host, "group/sub/app");
        repo.write("large.bin", vec![b'x'; 1001]).write("limit.txt", "y".repeat(1000));
        let second = repo.commit("two");
        repo.git(&["tag", "-a", "v1", "-m", "a tag", &first.to_string()]);
        repo.git(&["branch", "next", &first.to_string()]);
        let lab = Lab::of(&host.url());
        let path = "group/sub/app";
        assert_eq!(lab.repo(path).name, path);
        assert_eq!(lab.head(path).await.expect("a head"), Head::Commit(second));
        for (branch, commit) in [
            ("main", second),
            ("next", first),
            ("v1", first),
            ("refs/heads/next", first),
            ("refs/tags/v1", first),
        ] {
            let head = lab.head_of(path, named(branch)).await.expect("a head");
            assert_eq!(head, Head::Commit(commit), "{branch}");
        }
        host.asked();
        let limit = "y".repeat(1000);
        let expected = [
            ("README.md", "read me\n"),
            ("guide/start.md", "start\n"),
            ("limit.txt", limit.as_str()),
            ("large.bin", "(too large)"),
        ];
        assert_eq!(lab.files(path, second).await.expect("files"), pairs(&expected), "old: {old}");
        assert_eq!(lab.files(path, second).await.expect("files").len(), 4);
        assert_eq!(host.asked(), Asked { first: 0, ls_refs: 0, fetches: 1 }, "old: {old}");
        // What is not indexed is not fetched either.
        assert!(lab.pack_bytes() < 6000, "{}", lab.pack_bytes());
    }
}

#[tokio::test]
async fn a_changed_file_is_fetched_without_the_others() {
    for old in [false, true] {
        let host = GitHost::start();
        if old {
            host.speak_the_old_protocol();
        }
        let (repo, first) = two_files(&host, "app");
        // Does not deflate.
        let noise: Vec<u8> =
            (0..200_u32).flat_map(|n| blake3::hash(&n.to_le_bytes()).as_bytes().to_owned()).collect();
        for (number, part) in noise.chunks(900).enumerate() {
            repo.write(&format!("noise/{number}"), part);
        }
        let second = repo.commit("noise");
        let lab = Lab::of(&host.url());
        lab.source.tree(&lab.repo("app"), second).await.expect("a tree");
        let before = lab.pack_bytes();
        repo.write("guide/start.md", "changed\n");
        let third = repo.commit("three");
        // A later run, which knows only what lies on the disk.
        let lab = lab.again();
        assert_eq!(lab.head("app").await.expect("a head"), Head::Commit(third));
        let tree = lab.source.tree(&lab.repo("app"), third).await.expect("a tree");
        let changed = tree.iter().filter(|entry| entry.path == "guide/start.md").cloned().collect();
        let got = fetch(&lab.source, &lab.repo("app"), third, changed).await.expect("contents");
        assert_eq!(&got.contents["guide/start.md"][..], b"changed\n");
        assert!(lab.pack_bytes() - before < 3000, "{} after {before}, old: {old}", lab.pack_bytes());
        let changes = lab.source.changes(&lab.repo("app"), second, third).await.expect("changes");
        let shown: Vec<_> = changes.iter().map(|file| (file.status.as_str(), file.path.as_str())).collect();
        assert_eq!(shown, [("modified", "guide/start.md")]);
        let repo_ref = lab.repo("app");
        assert_eq!(lab.source.commits_between(&repo_ref, first, third).await.expect("counted"), Some(2));
        assert_eq!(lab.source.commits_between(&repo_ref, third, second).await.expect("counted"), None);
    }
}

#[tokio::test]
async fn a_difference_to_a_file_that_was_left_out_is_no_obstacle() {
    let host = GitHost::start();
    let repo = host.repo("app");
    let line = |n: u32| format!("{}\n", blake3::hash(&n.to_le_bytes()));
    let large: String = (0..20).map(line).collect();
    let first = repo.write("a.md", &large).commit("one");
    let lab = Lab::of(&host.url());
    assert_eq!(lab.files("app", first).await.expect("files"), pairs(&[("a.md", "(too large)")]));
    host.asked();
    let small: String = (0..15).map(line).collect();
    let second = repo.write("a.md", &small).commit("two");
    assert_eq!(lab.files("app", second).await.expect("files"), pairs(&[("a.md", &small)]));
    assert_eq!(host.asked().fetches, 2, "the second time whole");
}

#[tokio::test]
async fn rewritten_history_needs_nothing_special() {
    let host = GitHost::start();
    let (repo, first) = two_files(&host, "app");
    let lab = Lab::of(&host.url());
    lab.files("app", first).await.expect("files");
    repo.git(&["checkout", "--quiet", "--orphan", "other"]);
    repo.write("README.md", "another\n");
    let second = repo.commit("rewritten");
    repo.git(&["branch", "-M", "other", "main"]);
    assert_eq!(lab.head("app").await.expect("a head"), Head::Commit(second));
    let expected = pairs(&[("README.md", "another\n"), ("guide/start.md", "start\n")]);
    assert_eq!(lab.files("app", second).await.expect("files"), expected);
}

#[tokio::test]
async fn a_branch_that_is_moved_during_a_fetch_is_left_to_the_next_run() {
    for old in [false, true] {
        let host = GitHost::start();
        if old {
            host.speak_the_old_protocol();
        }
        let (repo, first) = two_files(&host, "app");
        let lab = Lab::of(&host.url());
        assert_eq!(lab.head("app").await.expect("a head"), Head::Commit(first));
        repo.write("README.md", "other\n").git(&["add", "."]);
        repo.git(&["commit", "--quiet", "--amend", "-m", "rewritten"]);
        repo.git(&["reflog", "expire", "--expire=now", "--all"]);
        repo.git(&["gc", "--quiet", "--prune=now"]);
        let error = lab.source.tree(&lab.repo("app"), first).await.expect_err("gone");
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(error.message.ends_with("the branch was moved meanwhile"), "{}", error.message);
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    let host = GitHost::start();
    let (repo, first) = two_files(&host, "app");
    host.repo("empty");
    let lab = Lab::of(&host.url());
    assert_eq!(lab.head("empty").await.expect("a head"), Head::Empty);
    assert_eq!(lab.head_of("empty", named("main")).await.expect("a head"), Head::Empty);
    assert_eq!(lab.head_of("app", named("gone")).await.expect("a head"), Head::NoBranch);
    let error = lab.head_of("app", named("origin/main")).await.expect_err("a mistake");
    assert!(error.message.contains("the name of a remote and a branch"), "{}", error.message);
    repo.git(&["symbolic-ref", "HEAD", "refs/heads/absent"]);
    assert_eq!(lab.head("app").await.expect("a head"), Head::NoBranch);
    // Absent where it was never seen: the project names it. Absent where it was: it has gone.
    let error = lab.head("absent").await.expect_err("absent");
    assert_eq!(error.message, "`absent` is not there, or not visible to these credentials");
    assert_eq!(error.kind, ErrorKind::Refused);
    let entry = RepoEntry {
        repo: lab.repo("absent"),
        default_branch: String::new(),
        pushed_at: None,
        pushed_at_settled: false,
    };
    let head = lab.source.head(&entry, &BranchRef::Default, Some(first)).await;
    assert_eq!(head.expect("an answer"), Head::Missing);
}

#[tokio::test]
async fn a_fresh_listing_asks_every_repository() {
    let host = GitHost::start();
    two_files(&host, "app");
    host.repo("empty");
    let lab = Lab::of(&host.url());
    host.server.fail("GET /forbidden", Fault::status(403));
    let wanted = ["forbidden", "empty", "app", "absent"].map(|path| lab.repo(path)).to_vec();
    let selection = Selection::Named(wanted);
    let listing = lab.source.list(&selection, &Answers::default(), false).await.expect("a listing");
    assert_eq!(listing.repositories.len(), 4);
    assert_eq!(host.asked(), Asked::default());
    let listing = lab.source.list(&selection, &Answers::default(), true).await.expect("a listing");
    let names = |repos: Vec<&RepoRef>| repos.iter().map(|repo| repo.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(listing.repositories.iter().map(|entry| &entry.repo).collect()), ["app", "empty"]);
    assert_eq!(names(listing.missing.iter().collect()), ["absent"]);
    assert_eq!(names(listing.refused.iter().map(|(repo, _)| repo).collect()), ["forbidden"]);
    host.demand("me", "correct horse");
    let token = Some(Secret::new("wrong horse"));
    let lab = Lab::new(GitRemoteSettings { token, ..settings(&host.url()) });
    let error = lab.source.list(&selection, &Answers::default(), true).await.expect_err("wrong");
    assert_eq!(error.kind, ErrorKind::Misconfigured);
}

#[tokio::test]
async fn other_hashes_are_refused_with_the_way_out() {
    let host = GitHost::start();
    let folder = host.folder().join("app");
    std::fs::create_dir(&folder).expect("a folder");
    crate::support::git_repo::git(&folder, &["init", "--quiet", "--object-format=sha256"]);
    std::fs::write(folder.join("a.md"), "x").expect("a file");
    crate::support::git_repo::git(&folder, &["add", "."]);
    crate::support::git_repo::git(&folder, &["commit", "--quiet", "-m", "one"]);
    for old in [false, true] {
        if old {
            host.speak_the_old_protocol();
        }
        let error = Lab::of(&host.url()).head("app").await.expect_err("refused");
        assert_eq!(error.kind, ErrorKind::Refused);
        assert_eq!(error.message, "`app` names its objects by sha256, which cannot be read; SHA-1 can");
        assert!(error.hint.expect("the way out").contains("git init --object-format=sha1"));
    }
}

#[tokio::test]
async fn credentials_are_sent_and_wrong_ones_end_the_project_after_one_request() {
    let host = GitHost::start();
    let (_repo, first) = two_files(&host, "app");
    host.demand("me", "correct horse");
    let with = |username: Option<&str>, token: &str| GitRemoteSettings {
        username: username.map(str::to_owned),
        token: Some(Secret::new(token)),
        ..settings(&host.url())
    };
    let lab = Lab::new(with(Some("me"), "correct horse"));
    assert_eq!(lab.head("app").await.expect("a head"), Head::Commit(first));
    assert_eq!(lab.files("app", first).await.expect("files").len(), 2);
    host.asked();
    let error = Lab::new(with(Some("me"), "wrong horse")).head("app").await.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Misconfigured);
    assert!(error.message.contains("does not accept the credentials of the stage"), "{}", error.message);
    assert!(!format!("{error:?}").contains("wrong horse"));
    assert_eq!(host.asked(), Asked { first: 1, ls_refs: 0, fetches: 0 });
    // Without credentials only this repository is concerned: others may be public.
    let error = Lab::of(&host.url()).head("app").await.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.message.contains("asks for credentials"), "{}", error.message);
}

#[tokio::test]
async fn redirects_are_followed_on_the_same_server_only() {
    let host = GitHost::start();
    let (_repo, first) = two_files(&host, "app.git");
    let other = Server::start(|_| Response::status(500));
    let to = |target: String| Fault::Answer(Response::status(301).with("location", target));
    let token = Some(Secret::new("correct horse"));
    let lab = Lab::new(GitRemoteSettings { token, ..settings(&host.url()) });
    let query = "info/refs?service=git-upload-pack";
    host.server.fail("GET /app/info/refs", to(format!("/app.git/{query}")));
    assert_eq!(lab.head("app").await.expect("a head"), Head::Commit(first));
    assert_eq!(lab.files("app", first).await.expect("files").len(), 2);
    for target in [format!("{}/app.git/{query}", other.url()), "/login".to_owned(), String::new()] {
        host.server.fail("GET /app/info/refs", to(target.clone()));
        let error = lab.head("app").await.expect_err("refused");
        assert_eq!(error.kind, ErrorKind::Refused, "{target}");
        assert!(error.message.contains("is redirected to"), "{}", error.message);
    }
    host.server.fail_times("GET", 9, to(format!("/again/{query}")));
    host.server.fail("POST", to(format!("{}/app.git/git-upload-pack", other.url())));
    drop(lab.head("app").await.expect_err("refused"));
    assert!(other.requests().is_empty(), "credentials stay where they are");
}

#[tokio::test]
async fn answers_that_break_off_are_asked_for_again() {
    let host = GitHost::start();
    let (_repo, first) = two_files(&host, "app");
    let lab = Lab::of(&host.url());
    for fault in [Fault::Truncated, Fault::Reset, Fault::status(503), Fault::status(429)] {
        host.server.fail("info/refs", fault.clone());
        host.server.fail("git-upload-pack", fault);
        assert_eq!(lab.head("app").await.expect("a head"), Head::Commit(first));
        assert_eq!(host.server.faults_left(), 0);
    }
    // Whole as HTTP knows it, half as Git does.
    let half = |body: &[u8]| Fault::Answer(Response::of(200, "application/x-git-upload-pack-result", body));
    for body in [&b"000dpackfile\n0009\x01PACK"[..], b"000dpackfile\n0009\x01PACK0000", b"0000", b""] {
        host.server.fail("POST", half(body));
        assert_eq!(Lab::of(&host.url()).files("app", first).await.expect("the second time").len(), 2);
        assert_eq!(host.server.faults_left(), 0);
    }
}

#[tokio::test]
async fn a_server_that_never_answers_ends_the_project_in_time() {
    let server = Server::silent();
    let pause = Duration::from_millis(1);
    let retry = RetryPolicy { tries: 2, first_pause: pause, longest_pause: pause };
    let lab = Lab::of(&server.url()).with_timeouts(Timeouts { retry, answer: Duration::from_millis(50) });
    let error = lab.head("app").await.expect_err("no answer");
    assert!(matches!(error.kind, ErrorKind::Transient { .. }));
    assert!(error.message.starts_with("no answer in time from 127.0.0.1:"), "{}", error.message);
}

#[tokio::test]
async fn a_long_wait_ends_the_project_with_that_cause() {
    let host = GitHost::start();
    let (_repo, first) = two_files(&host, "app");
    let lab = Lab::of(&host.url());
    let day = || Fault::status(429).with("retry-after", "86400");
    host.server.fail("info/refs", day());
    let error = lab.head("app").await.expect_err("a day");
    assert!(error.message.ends_with("(asked to wait 86400 s)"), "{}", error.message);
    host.server.fail("POST", day());
    let error = lab.source.tree(&lab.repo("app"), first).await.expect_err("a day");
    assert!(error.message.ends_with("(asked to wait 86400 s)"), "{}", error.message);
    assert_eq!(host.asked(), Asked { first: 2, ls_refs: 0, fetches: 1 });
}

#[tokio::test]
async fn what_is_no_git_server_is_named_as_such() {
    let host = GitHost::start();
    let lab = Lab::of(&host.url());
    host.server.fail("info/refs", Fault::html());
    let error = lab.head("app").await.expect_err("a page");
    assert!(error.message.contains("with a web page instead of Git's protocol"), "{}", error.message);
    assert_eq!(error.kind, ErrorKind::Refused);
    host.server.fail_times("info/refs", 3, Fault::Answer(Response::text(200, "hello")));
    let error = lab.head("app").await.expect_err("a text");
    assert!(error.message.contains("not whole, or not Git's protocol"), "{}", error.message);
    host.server.fail("info/refs", Fault::status(403));
    let error = lab.head("app").await.expect_err("forbidden");
    assert!(error.message.contains("refuses to show `app` (403"), "{}", error.message);
    let refused = b"0027ERR access denied or wrong project\n0000";
    host.server.fail(
        "info/refs",
        Fault::Answer(Response::of(200, "application/x-git-upload-pack-advertisement", &refused[..])),
    );
    let error = lab.head("app").await.expect_err("refused");
    assert!(error.message.contains("refuses `app`: access denied"), "{}", error.message);
}

#[tokio::test]
async fn limits_hold_before_anything_is_stored() {
    let host = GitHost::start();
    let repo = host.repo("app");
    let many = (0..2000).map(|n| n.to_string()).collect::<Vec<_>>().join("\n") + "\n";
    for folder in ["a", "b", "c"] {
        repo.write(&format!("{folder}/x.md"), folder);
    }
    let commit = repo.write("long.md", &many).commit(&"a long message ".repeat(1000));
    let small = |object_bytes: u64, files: usize| Limits {
        object_bytes: ByteSize(object_bytes),
        files,
        ..Limits::default()
    };
    let refused = async |lab: &Lab| {
        let error = lab.source.tree(&lab.repo("app"), commit).await.expect_err("refused");
        assert_eq!(error.kind, ErrorKind::Refused, "{error:?}");
        error
    };
    let lab = Lab::of(&host.url()).with_limits(small(1000, 1000), MAX_FILE_BYTES);
    let error = refused(&lab).await;
    assert!(error.message.contains("a commit, tree or tag in its pack has 15"), "{}", error.message);
    assert!(error.hint.expect("a remedy").contains("`object_bytes`"));
    let packs = |lab: &Lab| {
        let bytes = lab.pack_bytes();
        assert!(bytes < 2000, "nothing is stored: {bytes}");
    };
    packs(&lab);
    // One file too many for the walk, not for the pack.
    let lab = Lab::of(&host.url()).with_limits(small(100_000, 3), MAX_FILE_BYTES);
    let error = refused(&lab).await;
    assert!(error.message.contains("it has more than 3 files"), "{}", error.message);
    // A file that the server cannot leave out, and larger than any may be.
    repo.git(&["config", "uploadpack.allowFilter", "false"]);
    let lab = Lab::of(&host.url()).with_limits(small(16_000, 1000), MAX_FILE_BYTES);
    lab.files("app", commit).await.expect("within four times the bound");
    repo.write("larger.md", many.repeat(10));
    let commit = repo.commit("larger");
    let error = lab.source.tree(&lab.repo("app"), commit).await.expect_err("refused");
    assert!(
        error.message.contains("a file in its pack has 88900 bytes, more than 64000"),
        "{}",
        error.message
    );
    // And a pack that is larger than the room for all clones.
    let noise: Vec<u8> =
        (0..40_000_u32).flat_map(|n| blake3::hash(&n.to_le_bytes()).as_bytes().to_owned()).collect();
    repo.write("larger.md", noise);
    let commit = repo.commit("noise");
    let lab = Lab::new(GitRemoteSettings { clones: ByteSize::mib(1), ..settings(&host.url()) });
    let error = lab.source.tree(&lab.repo("app"), commit).await.expect_err("refused");
    assert!(error.message.contains("its pack has more than 1 MiB"), "{}", error.message);
    assert!(error.hint.expect("a remedy").contains("raise `clones`"));
}

#[tokio::test]
async fn packs_that_were_made_to_harm_are_refused() {
    let host = GitHost::start();
    let (_repo, first) = two_files(&host, "app");
    let answer = |objects: &[u8]| {
        let pack = [b"\x01PACK\0\0\0\x02\0\0\0\x01", objects, &[0; 20]].concat();
        let line = format!("{:04x}", pack.len() + 4);
        let body = [b"000dpackfile\n", line.as_bytes(), &pack, b"0000"].concat();
        Fault::Answer(Response::of(200, "application/x-git-upload-pack-result", body))
    };
    let lab = Lab::of(&host.url());
    lab.head("app").await.expect("a head");
    // A file of 2^40 bytes: kind and size, seven bits at a time.
    host.server.fail("POST", answer(b"\xb0\x80\x80\x80\x80\x80\x01"));
    let error = lab.source.tree(&lab.repo("app"), first).await.expect_err("too large");
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.message.contains("a file in its pack has"), "{}", error.message);
    // One that differs from something before the pack, again and again.
    host.server.fail_times("POST", 3, answer(b"\x61\x7f"));
    let error = lab.source.tree(&lab.repo("app"), first).await.expect_err("damaged");
    assert!(matches!(error.kind, ErrorKind::Transient { .. }));
    assert_eq!(error.message, "the server sent a damaged pack for `app`");
    assert!(packs(lab.clones.path()).is_empty(), "nothing is stored");
    assert_eq!(lab.files("app", first).await.expect("files").len(), 2, "the server is well again");
}

#[tokio::test]
async fn larger_files_are_fetched_once_they_may_be_indexed() {
    let host = GitHost::start();
    let (repo, _) = two_files(&host, "app");
    let commit = repo.write("large.md", "z".repeat(2000)).commit("large");
    let lab = Lab::of(&host.url());
    let size = async |lab: &Lab| {
        let tree = lab.source.tree(&lab.repo("app"), commit).await.expect("a tree");
        tree.iter().find(|entry| entry.path == "large.md").expect("listed").size
    };
    assert_eq!(size(&lab).await, Some(1001), "at least so large");
    let lab = lab.with_limits(Limits::default(), 5000);
    assert_eq!(size(&lab).await, Some(2000));
    let lab = lab.with_limits(Limits::default(), 10);
    assert_eq!(size(&lab).await, Some(2000), "what is there stays");
    assert_eq!(host.asked().fetches, 2);
}

#[tokio::test]
async fn damaged_clones_are_fetched_anew() {
    let host = GitHost::start();
    let (_repo, first) = two_files(&host, "app");
    let lab = Lab::of(&host.url());
    let before = lab.files("app", first).await.expect("files");
    for damage in ["remove", "cut"] {
        for file in packs(lab.clones.path()) {
            match damage {
                "remove" => std::fs::remove_file(&file).expect("was there"),
                _ => std::fs::write(&file, "damaged").expect("was there"),
            }
        }
        host.asked();
        assert_eq!(lab.files("app", first).await.expect("files"), before, "{damage}");
        assert_eq!(host.asked().fetches, 1, "{damage}");
    }
}

/// The packs below a folder.
fn packs(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in folder.read_dir().expect("a folder").map(|entry| entry.expect("readable").path()) {
        if entry.is_dir() {
            found.extend(packs(&entry));
        } else if entry.extension().is_some_and(|end| end == "pack") {
            found.push(entry);
        }
    }
    found
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_reported_as_such() {
    let host = GitHost::start();
    let (repo, first) = two_files(&host, "app");
    let lab = Lab::of(&host.url());
    lab.files("app", first).await.expect("files");
    let pack = packs(lab.clones.path()).remove(0);
    let clone = pack.ancestors().nth(3).expect("the clone").to_owned();
    // What is received next goes to a device without room.
    std::os::unix::fs::symlink("/dev/full", clone.join("incoming.pack")).expect("a link");
    let second = repo.write("README.md", "again\n").commit("two");
    let error: StageError = lab.source.tree(&lab.repo("app"), second).await.expect_err("no room");
    assert_eq!(error.kind, ErrorKind::Local);
    assert!(error.message.starts_with("no room is left on the disk"), "{}", error.message);
    assert!(error.hint.expect("a remedy").contains("lower `clones`"));
}
