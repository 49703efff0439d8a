//! Which chunker takes a file, and which of its text is stored and embedded.

use serde_json::{Value, json};

use crate::support::local::{Local, STAGES};

/// A project `docs` with every built-in chunker over these files, already applied.
fn applied(files: &[(&str, &str)]) -> (Local, Value) {
    let local = Local::new();
    for (path, content) in files {
        local.repo.write(path, content);
    }
    local.repo.commit("files");
    local.config(&format!(
        "{STAGES}\n[stages.markdown]\nkind = \"markdown\"\n[stages.code]\nkind = \"code\"\n[projects.docs]\npipeline = [\"local\", \"markdown\", \"code\", \"prose\", \"model\", \"index\"]\nrepositories = [\"docs\"]\n"
    ));
    let report = local.apply(&[]).exits(0).report;
    (local, report)
}

/// Texts and languages of a file's records, in order.
fn records(local: &Local, path: &str) -> Vec<(String, String)> {
    let mut found: Vec<(u64, String, String)> = local
        .index()
        .into_values()
        .filter(|(facts, ..)| facts["file_path"] == path)
        .map(|(facts, text, _)| {
            let at = facts["chunk_index"].as_u64().expect("an index");
            (at, text, facts["language"].as_str().unwrap_or_default().to_owned())
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, text, language)| (text, language)).collect()
}

#[test]
fn code_and_configuration_keep_their_indentation() {
    let yaml = "spec:\n  containers:\n    - name: a\n      args:\n        - one\n";
    let script = "#!/usr/bin/env python3\ndef f():\n    return 1\n";
    let (local, _) = applied(&[("deploy.yaml", yaml), ("bin/tool", script), ("bin/notes", "a\n    b\n")]);
    for (path, text, language) in [
        ("deploy.yaml", yaml.trim_end(), "yaml"),
        ("bin/tool", script.trim_end(), "python"),
        // `sentence` still folds whitespace.
        ("bin/notes", "a\n b", ""),
    ] {
        assert_eq!(records(&local, path), [(text.to_owned(), language.to_owned())], "{path}");
    }
}

#[test]
fn encoded_data_is_stored_and_listed_but_not_embedded() {
    let picture = "iVBORw0KGgo".repeat(2000);
    let svg = format!(
        "<svg>\n  <title>Logo</title>\n  <image href=\"data:image/png;base64,{picture}\"/>\n</svg>\n"
    );
    let plain = svg.replace(&picture, "");
    let (local, report) = applied(&[
        ("logo.svg", &svg),
        ("plain.svg", &plain),
        ("key.txt", &format!("{picture}\n")),
        ("notes.txt", "Just words.\n"),
    ]);
    assert_eq!(records(&local, "logo.svg"), [(svg.trim_end().to_owned(), "svg".to_owned())]);
    assert!(records(&local, "key.txt").is_empty());
    let mut vectors = local.index().into_values().filter(|(facts, ..)| {
        facts["file_path"]
            .as_str()
            .is_some_and(|path| path.ends_with("logo.svg") || path.ends_with("plain.svg"))
    });
    let (first, second) = (vectors.next().expect("one"), vectors.next().expect("another"));
    assert_eq!(first.2, second.2, "embedded alike");
    let project = &report["projects"][0];
    let skipped = &project["skipped"][0];
    assert_eq!((&skipped["reason"], &skipped["files"]), (&json!("encoded_data"), &json!(2)));
    let mut examples: Vec<&str> =
        skipped["examples"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    examples.sort_unstable();
    assert_eq!(examples, ["docs:key.txt", "docs:logo.svg:3"]);
    assert_eq!(project["counts"]["files_skipped"], json!(1));
    local.assert_as_fresh();
}

#[test]
fn lines_that_match_an_expression_begin_chunks() {
    let local = Local::new();
    local
        .repo
        .write("app.log", "start\n2024-01-02 INFO up\n2024-01-03 ERROR down\n  at main\n")
        .commit("a log");
    local.config(&format!(
        "{STAGES}\n[stages.log]\nkind = \"pattern\"\nmatch = [\"**/*.log\"]\nstart = '^(?<day>\\d{{4}}-\\d\\d-\\d\\d) (?<kind>[A-Z]+)'\n[projects.docs]\npipeline = [\"local\", \"log\", \"prose\", \"model\", \"index\"]\nrepositories = [\"docs\"]\n"
    ));
    local.apply(&[]).exits(0);
    let found = |line: u64| {
        let index = local.index();
        let mut found = index
            .values()
            .filter(|(facts, ..)| facts["file_path"] == "app.log" && facts["start_line"] == line);
        let (facts, text, _) = found.next().expect("a record");
        (text.clone(), ["kind", "attr_day", "context"].map(|key| facts[key].clone()))
    };
    assert_eq!(found(1), ("start".to_owned(), [Value::Null, Value::Null, Value::Null]));
    let (text, facts) = found(3);
    assert_eq!(text, "2024-01-03 ERROR down\n  at main");
    assert_eq!(facts, ["ERROR", "2024-01-03", "2024-01-03 ERROR down"]);
    let again = local.apply(&[]).exits(0);
    assert_eq!(again.counts(["texts_embedded", "vectors_written"]), [0, 0]);
}
