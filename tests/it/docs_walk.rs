//! Runs every shell block of the README and of the tutorials, in the order of the page, in one shell. A `text` block that
//! follows a `sh` block is the expected output. In it, a line with only `…` matches any lines.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::github::{FakeGithub, TOKEN};
use crate::support::openai::{FakeOpenAi, Options};
use crate::support::page::{Block, Page, root, updating};
use crate::support::pinecone::{KEY as PINECONE_KEY, Pinecone};
use crate::support::world::{World, redact};

/// What the pages show in place of the folder that a test runs in.
const HOME: &str = "/home/ada";
/// Ends the output of a block.
const MARK: &str = "@@ end of block @@";

/// The shell blocks of a page, each with the block that shows its output.
fn steps(page: &Page) -> Vec<(Block, Option<Block>)> {
    let lines: Vec<&str> = page.text.lines().collect();
    let blocks = page.blocks();
    let mut steps = Vec::new();
    for (at, block) in blocks.iter().enumerate().filter(|(_, block)| block.language == "sh") {
        let shown = blocks.get(at + 1).filter(|next| {
            let between = &lines[block.lines.end + 1..next.lines.start - 1];
            next.language == "text" && between.iter().all(|line| line.is_empty())
        });
        steps.push((block.clone(), shown.cloned()));
    }
    steps
}

/// Runs the blocks of a page in one shell, with replacements that must all apply, after a preamble. Returns the output
/// of each block.
#[track_caller]
fn run(world: &World, page: &Page, preamble: &str, replaced: &[(&str, &str)]) -> Vec<String> {
    let mut script = format!("set -eu\n{preamble}\n");
    let mut unused: Vec<&str> = replaced.iter().map(|(from, _)| *from).collect();
    for (block, _) in steps(page) {
        let mut code = block.code;
        for (from, to) in replaced {
            if code.contains(from) {
                unused.retain(|unused| unused != from);
                code = code.replace(from, to);
            }
        }
        script.push_str(&format!("{code}\necho '{MARK}'\n"));
    }
    assert!(unused.is_empty(), "{}: nothing to replace: {unused:?}", page.name);
    let program = Path::new(env!("CARGO_BIN_EXE_reposync"));
    let folder = program.parent().expect("a folder").display();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap_or_default());
    let environment = world.command(&[]);
    let mut shell = Command::new("sh");
    shell.current_dir(world.path(".")).env_clear();
    shell.envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.env("PATH", path).env("GIT_CONFIG_NOSYSTEM", "1");
    // The output of both streams in the order in which a terminal shows it.
    let all = format!("exec 2>&1\n{script}");
    let output = shell.args(["-c", &all]).stdin(Stdio::null()).output().expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}: {}\n{text}", page.name, output.status);
    let mark = format!("{MARK}\n");
    let mut outputs: Vec<String> = text.split(&mark).map(str::to_owned).collect();
    assert_eq!(outputs.pop().as_deref(), Some(""), "{text}");
    outputs
}

/// True if a text is as shown, where `…` stands for any lines.
fn matches(shown: &[&str], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((&"…", rest)) => (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..])),
        Some((first, rest)) => {
            printed.split_first().is_some_and(|(line, others)| line == first && matches(rest, others))
        }
    }
}

/// Compares the outputs with those that the page shows, or writes them into the page. `names` are texts of this test and
/// what the page shows in their place.
#[track_caller]
fn compare(world: &World, page: &Page, outputs: &[String], names: &[(&str, &str)]) {
    let mut lines: Vec<String> = page.text.lines().map(str::to_owned).collect();
    let mut differences = Vec::new();
    for ((_, shown), printed) in steps(page).iter().zip(outputs).rev() {
        let Some(shown) = shown else { continue };
        let root = world.path(".").canonicalize().expect("exists");
        let mut printed = printed.replace(root.to_str().expect("UTF-8"), HOME);
        for (own, name) in names {
            printed = printed.replace(own, name);
        }
        let (expected, found) = (redact(&shown.code, Path::new(HOME)), redact(&printed, Path::new(HOME)));
        let same = matches(&expected.lines().collect::<Vec<_>>(), &found.lines().collect::<Vec<_>>());
        if !same && updating() && !shown.code.lines().any(|line| line == "…") {
            lines.splice(shown.lines.clone(), printed.trim_end().lines().map(str::to_owned));
        } else if !same {
            differences
                .push(format!("{}:{}: shown:\n{expected}\nprinted:\n{found}", page.name, shown.lines.start));
        }
    }
    if updating() {
        std::fs::write(root().join(&page.name), lines.join("\n") + "\n").expect("written");
    }
    assert!(differences.is_empty(), "run `just docs`:\n{}", differences.join("\n\n"));
}

