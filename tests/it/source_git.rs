//! Local Git repositories: what is read, what is refused, and the messages.

use std::collections::BTreeMap;
use std::path::Path;

use reposync::model::{BranchRef, EntryMode, ErrorKind, GitSha, MOST_COMMITS, RepoEntry, RepoRef, TreeEntry};
use reposync::source::git::GitSource;
use reposync::source::{Head, Selection, Source};

use crate::support::git_repo::{GitRepo, git};
use crate::support::sources::{Answers, fetch};

fn repo_ref(path: &Path) -> RepoRef {
    RepoRef { name: "repo".into(), key: path.to_str().expect("UTF-8").into() }
}

fn entry(path: &Path) -> RepoEntry {
    RepoEntry {
        repo: repo_ref(path),
        default_branch: String::new(),
        pushed_at: None,
        pushed_at_settled: false,
    }
}

fn named(branch: &str) -> BranchRef {
    BranchRef::Named(branch.into())
}

async fn head(path: &Path, branch: BranchRef) -> Head {
    GitSource::new("git").head(&entry(path), &branch, None).await.expect("a head")
}

async fn contents(path: &Path, commit: GitSha) -> Vec<(String, String)> {
    contents_of(&GitSource::new("git"), path, commit).await
}

async fn contents_of(source: &GitSource, path: &Path, commit: GitSha) -> Vec<(String, String)> {
    let tree = source.tree(&repo_ref(path), commit).await.expect("a tree");
    let got = fetch(source, &repo_ref(path), commit, tree).await.expect("contents");
    assert!(got.errors.is_empty(), "{:?}", got.errors);
    got.contents.into_iter().map(|(p, c)| (p, String::from_utf8(c.to_vec()).expect("text"))).collect()
}

#[tokio::test]
async fn lists_opens_and_refuses() {
    let good = GitRepo::init("good");
    good.write("a.md", "x").commit("one");
    let bare = tempfile::tempdir().expect("a folder");
    git(bare.path(), &["init", "--quiet", "--bare", "--initial-branch=trunk", "b.git"]);
    let plain = tempfile::tempdir().expect("a folder");
    let file = plain.path().join("file");
    std::fs::write(&file, "x").expect("a file");

    let paths = [
        good.path().to_owned(),
        bare.path().join("b.git"),
        plain.path().to_owned(),
        file,
        plain.path().join("absent"),
        good.path().join("absent/deeper"),
    ];
    let wanted = paths
        .iter()
        .enumerate()
        .map(|(i, path)| RepoRef { name: format!("r{i}"), key: path.to_str().expect("UTF-8").into() })
        .collect();
    let listing = GitSource::new("git")
        .list(&Selection::Named(wanted), &Answers::default(), false)
        .await
        .expect("a listing");
    let listed: Vec<_> =
        listing.repositories.iter().map(|e| (e.repo.name.as_str(), e.default_branch.as_str())).collect();
    assert_eq!(listed, [("r0", "main"), ("r1", "trunk")]);
    let missing: Vec<_> = listing.missing.iter().map(|repo| repo.name.as_str()).collect();
    assert_eq!(missing, ["r4", "r5"]);
    let refused: Vec<_> = listing.refused.iter().map(|(repo, _)| repo.name.as_str()).collect();
    assert_eq!(refused, ["r2", "r3"]);
    for (repo, error) in &listing.refused {
        assert_eq!(error.kind, ErrorKind::Refused);
        assert_eq!(error.message, format!("cannot open `{}` as a Git repository", repo.key));
        assert!(error.hint.is_some());
    }
}

