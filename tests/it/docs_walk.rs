//! Runs every shell block of the README and of the tutorials, in the order of the page, in one shell in a terminal. A `text`
//! block that follows a `sh` block is the expected output; in it, a line with only `…` matches any lines. A picture between
//! the two shows the commands and their output in colour.

use std::path::Path;

use crate::support::browser::{self, Browser, VIEWS};
use crate::support::daemon::Daemon;
use crate::support::github::{FakeGithub, TOKEN};
use crate::support::openai::{FakeOpenAi, Options};
use crate::support::page::{Block, Page, root, updating};
use crate::support::pinecone::{KEY as PINECONE_KEY, Pinecone};
use crate::support::terminal::{self, Screen};
use crate::support::world::{World, redact};

/// What the pages show in place of the folder that a test runs in.
const HOME: &str = "/home/ada";
/// Ends the output of a block.
const MARK: &str = "@@ end of block @@";

/// A shell block of a page.
struct Step {
    block: Block,
    /// The text that stands for the picture of its output, and the path of the picture from the page.
    picture: Option<(String, String)>,
    /// The block that shows its output.
    shown: Option<Block>,
}

/// The shell blocks of a page, in order.
fn steps(page: &Page) -> Vec<Step> {
    let picture = regex::Regex::new(r"^!\[([^\]]+)\]\((\S+\.svg)\)$").expect("an expression");
    let lines: Vec<&str> = page.text.lines().collect();
    let blocks = page.blocks();
    let mut steps = Vec::new();
    for (at, block) in blocks.iter().enumerate().filter(|(_, block)| block.language == "sh") {
        let next = blocks.get(at + 1);
        let end = next.map_or(lines.len(), |next| next.lines.start - 1);
        let below = &lines[block.lines.end + 1..end];
        let found = below.iter().find(|line| !line.is_empty()).and_then(|line| picture.captures(line));
        let frame = |line: &str| line.is_empty() || line.starts_with("![") || line.starts_with("<details>");
        steps.push(Step {
            block: block.clone(),
            picture: found.map(|found| (found[1].to_owned(), found[2].to_owned())),
            shown: next
                .filter(|next| next.language == "text" && below.iter().all(|line| frame(line)))
                .cloned(),
        });
    }
    steps
}

/// Runs the blocks of a page in one shell, with replacements that must all apply, after a preamble. Returns what the
/// terminal shows of each block.
#[track_caller]
fn run(world: &World, page: &Page, preamble: &str, replaced: &[(&str, String)]) -> Vec<Screen> {
    let mut script = format!("{}set -eu\n{preamble}\n", terminal::preamble());
    let mut unused: Vec<&str> = replaced.iter().map(|(from, _)| *from).collect();
    for step in steps(page) {
        let mut code = step.block.code;
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
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, script).expect("written");
    let environment = world.command(&[]);
    let mut shell = terminal::shell(file.path());
    let term = shell
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect::<Vec<_>>();
    shell.current_dir(world.path(".")).env_clear().envs(term);
    shell.envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.env("PATH", path).env("GIT_CONFIG_NOSYSTEM", "1").env_remove("NO_COLOR").env_remove("COLUMNS");
    let output = shell.output().expect("`script` of util-linux or BSD");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}: {}\n{text}", page.name, output.status);
    let mark = format!("{MARK}\r\n");
    let mut outputs: Vec<&str> = text.split(&mark).collect();
    assert_eq!(outputs.pop(), Some(""), "{text}");
    outputs.into_iter().map(Screen::after).collect()
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

