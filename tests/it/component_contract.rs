//! Minor versions of the contract: components of 1.0 and 1.1 side by side, and what 1.1 added.

use std::path::Path;
use std::sync::Arc;

use reposync::chunk::component::{ComponentHost, Folders};
use reposync::chunk::{Chunker as _, Tokens};
use reposync::model::{Body, Document};

use crate::support::component::{Fixture, settings};
use crate::support::local::{Local, STAGES};

/// The components of the repository that were built for version 1.0.
const OF_FIRST_VERSION: [&str; 2] = ["changelog", "sql"];

fn shipped(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../plugins/{name}.wasm"));
    std::fs::read(path).expect("it is shipped")
}

#[test]
fn components_of_both_versions_work_in_one_pipeline() {
    let local = Local::new();
    let world = &local.world;
    for name in OF_FIRST_VERSION {
        world.write(&format!("plugins/{name}.wasm"), shipped(name));
    }
    world.write("plugins/old.wasm", Fixture::new("lines").of_first_version().build());
    world.write("plugins/new.wasm", Fixture::new("derived").build());
    for (name, version) in [("changelog", "1.0.0"), ("sql", "1.0.0"), ("old", "1.0.0"), ("new", "1.1.0")] {
        let info = world.ok(&["plugin", "inspect", &format!("plugins/{name}.wasm"), "--json"]).json();
        let types = format!("reposync:chunker/types@{version}");
        assert!(
            info["imports"].as_array().expect("a list").iter().any(|import| import.as_str() == Some(&types)),
            "{info}"
        );
    }
    let stage = |name: &str, globs: &str| {
        format!("[stages.{name}]\nkind = \"wasm\"\ncomponent = \"plugins/{name}.wasm\"\nmatch = [{globs}]\n")
    };
    local.config(&format!(
        "{STAGES}\n{}{}{}{}[projects.docs]\npipeline = [\"local\", \"changelog\", \"sql\", \"new\", \"old\", \"model\", \"index\"]\nrepositories = [\"docs\"]\n",
        stage("changelog", "\"CHANGELOG.md\""),
        stage("sql", "\"**/*.sql\""),
        stage("new", "\"guide/start.md\""),
        stage("old", "\"**/*.md\""),
    ));
    local
        .repo
        .write("CHANGELOG.md", "# Changelog\n\n## 1.0.0\n\n- One.\n\n## 0.9.0\n\n- Two.\n")
        .write("a.sql", "CREATE TABLE t (a int);\nSELECT 1;\n")
        .write("guide/start.md", "one\ntwo\nthree\nfour\n")
        .commit("files");
    local.apply(&[]).exits(0);
    let index = local.index();
    let found = |path: &str| {
        let mut found: Vec<_> = index
            .values()
            .filter(|(facts, ..)| facts["file_path"] == path)
            .map(|(facts, text, _)| (facts["start_line"].clone(), facts["end_line"].clone(), text.clone()))
            .collect();
        found.sort_by_key(|(line, ..)| line.as_u64());
        found
    };
    assert!(found("CHANGELOG.md").len() >= 2 && found("a.sql").len() == 2);
    assert_eq!(found("README.md").len(), 1, "by the old component, line by line");
    // A generated text has the lines of the passage of which it was made; the attributes are not stored.
    assert_eq!(found("guide/start.md"), [(2.into(), 3.into(), "derived".to_owned())]);
    let facts = index.values().find(|(facts, ..)| facts["file_path"] == "guide/start.md").expect("a record");
    assert!(!facts.0.to_string().contains("attr_@"), "{}", facts.0);
    assert_eq!(local.apply(&[]).exits(0).count("vectors_written"), 0);
}

#[test]
fn a_passage_outside_of_the_document_fails_the_file() {
    let local = Local::new();
    local.world.write("new.wasm", Fixture::new("derived").build());
    local.world.write("short.md", "too short\n");
    let ran = local.world.run(&["plugin", "test", "new.wasm", "short.md"]).exits(1);
    assert!(ran.stdout.contains("chunk 1: its `@end` (12) is past the end of the text"), "{}", ran.stdout);
}

#[test]
fn only_components_that_ask_for_tokens_depend_on_the_embedder() {
    let folder = tempfile::tempdir().expect("a folder");
    let host = ComponentHost::new(&Folders::below(&folder.path().join("cache"))).expect("a host");
    let tokens = |embedder: &str, each: usize| Tokens {
        counter: Arc::new(move |text: &str| text.len() / each),
        most: Some(100),
        embedder: embedder.to_owned(),
    };
    let load = |fixture: &str, tokens: Tokens| {
        let settings = settings(&Fixture::new(fixture).write(folder.path()));
        host.load_with("stage", &settings, None, tokens).expect("loads")
    };
    let [one, other] = [("one", 2), ("other", 3)].map(|(name, each)| load("tokens", tokens(name, each)));
    assert_ne!(one.identity(), other.identity());
    assert!(one.identity().ends_with("<=100 of one"), "{}", one.identity());
    let document = Document { path: "a.md", text: "twelve bytes", ..Document::default() };
    for (chunker, bytes) in [(&one, 6), (&other, 4)] {
        let chunks = chunker.chunk(&document).expect("chunks");
        assert_eq!(chunks[0].body, Body::Slice(0..bytes));
    }
    let [one, other] = [("one", 2), ("other", 3)].map(|(name, each)| load("lines", tokens(name, each)));
    assert_eq!(one.identity(), other.identity());
}

#[test]
fn a_component_counts_as_the_pipelines_embedder_does() {
    let local = Local::new();
    local.world.write("tokens.wasm", Fixture::new("tokens").build());
    local.config(&format!(
        "{STAGES}\n[stages.tokens]\nkind = \"wasm\"\ncomponent = \"tokens.wasm\"\n[projects.docs]\npipeline = [\"local\", \"tokens\", \"model\", \"index\"]\nrepositories = [\"docs\"]\n"
    ));
    local.apply(&[]).exits(0);
    // The model counts words and punctuation: fewer tokens than bytes, and not a quarter of them.
    let text = "The readme says what it is about.\n";
    let tried = local.world.ok(&["plugin", "try", "tokens", "docs/README.md", "--json"]).json();
    let chunk = &tried["files"][0]["chunks"][0];
    let counted = chunk["bytes"][1].as_u64().expect("a number");
    assert_eq!(tried["tokens_estimated"], false);
    assert!(counted > 4 && counted < text.len() as u64 / 2, "{chunk}");
    assert_eq!(local.index().len(), 3);
}