#[tokio::test]
async fn formats_that_cannot_be_read_are_refused_not_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, option) in [("a", "--object-format=sha256"), ("b", "--ref-format=reftable")] {
        git(folder.path(), &["init", "--quiet", option, name]);
        let path = folder.path().join(name);
        std::fs::write(path.join("a.md"), "x").expect("a file");
        git(&path, &["add", "."]);
        git(&path, &["commit", "--quiet", "-m", "one"]);
        let source = GitSource::new("git");
        let wanted = Selection::Named(vec![repo_ref(&path)]);
        let listing = source.list(&wanted, &Answers::default(), false).await.expect("a listing");
        assert_eq!(listing.refused.len(), 1, "{option}");
        let refused = &listing.refused[0].1;
        let format = option.rsplit('=').next().expect("a format");
        assert!(refused.message.contains(format), "{}", refused.message);
        assert!(refused.hint.as_deref().unwrap_or_default().contains("git "), "{:?}", refused.hint);
        let head = source.head(&entry(&path), &BranchRef::Default, None).await;
        assert_eq!(head.expect_err("unreadable").kind, ErrorKind::Refused, "{option}");
    }
}

#[tokio::test]
async fn unreadable_references_are_an_error_not_emptiness() {
    let repo = GitRepo::init("r");
    repo.write("a", "1").commit("one");
    std::fs::write(repo.path().join(".git/refs/heads/main"), "garbage").expect("a file");
    let source = GitSource::new("git");
    for branch in [BranchRef::Default, named("main")] {
        let head = source.head(&entry(repo.path()), &branch, None).await;
        assert_eq!(head.expect_err("garbage").kind, ErrorKind::BadInput);
    }
    std::fs::remove_file(repo.path().join(".git/refs/heads/main")).expect("was there");
    std::fs::write(repo.path().join(".git/packed-refs"), "garbage").expect("a file");
    let head = source.head(&entry(repo.path()), &BranchRef::Default, None).await;
    assert_eq!(head.expect_err("garbage").kind, ErrorKind::BadInput);
}

#[cfg(unix)]
#[tokio::test]
async fn a_repository_owned_by_another_user_is_read() {
    let repo = GitRepo::init("r");
    let commit = repo.write("a.md", "x").commit("one");
    repo.git(&["remote", "add", "origin", "git@github.com:acme/r.git"]);
    for path in [repo.path().to_owned(), repo.path().join(".git"), repo.path().join(".git/config")] {
        if std::os::unix::fs::chown(&path, Some(65534), Some(65534)).is_err() {
            return; // Only root may give files away.
        }
    }
    assert_eq!(contents(repo.path(), commit).await, [("a.md".to_owned(), "x".to_owned())]);
    let link = GitSource::new("git").permalink(&repo_ref(repo.path()), commit, "a.md", (1, 1));
    assert!(link.starts_with("https://github.com/acme/r/blob/"), "{link}");
}

#[tokio::test]
async fn an_owner_cannot_be_listed() {
    let owner = Selection::Owner { owner: "acme".into(), keyword: None };
    let error = GitSource::new("git").list(&owner, &Answers::default(), false).await.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Refused);
}

#[tokio::test]
async fn heads_in_every_state() {
    let repo = GitRepo::init("r");
    assert_eq!(head(repo.path(), BranchRef::Default).await, Head::Empty);
    assert_eq!(head(repo.path(), named("main")).await, Head::Empty);

    let first = repo.write("a", "1").commit("one");
    repo.git(&["branch", "feature/x"]);
    let second = repo.write("a", "2").commit("two");
    assert_eq!(head(repo.path(), BranchRef::Default).await, Head::Commit(second));
    assert_eq!(head(repo.path(), named("main")).await, Head::Commit(second));
    assert_eq!(head(repo.path(), named("feature/x")).await, Head::Commit(first));
    assert_eq!(head(repo.path(), named("refs/heads/main")).await, Head::Commit(second));
    for absent in ["feature", "x", "refs/heads/x", "refs/x", "a b", "..", ""] {
        assert_eq!(head(repo.path(), named(absent)).await, Head::NoBranch, "{absent}");
    }

    repo.git(&["checkout", "--quiet", "--detach", &first.to_string()]);
    assert_eq!(head(repo.path(), BranchRef::Default).await, Head::Commit(first));
    repo.git(&["pack-refs", "--all"]);
    assert_eq!(head(repo.path(), named("main")).await, Head::Commit(second));
    repo.git(&["checkout", "--quiet", "--orphan", "new"]);
    assert_eq!(head(repo.path(), BranchRef::Default).await, Head::NoBranch);

    assert_eq!(head(&repo.path().join("gone"), BranchRef::Default).await, Head::Missing);
}

