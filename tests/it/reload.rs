//! Edits of the configuration while the daemon runs: changed projects are run, the others are
//! undisturbed, and an invalid file changes nothing and is reported until it is fixed.

use serde_json::json;

use crate::support::component::Fixture;
use crate::support::daemon::{API, Daemon};
use crate::support::http::Server;
use crate::support::local::{Local, STAGES, project};
use crate::support::openai::{FakeOpenAi, Options};

/// Two projects in separate namespaces; `docs` has the keys `more` in its table.
fn file(more: &str) -> String {
    format!(
        "{STAGES}
[projects.docs]
pipeline = [\"local\", \"prose\", \"model\", \"index\"]
repositories = [\"docs\"]
{more}
[projects.api]
pipeline = [\"local\", \"prose\", \"model\", \"index\"]
repositories = [\"api\"]
{API}"
    )
}

fn two() -> (Local, Daemon) {
    let local = Local::new();
    local.world.repo("api").write("a.md", "The second repository.\n").commit("first");
    local.config(&file(""));
    let mut daemon = Daemon::start(&local.world);
    daemon.until_runs(2);
    (local, daemon)
}

#[test]
fn an_edit_runs_the_changed_project_and_no_other() {
    let (local, mut daemon) = two();
    local.config(&file("exclude_patterns = [\"guide/**\"]"));
    daemon.until_runs_of("docs", 2);
    let runs = daemon.runs_of("docs");
    assert_eq!(runs[0]["trigger"], "edit");
    assert_eq!(runs[0]["report"]["projects"][0]["counts"]["files_removed"], 2);
    assert_eq!(daemon.runs_of("api").len(), 1);
    assert_eq!(daemon.reloads("applied"), 1);
    assert_eq!(daemon.metric("reposync_config_generation"), 2);
}

#[test]
fn an_edit_that_changes_no_index_applies_without_a_run() {
    let (local, mut daemon) = two();
    local.config(&file("schedule = \"0 8 * * *\""));
    daemon.until("the schedule", |daemon| daemon.project("docs")["next_run"].is_string());
    assert_eq!(daemon.runs().len(), 2);
    assert_eq!(daemon.reloads("applied"), 1);
}

#[test]
fn an_identical_rewrite_and_a_comment_change_nothing() {
    let (local, mut daemon) = two();
    local.config(&file(""));
    local.world.write("unrelated.txt", "in the same folder");
    // A reload caused by the writes above would have been counted before this one.
    local.config(&file("# a comment"));
    daemon.until("the comment", |daemon| daemon.reloads("unchanged") == 1);
    assert_eq!(daemon.reloads("applied") + daemon.reloads("refused"), 0);
    assert_eq!(daemon.runs().len(), 2);
    assert_eq!(daemon.metric("reposync_config_generation"), 1);
}

#[test]
fn every_kind_of_bad_edit_changes_nothing_until_it_is_fixed() {
    let (local, mut daemon) = two();
    let bad = [
        ("empty", String::new()),
        ("half", file("")[..file("").len() / 2 + 7].to_owned()),
        ("unknown key", file("colour = \"red\"")),
        ("bad cron", file("schedule = \"whenever\"")),
        ("no variable", file("namespace = \"${NOT_THERE}\"")),
        (
            "no component",
            file("").replace(
                "kind = \"sentence\"\nmax_chunk_size = 200\nchunk_overlap = 0",
                "kind = \"wasm\"\ncomponent = \"none.wasm\"",
            ),
        ),
    ];
    for (n, (what, text)) in bad.into_iter().enumerate() {
        local.config(&text);
        daemon.until(what, |daemon| daemon.reloads("refused") == n as u64 + 1);
        let health = daemon.get("/health").is(200).json();
        assert_eq!(
            (&health["status"], &health["config_refused"]),
            (&json!("degraded"), &json!(true)),
            "{what}"
        );
        assert!(health["problem"].as_str().is_some_and(|problem| !problem.is_empty()), "{what}: {health}");
    }
    assert_eq!((daemon.runs().len(), daemon.metric("reposync_config_generation")), (2, 1));
    let refused = daemon.post("/reload", &json!({})).is(422).json();
    assert_eq!(refused["outcome"], "refused");
    local.config(&file(""));
    daemon.until("the mending", |daemon| daemon.get("/health").json()["status"] == "healthy");
    assert_eq!(daemon.runs().len(), 2);
    assert!(daemon.program.stderr().contains("reload refused; the running configuration is kept"));
}

#[test]
fn errors_of_the_file_are_named_and_its_repair_applies_at_once() {
    let (local, daemon) = two();
    let good = file("");
    let docs = "[projects.docs]\n";
    let pipeline = "pipeline = [\"local\", \"prose\", \"model\", \"index\"]";
    let bad: [(&str, Vec<u8>); 8] = [
        ("UTF-8", [b"\xff\xfe", good.as_bytes()].concat()),
        ("nowhere", good.replacen("\"index\"]", "\"nowhere\"]", 1).into()),
        ("enabled", good.replace(docs, "[projects.docs]\nenabled = \"yes\"\n").into()),
        ("duplicate key", good.replace(docs, "[projects.docs]\nrepositories = [\"docs\"]\n").into()),
        ("exclude_patterns", file("exclude_patterns = [\"[a\"]").into()),
        ("embedder", good.replacen(pipeline, "pipeline = [\"local\", \"prose\", \"index\"]", 1).into()),
        ("unknown kind", good.replace("kind = \"sqlite\"", "kind = \"sqlit\"").into()),
        ("prune", format!("[engine]\nprune = 1\n{good}").into()),
    ];
    for (named, text) in bad {
        local.world.write("reposync.toml", text);
        let refused = daemon.post("/reload", &json!({})).is(422).json();
        let health = daemon.get("/health").is(200).json();
        let problem = health["problem"].as_str().expect("a problem");
        assert!(problem.contains(named), "{named}: {problem}");
        assert_eq!((&refused["outcome"], &refused["message"]), (&json!("refused"), &json!(problem)));
        local.config(&good);
        daemon.post("/reload", &json!({})).is(200);
        assert_eq!(daemon.get("/health").json()["status"], "healthy", "{named}");
    }
    std::fs::remove_file(local.world.path("reposync.toml")).expect("removed");
    daemon.post("/reload", &json!({})).is(422);
    local.config(&good);
    daemon.post("/reload", &json!({})).is(200);
    assert_eq!((daemon.runs().len(), daemon.metric("reposync_config_generation")), (2, 1));
}

#[test]
fn every_kind_of_edit_has_the_documented_effect() {
    let embedder = FakeOpenAi::start(Options { key: None, ..Options::default() });
    let local = Local::new();
    local.repo.git(&["branch", "other"]);
    let api = local.world.repo("api");
    api.write("a.md", "The second repository.\n").commit("first");
    api.git(&["branch", "other"]);
    let mut text = format!(
        "[engine]
prune = false
max_delete_ratio = 0.5
{STAGES}path = \"one.db\"
[stages.far]
kind = \"openai\"
base_url = \"{}\"
model = \"text-embedding-3-small\"
dimensions = 8
batch_size = 10
api_key = \"k1\"
[stages.told]
kind = \"webhook\"
url = \"http://127.0.0.1:9/one\"
[projects.docs]
pipeline = [\"local\", \"prose\", \"far\", \"index\", \"told\"]
repositories = [\"docs\"]
branch = \"main\"
namespace = \"one\"
schedule = \"0 8 * * *\"
secrets = \"off\"
{API}",
        embedder.url()
    );
    local.config(&text);
    let mut daemon = Daemon::start(&local.world);
    daemon.until_runs(1);
    let mut runs = 1;
    // The edit (from, to), the logged change, and whether the project is run because of it.
    for (from, to, said, run) in [
        ("\"0 8 *", "\"5 8 *", "`docs` updated (schedule)", false),
        ("batch_size = 10", "batch_size = 20", "`docs` updated (limits)", false),
        ("9/one", "9/two", "`docs` updated (notifiers)", false),
        ("prose", "words", "`docs` updated (names)", false),
        ("0.5", "0.6", "`engine.max_delete_ratio` updated", false),
        ("prune = false", "prune = true", "`engine.prune` updated", false),
        (API, &format!("{API}webhook_secret = \"s\"\n"), "`api.webhook_secret` updated", false),
        ("size = 200", "size = 150", "`docs` planned again (chunkers)", true),
        ("\"k1\"", "\"k2\"", "`docs` planned again (credentials)", true),
        ("\"one\"", "\"two\"", "`docs` planned again (namespace)", true),
        ("\"one.db\"", "\"two.db\"", "`docs` planned again (store)", true),
        ("\"main\"", "\"other\"", "`docs` planned again (branch)", true),
        ("[\"docs\"]", "[\"api\"]", "`docs` planned again (selection)", true),
        ("\"off\"", "\"skip\"", "`docs` planned again (secrets)", true),
        (
            "[projects.docs]",
            "[projects.docs]\nallowed_extensions = [\".md\"]",
            "`docs` planned again (files)",
            true,
        ),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
        local.config(&text);
        daemon.post("/reload", &json!({})).is(200);
        // Either the request or the file watcher has reloaded and logged it.
        let said = format!("changes={said}\n");
        daemon.until(&said, |daemon| daemon.program.stderr().contains(&said));
        runs += usize::from(run);
        daemon.until_runs_of("docs", runs);
        assert_eq!(daemon.runs_of("docs")[0]["outcome"], "done", "{said}");
    }
    // The route exists now and refuses unsigned deliveries.
    daemon.post("/webhooks/github", &json!({})).is(401);
    assert_eq!(daemon.runs_of("docs").len(), runs);
}

#[test]
fn an_editor_that_replaces_the_file_and_one_that_removes_it_first() {
    let (local, mut daemon) = two();
    local.world.write("reposync.toml.new", file("namespace = \"one\""));
    std::fs::rename(local.world.path("reposync.toml.new"), local.world.path("reposync.toml"))
        .expect("renamed");
    daemon.until_runs_of("docs", 2);
    std::fs::rename(local.world.path("reposync.toml"), local.world.path("reposync.toml~")).expect("renamed");
    local.config(&file("namespace = \"two\""));
    daemon.until_runs_of("docs", 3);
    // Written to the new namespace, and removed from the old one.
    let counts = &daemon.runs_of("docs")[0]["report"]["projects"][0]["counts"];
    assert_eq!((&counts["vectors_written"], &counts["vectors_deleted"]), (&3.into(), &3.into()));
    assert!(local.index().keys().all(|(namespace, _)| namespace == "two" || namespace == "api"));
}

#[test]
fn a_component_that_is_replaced_runs_its_projects_and_a_truncated_one_is_refused() {
    let local = Local::new();
    std::fs::create_dir(local.world.path("plugins")).expect("a folder");
    let component = local.world.path("plugins/own.wasm");
    let lines = Fixture::new("lines").build();
    std::fs::write(&component, &lines).expect("written");
    let wasm = "kind = \"wasm\"\ncomponent = \"plugins/own.wasm\"\nmatch = [\"**\"]";
    local.config(&project(API).replace("kind = \"sentence\"\nmax_chunk_size = 200\nchunk_overlap = 0", wasm));
    let mut daemon = Daemon::start(&local.world);
    daemon.until_runs(1);
    assert_eq!(daemon.runs()[0]["outcome"], "done", "{:?}", daemon.runs());

    std::fs::write(&component, &lines[..lines.len() / 2]).expect("written");
    daemon.until("the refusal", |daemon| daemon.reloads("refused") == 1);
    assert_eq!(daemon.runs().len(), 1);
    std::fs::write(&component, Fixture::new("whole").build()).expect("written");
    daemon.until_runs(2);
    assert_eq!(daemon.triggers(), ["start", "edit"]);
    assert_eq!(daemon.get("/health").json()["status"], "healthy");
    assert_eq!(local.index().len(), 3);
}

#[test]
fn a_project_that_leaves_the_file_is_an_orphan_and_may_come_back() {
    let (local, mut daemon) = two();
    local.config(&project(API));
    daemon.until_state("api", "orphan");
    daemon.until_runs_of("api", 2);
    assert!(local.index().keys().any(|(namespace, _)| namespace == "api"), "it stays searchable");
    local.config(&file(""));
    daemon.until_state("api", "current");
    let run = daemon.runs_of("api")[0].clone();
    assert_eq!(run["report"]["projects"][0]["counts"]["texts_embedded"], 0);

    // Configured pruning removes it; it is too small for the deletion guard.
    local.config(&format!("[engine]\nprune = true\n{}", project(API)));
    daemon.until("the removal", |_| local.index().keys().all(|(namespace, _)| namespace != "api"));
    assert!(local.index().keys().any(|(namespace, _)| namespace == "docs"));
}

#[test]
fn a_disabled_project_is_left_alone() {
    let (local, mut daemon) = two();
    local.config(&file("enabled = false"));
    daemon.until("the edit", |daemon| daemon.reloads("applied") == 1);
    assert_eq!(daemon.project("docs")["state"], "disabled");
    assert_eq!(daemon.post("/sync", &json!({ "project": "docs" })).is(409).code(), "disabled");
    let all = daemon.post("/sync", &json!({})).is(202).json();
    assert_eq!(all["runs"].as_object().expect("runs").keys().collect::<Vec<_>>(), ["api"]);
    assert!(local.index().keys().any(|(namespace, _)| namespace == "docs"));
}

#[test]
fn settings_that_need_a_restart_are_reported_and_the_rest_applies() {
    let (local, daemon) = two();
    let text = format!("[engine]\nstate = \"other.db\"\n{}", file("exclude_patterns = [\"guide/**\"]"));
    local.config(&text.replace("127.0.0.1:0", "127.0.0.1:1"));
    let reload = local.world.run(&["reload"]);
    // The command reads the edited file, and no daemon serves that ledger.
    assert_eq!(reload.code, Some(1));
    let answer = daemon.post("/reload", &json!({})).is(200).json();
    assert_eq!(answer["restart"], json!(["engine.state", "api.listen"]));
    assert_eq!(daemon.get("/health").json()["restart"], json!(["engine.state", "api.listen"]));
    assert_eq!(daemon.metric("reposync_config_generation"), 2);
    assert!(!local.world.path("other.db").exists());
}

#[test]
fn reload_and_sighup_do_what_saving_does() {
    let (local, mut daemon) = two();
    local.config(&file("exclude_patterns = [\"guide/start.md\"]"));
    let said = local.world.ok(&["reload"]).stdout;
    assert!(said.contains("`docs` planned again (files)") || said.contains("nothing changed"), "{said}");
    daemon.until_runs_of("docs", 2);
    let before = daemon.reloads("unchanged");
    daemon.program.signal("HUP");
    daemon.until("the signal's reload", |daemon| daemon.reloads("unchanged") == before + 1);
    local.config("[engine]\nstate = \".reposync/state.db\"\n[projects.x]\n");
    local.world.run(&["reload"]).exits(2);
    local.config(&file(""));
    drop(daemon);
    let gone = local.world.run(&["reload"]).exits(1);
    assert!(gone.stderr.contains("no daemon serves the ledger"), "{}", gone.stderr);
}

#[test]
fn the_newest_of_many_edits_wins() {
    let (local, mut daemon) = two();
    for n in 0..30 {
        local.config(&file(&format!("namespace = \"n{n}\"")));
    }
    daemon.until("the newest", |_| {
        let index = local.index();
        !index.is_empty() && index.keys().all(|(namespace, _)| namespace == "n29" || namespace == "api")
    });
    assert_eq!(daemon.get("/health").json()["status"], "healthy");
}

#[test]
fn a_run_under_way_goes_on_through_the_edits_of_others_and_ends_for_its_own() {
    let service = Server::silent();
    let local = Local::new();
    let stages = format!(
        "{STAGES}
[stages.slow]
kind = \"openai\"
base_url = \"{}\"
model = \"m\"
dimensions = 8
api_key = \"k\"
",
        service.url()
    );
    let text = |embedder: &str, more: &str| {
        format!(
            "{stages}
[projects.busy]
pipeline = [\"local\", \"prose\", \"{embedder}\", \"index\"]
repositories = [\"docs\"]
namespace = \"{embedder}\"
[projects.docs]
pipeline = [\"local\", \"prose\", \"model\", \"index\"]
repositories = [\"docs\"]
{more}
{API}"
        )
    };
    local.config(&text("slow", ""));
    let mut daemon = Daemon::start(&local.world);
    daemon.until_runs_of("docs", 1);
    let run = daemon.project("busy")["running"].clone();
    assert!(run.is_string());
    local.config(&text("slow", "exclude_patterns = [\"guide/**\"]"));
    daemon.until_runs_of("docs", 2);
    assert_eq!(daemon.project("busy")["running"], run, "it noticed nothing");

    // An edit of the run's project ends the run although the call in flight never returns, and the
    // pending run starts.
    local.config(&text("model", "exclude_patterns = [\"guide/**\"]"));
    daemon.until_state("busy", "current");
    let ended = daemon.get(&format!("/runs/{}", run.as_str().expect("an id"))).is(200).json();
    assert_eq!((&ended["status"], &ended["outcome"]), (&json!("finished"), &json!("interrupted")));
    assert_eq!(local.index().keys().filter(|(namespace, _)| namespace == "model").count(), 3);
}

#[test]
#[cfg(target_os = "linux")]
fn hundreds_of_reloads_leave_no_descriptor_and_no_thread_behind() {
    // A busy machine makes the daemon start some more of its threads; a leak would be at least one for
    // each of the 240 compared reloads.
    const SOME: usize = 20;
    let (local, daemon) = two();
    let process = std::path::PathBuf::from(format!("/proc/{}", daemon.program.id()));
    let entries = |folder: &str| std::fs::read_dir(process.join(folder)).expect("a process").count();
    let (mut descriptors, mut threads) = (0, 0);
    for n in 0..300 {
        let more = match n % 3 {
            0 => format!("schedule = \"{} 8 * * *\"", n % 60),
            1 => "enabled = false".to_owned(),
            _ => format!("colour = {n}"),
        };
        local.config(&file(&more));
        let expected = if n % 3 == 2 { 422 } else { 200 };
        daemon.post("/reload", &json!({})).is(expected);
        if n < 60 {
            // By now it has opened everything it needs.
            (descriptors, threads) = (descriptors.max(entries("fd")), threads.max(entries("task")));
        }
    }
    let now = (entries("fd"), entries("task"));
    assert!(
        now.0 <= descriptors + SOME && now.1 <= threads + SOME,
        "{now:?}, at first {descriptors} and {threads}"
    );
    assert_eq!(daemon.get("/health").json()["status"], "degraded");
    local.config(&file(""));
    daemon.post("/reload", &json!({})).is(200);
    assert_eq!(daemon.get("/health").json()["status"], "healthy");
}