/// Compares the outputs with those that the page shows, as text and as pictures, or writes them. `names` are texts of this
/// test and what the page shows in their place.
#[track_caller]
fn compare(world: &World, page: &Page, outputs: Vec<Screen>, names: &[(&str, &str)]) {
    let mut lines: Vec<String> = page.text.lines().map(str::to_owned).collect();
    let mut differences = Vec::new();
    let own = world.path(".").canonicalize().expect("exists");
    let alike = |one: &str, other: &str| {
        let (one, other) = (redact(one, Path::new(HOME)), redact(other, Path::new(HOME)));
        matches(&one.lines().collect::<Vec<_>>(), &other.lines().collect::<Vec<_>>())
    };
    for (step, mut screen) in steps(page).iter().zip(outputs).rev() {
        screen = screen.replaced(own.to_str().expect("UTF-8"), HOME);
        for (own, name) in names {
            screen = screen.replaced(own, name);
        }
        if let Some(shown) = &step.shown {
            let printed = screen.text();
            let same = alike(&shown.code, &printed);
            if !same && updating() && !shown.code.lines().any(|line| line == "…") {
                lines.splice(shown.lines.clone(), printed.trim_end().lines().map(str::to_owned));
            } else if !same {
                let at = shown.lines.start;
                differences.push(format!("{}:{at}: shown:\n{}\nprinted:\n{printed}", page.name, shown.code));
            }
        }
        if let Some((title, picture)) = &step.picture {
            let file = root().join(&page.name).parent().expect("a folder").join(picture);
            let drawn = screen.svg(title, &step.block.code);
            let found = std::fs::read_to_string(&file).unwrap_or_default();
            let same = alike(&found, &drawn);
            if !same && updating() {
                std::fs::write(&file, drawn).expect("written");
            } else if !same {
                differences.push(format!("{}: the picture {picture} is out of date", page.name));
            }
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
    assert!(outputs[0].text().contains("Done: "), "{}", outputs[0].text());
    assert!(outputs[1].text().contains("1. "), "{}", outputs[1].text());
    compare(&world, &page, outputs, &[]);
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
    compare(&world, &page, outputs, &[]);
}

/// The organization of the tutorial, on substitutes for the services.
struct Acme {
    world: World,
    page: Page,
    /// Parts of the page that name the services, and their replacements.
    replaced: Vec<(&'static str, String)>,
    github: FakeGithub,
    openai: FakeOpenAi,
    pinecone: Pinecone,
}

impl Acme {
    const OPENAI_KEY: &str = "sk-the-key-of-openai";

    fn start() -> Self {
        let (github, pinecone) = (FakeGithub::start(), Pinecone::start(None));
        let openai = FakeOpenAi::start(Options {
            key: Some(Self::OPENAI_KEY.into()),
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
        let replaced = vec![
            ("kind = \"github\"", format!("kind = \"github\"\napi_url = \"{}\"", github.api_url())),
            ("kind = \"openai\"", format!("kind = \"openai\"\nbase_url = \"{}\"", openai.url())),
            ("kind = \"pinecone\"", format!("kind = \"pinecone\"\napi_url = \"{}\"", pinecone.server.url())),
            ("listen = \"127.0.0.1:8080\"", "listen = \"127.0.0.1:0\"".to_owned()),
        ];
        let page = Page::read("docs/tutorials/organization.md");
        Self { world, page, replaced, github, openai, pinecone }
    }
}

#[test]
fn the_tutorial_for_an_organization_runs() {
    let Acme { world, page, mut replaced, github: _github, openai: _openai, pinecone } = Acme::start();
    let keys = [("\"github_pat_…\"", TOKEN), ("\"sk-…\"", Acme::OPENAI_KEY), ("\"pcsk_…\"", PINECONE_KEY)];
    replaced.extend(keys.map(|(shown, key)| (shown, key.to_owned())));
    let outputs = run(&world, &page, "", &replaced);
    let host = pinecone.server.url().replace("http://", "") + "/data/docs-1a2b";
    compare(&world, &page, outputs, &[(&host, "docs-1a2b.svc.aped-4627-b74a.pinecone.io")]);
}

/// The tutorial's picture of the console is what the daemon serves. Browsers draw letters differently, so small differences
/// do not count.
#[test]
fn the_tutorial_shows_the_console() {
    let Some(browser) = Browser::start() else { return };
    let acme = Acme::start();
    let blocks = acme.page.blocks();
    let file = blocks.iter().find_map(|block| block.code.split("<<'EOF'\n").nth(1)).expect("the file");
    let mut file = file.split("EOF\n").next().expect("its end").to_owned();
    for (from, to) in &acme.replaced {
        file = file.replace(from, to);
    }
    acme.world.config(&format!("{file}token = \"{}\"\n", browser::TOKEN));
    let keys =
        [("GITHUB_TOKEN", TOKEN), ("OPENAI_API_KEY", Acme::OPENAI_KEY), ("PINECONE_API_KEY", PINECONE_KEY)];
    let keys = keys.map(|(name, key)| (name.to_owned(), key.to_owned())).to_vec();
    let mut daemon = Daemon::start_with(&acme.world, keys);
    daemon.token = Some(browser::TOKEN.to_owned());
    daemon.until_runs(1);
    browser.view(VIEWS[0]);
    browser.sign_in(&format!("http://{}/console/projects/handbook", daemon.address()));
    browser.until_shows("acme/website");
    let taken = browser.capture(490);
    let shown = root().join("docs/tutorials/pictures/organization-console.png");
    if updating() {
        std::fs::write(&shown, &taken).expect("written");
    }
    let difference = browser.difference(&taken, &std::fs::read(&shown).expect("a picture"));
    assert!(difference < 0.02, "{}: {difference}: run `just docs`", shown.display());
}

#[test]
fn an_ellipsis_stands_for_any_lines() {
    assert!(matches(&["a", "…", "d"], &["a", "b", "c", "d"]) && matches(&["a", "…"], &["a"]));
    assert!(
        !matches(&["a", "…", "d"], &["a", "b"]) && !matches(&["a"], &["a", "b"]) && !matches(&["a"], &["b"])
    );
}
