//! The configurations in `examples/` are valid and work: each is run as it is, but for the addresses of services, against
//! fakes of these or real servers.

use std::path::{Path, PathBuf};

use crate::support::git_host::GitHost;
use crate::support::github::{FakeGithub, TOKEN};
use crate::support::openai::{FakeOpenAi, Options};
use crate::support::pgvector;
use crate::support::pinecone::{KEY as PINECONE_KEY, Pinecone};
use crate::support::slack::Slack;
use crate::support::world::World;

const MODEL_KEY: &str = "key-of-the-model-0123";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// Gives a repository files for every chunker of the examples.
fn filled(repo: &crate::support::git_repo::GitRepo) {
    repo.write("README.md", "# Service\n\nHow a deletion is guarded.\n")
        .write(
            "src/retry.rs",
            "/// Waits before the next try.\npub fn back_off(tries: u32) -> u32 {\n    tries * 2\n}\n",
        )
        .write("api/service.proto", "// A request.\nmessage Request {\n  string id = 1;\n}\n")
        .write("web/app.ts", "export function greet(name: string): string {\n  return `Hello ${name}`;\n}\n")
        .write("settings.ini", "[server]\nport = 1\n[client]\nretries = 3\n")
        .write(
            "CHANGELOG.md",
            "# Changelog\n\n## 1.1.0\n\n- Zebras are supported.\n\n## 1.0.0\n\n- First release.\n",
        )
        .commit("first");
}

/// Runs an example in a world, with replacements in its text that must all apply.
#[track_caller]
fn run(world: &World, name: &str, replaced: &[(&str, &str)]) {
    let mut text = std::fs::read_to_string(folder().join(name).join("reposync.toml")).expect("an example");
    for (from, to) in replaced {
        assert!(text.contains(from), "{name}: {from}");
        text = text.replace(from, to);
    }
    world.config(&text);
    world.ok(&["validate"]);
    world.ok(&["plan"]);
    world.ok(&["apply"]);
    let verified = world.ok(&["verify"]).stdout;
    assert!(verified.contains("Ledger and store agree"), "{verified}");
    assert!(world.ok(&["status"]).stdout.contains("current"), "{name}");
}

fn with_repo(world: World) -> World {
    filled(&world.repo("docs"));
    world
}

#[test]
fn every_example_is_listed_and_tested() {
    let listed = std::fs::read_to_string(folder().join("README.md")).expect("a list");
    let tests = include_str!("examples.rs");
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).expect("examples") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("text");
        if entry.path().is_dir() {
            count += 1;
            assert!(
                listed.contains(&format!("[{name}]({name}/reposync.toml)")),
                "examples/README.md: {name}"
            );
            assert!(tests.contains(&format!("\"{name}\"")), "tests/it/examples.rs: {name}");
        }
    }
    assert!(count >= 8, "{count}");
}

#[test]
fn laptop() {
    let world = with_repo(World::new());
    run(&world, "laptop", &[("\".\"", "\"docs\"")]);
    assert!(world.ok(&["query", "how is a deletion guarded"]).stdout.contains("README.md"));
    assert!(world.ok(&["query", "--symbol", "back_off"]).stdout.contains("src/retry.rs"));
}

#[test]
fn monorepo() {
    let world = with_repo(World::new());
    run(&world, "monorepo", &[("path = \".\"", "path = \"docs\"")]);
    let of = |project: &str, words: &str| world.ok(&["query", words, "--project", project, "--files"]).stdout;
    assert!(of("docs", "deletion").contains("README.md"));
    assert!(of("backend", "request").contains("api/service.proto"));
    assert!(of("web", "greet").contains("web/app.ts") && !of("web", "greet").contains("retry.rs"));
}

#[test]
fn components() {
    let world = with_repo(World::new());
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/changelog.wasm");
    world.write("plugins/changelog.wasm", std::fs::read(shipped).expect("it is shipped"));
    run(&world, "components", &[("\".\"", "\"docs\"")]);
    assert!(world.ok(&["query", "zebras"]).stdout.contains("CHANGELOG.md"));
}

