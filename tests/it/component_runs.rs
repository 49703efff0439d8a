//! Components in whole runs of the real program: a hostile component fails only its own files, a broken
//! one only its own project, a changed binary is a reason in the plan, and a component produces the
//! same index as its native twin.

use std::path::Path;
use std::sync::Arc;

use reposync::config::{self, Need};
use reposync::factory::StageFactory;
use reposync::model::{EventSink, Outcome};
use reposync::plan::{Guard, SpendingGuard};
use reposync::sync::{Candidate, Options, run};
use tokio_util::sync::CancellationToken;

use crate::support::component::{Fixture, Unit};
use crate::support::local::{Local, STAGES, read_index};
use crate::support::twin::Twin;

/// Fixtures, each used in its own stage, with the expected message.
const HOSTILE: [(&str, &str); 14] = [
    ("chunk-flood", "it returned 60000 chunks; the limit is 50000"),
    ("empty-range", "chunk 2 is empty"),
    ("endless-loop", "it ran longer than its deadline of 100ms"),
    ("endless-recursion", "it exceeded its stack limit of 1 MiB"),
    ("memory-bomb", "it exceeded its memory limit of 16 MiB"),
    ("mid-character", "inside the character `ü` of line 1"),
    ("not-text", "its result violates the contract: invalid utf-8"),
    ("out-of-bounds", "past the end of the text"),
    ("output-flood", "it exceeded its output limit of 8 MiB"),
    ("table-bomb", "it exceeded its memory limit of 16 MiB"),
    ("trap", "it trapped (`unreachable`: a panic or an abort)"),
    ("unordered", "before the previous chunk does"),
    ("whole", "but it declares `utf16-units`"),
    ("wild-pointer", "its result violates the contract: pointer out of bounds"),
];

/// A stage for a component; `endless-loop` has a short deadline, the others a long one.
fn hostile_stage(name: &str) -> String {
    let deadline = if name == "endless-loop" { "100ms" } else { "20s" };
    format!(
        "[stages.{name}]\nkind = \"wasm\"\ncomponent = \"plugins/{name}.wasm\"\nmatch = [\"{name}/*\"]\n\
         memory = \"16 MiB\"\noutput = \"8 MiB\"\ndeadline = \"{deadline}\"\n"
    )
}

fn pipeline(chunkers: &[&str]) -> String {
    let chunkers: Vec<_> = chunkers.iter().map(|name| format!("\"{name}\", ")).collect();
    format!(
        "pipeline = [\"local\", {}\"prose\", \"model\", \"index\"]\nrepositories = [\"docs\"]\n",
        chunkers.concat()
    )
}

