//! Hostile repositories: each fails at most itself, within `[engine.limits]`, and adds nothing to an
//! index that its commit does not name.

use std::io::Write as _;
use std::path::Path;

use reposync::model::{BranchRef, ByteSize, ErrorKind, GitSha, RepoEntry, RepoRef, StageError, TreeEntry};
use reposync::source::git::GitSource;
use reposync::source::{Head, Limits, Selection, Source};
use tokio_util::sync::CancellationToken;

use crate::source_github::{entry as hub_entry, source as hub};
use crate::support::git_repo::{GitRepo, git};
use crate::support::github::FakeGithub;
use crate::support::local::{STAGES, read_index};
use crate::support::sources::{Answers, fetch};
use crate::support::world::World;

/// Writes an object with arbitrary content, including content that Git would not write; returns its id.
fn object(repo: &GitRepo, kind: &str, content: &[u8]) -> GitSha {
    repo.write("object", content);
    let id = repo.git(&["hash-object", "-t", kind, "-w", "--literally", "object"]);
    std::fs::remove_file(repo.path().join("object")).expect("was there");
    id.parse().expect("an object id")
}

/// Writes a tree with these entries in this order.
fn tree(repo: &GitRepo, entries: &[(&str, &str, GitSha)]) -> GitSha {
    let mut content = Vec::new();
    for (mode, name, id) in entries {
        content.extend([mode.as_bytes(), b" ", name.as_bytes(), b"\0", id.0.as_slice()].concat());
    }
    object(repo, "tree", &content)
}

/// Commits a tree to the branch `main`.
fn commit(repo: &GitRepo, tree: GitSha) -> GitSha {
    let commit = repo.git(&["commit-tree", &tree.to_string(), "-m", "made"]);
    repo.git(&["update-ref", "refs/heads/main", &commit]);
    commit.parse().expect("an object id")
}

/// A tree of `levels` levels, each with the same sub-tree ten times: 10^levels paths.
fn bomb(repo: &GitRepo, levels: usize) -> GitSha {
    let file = object(repo, "blob", b"boom");
    let mut inner = tree(repo, &[("100644", "file.md", file)]);
    for _ in 0..levels {
        let names: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        let entries: Vec<_> = names.iter().map(|name| ("40000", name.as_str(), inner)).collect();
        inner = tree(repo, &entries);
    }
    commit(repo, inner)
}

fn repo_ref(path: &Path) -> RepoRef {
    RepoRef { name: "repo".into(), key: path.to_str().expect("UTF-8").into() }
}

fn limited(limits: Limits) -> GitSource {
    GitSource::new("git").with_limits(limits, 1 << 20)
}

async fn refusal(repo: &GitRepo, commit: GitSha, limits: Limits) -> StageError {
    let error = limited(limits).tree(&repo_ref(repo.path()), commit).await.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Refused, "{}", error.one_line());
    error
}

#[track_caller]
fn names(error: &StageError, key: &str) {
    let hint = error.hint.as_deref().unwrap_or_default();
    assert!(hint.contains(&format!("`{key}` in [engine.limits]")), "{}: {hint}", error.one_line());
}

async fn head(source: &dyn Source, path: &Path, branch: &str) -> Result<Head, StageError> {
    let entry = RepoEntry {
        repo: repo_ref(path),
        default_branch: String::new(),
        pushed_at: None,
        pushed_at_settled: false,
    };
    source.head(&entry, &BranchRef::Named(branch.into()), None).await
}

