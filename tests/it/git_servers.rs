//! Whole runs over repositories on a server, by the real program against the real `git http-backend` and `sshd`:
//! little is asked, nothing is embedded twice, no program is started, no secret leaves.

use serde_json::Value;

use crate::support::git_host::{Asked, GitHost};
use crate::support::git_repo::GitRepo;
use crate::support::http::{Fault, Gate};
use crate::support::local::{Index, WORK, read_index};
#[cfg(unix)]
use crate::support::sshd::Sshd;
use crate::support::tls_front::TlsFront;
use crate::support::world::{Ran, World};

/// A configuration for these repositories; `stage` are keys of the source.
fn config(url: &str, stage: &str, repositories: &str) -> String {
    format!(
        "[stages.server]\nkind = \"git-remote\"\nbase_url = \"{url}\"\n{stage}\n\
         [stages.prose]\nkind = \"sentence\"\n[stages.model]\nkind = \"local\"\n[stages.index]\nkind = \"sqlite\"\n\
         [projects.docs]\npipeline = [\"server\", \"prose\", \"model\", \"index\"]\nrepositories = {repositories}\n"
    )
}

/// A host with a repository of two files, and a world that is configured for it.
struct Lab {
    host: GitHost,
    repo: GitRepo,
    world: World,
}

impl Lab {
    fn new() -> Self {
        Self::with("", World::new())
    }

    fn with(stage: &str, world: World) -> Self {
        let host = GitHost::start();
        let repo = host.repo("group/sub/docs");
        repo.write("README.md", "The readme.\n").write("guide/start.md", "Start here.\n").commit("one");
        world.config(&config(&host.url(), stage, "[\"group/sub/docs\"]"));
        Self { host, repo, world }
    }

    /// `apply --json`: the counters of its work, and what was asked of the host.
    #[track_caller]
    fn apply(&self) -> ([u64; 4], Asked) {
        let counts = counts(&self.world.ok(&["apply", "--json"]).json());
        (counts, self.host.asked())
    }

    fn index(&self) -> Index {
        read_index(&self.world.path(".reposync/index.db"))
    }

    /// Panics unless the index equals that of a world that starts from nothing.
    #[track_caller]
    fn assert_as_fresh(&self) {
        let fresh = World::new();
        fresh.config(&self.world.read("reposync.toml"));
        fresh.ok(&["apply"]);
        self.host.asked();
        assert_eq!(self.index(), read_index(&fresh.path(".reposync/index.db")));
    }
}

fn counts(report: &Value) -> [u64; 4] {
    WORK.map(|name| report["projects"][0]["counts"][name].as_u64().expect(name))
}

#[test]
fn a_run_without_changes_asks_each_repository_once_and_fetches_nothing() {
    let lab = Lab::new();
    let other = lab.host.repo("other");
    other.write("a.md", "Another one.\n").commit("one");
    lab.world.config(&config(
        &lab.host.url(),
        "",
        "[\"group/sub/docs\", { url = \"other\", name = \"second\" }]",
    ));
    assert_eq!(lab.apply(), ([3, 0, 3, 0], Asked { first: 2, ls_refs: 2, fetches: 2 }));
    assert_eq!(lab.apply(), ([0, 0, 0, 0], Asked { first: 2, ls_refs: 2, fetches: 0 }));
    lab.assert_as_fresh();
    let names: Vec<String> = lab
        .index()
        .values()
        .map(|(facts, ..)| facts["repository"].as_str().expect("a name").to_owned())
        .collect();
    assert!(
        names.contains(&"group/sub/docs".to_owned()) && names.contains(&"second".to_owned()),
        "{names:?}"
    );
}

#[test]
fn a_commit_costs_its_own_texts_and_a_force_push_nothing_more() {
    let lab = Lab::new();
    lab.apply();
    lab.repo.write("guide/start.md", "Start elsewhere.\n").commit("two");
    assert_eq!(lab.apply(), ([1, 0, 1, 1], Asked { first: 1, ls_refs: 1, fetches: 1 }));
    lab.assert_as_fresh();
    // The branch goes back, and on from there.
    lab.repo.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    lab.repo.write("new.md", "A new page.\n").commit("other");
    assert_eq!(lab.apply().0, [2, 0, 2, 1]);
    lab.assert_as_fresh();
    lab.repo.git(&["rm", "--quiet", "new.md"]);
    lab.repo.commit("removed");
    assert_eq!(lab.apply().0, [0, 0, 0, 1]);
    lab.assert_as_fresh();
}