/// In place of a build: the built program, and no tests within this test.
const CARGO: &str = r#"
cargo() {
  case "$*" in
    "run -- "*) shift 2; reposync "$@" ;;
    "install --path engine") test -f Cargo.toml ;;
    test) ;;
    *) echo "no such command is expected: cargo $*"; exit 64 ;;
  esac
}
"#;

#[test]
fn the_readme_runs() {
    let world = World::new();
    let repo = world.repo("reposync");
    let text = |name: &str| std::fs::read(root().join(name)).expect(name);
    for name in ["README.md", "Cargo.toml", "reposync.toml", "reposync.lock", "plugins/changelog.wasm"] {
        repo.write(name, text(name));
    }
    for page in Page::below("docs") {
        repo.write(&page.name, page.text);
    }
    repo.commit("first");
    let page = Page::read("README.md");
    let outputs = run(&world, &page, &format!("{CARGO}\ncd reposync\nmkdir -p ~/my-index"), &[]);
    assert!(outputs[0].contains("Done: "), "{}", outputs[0]);
    assert!(outputs[1].contains("1. "), "{}", outputs[1]);
    compare(&world, &page, &outputs, &[]);
}

#[test]
fn the_tutorial_for_one_repository_runs() {
    let world = World::new();
    let repo = world.repo("handbook");
    repo.write(
        "README.md",
        "# Handbook\n\nHow we work.\n\n## Releases\n\nA release is cut on Thursday. Write the changelog, tag the \
         commit, and push the tag; the pipeline publishes the packages.\n\n## Incidents\n\nPage the person on call. \
         The first message says what users see and since when.\n",
    )
    .write(
        "src/retry.py",
        "import time\n\n\ndef with_back_off(call, tries=5):\n    \"\"\"Calls again after a failure, and waits twice as \
         long each time.\"\"\"\n    for n in range(tries):\n        try:\n            return call()\n        except \
         OSError:\n            time.sleep(2**n)\n    return call()\n",
    )
    .commit("first");
    let preamble = "git config --global user.name Ada\ngit config --global user.email ada@example.com";
    let page = Page::read("docs/tutorials/laptop.md");
    let outputs = run(&world, &page, preamble, &[]);
    compare(&world, &page, &outputs, &[]);
}

#[test]
fn the_tutorial_for_an_organization_runs() {
    let (github, pinecone) = (FakeGithub::start(), Pinecone::start(None));
    let openai = FakeOpenAi::start(Options {
        key: Some("sk-the-key-of-openai".into()),
        dimensions: 1536,
        ..Options::default()
    });
    let world = World::new();
    for (name, about) in [("handbook", "How we work"), ("api", "The service"), ("website", "The pages")] {
        let repo = world.repo(&format!("server/{name}"));
        repo.write(
            "README.md",
            format!("# {about}\n\nWhat {name} is for.\n\n## On call\n\nPage the person on call.\n"),
        );
        repo.write("docs/start.md", format!("# Start\n\nHow to begin with {name}.\n"));
        repo.write("logo.png", b"\x89PNG\0\0").commit("first");
        github.repository(&format!("acme/{name}"), Some(repo.path()));
    }
    let page = Page::read("docs/tutorials/organization.md");
    let github_kind = format!("kind = \"github\"\napi_url = \"{}\"", github.api_url());
    let openai_kind = format!("kind = \"openai\"\nbase_url = \"{}\"", openai.url());
    let pinecone_kind = format!("kind = \"pinecone\"\napi_url = \"{}\"", pinecone.server.url());
    let outputs = run(
        &world,
        &page,
        "",
        &[
            ("\"github_pat_…\"", TOKEN),
            ("\"sk-…\"", "sk-the-key-of-openai"),
            ("\"pcsk_…\"", PINECONE_KEY),
            ("kind = \"github\"", &github_kind),
            ("kind = \"openai\"", &openai_kind),
            ("kind = \"pinecone\"", &pinecone_kind),
            ("listen = \"127.0.0.1:8080\"", "listen = \"127.0.0.1:0\""),
        ],
    );
    let host = pinecone.server.url().replace("http://", "") + "/data/docs-1a2b";
    compare(&world, &page, &outputs, &[(&host, "docs-1a2b.svc.aped-4627-b74a.pinecone.io")]);
}

#[test]
fn an_ellipsis_stands_for_any_lines() {
    assert!(matches(&["a", "…", "d"], &["a", "b", "c", "d"]) && matches(&["a", "…"], &["a"]));
    assert!(
        !matches(&["a", "…", "d"], &["a", "b"]) && !matches(&["a"], &["a", "b"]) && !matches(&["a"], &["b"])
    );
}