#[tokio::test]
async fn each_limit_refuses_the_repository_that_is_beyond_it() {
    let repo = GitRepo::init("r");
    let bombed = bomb(&repo, 10);
    names(&refusal(&repo, bombed, Limits { files: 1000, ..Limits::default() }).await, "files");
    names(&refusal(&repo, bombed, Limits { depth: 9, ..Limits::default() }).await, "depth");
    names(&refusal(&repo, bombed, Limits { path_bytes: 20, ..Limits::default() }).await, "path_bytes");

    // Folders count as well: this tree has no file at all.
    let mut empty = tree(&repo, &[]);
    for _ in 0..10 {
        empty = tree(&repo, &[("40000", "a", empty), ("40000", "b", empty)]);
    }
    let folders = commit(&repo, empty);
    names(&refusal(&repo, folders, Limits { files: 100, ..Limits::default() }).await, "files");

    let blob = object(&repo, "blob", b"x");
    let wide: Vec<String> = (0..200).map(|n| format!("file-{n}.md")).collect();
    let wide: Vec<_> = wide.iter().map(|name| ("100644", name.as_str(), blob)).collect();
    let wide = commit(&repo, tree(&repo, &wide));
    let small = || Limits { object_bytes: ByteSize(1000), ..Limits::default() };
    names(&refusal(&repo, wide, small()).await, "object_bytes");
    let message = "m".repeat(5000);
    repo.git(&["commit", "--quiet", "--allow-empty", "-m", &message]);
    names(&refusal(&repo, repo.sha("HEAD"), small()).await, "object_bytes");
    // The same in a pack, where the result of a delta chain is bounded as well.
    repo.git(&["repack", "-q", "-a", "-d", "-f"]);
    names(&refusal(&repo, wide, small()).await, "object_bytes");
}