#[cfg(unix)]
#[tokio::test]
async fn the_tree_is_the_commits_not_the_work_trees() {
    use std::os::unix::ffi::OsStrExt;
    let repo = GitRepo::init("r");
    let module = GitRepo::init("module");
    module.write("inner.md", "x").commit("inner");
    repo.write("a.md", "old").write("deep/er/b c\"%ü.md", "b").write("run.sh", "#!").write("empty", "");
    repo.git(&["submodule", "--quiet", "add", &module.key(), "vendor/module"]);
    repo.git(&["update-index", "--add", "--chmod=+x", "run.sh"]);
    std::os::unix::fs::symlink("a.md", repo.path().join("link")).expect("a link");
    let odd = std::ffi::OsStr::from_bytes(b"odd\xff.md");
    std::fs::write(repo.path().join(odd), "odd").expect("a file");
    let commit = repo.commit("all");
    repo.write("a.md", "uncommitted").write("new.md", "uncommitted");

    let source = GitSource::new("git");
    let tree = source.tree(&repo_ref(repo.path()), commit).await.expect("a tree");
    let shown: Vec<String> = tree
        .iter()
        .filter(|e| e.path != ".gitmodules") // it names a temporary folder
        .map(|e| format!("{} {:?} {:?}{}", e.path, e.mode, e.size, if e.path_is_utf8 { "" } else { " !" }))
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r##"
    a.md File Some(3)
    deep/er/b c"%ü.md File Some(1)
    empty File Some(0)
    link Symlink None
    odd�.md File Some(3) !
    run.sh File Some(2)
    vendor/module Submodule None
    "##);
    let files: Vec<TreeEntry> =
        tree.into_iter().filter(|e| e.mode == EntryMode::File && e.path_is_utf8).collect();
    let got = fetch(&source, &repo_ref(repo.path()), commit, files).await.expect("contents");
    assert_eq!(got.contents["a.md"], "old");
    assert_eq!(got.contents["deep/er/b c\"%ü.md"], "b");
    assert_eq!(got.contents["empty"], "");
}

#[tokio::test]
async fn every_layout_of_a_repository_reads_the_same() {
    let repo = GitRepo::init("r");
    let base: String = (0..200).map(|i| format!("line {i}")).collect::<Vec<_>>().join("\n");
    repo.write("a.md", &base).write("d/b.md", "b").commit("one");
    let commit = repo.write("a.md", base.replace("line 7\n", "line seven\n")).commit("two");
    let expected = contents(repo.path(), commit).await;
    assert_eq!(expected.len(), 2);

    let elsewhere = tempfile::tempdir().expect("a folder");
    let at = |name: &str| elsewhere.path().join(name);
    let key = repo.key();
    let url = format!("file://{key}");
    repo.git(&["repack", "-q", "-a", "-d", "-f"]);
    assert_eq!(contents(repo.path(), commit).await, expected, "packed");
    assert_eq!(contents(&repo.path().join(".git"), commit).await, expected, "named by its .git");
    git(elsewhere.path(), &["clone", "--quiet", "--bare", &key, "bare.git"]);
    git(elsewhere.path(), &["clone", "--quiet", "--shared", &key, "alternates"]);
    git(elsewhere.path(), &["clone", "--quiet", "--depth=1", &url, "shallow"]);
    for layout in ["bare.git", "shallow"] {
        assert_eq!(contents(&at(layout), commit).await, expected, "{layout}");
        assert_eq!(head(&at(layout), named("main")).await, Head::Commit(commit), "{layout}");
    }
    let borrowing = GitSource::new("git").with_alternates(vec![repo.path().to_owned()]);
    assert_eq!(contents_of(&borrowing, &at("alternates"), commit).await, expected, "alternates");
    git(
        elsewhere.path(),
        &["clone", "--quiet", &format!("--separate-git-dir={}", at("apart").display()), &key, "tree"],
    );
    let allowed = GitSource::new("git").with_alternates(vec![at("apart")]);
    assert_eq!(contents_of(&allowed, &at("tree"), commit).await, expected, "a separate folder for Git");
    let worktree = at("worktree");
    repo.git(&["worktree", "add", "--quiet", "-b", "side", worktree.to_str().expect("UTF-8")]);
    assert_eq!(contents(&worktree, commit).await, expected, "worktree");
    let main = repo.write("c.md", "c").commit("only on main");
    assert_eq!(head(&worktree, BranchRef::Default).await, Head::Commit(commit));
    assert_eq!(head(&worktree, named("main")).await, Head::Commit(main));
}