#[test]
fn a_plan_fetches_for_the_run_that_follows() {
    let lab = Lab::new();
    let plan = lab.world.ok(&["plan"]);
    assert!(plan.stdout.contains("+ guide/start.md"), "{}", plan.stdout);
    assert_eq!(lab.host.asked().fetches, 1);
    assert_eq!(lab.apply(), ([2, 0, 2, 0], Asked { first: 1, ls_refs: 1, fetches: 0 }));
}

#[test]
fn two_processes_fetch_a_commit_once() {
    let lab = Lab::new();
    // Another ledger and another index, and the same folder of clones.
    let second = format!("[engine]\ncache = \"../.reposync\"\n{}", lab.world.read("reposync.toml"));
    lab.world.write("second/reposync.toml", second);
    let gate = Gate::default();
    lab.host.server.fail("POST", Fault::None);
    lab.host.server.fail("POST", Fault::Gate(gate.clone()));
    let one = lab.world.spawn(&["apply"]);
    gate.until_reached();
    let mut two = lab.world.spawn(&["apply", "--config", "second/reposync.toml"]);
    let listed = |request: &&crate::support::http::Exchange| {
        String::from_utf8_lossy(&request.body).contains("command=ls-refs")
    };
    two.until("the second one has asked", |_| lab.host.server.requests().iter().filter(listed).count() == 2);
    gate.open();
    one.wait().exits(0);
    two.wait().exits(0);
    assert_eq!(lab.host.asked().fetches, 1);
    assert_eq!(lab.index(), read_index(&lab.world.path("second/.reposync/index.db")));
}

#[test]
fn clones_that_were_removed_are_fetched_again_and_nothing_is_embedded_again() {
    let lab = Lab::new();
    let noise: Vec<u8> =
        (0..20_000_u32).flat_map(|n| blake3::hash(&n.to_le_bytes()).as_bytes().to_owned()).collect();
    let [a, b] = ["a", "b"].map(|name| {
        let repo = lab.host.repo(name);
        repo.write("README.md", format!("About {name}.\n")).write("noise.bin", &noise).commit("one");
        repo
    });
    // Room for one of the two.
    let both = config(&lab.host.url(), "clones = \"1 MiB\"", "[\"a\"]");
    let second =
        both[both.find("[projects.docs]").expect("a project")..].replace("[projects.docs]", "[projects.b]");
    lab.world.config(&format!("{both}{}", second.replace("[\"a\"]", "[\"b\"]")));
    let apply = |project: &str| {
        let report = lab.world.ok(&["apply", "--json", "--project", project]).json();
        (counts(&report), lab.host.asked().fetches)
    };
    let clones = || {
        let entries = lab.world.path(".reposync/clones").read_dir().expect("a folder");
        entries.filter(|entry| entry.as_ref().expect("readable").path().join("objects").exists()).count()
    };
    assert_eq!(apply("docs"), ([1, 0, 1, 0], 1));
    assert_eq!(apply("b"), ([1, 0, 1, 0], 1));
    assert_eq!(clones(), 1);
    assert_eq!(apply("docs"), ([0, 0, 0, 0], 0), "nothing is needed of what was removed");
    a.write("more.md", "More.\n").commit("two");
    assert_eq!(apply("docs"), ([1, 0, 1, 0], 1));
    assert_eq!(clones(), 1);
    b.write("more.md", "More.\n").commit("two");
    assert_eq!(apply("b"), ([1, 0, 1, 0], 1), "the same text in another repository");
    std::fs::remove_dir_all(lab.world.path(".reposync/clones")).expect("removed");
    assert_eq!(apply("b"), ([0, 0, 0, 0], 0));
    b.write("more.md", "Yet more.\n").commit("three");
    assert_eq!(apply("b"), ([1, 0, 1, 1], 1));
}