#[tokio::test]
async fn a_walk_ends_when_it_is_cancelled() {
    let repo = GitRepo::init("r");
    let bombed = bomb(&repo, 10);
    let cancel = CancellationToken::new();
    let limits = Limits { files: usize::MAX, ..Limits::default() };
    let source = limited(limits).with_cancel(cancel.clone());
    let at = repo_ref(repo.path());
    let walk = source.tree(&at, bombed);
    tokio::pin!(walk);
    let begun =
        std::future::poll_fn(|context| std::task::Poll::Ready(walk.as_mut().poll(context).is_pending()));
    assert!(begun.await, "it takes longer than that");
    cancel.cancel();
    assert_eq!(walk.await.expect_err("cancelled").kind, ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_name_that_a_tree_holds_twice_is_read_as_git_reads_it() {
    let repo = GitRepo::init("r");
    let [first, second] = ["first body", "second body"].map(|text| object(&repo, "blob", text.as_bytes()));
    let sub = tree(&repo, &[("100644", "x.md", second), ("100644", "x.md", first)]);
    let root = tree(
        &repo,
        &[
            ("100644", "a.md", first),
            ("100644", "a.md", second),
            ("100644", "c.md", second),
            ("40000", "d", sub),
            ("40000", "d", sub),
        ],
    );
    let commit = commit(&repo, root);
    let paths = ["a.md", "c.md", "d/x.md"];
    let shown = paths.map(|path| repo.git(&["show", &format!("{commit}:{path}")]));
    assert_eq!(shown, ["first body", "second body", "second body"]);

    let github = FakeGithub::start();
    github.repository("acme/twice", Some(repo.path()));
    let (local, remote) = (GitSource::new("git"), hub(&github.settings()));
    let sources: [(&dyn Source, RepoRef); 2] =
        [(&local, repo_ref(repo.path())), (&remote, hub_entry("acme/twice").repo)];
    for (source, at) in sources {
        let tree = source.tree(&at, commit).await.expect("a tree");
        assert_eq!(tree.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), paths);
        let got = fetch(source, &at, commit, tree).await.expect("contents");
        assert!(got.errors.is_empty(), "{:?}", got.errors);
        assert_eq!(paths.map(|path| got.contents[path].to_vec()), shown.clone().map(String::into_bytes));
    }
}

#[tokio::test]
async fn names_that_git_does_not_check_out_are_not_indexed() {
    let repo = GitRepo::init("r");
    let blob = object(&repo, "blob", b"x");
    let inner = tree(&repo, &[("100644", "passwd", blob)]);
    let root = tree(
        &repo,
        &[
            ("40000", "..", inner),
            ("40000", ".GIT", inner),
            ("100644", "a/b", blob),
            ("40000", "fine", inner),
        ],
    );
    let commit = commit(&repo, root);
    let tree = GitSource::new("git").tree(&repo_ref(repo.path()), commit).await.expect("a tree");
    let usable = tree.iter().filter(|entry| entry.path_is_utf8);
    let usable: Vec<_> = usable.map(|entry| entry.path.as_str()).collect();
    assert_eq!((usable, tree.len()), (vec!["fine/passwd"], 4));
}

#[tokio::test]
async fn replaced_objects_are_not_read() {
    let repo = GitRepo::init("r");
    let commit = repo.write("a.md", "original words").commit("one");
    let evil = GitRepo::init("evil");
    evil.write("a.md", "replaced words").commit("other");
    repo.git(&["fetch", "--quiet", &evil.key(), "main"]);
    repo.git(&["replace", &commit.to_string(), "FETCH_HEAD"]);
    repo.git(&["replace", &repo.git(&["--no-replace-objects", "rev-parse", "HEAD:a.md"]), "FETCH_HEAD:a.md"]);
    // The repository's own configuration cannot re-enable them.
    repo.git(&["config", "core.useReplaceRefs", "true"]);
    let source = GitSource::new("git");
    let at = repo_ref(repo.path());
    let tree = source.tree(&at, commit).await.expect("a tree");
    let got = fetch(&source, &at, commit, tree).await.expect("contents");
    assert_eq!(got.contents["a.md"], "original words");
}

#[cfg(unix)]
#[tokio::test]
async fn an_object_with_a_wrong_id_is_refused() {
    let repo = GitRepo::init("r");
    let one = repo.write("a.md", "one").commit("one");
    let two = repo.write("b.md", "two").commit("two");
    let file = |id: &str| repo.path().join(format!(".git/objects/{}/{}", &id[..2], &id[2..]));
    for kind in ["", "^{tree}"] {
        let [of_one, of_two] = [one, two].map(|commit| repo.git(&["rev-parse", &format!("{commit}{kind}")]));
        let kept = std::fs::read(file(&of_two)).expect("an object");
        std::fs::remove_file(file(&of_two)).expect("was there");
        std::fs::copy(file(&of_one), file(&of_two)).expect("copied");
        let error = GitSource::new("git").tree(&repo_ref(repo.path()), two).await.expect_err("not believed");
        assert_eq!(error.kind, ErrorKind::BadInput);
        assert!(error.one_line().contains("its content is the"), "{}", error.one_line());
        std::fs::remove_file(file(&of_two)).expect("was there");
        std::fs::write(file(&of_two), kept).expect("put back");
    }
}

#[tokio::test]
async fn tags_lead_to_their_commit_unless_they_never_end() {
    let repo = GitRepo::init("r");
    let commit = repo.write("a.md", "x").commit("one");
    repo.git(&["tag", "light"]);
    repo.git(&["tag", "-a", "-m", "annotated", "v1"]);
    repo.git(&["tag", "-a", "-m", "a tag of a tag", "v2", "v1"]);
    repo.git(&["tag", "tree", "HEAD^{tree}"]);
    repo.git(&["update-ref", "refs/remotes/origin/next", "HEAD"]);
    let source = GitSource::new("git");
    for branch in ["main", "light", "v1", "v2", "refs/heads/main", "refs/tags/v1", "refs/remotes/origin/next"]
    {
        assert_eq!(head(&source, repo.path(), branch).await.expect(branch), Head::Commit(commit), "{branch}");
    }
    for (branch, message, hint) in [
        ("tree", "`tree` of `", "a tag of a commit"),
        ("origin/next", "`origin/next` is a remote-tracking branch", "refs/remotes/origin/next"),
        ("origin/gone", "`origin/gone` is the name of a remote and a branch", "branch = \"gone\""),
        ("HEAD", "`HEAD` is what is indexed without `branch`", "leave `branch` out"),
    ] {
        let error = head(&source, repo.path(), branch).await.expect_err(branch);
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(error.message.starts_with(message), "{}", error.message);
        assert!(error.hint.as_deref().unwrap_or_default().contains(hint), "{:?}", error.hint);
    }

    let mut last = commit;
    for n in 0..40 {
        let kind = if n == 0 { "commit" } else { "tag" };
        let text = format!("object {last}\ntype {kind}\ntag t{n}\ntagger A <a@example.com> 0 +0000\n\nt\n");
        last = object(&repo, "tag", text.as_bytes());
    }
    repo.git(&["update-ref", "refs/tags/endless", &last.to_string()]);
    let error = head(&source, repo.path(), "endless").await.expect_err("too long");
    assert!(error.message.contains("a chain of more than 32 tags"), "{}", error.message);
}

#[tokio::test]
async fn a_partial_clone_is_one_failure_that_says_how_to_complete_it() {
    let origin = GitRepo::init("origin");
    for n in 0..5 {
        origin.write(&format!("f{n}.md"), format!("body {n}"));
    }
    let commit = origin.commit("one");
    origin.git(&["config", "uploadpack.allowFilter", "true"]);
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("file://{}", origin.key());
    for filter in ["blob:none", "tree:0"] {
        let clone = folder.path().join(filter.replace(':', "-"));
        let to = clone.to_str().expect("UTF-8");
        git(folder.path(), &["clone", "--quiet", "--no-checkout", &format!("--filter={filter}"), &url, to]);
        let (source, at) = (GitSource::new("git"), repo_ref(&clone));
        let error = match source.tree(&at, commit).await {
            Ok(tree) => fetch(&source, &at, commit, tree).await.err().expect("refused as a whole"),
            Err(error) => error,
        };
        assert_eq!(error.kind, ErrorKind::Refused, "{filter}");
        assert!(error.message.contains("is a partial clone"), "{}", error.message);
        let hint = error.hint.expect("a hint");
        assert!(hint.contains("fetch --refetch --no-filter"), "{hint}");
        git(&clone, &["fetch", "--quiet", "--refetch", "--no-filter"]);
        let tree = source.tree(&at, commit).await.expect("a tree");
        let got = fetch(&source, &at, commit, tree).await.expect("contents");
        assert_eq!((got.contents.len(), got.errors.len()), (5, 0), "{filter}");
    }
}

#[tokio::test]
async fn objects_of_other_repositories_are_borrowed_only_where_that_is_allowed() {
    let secret = GitRepo::init("secret");
    let commit = secret.write("a.md", "secret").commit("one");
    let folder = tempfile::tempdir().expect("a folder");
    git(folder.path(), &["clone", "--quiet", "--shared", &secret.key(), "shared"]);
    let at = repo_ref(&folder.path().join("shared"));
    let error = GitSource::new("git").tree(&at, commit).await.expect_err("not allowed");
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.message.contains("borrows objects from"), "{}", error.message);
    assert!(error.hint.as_deref().unwrap_or_default().contains("alternates = ["), "{:?}", error.hint);
    let allowed = GitSource::new("git").with_alternates(vec![secret.path().to_owned()]);
    assert_eq!(allowed.tree(&at, commit).await.expect("allowed").len(), 1);

    // A folder whose `.git` is a file that names another user's repository.
    let trap = folder.path().join("trap");
    std::fs::create_dir(&trap).expect("a folder");
    std::fs::write(trap.join(".git"), format!("gitdir: {}/.git\n", secret.key())).expect("a file");
    let wanted = Selection::Named(vec![repo_ref(&trap)]);
    let listing = GitSource::new("git").list(&wanted, &Answers::default(), false).await.expect("a listing");
    assert_eq!(listing.refused.len(), 1);
    assert!(listing.refused[0].1.message.contains("does not lead back"), "{}", listing.refused[0].1.message);
}