#[tokio::test]
async fn a_damaged_object_fails_its_file_alone() {
    let repo = GitRepo::init("r");
    for name in ["gone", "garbage", "swapped", "fine"] {
        repo.write(&format!("{name}.md"), format!("content of {name}"));
    }
    let commit = repo.commit("all");
    let object = |path: &str| {
        let id = repo.sha(&format!("HEAD:{path}")).to_string();
        repo.path().join(format!(".git/objects/{}/{}", &id[..2], &id[2..]))
    };
    let replace = |path: &str, bytes: &[u8]| {
        std::fs::remove_file(object(path)).expect("was there");
        std::fs::write(object(path), bytes).expect("a file");
    };
    replace("garbage.md", b"not zlib at all");
    replace("swapped.md", &std::fs::read(object("fine.md")).expect("an object"));
    std::fs::remove_file(object("gone.md")).expect("was there");

    let source = GitSource::new("git");
    let tree = source.tree(&repo_ref(repo.path()), commit).await.expect("a tree");
    let got = fetch(&source, &repo_ref(repo.path()), commit, tree).await.expect("the rest");
    assert_eq!(got.contents.keys().collect::<Vec<_>>(), ["fine.md"]);
    assert_eq!(got.errors.keys().collect::<Vec<_>>(), ["garbage.md", "gone.md", "swapped.md"]);
    for (path, error) in &got.errors {
        assert_eq!(error.kind, ErrorKind::BadInput, "{path}");
        assert!(error.message.contains(path.as_str()), "{}", error.message);
    }
    // A tree that cannot be read is an error; it is never reported as a shorter tree.
    let missing = GitSha([7; 20]);
    let error = source.tree(&repo_ref(repo.path()), missing).await.expect_err("no such commit");
    assert_eq!(error.kind, ErrorKind::BadInput);
}

#[tokio::test]
async fn nothing_of_the_repository_is_executed() {
    let repo = GitRepo::init("r");
    let commit = repo.write(".gitattributes", "*.md filter=evil\n").write("a.md", "plain").commit("one");
    let trap = repo.path().join("sprung");
    let command = format!("touch {}", trap.display());
    for key in ["filter.evil.smudge", "filter.evil.process", "core.fsmonitor", "core.sshCommand"] {
        repo.git(&["config", key, &command]);
    }
    repo.git(&["config", "include.path", "/nonexistent/config"]);
    assert_eq!(contents(repo.path(), commit).await[1], ("a.md".into(), "plain".into()));
    assert!(!trap.exists());
}

#[tokio::test]
async fn many_files_come_once_each_and_a_refusing_sink_ends_the_fetch() {
    use reposync::model::{StageError, StageResult};
    struct Refuses(usize);
    #[async_trait::async_trait]
    impl reposync::source::ContentSink for Refuses {
        async fn put(&mut self, _: TreeEntry, _: StageResult<bytes::Bytes>) -> StageResult<()> {
            self.0 += 1;
            if self.0 == 5 { Err(StageError::cancelled("git")) } else { Ok(()) }
        }
    }
    let repo = GitRepo::init("r");
    for i in 0..500 {
        repo.write(&format!("d{}/f{i}.md", i % 7), format!("file {i}"));
    }
    let commit = repo.commit("many");
    assert_eq!(contents(repo.path(), commit).await.len(), 500);

    let source = GitSource::new("git");
    let tree = source.tree(&repo_ref(repo.path()), commit).await.expect("a tree");
    let mut sink = Refuses(0);
    let error = source.fetch(&repo_ref(repo.path()), commit, tree, &mut sink).await.expect_err("ends");
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert_eq!(sink.0, 5);
}