#[test]
fn hostile_components_fail_their_own_files_and_nothing_else() {
    let local = Local::new();
    let mut stages = STAGES.to_owned();
    let mut chunkers = Vec::new();
    // These two are harmless: excess log output is cut off, and an instance with corrupted state is
    // replaced.
    let tame = ["log-flood", "trap-every-second"];
    for name in HOSTILE.iter().map(|&(name, _)| name).chain(tame) {
        let unit = if name == "whole" { Unit::Utf16Units } else { Unit::Utf8Bytes };
        local.world.write(&format!("plugins/{name}.wasm"), Fixture::new(name).unit(unit).build());
        local.repo.write(&format!("{name}/a.md"), "aü 🦀\nsecond line\n");
        stages.push_str(&hostile_stage(name));
        chunkers.push(name);
    }
    local.repo.commit("hostile");
    local.config(&format!("{stages}\n[projects.docs]\n{}", pipeline(&chunkers)));

    let applied = local.apply(&[]).exits(3);
    let failures = applied.report["projects"][0]["failures"].as_array().expect("failures").clone();
    for (name, what) in HOSTILE {
        let path = format!("{name}/a.md");
        let of_file: Vec<_> = failures.iter().filter(|failure| failure["path"] == path.as_str()).collect();
        assert_eq!(of_file.len(), 1, "{name}: {failures:?}");
        let error = of_file[0]["error"].as_str().expect("an error");
        let names_all = error.starts_with(&format!("component `{name} 1.0.0` failed on `{path}`: "));
        assert!(names_all && error.contains(what), "{error}");
        assert!(of_file[0]["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{name}: no hint");
    }
    assert_eq!(failures.len(), HOSTILE.len(), "{failures:?}");
    let indexed: std::collections::BTreeSet<_> = local
        .index()
        .into_values()
        .map(|(facts, ..)| facts["file_path"].as_str().unwrap_or("").to_owned())
        .collect();
    let expected =
        ["README.md", "guide/end.md", "guide/start.md", "log-flood/a.md", "trap-every-second/a.md"];
    assert_eq!(indexed.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_broken_component_ends_its_own_project_and_validate_says_so() {
    let local = Local::new();
    let whole = Fixture::new("whole").build();
    local.world.write("plugins/cut.wasm", &whole[..whole.len() / 2]);
    local.world.write("plugins/module.wasm", wat::parse_str("(module)").expect("good text"));
    local.world.write("plugins/settings.wasm", Fixture::new("refuses-config").build());
    let mut text = format!("{STAGES}\n[projects.docs]\n{}", pipeline(&[]));
    for name in ["cut", "module", "settings"] {
        text.push_str(&format!(
            "[stages.{name}]\nkind = \"wasm\"\ncomponent = \"plugins/{name}.wasm\"\nconfig = {{ level = 9 }}\n\
             [projects.{name}]\n{}",
            pipeline(&[name])
        ));
    }
    local.config(&text);
    insta::assert_snapshot!(local.world.run(&["validate"]).exits(2).redacted());
    let applied = local.apply(&[]).exits(1);
    let outcome = |project: usize| applied.report["projects"][project]["outcome"].clone();
    assert_eq!([0, 1, 2, 3].map(outcome), ["done", "failed", "failed", "failed"]);
    assert_eq!(local.index().len(), 3);
}

#[test]
fn a_config_is_checked_against_the_components_schema() {
    let local = Local::new();
    let changelog = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/changelog.wasm");
    local.world.write("plugins/changelog.wasm", std::fs::read(changelog).expect("it is shipped"));
    local.config(&format!(
        "{STAGES}\n[stages.notes]\nkind = \"wasm\"\ncomponent = \"plugins/changelog.wasm\"\n\
         config = {{ heading_level = \"two\", headings = 1 }}\n[projects.docs]\n{}",
        pipeline(&["notes"])
    ));
    insta::assert_snapshot!(local.world.run(&["validate"]).exits(2).redacted());
    let applied = local.apply(&[]).exits(1);
    let hint = applied.report["projects"][0]["error"]["hint"].as_str().expect("a hint");
    assert!(hint.contains("reposync.toml:16: `config.heading_level`: the value is not of type"), "{hint}");

    let schema = local.world.ok(&["schema"]).json();
    let schema = jsonschema::validator_for(&schema).expect("a good schema");
    let fits = |component: &str, config: serde_json::Value| {
        let stage = serde_json::json!({ "kind": "wasm", "component": component, "config": config });
        schema.is_valid(&serde_json::json!({ "stages": { "notes": stage } }))
    };
    assert!(fits("plugins/changelog.wasm", serde_json::json!({ "heading_level": 2 })));
    assert!(!fits("plugins/changelog.wasm", serde_json::json!({ "heading_level": "two" })));
    assert!(!fits("plugins/changelog.wasm", serde_json::json!({ "headings": 1 })));
    assert!(fits("plugins/other.wasm", serde_json::json!({ "headings": 1 })));
}

#[test]
fn a_bad_document_goes_to_the_next_chunker_with_a_note() {
    let local = Local::new();
    local.world.write("plugins/declines.wasm", Fixture::new("declines").build());
    local.repo.write("guide/bad.md", "! broken\n").commit("bad");
    let stage = |more: &str| {
        format!(
            "{STAGES}\n[stages.notes]\nkind = \"wasm\"\ncomponent = \"plugins/declines.wasm\"\n{more}\n\
             [projects.docs]\n{}",
            pipeline(&["notes"])
        )
    };
    local.config(&stage(""));
    let note = "`docs:guide/bad.md`: component `declines 1.0.0`: it rejected the document: it gave no reason; \
                the next chunker gets it";
    assert!(local.world.ok(&["plan", "--exact"]).stdout.contains(note));
    let applied = local.apply(&[]).exits(0);
    assert_eq!(applied.notes(), note);
    assert_eq!(local.index().len(), 4);

    // The file is not processed again; another `on_error` is a new recipe.
    assert_eq!(local.apply(&[]).exits(0).notes(), "");
    local.config(&stage("on_error = \"fail\""));
    let applied = local.apply(&[]).exits(3);
    assert_eq!(applied.report["projects"][0]["failures"][0]["path"], "guide/bad.md");
    local.config(&stage("").replace("\"notes\", \"prose\", ", "\"notes\", "));
    let applied = local.apply(&[]).exits(0);
    assert!(applied.notes().ends_with("it gave no reason; no other chunker takes it"), "{}", applied.notes());
}

#[test]
fn a_new_binary_is_a_reason_in_the_plan_and_embeds_only_what_is_new() {
    let local = Local::paid();
    local.repo.write("notes/a.txt", "one\ntwo\n").write("notes/b.txt", "alone").commit("notes");
    let stage =
        "[stages.notes]\nkind = \"wasm\"\ncomponent = \"plugins/notes.wasm\"\nmatch = [\"notes/*\"]\n";
    local.config(&format!("{STAGES}{stage}\n[projects.docs]\n{}", pipeline(&["notes"])));
    local.world.write("plugins/notes.wasm", Fixture::new("whole").build());
    local.apply(&[]).exits(0);

    local.world.write("plugins/notes.wasm", Fixture::new("lines").build());
    insta::assert_snapshot!(local.world.ok(&["plan"]).redacted());
    let refused = local.world.run(&["apply", "--locked"]).exits(1);
    assert!(refused.stderr.contains("is lines 1.0.0 with sha256"), "{}", refused.stderr);
    // `b.txt` is a single line, so its text is already cached.
    let applied = local.apply(&[]).exits(0);
    assert_eq!(applied.counts(["files_changed", "texts_embedded", "texts_cached"]), [2, 2, 1]);

    // The same version, another binary.
    local.world.write("plugins/notes.wasm", Fixture::new("lines").unit(Unit::CodePoints).build());
    let plan = local.world.ok(&["plan"]).stdout;
    assert!(plan.contains("chunker lines 1.0.0 rebuilt: 2 files to chunk again"), "{plan}");
    assert_eq!(local.apply(&[]).exits(0).counts(["files_changed", "texts_embedded"]), [2, 0]);
}

/// Indexes `docs` with the changelog component or its native twin; returns the content of the store.
async fn changelogs_indexed(native: bool) -> crate::support::local::Index {
    let local = Local::new();
    let component = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/changelog.wasm");
    let releases = include_str!("../../plugins/changelog/fixtures/library.md");
    let own = include_str!("../../CHANGELOG.md");
    local.repo.write("CHANGELOG.md", releases).write("engine/CHANGELOG.md", own);
    local
        .repo
        .write("odd/CHANGELOG.md", "## 1.0.0\n\n- naïve 🦀 e\u{301}\n\n## 0.9.0\n\n- \u{202e}abc\u{202c}\n");
    local.repo.commit("changelogs");
    let stage = format!(
        "[stages.log]\nkind = \"wasm\"\ncomponent = \"{component}\"\nconfig = {{ split_above = 300 }}\n"
    );
    local.config(&format!("{STAGES}{stage}\n[projects.docs]\n{}", pipeline(&["log"])));

    let config = config::load(&local.world.path("reposync.toml"), &Need::enabled()).expect("a good file");
    let factory = StageFactory::new(CancellationToken::new(), EventSink::none());
    let mut project = factory.project(&config, &config.projects[0]).expect("stages");
    if native {
        let settings = serde_json::json!({ "split_above": 300 }).to_string();
        project.chunkers[0] = Arc::new(Twin::of(Arc::clone(&project.chunkers[0]), &settings));
    }
    let (state, lease) =
        reposync::factory::open_for_run(&config.engine.state, false, config.workers).await.expect("a ledger");
    let engine = factory.engine(&config, state, EventSink::none(), CancellationToken::new());
    let candidate = Candidate { name: "docs".into(), project: Ok(Arc::new(project)) };
    let options = Options::new(
        Guard { max_delete_ratio: 0.5, allow_deletes: false },
        SpendingGuard { max_new_texts_ratio: 0.5, allow_cost: false },
        vec!["docs".to_owned()],
    );
    let report =
        run(Arc::new(engine), lease.clone(), vec![candidate], options, None, "test").await.expect("a run");
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
    read_index(&local.world.path(".reposync/index.db"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_and_its_native_twin_store_the_same() {
    let (component, native) = (changelogs_indexed(false).await, changelogs_indexed(true).await);
    let of_releases = component.values().filter(|(facts, ..)| facts["attr_version"].is_string()).count();
    assert!(of_releases > 5, "{of_releases} chunks of releases");
    assert_eq!(component, native);
}