#[tokio::test]
async fn a_tree_that_github_always_cuts_short_draws_a_bounded_number_of_requests() {
    let repo = GitRepo::init("r");
    let commit = bomb(&repo, 3);
    let github = FakeGithub::start();
    github.repository("acme/bomb", Some(repo.path()));
    github.limit_trees(5);
    let source = hub(&github.settings()).with_limits(Limits { tree_requests: 30, ..Limits::default() });
    let error = source.tree(&hub_entry("acme/bomb").repo, commit).await.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Refused);
    names(&error, "tree_requests");
    assert_eq!(github.take_seen().len(), 30);
    let source = hub(&github.settings()).with_limits(Limits { files: 25, ..Limits::default() });
    names(&source.tree(&hub_entry("acme/bomb").repo, commit).await.expect_err("refused"), "files");
    let source =
        hub(&github.settings()).with_limits(Limits { object_bytes: ByteSize(100), ..Limits::default() });
    let error = source.tree(&hub_entry("acme/bomb").repo, commit).await.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Refused, "{}", error.one_line());
}

#[tokio::test]
async fn tags_and_full_references_are_heads_on_github_too() {
    let repo = GitRepo::init("r");
    let commit = repo.write("a.md", "x").commit("one");
    repo.git(&["tag", "-a", "-m", "annotated", "v1"]);
    let github = FakeGithub::start();
    github.repository("acme/r", Some(repo.path()));
    let source = hub(&github.settings());
    let head =
        async |branch: &str| source.head(&hub_entry("acme/r"), &BranchRef::Named(branch.into()), None).await;
    for branch in ["main", "v1", "refs/heads/main", "refs/tags/v1"] {
        assert_eq!(head(branch).await.expect(branch), Head::Commit(commit), "{branch}");
    }
    assert_eq!(head("gone").await.expect("no mistake"), Head::NoBranch);
    let error = head("origin/main").await.expect_err("a mistake");
    assert!(error.hint.as_deref().unwrap_or_default().contains("branch = \"main\""), "{:?}", error.hint);
}