#[test]
fn credentials_are_sent_over_tls_and_shown_nowhere() {
    let host = GitHost::start();
    let front = TlsFront::of(&host.url());
    host.repo("docs").write("README.md", "The readme.\n").commit("one");
    host.demand("git", "correct-horse");
    let world = World::new().env("SSL_CERT_FILE", &TlsFront::authority()).env("RIGHT", "correct-horse");
    let world = world.env("WRONG", "battery-staple");
    let with = |name: &str| {
        let stage = format!("token = \"${{{name}}}\"\nlinks = \"gitlab\"");
        world.config(&config(&front.url(), &stage, "[\"docs\"]"));
    };
    with("WRONG");
    let wrong = world.run(&["apply", "-vv"]).exits(1);
    assert!(wrong.stdout.contains("does not accept the credentials of the stage (401"), "{}", wrong.stdout);
    assert_eq!(host.asked(), Asked { first: 1, ls_refs: 0, fetches: 0 }, "one request, not a storm");
    with("RIGHT");
    let right = world.run(&["apply", "-vv"]).exits(0);
    let coded = ["Z2l0OmNvcnJlY3QtaG9yc2U", "correct-horse", "battery-staple"];
    for ran in [wrong, right, world.ok(&["validate", "--show"])] {
        let said = [ran.stdout, ran.stderr].concat();
        assert!(coded.iter().all(|secret| !said.contains(secret)), "{said}");
    }
    let index = read_index(&world.path(".reposync/index.db"));
    assert_eq!(index.len(), 1);
    let found = world.ok(&["query", "readme", "--json"]).json();
    let link = found["matches"][0]["metadata"]["url"].as_str().expect("a link").to_owned();
    assert!(
        link.starts_with(&format!("{}/docs/-/blob/", front.url())) && link.ends_with("/README.md#L1-1"),
        "{link}"
    );
}

#[test]
fn no_configuration_of_git_is_used() {
    let world = World::new();
    let marker = world.path("marker");
    let touch = format!("touch {}; false", marker.display());
    // Whatever the user or the system has set up, and however it is named.
    let hostile = format!(
        "[credential]\n\thelper = \"!{touch}\"\n[core]\n\tsshCommand = \"{touch}\"\n\taskPass = \"{touch}\"\n\
         [url \"http://127.0.0.1:1/\"]\n\tinsteadOf = http://127.0.0.1\n[http]\n\tproxy = http://127.0.0.1:1\n"
    );
    world.write(".gitconfig", &hostile).write("git/config", &hostile);
    let config_file = world.path("git/config").display().to_string();
    let world = world.env("GIT_CONFIG_GLOBAL", &config_file).env("GIT_CONFIG_SYSTEM", &config_file);
    let world =
        world.env("GIT_SSH_COMMAND", &touch).env("GIT_ASKPASS", &touch).env("GIT_PROXY_COMMAND", &touch);
    let lab = Lab::with("", world);
    assert_eq!(lab.apply().0, [2, 0, 2, 0]);
    lab.host.demand("me", "correct horse");
    let ran = lab.world.run(&["apply"]).exits(3);
    assert!(ran.stdout.contains("asks for credentials"), "{}", ran.stdout);
    assert!(!marker.exists());
}

#[test]
fn one_repository_that_is_refused_leaves_the_others() {
    let lab = Lab::new();
    lab.apply();
    lab.world.config(&config(&lab.host.url(), "", "[\"absent\", \"group/sub/docs\"]"));
    lab.repo.write("more.md", "More.\n").commit("two");
    let ran = lab.world.run(&["apply"]).exits(3);
    assert!(
        ran.stdout.contains("`absent` is not there, or not visible to these credentials"),
        "{}",
        ran.stdout
    );
    assert_eq!(lab.index().len(), 3);
    // One that was there is reported as gone, and stays searchable.
    std::fs::rename(lab.repo.path(), lab.host.folder().join("moved")).expect("moved");
    lab.world.config(&config(&lab.host.url(), "", "[\"group/sub/docs\"]"));
    let ran = lab.world.run(&["apply", "--json"]).exits(0);
    assert!(ran.stdout.contains("is not there any more"), "{}", ran.stdout);
    assert_eq!(lab.index().len(), 3);
}