fn model(name: &str) -> FakeOpenAi {
    FakeOpenAi::start(Options {
        key: Some(MODEL_KEY.into()),
        model: name.into(),
        dimensions: 32,
        ..Options::default()
    })
}

#[test]
fn two_models() {
    let openai = model("text-embedding-3-large");
    let world = with_repo(World::new().env("OPENAI_API_KEY", MODEL_KEY));
    let kind = format!("kind = \"openai\"\nbase_url = \"{}\"", openai.url());
    let replaced = [
        ("\".\"", "\"docs\""),
        ("kind = \"openai\"", kind.as_str()),
        ("dimensions = 1024", "dimensions = 32"),
    ];
    run(&world, "two-models", &replaced);
    assert!(world.ok(&["query", "back_off", "--project", "code"]).stdout.contains("src/retry.rs"));
}

#[test]
fn ollama_and_pgvector() {
    let Some(server) = pgvector::server() else { return };
    let ollama = FakeOpenAi::start(Options {
        key: None,
        model: "nomic-embed-text".into(),
        shortens: false,
        ..Options::default()
    });
    let world = with_repo(World::new().env("DATABASE_URL", &server.database()));
    let replaced = [("\".\"", "\"docs\""), ("http://127.0.0.1:11434/v1", &*ollama.url())];
    run(&world, "ollama-and-pgvector", &replaced);
    assert!(world.ok(&["query", "deletion guarded", "--mode", "keyword"]).stdout.contains("README.md"));
}

#[test]
fn shared_postgresql() {
    let Some(server) = pgvector::server() else { return };
    let url = server.database();
    server.sql(&url, "CREATE SCHEMA reposync");
    let world = World::new().env("DATABASE_URL", &url);
    filled(&world.repo("payments"));
    world.repo("search").write("ranking.md", "# Ranking\n\nZebras come first.\n").commit("first");
    run(&world, "shared-postgresql", &[]);
    let found = world.ok(&["query", "zebras come first", "--json"]).json();
    assert_eq!(found["matches"][0]["metadata"]["file_path"], "ranking.md");
    assert_eq!(server.sql(&url, "SELECT count(*) FROM reposync.chunks_namespaces"), "2");
}

#[test]
fn own_git_server() {
    let host = GitHost::start();
    host.demand("reposync", "token-of-the-server-01");
    filled(&host.repo("platform/api"));
    host.repo("platform/tools/deploy").write("a.md", "# Deploy\n\nZebras are deployed.\n").commit("first");
    let world = World::new().env("GIT_TOKEN", "token-of-the-server-01");
    run(&world, "own-git-server", &[("https://git.example.com", &*host.url())]);
    assert!(world.ok(&["query", "zebras", "--repo", "deploy"]).stdout.contains("a.md"));
}

#[test]
fn organization_to_pinecone() {
    let (github, pinecone, slack) = (FakeGithub::start(), Pinecone::start(Some(32)), Slack::start());
    let openai = model("text-embedding-3-small");
    let world = World::new()
        .env("GITHUB_TOKEN", TOKEN)
        .env("OPENAI_API_KEY", MODEL_KEY)
        .env("PINECONE_API_KEY", PINECONE_KEY)
        .env("SLACK_WEBHOOK_URL", &slack.url())
        .env("REPOSYNC_API_TOKEN", "token-of-the-api-0123")
        .env("GITHUB_WEBHOOK_SECRET", "secret-of-the-hook-01");
    let repo = world.repo("handbook");
    filled(&repo);
    github.repository("acme/handbook-docs", Some(repo.path()));
    let replaced = [
        ("kind = \"github\"", &*format!("kind = \"github\"\napi_url = \"{}\"", github.api_url())),
        ("kind = \"openai\"", &*format!("kind = \"openai\"\nbase_url = \"{}\"", openai.url())),
        ("kind = \"pinecone\"", &*format!("kind = \"pinecone\"\napi_url = \"{}\"", pinecone.server.url())),
        ("index = \"acme\"", "index = \"docs\""),
        ("dimensions = 1536", "dimensions = 32"),
    ];
    run(&world, "organization-to-pinecone", &replaced);
    assert!(!world.ok(&["query", "deletion", "--project", "handbook", "--files"]).stdout.is_empty());
}