/// Writes a pack with a blob of eight bytes and a chain of `length` deltas; returns the text of the
/// last one.
fn chain(repo: &GitRepo, length: u32) -> String {
    let deflated = |bytes: &[u8]| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    };
    let mut pack = [b"PACK".as_slice(), &2_u32.to_be_bytes(), &(length + 1).to_be_bytes()].concat();
    let mut before = pack.len();
    // One byte of type and size: a blob of 8 bytes. Deltas have type 6 (offset delta, the offset of the
    // base follows) and 11 bytes: two sizes, and an instruction that inserts 8 letters.
    pack.push((3 << 4) | 8);
    pack.extend(deflated(b"00000000"));
    for n in 1..=length {
        let begin = pack.len();
        let distance = u8::try_from(begin - before).expect("short");
        assert!(distance < 128);
        pack.extend([(6 << 4) | 0xb, distance]);
        pack.extend(deflated(&[[8, 8, 8].as_slice(), format!("{n:08}").as_bytes()].concat()));
        before = begin;
    }
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &pack);
    pack.extend(digest.as_ref());
    let name = hex::encode(digest.as_ref());
    let folder = repo.path().join(".git/objects/pack");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join(format!("pack-{name}.pack")), pack).expect("a file");
    repo.git(&["index-pack", &format!(".git/objects/pack/pack-{name}.pack")]);
    format!("{length:08}")
}

#[tokio::test]
async fn delta_chains_are_no_longer_than_git_writes() {
    for (length, refused) in [(4095, false), (4096, true)] {
        let repo = GitRepo::init("r");
        let text = chain(&repo, length);
        repo.write("text", &text);
        let last: GitSha = repo.git(&["hash-object", "text"]).parse().expect("an object id");
        let commit = commit(&repo, tree(&repo, &[("100644", "a.md", last)]));
        let (source, at) = (GitSource::new("git"), repo_ref(repo.path()));
        let sized = source.tree(&at, commit).await;
        // An entry without a size is checked when it is read.
        let entry = TreeEntry {
            path: "a.md".into(),
            path_is_utf8: true,
            mode: reposync::model::EntryMode::File,
            sha: last,
            size: None,
        };
        let got = fetch(&source, &at, commit, vec![entry]).await.expect("the source works");
        if refused {
            let error = sized.expect_err("refused");
            assert_eq!(error.kind, ErrorKind::Refused);
            assert!(error.message.contains("as a chain of 4096 differences, more than 4095"), "{error}");
            assert!(
                error.hint.as_deref().unwrap_or_default().contains("repack -a -d -f"),
                "{:?}",
                error.hint
            );
            assert_eq!(got.errors["a.md"].message, error.message);
            repo.git(&["repack", "-q", "-a", "-d", "-f"]);
            assert_eq!(source.tree(&at, commit).await.expect("as the hint says").len(), 1);
        } else {
            assert_eq!(sized.expect("a tree").len(), 1);
            assert_eq!(got.contents["a.md"], text);
        }
    }
}

