//! `${NAME}` and `${file:…}` references: which files they may read, how `--no-env` leaves them
//! unresolved, which values are rejected as keys, and that values passed to a component appear in no
//! output.

use crate::support::component::Fixture;
use crate::support::local::{Local, STAGES, project};
use crate::support::world::World;

/// A configuration with this value as `[api] token`.
fn with_token(token: &str) -> String {
    project(&format!("[api]\ntoken = \"{token}\""))
}

#[test]
fn files_are_read_below_the_folders_for_secrets_alone() {
    let local = Local::new();
    let world = &local.world;
    world.write("keys/token", "token-0123456789").write("own/inside/token", "token-0123456789");
    world.repo("own/docs");
    let validate = ["validate", "--config", "own/reposync.toml"];
    world.write("own/reposync.toml", with_token("${file:inside/token}"));
    world.ok(&validate);
    let keys = world.path("keys").display().to_string();
    for reference in ["${file:../keys/token}".to_owned(), format!("${{file:{keys}/token}}")] {
        world.write("own/reposync.toml", with_token(&reference));
        let refused = world.run(&validate).exits(2).stderr;
        assert!(refused.contains("it is outside the folders that secrets may be read from"), "{refused}");
        assert!(refused.contains("--secrets-dir DIR") && !refused.contains("token-0123456789"), "{refused}");
        world.ok(&[&validate[..], &["--secrets-dir", "keys"]].concat());
        world.ok(&[&validate[..], &["--secrets-dir", "own", "--secrets-dir", &keys]].concat());
        for name in ["REPOSYNC_SECRETS_DIRS", "CREDENTIALS_DIRECTORY"] {
            let output = world.command(&validate).env(name, &keys).output().expect("the built program");
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn a_strangers_file_is_checked_without_its_references() {
    let world = World::new().env("TOKEN", "token-0123456789");
    world.repo("docs");
    let more =
        "organization = \"${ORG}\"\n[api]\ntoken = \"${TOKEN}\"\nwebhook_secret = \"${file:/etc/hostname}\"";
    let file = project(more).replace("kind = \"git\"", "kind = \"github\"\ntoken = \"${file:key}\"");
    let file = file.replace("repositories = [\"docs\"]\n", "");
    world.config(&file);
    let all = world.run(&["validate"]).exits(2).stderr;
    assert!(all.contains("variable `ORG` is not set") && all.contains("file `key`"), "{all}");
    let ran = world.ok(&["validate", "--no-env"]);
    assert!(ran.stdout.contains("is valid: 1 project"), "{}", ran.stdout);
    // Problems of the file itself are still reported.
    world.config(&file.replace("kind = \"sentence\"", "kind = \"sentnce\"").replace("${ORG}", "${O-RG}"));
    let problems = world.run(&["validate", "--no-env"]).exits(2).stderr;
    assert!(
        problems.contains("unknown kind") && problems.contains("is not a valid environment variable name"),
        "{problems}"
    );
    assert!(problems.contains("2 problems"), "{problems}");
    world.run(&["validate", "--no-env", "--show"]).exits(2);
}

#[test]
fn invisible_characters_around_a_key_are_trimmed_and_inside_refused() {
    let local = Local::new();
    let world = &local.world;
    local.config(&with_token("${file:token}"));
    for good in ["token-0123456789", "\u{feff}token-0123456789\r\n\r\n", " token-0123456789\u{200b}\n"] {
        world.write("token", good);
        world.ok(&["validate"]);
    }
    for (bad, why) in [
        ("\"token-0123456789\"\n", "its value is in quotes"),
        ("token\u{200b}-0123456789", "holds an invisible character (U+200B)"),
        ("short", "is shorter than 8 characters"),
        ("\u{feff}\n", "must not be empty"),
    ] {
        world.write("token", bad);
        let refused = world.run(&["validate"]).exits(2).stderr;
        assert!(refused.contains(&format!("`api.token`: {why}")), "{bad:?}: {refused}");
        assert!(refused.contains("1 problem "), "{refused}");
        assert!(!refused.contains("-0123456789"), "{refused}");
    }
    // Only `validate` rejects short values, and only for secret keys.
    world.write("token", "short");
    world.ok(&["apply"]);
    local.config(&project("branch = \"${file:token}\""));
    world.ok(&["validate"]);
}

#[test]
fn a_components_config_is_masked_and_texts_are_unchanged() {
    let secret = "component-key-0123456789";
    let local = Local::new();
    let local = Local { world: local.world.env("COMPONENT_KEY", secret).env("LEVEL", "2"), ..local };
    local.world.write("plugins/trap.wasm", Fixture::new("trap").build());
    local
        .repo
        .write("trap/a.md", "A text.\n")
        .write("quotes.md", format!("It says {secret} here.\n"))
        .commit("more");
    let stage = "[stages.trap]\nkind = \"wasm\"\ncomponent = \"plugins/trap.wasm\"\nmatch = [\"trap/*\"]\n\
                 config = { key = \"${COMPONENT_KEY}\", more = [\"x${LEVEL}\"], plain = 1 }\n";
    local.config(&format!(
        "[engine]\nlog_dir = \"logs\"\n{STAGES}{stage}\n[projects.docs]\n\
         pipeline = [\"local\", \"trap\", \"prose\", \"model\", \"index\"]\nrepositories = [\"docs\"]\n"
    ));
    let shown = local.world.ok(&["validate", "--show"]).stdout;
    assert!(shown.contains("key = \"${COMPONENT_KEY}\"") && shown.contains("x${LEVEL}"), "{shown}");
    let applied = local.apply(&["-vv"]).exits(3);
    let hint = applied.report["projects"][0]["failures"][0]["hint"].as_str().expect("a hint").to_owned();
    let settings = r#"--settings '{"key":"${COMPONENT_KEY}","more":["x${LEVEL}"],"plain":1}'"#;
    assert!(hint.contains(settings), "{hint}");
    let history = local.world.ok(&["history", "--json"]).stdout;
    for said in [&shown, &applied.ran.stdout, &applied.ran.stderr, &history] {
        assert!(!said.contains(secret), "{said}");
    }
    let holds = |path: &std::path::Path| {
        let bytes = std::fs::read(path).expect("a file");
        bytes.windows(secret.len()).any(|part| part == secret.as_bytes())
    };
    let ledger = local.world.path(".reposync/state.db");
    assert!(!holds(&ledger), "the ledger keeps it");
    for log in std::fs::read_dir(local.world.path("logs")).expect("logs").flatten() {
        assert!(!holds(&log.path()), "a log keeps it");
    }
    // The index depends on files and configuration only, not on other secrets.
    assert!(local.index().values().any(|(_, text, _)| text.contains(secret)), "a document's text was masked");
    let found = local.world.ok(&["query", "--json", "It says here"]).stdout;
    assert!(found.contains(secret), "{found}");
}
