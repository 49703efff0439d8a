//! The file as a whole: what is accepted, what is reported and how.

use std::path::{Path, PathBuf};

use super::*;

/// Loads a text as `/work/reposync.toml` with a few variables set.
fn read(text: &str) -> Result<Config, Problems> {
    read_with(text, |need| need)
}

fn read_with(text: &str, need: impl Fn(Need) -> Need) -> Result<Config, Problems> {
    let env = |name: &str| match name {
        "KEY" => Some("sk-very-secret".to_owned()),
        "HOOK" => Some("https://hooks.slack.com/services/T/B/very-secret".to_owned()),
        _ => None,
    };
    parse_str(Path::new("/work/reposync.toml"), text, &need(Need::enabled().with_env(env)))
}

/// The rendered problems of a text.
fn problems(text: &str) -> String {
    read(text).map(|config| format!("{config:#?}")).expect_err("problems").render(false, 100)
}

/// A pipeline of the simplest stages, and a project on it.
const SIMPLE: &str = r#"
[stages.here]
kind = "git"
[stages.prose]
kind = "sentence"
[stages.model]
kind = "local"
[stages.index]
kind = "sqlite"
[projects.docs]
pipeline = ["here", "prose", "model", "index"]
repositories = ["."]
"#;

#[test]
fn defaults_are_filled_in_and_paths_made_absolute() {
    let config = read(SIMPLE).expect("valid");
    assert_eq!(config.engine.state, PathBuf::from("/work/.reposync/state.db"));
    assert_eq!(config.engine.concurrency, 8);
    assert_eq!(config.api.listen.to_string(), "127.0.0.1:8080");
    let names: Vec<_> = config.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["here", "prose", "model", "index"]);
    let project = config.project("docs").expect("declared");
    assert_eq!((project.namespace.as_str(), project.enabled), ("docs", true));
    assert_eq!(project.chunkers, ["prose"]);
}

#[test]
fn many_problems_are_reported_at_once() {
    insta::assert_snapshot!(problems(
        r#"
[engine]
concurrency = "8"
max_file_byte = "1 MiB"
max_delete_ratio = 1.5

[stages.prose]
kind = "sentence"
max_chunk_size = 100
chunk_ovrlap = 200
match = ["**/*.md", "[", 3]

[stages.ada]
kind = "azure-openi"

[stages.pinecone]
kind = "pinecone"
index = "Docs"
api_key = "sk-very-secret"
create = { cloud = "amazon", metrc = "cosine" }

[projects.handbook]
pipeline = ["prose", "pinecne", "pinecone"]
organization = "acme"
repositories = ["acme/handbook"]
schedule = "every day"
allowed_extensions = ["md"]
secrets = "skipp"
"#
    ));
}
