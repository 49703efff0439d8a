//! Tests of the file as a whole: which files are accepted, and how problems are reported.

mod never_panics;
mod sense;

use std::path::Path;

use super::*;
use crate::chunk::component::WasmSettings;

/// Parses a text as `/example/reposync.toml`, with a few environment variables.
fn read(text: &str) -> Result<Config, Problems> {
    read_with(text, |need| need)
}

fn read_with(text: &str, need: impl Fn(Need) -> Need) -> Result<Config, Problems> {
    let env = |name: &str| match name {
        "KEY" => Some("sk-very-secret".to_owned()),
        "HOOK" => Some("https://hooks.slack.com/services/T/B/very-secret".to_owned()),
        _ => None,
    };
    parse_str(Path::new("/example/reposync.toml"), text, &need(Need::enabled().with_env(env)))
}

fn problems(text: &str) -> String {
    read(text).map(|config| format!("{config:#?}")).expect_err("problems").render(false, 100)
}

/// A project on a pipeline of the simplest stages.
const SIMPLE: &str = concat!(
    include_str!("../../../tests/it/fixtures/local.toml"),
    r#"[projects.docs]
pipeline = ["here", "prose", "model", "index"]
repositories = ["."]
"#
);

#[test]
fn defaults_are_filled_in_and_paths_made_absolute() {
    let config = read(SIMPLE).expect("valid");
    assert_eq!(config.engine.state.file(), Some(Path::new("/example/.reposync/state.db")));
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

#[test]
fn the_example_loads_without_any_variable() {
    let config = load(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../reposync.toml")),
        &Need::enabled().with_api().with_env(|_| None),
    );
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.projects.len(), 1);
}

/// The commented-out production section at the end of the example.
fn production() -> String {
    let (_, section) = EXAMPLE.split_once("# -- In production").expect("the section");
    let lines = section.lines().filter_map(|line| line.strip_prefix("# "));
    let toml = lines.filter(|line| {
        line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
    });
    let text = EXAMPLE.to_owned() + &toml.collect::<Vec<_>>().join("\n");
    assert!(text.contains("\n[projects.handbook]"));
    text
}

const EXAMPLE: &str = include_str!("../../../reposync.toml");

/// The path of the example, next to which the component that it names exists.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../reposync.toml"))
}

#[test]
fn the_production_part_of_the_example_is_valid_too() {
    let set = |name: &str| {
        Some(if name.contains("SLACK") {
            "https://hooks.example/x".into()
        } else {
            format!("value of {name}")
        })
    };
    let need = Need::enabled().with_api().with_env(set);
    let config = parse_str(root(), &production(), &need);
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.stages.len(), 11);
    let shown = show(&config);
    assert!(!shown.contains("value of") && !shown.contains("hooks.example"), "{shown}");
}

