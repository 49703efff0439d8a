//! What a component prints or logs breaks nothing and is shown to its author.

use crate::support::component::Fixture;
use crate::support::local::{Local, STAGES};

/// A project whose files all go through a component that prints while it is loaded and used.
fn printing() -> Local {
    let local = Local::new();
    local.world.write("plugins/prints.wasm", Fixture::printing("prints").build());
    local.config(&format!(
        "[engine]\nlog_dir = \"logs\"\n{STAGES}\n[stages.notes]\nkind = \"wasm\"\n\
         component = \"plugins/prints.wasm\"\n[projects.docs]\n\
         pipeline = [\"local\", \"notes\", \"model\", \"index\"]\nrepositories = [\"docs\"]\n"
    ));
    local
}

#[test]
fn a_component_that_prints_harms_no_command() {
    let local = printing();
    for args in [
        &["validate"][..],
        &["plan"],
        &["plan", "--exact"],
        &["apply"],
        &["query", "start"],
        &["verify"],
        &["verify", "--repair"],
        &["plan", "--out", "saved.plan"],
        &["apply", "saved.plan"],
    ] {
        local.world.ok(args);
    }
    assert_eq!(local.index().len(), 3);
}

#[test]
fn its_output_is_logged_at_level_debug_only() {
    let local = printing();
    let said = |args: &[&str]| {
        let ran = local.world.ok(args);
        let lines =
            ran.stderr.lines().filter(|line| line.contains("component=\"prints 1.0.0\" path=\"README.md\""));
        lines.filter_map(|line| Some(line.split_once(" said=")?.1.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(said(&["apply", "--full"]), [] as [&str; 0]);
    assert_eq!(said(&["-v", "apply", "--full"]), [] as [&str; 0]);
    let expected = [
        r#""warn" text="must be 1 to 6""#,
        r#""printed" text="two""#,
        r#""printed" text="lines of \"output\"""#,
    ];
    assert_eq!(said(&["-vv", "apply", "--full"]), expected);
}

#[test]
fn plugin_test_shows_its_output_below_the_document() {
    let local = printing();
    let shown = local.world.ok(&["plugin", "test", "plugins/prints.wasm", "docs/README.md"]).stdout;
    let document = shown.split("\n\n").find(|part| part.starts_with("docs/README.md")).expect("the document");
    let said: Vec<_> = document.lines().filter(|line| line.starts_with("  | ")).collect();
    assert_eq!(said, ["  | warn: must be 1 to 6", "  | printed: two", "  | printed: lines of \"output\""]);
    let json = local.world.ok(&["plugin", "test", "plugins/prints.wasm", "docs/README.md", "--json"]).json();
    assert_eq!(json["documents"][0]["said"][0], "warn: must be 1 to 6");
}