/// The whole program: the hostile repositories are refused, the healthy one is indexed.
#[cfg(unix)]
#[test]
fn healthy_repositories_go_on_beside_hostile_ones() {
    let world = World::new();
    world.repo("healthy").write("a.md", "The healthy text.\n").commit("one");
    bomb(&world.repo("bomb"), 10);
    let twice = world.repo("twice");
    let blob = object(&twice, "blob", b"Twice the same name.\n");
    commit(&twice, tree(&twice, &[("100644", "a.md", blob), ("100644", "a.md", blob)]));
    let pipe = world.repo("pipe");
    pipe.write("a.md", "Never read.\n").commit("one");
    std::fs::remove_file(pipe.path().join(".git/HEAD")).expect("was there");
    let made = std::process::Command::new("mkfifo").arg(pipe.path().join(".git/HEAD")).status();
    assert!(made.expect("mkfifo runs").success());
    let globs = world.repo("globs");
    let folders = "a/".repeat(60);
    // By plumbing: `git add` itself would match the pattern against the path.
    let attributes = format!("{}b linguist-generated\n", "**/a/".repeat(30));
    let attributes = object(&globs, "blob", attributes.as_bytes());
    let mut below = ("100644", "c.md", object(&globs, "blob", b"Below many folders.\n"));
    for _ in 0..60 {
        below = ("40000", "a", tree(&globs, &[below]));
    }
    commit(&globs, tree(&globs, &[("100644", ".gitattributes", attributes), below]));
    world.config(&format!(
        "[engine.limits]\nfiles = 5000\n{STAGES}\n[projects.docs]\n\
         pipeline = [\"local\", \"prose\", \"model\", \"index\"]\nrepositories = [\"bomb\", \"globs\", \"healthy\", \"pipe\", \"twice\"]\n"
    ));
    for _ in 0..2 {
        let ran = world.run(&["apply"]);
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        assert!(ran.stdout.contains("more than 5000"), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("is no plain file"), "{}{}", ran.stdout, ran.stderr);
    }
    let index = read_index(&world.path(".reposync/index.db"));
    let mut found: Vec<String> = index
        .values()
        .map(|(facts, _, _)| {
            let text = |key: &str| facts[key].as_str().unwrap_or_default().to_owned();
            format!("{}:{}", text("repository"), text("file_path"))
        })
        .collect();
    found.sort();
    found.retain(|file| !file.ends_with(".gitattributes"));
    assert_eq!(found, [format!("globs:{folders}c.md"), "healthy:a.md".into(), "twice:a.md".into()]);
}

/// An entry of unknown size, as a caller may pass it.
#[tokio::test]
async fn contents_of_unknown_size_are_read_within_the_bounds() {
    let repo = GitRepo::init("r");
    let commit = repo.write("big.md", "x".repeat(3 << 20)).write("a.md", "x").commit("one");
    let limits = Limits { object_bytes: ByteSize(1000), ..Limits::default() };
    let source = GitSource::new("git").with_limits(limits, 1000);
    let at = repo_ref(repo.path());
    let tree = GitSource::new("git").tree(&at, commit).await.expect("a tree");
    let unsized_ones = tree.into_iter().map(|entry| TreeEntry { size: None, ..entry }).collect();
    let got = fetch(&source, &at, commit, unsized_ones).await.expect("the other");
    assert_eq!(got.contents.keys().collect::<Vec<_>>(), ["a.md"]);
    let error = &got.errors["big.md"];
    assert_eq!(error.kind, ErrorKind::BadInput);
    names(error, "object_bytes");
}