#[test]
fn variables_are_needed_only_by_what_is_used() {
    let text = production();
    let missing = |need: Need| {
        let result = parse_str(root(), &text, &need.with_env(|_| None));
        result
            .err()
            .map(|problems| problems.list().iter().map(Problem::one_line).collect::<Vec<_>>().join("\n"))
    };
    insta::assert_snapshot!(missing(Need::enabled().with_api()).expect("problems"), @r"
        `stages.github.token`: the environment variable `GITHUB_TOKEN` is not set
        `stages.ada.api_key`: the environment variable `AZURE_OPENAI_API_KEY` is not set
        `stages.pinecone.api_key`: the environment variable `PINECONE_API_KEY` is not set
        `stages.team.webhook_url`: the environment variable `SLACK_WEBHOOK_URL` is not set
        `api.token`: the environment variable `REPOSYNC_API_TOKEN` is not set
        `api.webhook_secret`: the environment variable `GITHUB_WEBHOOK_SECRET` is not set
        ");
    // Selecting the other project needs none of the variables; stages that lack one are dropped.
    assert_eq!(missing(Need::selected(&["reposync".into()])), None);
    let disabled = text.replace("\norganization", "\nenabled = false\norganization");
    let config = parse_str(root(), &disabled, &Need::enabled().with_env(|_| None));
    assert_eq!(config.expect("nothing is needed").stages.len(), 7);
}

#[test]
fn a_stage_that_nobody_uses_is_still_checked() {
    insta::assert_snapshot!(problems(&format!(
        r#"{SIMPLE}
[stages.spare]
kind = "openai"
model = "m"
api_key = "${{NOT_SET}}"
batch_size = 0
dimension = 3
base_url = "ftp://${{NOT_SET}}"
[stages.changelog]
kind = "wasm"
component = "not/there.wasm"
memory = "1 parsec"
"#
    )));
}

#[test]
fn secrets_never_show() {
    for text in [
        "[stages.a]\nkind = \"github\"\ntoken = \"ghp_very-secret\"\napp_id = \"${KEY}\"\nfroks = 1",
        "[stages.a]\nkind = \"github\"\ntokn = \"ghp_very-secret\"",
        "[stages.a]\nkind = \"github\"\ntoken = ghp_very-secret",
        "[stages.a]\nkind = \"github\"\ntoken = \"ghp_very-secret",
        "[stages.a]\nkind = \"github\"\ntoken = [\"ghp_very-secret\"]",
        "[stages.a]\nkind = \"slack\"\nwebhook_url = \"ftp://very-secret\"",
        "[stages.a]\nkind = \"slack\"\nwebhook_url = \"${HOOK}\"\non = [\"${KEY}\"]",
        "[stages.a]\nkind = \"${KEY}\"",
        "[stages.a]\nkind = \"wasm\"\ncomponent = \"x\"\nmemory = \"${KEY}\"\ndeadline = \"${KEY}\"\nsha256 = \"${KEY}\"",
        "[stages.a]\nkind = \"pinecone\"\nindex = \"${KEY}\"\napi_key = \"\"\nhost = \"https://u:very-secret@h\"",
        "[stages.a]\nkind = \"azure-openai\"\nendpoint = \"${KEY} ${KEY}\"\ndeployment = \"\"\napi_key = \"a\"\nbearer_token = \"very-secret\"",
        "[projects.a]\npipeline = [\"${KEY}\"]\norganization = \"${KEY}!\"\nschedule = \"${KEY}\"\nsecrets = \"${KEY}\"\nallowed_extensions = [\"${KEY}\"]\nexclude_patterns = [\"[${KEY}\"]",
        "[projects.a]\npipeline = []\nrepositories = [\"${KEY}\", \"a/b\", \"A/B\"]",
    ] {
        let shown = problems(text);
        assert!(!shown.contains("very-secret"), "{text}\n{shown}");
    }
}

#[test]
fn pipelines_out_of_order_or_incomplete() {
    let with = |pipeline: &str| {
        let text = SIMPLE.replace(r#"["here", "prose", "model", "index"]"#, pipeline);
        read(&text).map(|_| ()).map_err(|problems| {
            problems
                .list()
                .iter()
                .map(|one| format!("{}\n  {}", one.message, one.hint.as_deref().unwrap_or("-")))
                .collect::<Vec<_>>()
                .join("\n")
        })
    };
    insta::assert_snapshot!(with("[]").expect_err("empty"), @r"
        has no source
          one is declared: `here`
        has no chunker
          one is declared: `prose`
        has no embedder
          one is declared: `model`
        has no store
          one is declared: `index`
        ");
    insta::assert_snapshot!(with(r#"["here", "model", "prose", "index"]"#).expect_err("order"), @r"
        `prose`, a chunker, comes after `model`, an embedder
          the order is source, chunkers, embedder, store, notifiers
        ");
    insta::assert_snapshot!(with(r#"["here", "prose", "prose", "model", "index", "index"]"#).expect_err("twice"), @r"
        `prose` is listed twice
          leave one out
        `index` is listed twice
          leave one out
        ");
    insta::assert_snapshot!(with(r#"["here", "prose", "modle", "index", "team"]"#).expect_err("names"), @r"
        no stage is named `modle`
          did you mean `model`?
        no stage is named `team`
          the stages are `here`, `prose`, `model`, `index`
        ");
    assert_eq!(with(r#"["here", "prose", "model", "index"]"#), Ok(()));
}

#[test]
fn projects_that_share_a_place_share_the_model() {
    let second = |namespace: &str, model: &str| {
        format!(
            "{SIMPLE}namespace = \"one\"\n[stages.other]\nkind = \"local\"\npath = \"/\"\n[stages.same]\nkind = \"local\"\n\
             [projects.second]\npipeline = [\"here\", \"prose\", \"{model}\", \"index\"]\nrepositories = [\".\"]\nnamespace = \"{namespace}\"\n"
        )
    };
    insta::assert_snapshot!(problems(&second("one", "other")));
    for (namespace, model) in [("two", "other"), ("one", "same"), ("one", "model")] {
        assert!(read(&second(namespace, model)).is_ok(), "{namespace} {model}");
    }
}

#[test]
fn text_that_is_not_toml() {
    insta::assert_snapshot!(problems(
        "[engine]\nstate = \nprune = yes\n[engine]\nx = 1\nx = 2\ny = \"open\n[api"
    ));
    insta::assert_snapshot!(problems("\n# nothing\n"), @r"
        error: the file is empty
         |
         = hint: create one with `reposync init`

        1 problem in /example/reposync.toml
        ");
    insta::assert_snapshot!(problems("stages = 3\nprojects.a = 4\nengin = {}\n"), @r"
        error: `stages`: expected a table
         --> /example/reposync.toml:1:10
          |
        1 | stages = 3
          |          ^
          |
          = hint: write [stages]

        error: `projects.a`: expected a table
         --> /example/reposync.toml:2:10
          |
        2 | projects.a = 4
          |          ^
          |
          = hint: write [projects.a] and its keys below

        error: `engin`: unknown key
         --> /example/reposync.toml:3:1
          |
        3 | engin = {}
          | ^^^^^
          |
          = hint: did you mean `engine`?

        3 problems in /example/reposync.toml
        ");
}

#[test]
fn a_missing_component_names_file_and_remedy() {
    let text = SIMPLE.replace(
        "[stages.model]",
        "[stages.changelog]\nkind = \"wasm\"\ncomponent = \"no.wasm\"\n[stages.model]",
    );
    assert!(read(&text).is_ok(), "nobody uses it");
    insta::assert_snapshot!(problems(&text.replace("\"prose\", \"model\"", "\"changelog\", \"prose\", \"model\"")), @r#"
        error: `stages.changelog.component`: no such file: `/example/no.wasm`
         --> /example/reposync.toml:8:13
          |
        8 | component = "no.wasm"
          |             ^^^^^^^^^
          |
          = hint: build it with `reposync plugin build` in the plugin's folder, or correct the path (relative to this file)

        1 problem in /example/reposync.toml
        "#);
}

#[test]
fn problems_of_the_file_as_a_whole() {
    let shown = |problems: Problems| problems.render(false, 100);
    let folder = tempfile::tempdir().expect("a folder");
    let need = Need::enabled().with_env(|_| None);
    let path = folder.path().join("reposync.toml");
    assert!(shown(load(&path, &need).expect_err("missing")).contains("cannot read the file"));
    std::fs::write(&path, b"a = 1\nb = \"\xff\"").expect("written");
    assert!(shown(load(&path, &need).expect_err("not text")).contains("not UTF-8 text (line 2)"));
    let deep = folder.path().join("a/b");
    std::fs::create_dir_all(&deep).expect("made");
    assert_eq!(find(&deep, None).expect("above"), path);
    assert_eq!(find(&deep, Some(Path::new("other.toml"))).expect("named"), deep.join("other.toml"));
    let named = read_with(SIMPLE, |need| Need { projects: vec!["dosc".into()], ..need });
    insta::assert_snapshot!(shown(named.expect_err("no such project")), @r"
        error: `--project`: no project is named `dosc`
         |
         = hint: did you mean `docs`?

        1 problem in /example/reposync.toml
        ");
}

#[test]
fn a_components_config_is_shown_as_written() {
    let text = SIMPLE.replace("\"prose\", \"model\"", "\"reported\", \"prose\", \"model\"")
        + "[stages.reported]\nkind = \"wasm\"\ncomponent = \"tests.rs\"\n\
           config = { key = \"<${KEY}>\", deep = [{ key = \"${KEY}\" }, 1], plain = \"x\" }\n";
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/reposync.toml"));
    let need = Need::enabled().with_env(|name| (name == "KEY").then(|| "sk-very-secret".to_owned()));
    let config = parse_str(path, &text, &need).expect("valid");
    let shown = format!("{config:?}{}", show(&config));
    assert!(!shown.contains("sk-very-secret"), "{shown}");
    assert_eq!(shown.matches("<${KEY}>").count(), 2, "{shown}");
    let settings = config.stage("reported").expect("declared").settings.any().as_any();
    let settings = settings.downcast_ref::<WasmSettings>().expect("a component");
    let reported = serde_json::json!({ "key": "<sk-very-secret>", "deep": [{ "key": "sk-very-secret" }, 1], "plain": "x" });
    assert_eq!(serde_json::Value::from(settings.config.clone()), reported);
}

#[test]
fn what_is_shown_can_be_read_again() {
    let text = production().replace("kind = \"sentence\"", "kind = \"sentence\"\nmatch = [\"*.rst\"]");
    let need = || Need::enabled().with_api().with_env(|_| Some("https://x.example".into()));
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().canonicalize().expect("there").join("example");
    std::fs::create_dir_all(folder.join("plugins")).expect("made");
    std::fs::write(folder.join("plugins/changelog.wasm"), "").expect("written");
    let path = &folder.join("reposync.toml");
    let config = parse_str(path, &text, &need()).expect("valid");
    let shown = show(&config);
    // A masked URL is not a valid one.
    let again = shown.replace("webhook_url = \"***\"", "webhook_url = \"https://x.example\"");
    let again = parse_str(path, &again, &need()).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(show(&again), shown);
    for project in &again.projects {
        let own = |with_stages| show_project(&config, &project.name, with_stages).expect("declared");
        assert!(own(false).starts_with("[projects.") && shown.contains(&own(false)), "{}", own(false));
        assert_eq!(own(true).matches("[stages.").count(), project.stages().count());
        assert!(own(true).lines().all(|line| shown.contains(line)), "{}", own(true));
    }
    assert_eq!(show_project(&config, "none", true), None);
    assert_eq!((again.engine, again.projects), (config.engine, config.projects));
    insta::assert_snapshot!(shown.replace(&*folder.to_string_lossy(), "/example"));
}

#[test]
fn the_examples_of_the_reference_are_one_valid_file() {
    let docs = include_str!("../../../docs/config.md");
    let blocks = docs.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let text = blocks.filter(|block| block.starts_with('[')).collect::<Vec<_>>().join("\n");
    let folder = tempfile::tempdir().expect("a folder");
    for (path, content) in [("secrets/app.pem", "-----BEGIN KEY-----\n"), ("plugins/changelog.wasm", "")] {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, content).expect("written");
    }
    let need = Need::enabled().with_api().with_env(|name| Some(format!("https://x.example/{name}")));
    let config = parse_str(&folder.path().join("reposync.toml"), &text, &need);
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.projects.len(), 2);
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_not_shift_places() {
    let text = format!("\u{feff}{}", SIMPLE.replace('\n', "\r\n").replace("\"local\"", "\"lokal\""));
    let problems = read(&text).expect_err("a misspelt kind");
    let places: Vec<_> = problems.list().iter().map(|one| (one.line, one.column)).collect();
    assert_eq!(places, [(Some(7), Some(8))]);
    assert!(problems.render(false, 100).contains("7 | kind = \"lokal\""), "{problems}");
}

mod schema_and_keys {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_schema_accepts_what_the_parser_accepts() {
        let schema = schema();
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let accepts = |text: &str| {
            let value: Value = toml::from_str(text).expect("TOML");
            let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
            errors.join("\n")
        };
        for text in [SIMPLE, EXAMPLE, &production()] {
            assert_eq!(accepts(text), "");
        }
        for (right, wrong) in [
            ("kind = \"git\"", "kind = \"gti\""),
            ("kind = \"git\"", "kind = \"git\"\nx = 1"),
            ("[projects", "[project"),
            ("repositories = [\".\"]", "repositories = [{ pth = \".\" }]"),
        ] {
            assert_ne!(accepts(&SIMPLE.replace(right, wrong)), "", "{wrong}");
        }
    }

    /// An editor shows one error for each mistake, where it is.
    #[test]
    fn the_schema_finds_each_mistake_once_and_where_it_is() {
        let file = r#"
            [stages.here]
            kind = "git"
            pth = "x"
            [stages.prose]
            kind = "sentence"
            max_chunk_size = "large"
            overlap = 1
            [stages.other]
            kind = "sentense"
            [stages.none]
            model = "x"
            [stages.index]
            kind = "sqlite"
            vector_weight = true
            [engine]
            concurency = 8
        "#;
        let instance: Value = toml::from_str(file).expect("TOML");
        let validator = jsonschema::validator_for(&schema()).expect("a schema");
        let mut found: Vec<String> =
            validator.iter_errors(&instance).map(|error| error.instance_path().to_string()).collect();
        found.sort();
        let expected = [
            "/engine",
            "/stages/here",
            "/stages/index/vector_weight",
            "/stages/none",
            "/stages/other/kind",
            "/stages/prose",
            "/stages/prose/max_chunk_size",
        ];
        assert_eq!(found, expected);
    }

    /// Every `(table, key)` of the schema.
    fn keys() -> Vec<(String, String)> {
        let schema = schema();
        let tables = schema["$defs"].as_object().expect("definitions");
        let mut out = Vec::new();
        for (table, schema) in tables {
            for key in
                schema.get("properties").and_then(Value::as_object).into_iter().flat_map(|keys| keys.keys())
            {
                out.push((table.clone(), key.clone()));
            }
        }
        assert!(out.len() > 80, "{out:?}");
        out
    }

    #[test]
    fn every_key_has_a_description() {
        let schema = schema();
        for (table, key) in keys() {
            let key_schema = &schema["$defs"][&table]["properties"][&key];
            assert!(key_schema["description"].as_str().is_some_and(|text| text.len() > 5), "{table}.{key}");
        }
        assert!(!schema.to_string().contains("null"), "TOML has no null");
    }

    #[test]
    fn every_key_is_documented() {
        let docs = include_str!("../../../docs/config.md");
        for (table, key) in keys() {
            let documented = docs.contains(&format!("`{key}`")) || docs.contains(&format!(".{key}`"));
            assert!(documented, "docs/config.md does not describe {table}.{key}");
        }
        for kind in crate::registry::KINDS {
            assert!(
                docs.contains(&format!("\"{}\"", kind.name)),
                "docs/config.md does not describe {}",
                kind.name
            );
        }
    }

    /// Compares the keys that the parser accepts with those of the schema.
    #[test]
    fn the_parser_knows_the_same_keys() {
        for (table, key) in keys() {
            let (path, prelude) = match table.as_str() {
                "engine" | "api" | "secrets" => (table.clone(), String::new()),
                "project" => ("projects.x".into(), String::new()),
                stage if stage.starts_with("stage-") => {
                    ("stages.x".into(), format!("kind = \"{}\"\n", &stage["stage-".len()..]))
                }
                _ => continue,
            };
            if key == "kind" {
                continue;
            }
            // A table is a wrong value for every key except `config` and `create`; the test is
            // whether the key is known.
            let text = format!("[{path}]\n{prelude}{key} = {{ a = 1 }}\n");
            let reported: Vec<_> =
                read(&text).err().into_iter().flat_map(|problems| problems.list().to_vec()).collect();
            let unknown = reported
                .iter()
                .any(|one| one.message == "unknown key" && one.path == format!("{path}.{key}"));
            assert!(!unknown, "{path}.{key}");
            let typed = reported.iter().any(|one| one.path.starts_with(&format!("{path}.{key}")));
            assert!(typed || key == "config", "{path}.{key} takes anything: {reported:?}");
        }
    }
}