#[test]
fn mistakes_in_the_file_are_all_reported_with_their_remedy() {
    let world = World::new();
    let problems = |text: &str| {
        let ran: Ran = world.config(text).run(&["validate"]).exits(2);
        [ran.stdout, ran.stderr].concat()
    };
    for (url, stage, repositories, expected) in [
        ("file:///srv/git", "", "[\"a\"]", "use a stage of kind \"git\" for local folders"),
        ("ssh://-oProxyCommand=id/a", "", "[\"a\"]", "a host and a user cannot begin with a dash"),
        ("https://git.example", "ssh_key = \"key\"", "[\"a\"]", "is for ssh, and `base_url` is not"),
        ("ssh://git@git.example", "ssh_key = \"key\"", "[\"a\"]", "`known_hosts` is missing"),
        ("https://git.example", "links = \"github\"", "[\"a\"]", "neither a known host nor a template"),
        ("https://git.example", "", "[\"ext::sh -c id\"]", "names a program"),
        ("https://git.example", "", "[\"https://evil.example/a\"]", "is not on the server of `base_url`"),
        ("https://git.example", "", "[{ path = \"a\" }]", "kind `git-remote` takes a `url`"),
        ("https://git.example", "", "[\"a\", \"a.git\"]", "a second repository named `a`"),
        ("https://git.example", "clone = 1", "[\"a\"]", "did you mean `clones`"),
    ] {
        let said = problems(&config(url, stage, repositories));
        assert!(said.contains(expected), "{url} {stage} {repositories}: {said}");
    }
    let owner =
        config("https://git.example", "", "[]").replace("repositories = []", "organization = \"acme\"");
    assert!(problems(&owner).contains("kind `git-remote` lists no organizations"));
    let shown =
        world.config(&config("https://git.example", "", "[\"group/a.git\"]")).ok(&["validate", "--show"]);
    let expected = "repositories = [{ name = \"group/a\", url = \"https://git.example/group/a.git\" }]";
    assert!(shown.stdout.contains(expected), "{}", shown.stdout);
}

#[cfg(unix)]
#[test]
fn a_run_over_ssh_uses_the_keys_of_the_stage_alone() {
    let Some(sshd) = Sshd::start() else { return };
    let repo = GitRepo::init("docs");
    repo.git(&["config", "uploadpack.allowFilter", "true"]);
    repo.write("README.md", "The readme.\n").commit("one");
    let world = World::new();
    // A configuration of the user that would answer for every host.
    let marker = world.path("marker");
    let command = format!("touch {}", marker.display());
    world.write(".ssh/config", format!("Host *\n  ProxyCommand {command}\n")).write("known_hosts", "");
    let world =
        world.env("GIT_SSH_COMMAND", &command).env("GIT_SSH", &command).env("SSH_AUTH_SOCK", "/nowhere");
    let with = |hosts: &std::path::Path| {
        let stage =
            format!("ssh_key = \"{}\"\nknown_hosts = \"{}\"", sshd.file("client").display(), hosts.display());
        let path = repo.key();
        world.config(&config(
            &sshd.url(),
            &stage,
            &format!("[{{ url = \"{}\", name = \"docs\" }}]", &path[1..]),
        ));
    };
    with(&sshd.file("other_hosts"));
    let ran = world.run(&["apply"]).exits(1);
    assert!(ran.stdout.contains("does not show a key that"), "{}", ran.stdout);
    with(&sshd.file("known_hosts"));
    sshd.connections();
    assert_eq!(counts(&world.ok(&["apply", "--json"]).json()), [1, 0, 1, 0]);
    assert_eq!(sshd.connections(), 2);
    assert_eq!(counts(&world.ok(&["apply", "--json"]).json()), [0, 0, 0, 0]);
    assert_eq!(sshd.connections(), 1);
    repo.write("more.md", "More.\n").commit("two");
    assert_eq!(counts(&world.ok(&["apply", "--json"]).json()), [1, 0, 1, 0]);
    assert!(!marker.exists());
}