/// It has more files and more bytes than are read before a repository is reopened.
#[tokio::test]
async fn a_large_repository_is_read_whole() {
    let repo = GitRepo::init("r");
    let text = |i: usize| format!("file {i}\n").repeat(if i.is_multiple_of(30) { 15_000 } else { 1 });
    for i in 0..8_500 {
        repo.write(&format!("d{}/f{i}.md", i % 7), text(i));
    }
    let commit = repo.commit("many");
    let tree = GitSource::new("git").tree(&repo_ref(repo.path()), commit).await.expect("a tree");
    assert!(tree.iter().all(|entry| entry.size.is_some()));
    let read: BTreeMap<String, String> = contents(repo.path(), commit).await.into_iter().collect();
    for i in 0..8_500 {
        let path = format!("d{}/f{i}.md", i % 7);
        assert!(read[&path] == text(i), "{path}");
    }
}

#[tokio::test]
async fn changes_and_permalinks() {
    let repo = GitRepo::init("r");
    let one = repo.write("a.md", "a").write("b.md", "b").commit("one");
    std::fs::rename(repo.path().join("a.md"), repo.path().join("z.md")).expect("a rename");
    let two = repo.write("b.md", "bb").commit("two");
    let source = GitSource::new("git");
    let reference = repo_ref(repo.path());
    let changes = source.changes(&reference, one, two).await.expect("changes");
    let shown: Vec<_> = changes.iter().map(|c| (c.status.as_str(), c.path.as_str())).collect();
    assert_eq!(shown, [("modified", "b.md"), ("renamed", "z.md")]);

    assert_eq!(source.permalink(&reference, two, "b.md", (1, 2)), "");
    repo.git(&["remote", "add", "origin", "https://ada:ghp_secret@github.com/acme/r.git"]);
    let source = GitSource::new("git");
    assert_eq!(
        source.permalink(&reference, two, "d ir/b.md", (1, 2)),
        format!("https://github.com/acme/r/blob/{two}/d%20ir/b.md#L1-L2")
    );
    repo.git(&["remote", "set-url", "origin", "gh:acme/short"]);
    repo.git(&["config", "url.https://github.com/.insteadOf", "gh:"]);
    let link = GitSource::new("git").permalink(&reference, two, "b.md", (1, 2));
    assert!(link.starts_with("https://github.com/acme/short/blob/"), "{link}");
}

#[tokio::test]
async fn commits_between_two_are_counted_where_one_descends_from_the_other() {
    let repo = GitRepo::init("repo");
    let first = repo.write("a.md", "1").commit("first");
    let second = repo.write("a.md", "2").commit("second");
    repo.git(&["checkout", "--quiet", "-b", "side", &first.to_string()]);
    let side = repo.write("b.md", "3").commit("side");
    repo.git(&["checkout", "--quiet", "main"]);
    repo.git(&["merge", "--quiet", "--no-ff", "-m", "merge", "side"]);
    let merge = repo.sha("HEAD");
    let source = GitSource::new("git");
    let repo_ref = repo_ref(repo.path());
    for (base, head, expected) in [
        (first, first, Some(0)),
        (first, second, Some(1)),
        (first, merge, Some(3)),
        (second, merge, Some(2)),
        (second, side, None),
        (merge, first, None),
        (GitSha([7; 20]), merge, None),
    ] {
        let counted = source.commits_between(&repo_ref, base, head).await.expect("readable");
        assert_eq!(counted, expected, "{base}..{head}");
    }
    // More commits than are ever counted.
    let mut stream = String::new();
    for n in 0..MOST_COMMITS + 5 {
        let from = if n == 0 { format!("from {merge}\n") } else { String::new() };
        stream.push_str(&format!(
            "commit refs/heads/long\ncommitter A <a@example.com> {n} +0000\ndata 0\n{from}"
        ));
    }
    repo.write("stream", stream);
    repo.git(&["-c", "alias.import=!git fast-import --quiet < stream", "import"]);
    let long = repo.sha("long");
    assert_eq!(source.commits_between(&repo_ref, merge, long).await.expect("readable"), Some(MOST_COMMITS));
}
