//! Output of the inspection commands: `status`, `history`, `explain`, `query`, `validate`.

use serde_json::Value;

use crate::support::http::{Fault, Gate};
use crate::support::local::{Local, project};
use crate::support::openai::Options;
use crate::support::services::Services;
use crate::support::shop::Shop;
use crate::support::world::World;

fn rows(status: &Value) -> Vec<[String; 2]> {
    let rows = status["projects"][0]["repositories"].as_array().expect("rows");
    let text = |row: &Value, key: &str| row[key].as_str().expect("text").to_owned();
    rows.iter().map(|row| [text(row, "repository"), text(row, "state")]).collect()
}

#[test]
fn every_selected_repository_is_a_row_and_failing_ones_come_first() {
    let local = Local::new();
    local.world.repo("empty");
    let named = project("").replace("[\"docs\"]", "[\"docs\", \"absent\", \"empty\"]");
    local.config(&named);
    // Before the first run, `status` lists the projects of the file.
    let status = local.world.ok(&["status", "--json"]).json();
    assert_eq!(rows(&status), [["absent", "behind"], ["docs", "behind"], ["empty", "behind"]]);
    local.apply(&[]).exits(3);
    let status = local.world.ok(&["status", "--json"]).json();
    assert_eq!(rows(&status), [["absent", "failed"], ["docs", "current"], ["empty", "current"]]);
    let project = &status["projects"][0];
    assert_eq!(project["commits_behind"], Value::Null, "not behind nothing: {status}");
    let error = project["repositories"][0]["error"].as_str().expect("an error").to_owned();
    let text = local.world.ok(&["status"]).stdout;
    assert!(text.contains(&format!("  absent: {error}\n")), "{text}");
    // Once the file is indexed, no error is shown for it.
    local.world.repo("absent").write("a.md", "It has come after all.\n").commit("first");
    local.apply(&[]).exits(0);
    let status = local.world.ok(&["status", "--json"]).json();
    assert_eq!(rows(&status), [["absent", "current"], ["docs", "current"], ["empty", "current"]]);
    assert_eq!(status["projects"][0]["commits_behind"], 0);
}

#[test]
fn the_history_is_read_page_by_page_and_project_by_project() {
    let local = Local::new();
    let both = format!(
        "{}\n[projects.more]\npipeline = [\"local\", \"prose\", \"model\", \"index\"]\nrepositories = [\"docs\"]\n",
        project("")
    );
    local.config(&both);
    local.apply(&[]).exits(0);
    for name in ["docs", "more", "docs"] {
        local.apply(&["--project", name]).exits(0);
    }
    let history = |args: &[&str]| local.world.ok(&[&["history", "--json"], args].concat()).json();
    let runs = |history: &Value| -> Vec<String> {
        let runs = history.as_array().expect("runs").iter();
        runs.map(|run| run["run"].as_str().expect("an id").to_owned()).collect()
    };
    let all = runs(&history(&[]));
    assert_eq!(all.len(), 4);
    assert_eq!(runs(&history(&["--limit", "2"])), all[..2]);
    assert_eq!(runs(&history(&["--limit", "2", "--before", &all[1]])), all[2..]);
    // A run over both projects is listed for each of them.
    assert_eq!(runs(&history(&["--project", "more"])), [all[1].clone(), all[3].clone()]);
    let newest = &history(&["--limit", "1"])[0];
    assert_eq!((&newest["project"], &newest["request"]), (&"docs".into(), &newest["run"]));
    let page = local.world.ok(&["history", "--limit", "1"]);
    assert!(page.stderr.contains(&format!("`reposync history --before {}`", all[0])), "{}", page.stderr);
    let unknown = local.world.run(&["history", "--before", "2001"]).exits(2);
    assert!(unknown.stderr.contains("there is no run `2001`"), "{}", unknown.stderr);
}

/// The ids of the runs that `history` prints with these arguments.
fn history(world: &World, args: &[&str]) -> Vec<String> {
    let history = world.ok(&[&["history", "--json"], args].concat()).json();
    let runs = history.as_array().expect("runs").iter();
    runs.map(|run| run["run"].as_str().expect("an id").to_owned()).collect()
}

/// Runs of all kinds of ends, the last of them under way, are found by their status, trigger and start.
fn finds_runs(services: &Services) {
    let world = &services.world;
    services.with_pages("guide", 1);
    services.apply(&[]).exits(0);
    services.ada.fail([Fault::status(400)]);
    services.with_pages("more", 2);
    services.apply(&[]).exits(3);
    let gate = Gate::default();
    services.ada.fail([Fault::Gate(gate.clone())]);
    let run = world.spawn(&["apply"]);
    gate.until_reached();
    let all = history(world, &[]);
    let of = |status| history(world, &["--status", status]);
    assert_eq!((all.len(), of("done")), (3, all[2..].to_vec()));
    assert_eq!((of("partial"), of("running")), (all[1..2].to_vec(), all[..1].to_vec()));
    assert!(of("failed").is_empty() && of("interrupted").is_empty());
    assert!(world.ok(&["history"]).stdout.contains("running"));
    run.signal("KILL");
    assert_eq!(run.wait().code, None);
    gate.open();
    assert_eq!(history(world, &["--trigger", "apply", "--since", "1d"]), all);
    assert!(history(world, &["--trigger", "push"]).is_empty());
    assert!(history(world, &["--since", "2999-01-01"]).is_empty());
    assert_eq!(history(world, &["--status", "done", "--trigger", "apply"]), all[2..]);
    assert_eq!(world.ok(&["history", "--trigger", "push"]).stdout, "No such run.\n");
    let page = world.ok(&["history", "--since", "1d", "--limit", "1"]);
    let next = format!("`reposync history --before {}` with the same filters", all[0]);
    assert!(page.stderr.contains(&next), "{}", page.stderr);
}

#[test]
fn runs_of_the_history_are_found_by_status_trigger_and_start() {
    let services = Services::start();
    finds_runs(&services);
    let interrupted = history(&services.world, &["--status", "interrupted"]);
    assert_eq!(interrupted, history(&services.world, &["--limit", "1"]), "the lock ends with its process");
    for wrong in [["--status", "queued"], ["--trigger", "nobody"], ["--since", "yesterday"]] {
        services.world.run(&[&["history"][..], &wrong].concat()).exits(2);
    }
}

#[test]
fn runs_of_a_history_in_a_database_are_found_alike() {
    let Some(shop) = Shop::open("", Options::default()) else { return };
    finds_runs(&shop.services);
    shop.sql("UPDATE leases SET until = now()");
    let interrupted = history(&shop.services.world, &["--status", "interrupted"]);
    assert_eq!(interrupted, history(&shop.services.world, &["--limit", "1"]), "its lease has lapsed");
}

#[test]
fn the_status_can_be_checked_by_its_exit_code() {
    let local = Local::new();
    assert!(local.world.run(&["status", "--check"]).exits(3).stdout.contains("never run"));
    local.apply(&[]).exits(0);
    local.world.run(&["status", "--check"]).exits(0);
    assert_eq!(local.world.run(&["status", "--check", "-q"]).exits(0).stdout, "");
    local.config(&project("").replace("[\"docs\"]", "[\"docs\", \"absent\"]"));
    local.apply(&[]).exits(3);
    local.world.run(&["status", "--check", "--json"]).exits(3);
    // A store that cannot be written fails the project.
    std::fs::remove_file(local.world.path(".reposync/index.db")).expect("removed");
    local.world.write(".reposync/index.db/in-the-way", "");
    local.apply(&["--full"]).exits(1);
    local.world.run(&["status", "--check"]).exits(1);
    local.world.run(&["status"]).exits(0);
}

#[test]
fn a_query_before_the_first_run_says_what_to_do() {
    let local = Local::new();
    let ran = local.world.run(&["query", "where do I start?"]).exits(3);
    assert_eq!(ran.stdout, "Nothing found.\n");
    assert!(
        ran.stderr.contains("nothing is indexed yet") && ran.stderr.contains("`reposync apply`"),
        "{}",
        ran.stderr
    );
    let ran = local.world.run(&["query", "where do I start?", "--json"]).exits(3);
    assert_eq!(ran.json()["matches"], Value::Array(Vec::new()));
    local.apply(&[]).exits(0);
    // No match in a non-empty index: exit code 0, no hint.
    assert_eq!(local.world.ok(&["query", "start", "--repo", "absent"]).stdout, "Nothing found.\n");
}

#[test]
fn a_query_can_be_narrowed() {
    let local = Local::applied();
    let paths = |args: &[&str]| -> Vec<String> {
        let answer = local.world.ok(&[&["query", "the guide", "--json"], args].concat()).json();
        let matches = answer["matches"].as_array().expect("matches").iter();
        let mut paths: Vec<String> =
            matches.map(|one| one["metadata"]["file_path"].as_str().expect("a path").to_owned()).collect();
        paths.sort();
        paths
    };
    assert_eq!(paths(&[]).len(), 3);
    assert_eq!(paths(&["--path", "guide/end.md"]), ["guide/end.md"]);
    assert_eq!(paths(&["--path", "guide/end.md", "--path", "README.md"]), ["README.md", "guide/end.md"]);
    assert_eq!(paths(&["--repo", "docs", "--path", "guide/end.md"]), ["guide/end.md"]);
    assert!(paths(&["--repo", "other", "--path", "guide/end.md"]).is_empty());
    assert_eq!(paths(&["--lang", "markdown"]).len(), 3);
    assert!(paths(&["--lang", "rust"]).is_empty() && paths(&["--kind", "function"]).is_empty());
}

#[test]
fn a_file_is_explained_whether_it_is_indexed_or_not() {
    let local = Local::new();
    local.repo.write("empty.md", " \n").write("out/a.md", "It stays out of the index.\n").commit("second");
    let excluding = project("exclude_patterns = [\"out/**\"]\nallowed_extensions = [\".md\"]");
    local.config(&excluding);
    local.apply(&[]).exits(0);
    let explain = |path: &str| local.world.ok(&["explain", path]).stdout;
    let text = explain("guide/start.md");
    for shown in ["docs: indexed from `docs`", "1 chunk", "prose (sentence", "secrets off"] {
        assert!(text.contains(shown), "no {shown} in {text}");
    }
    assert_eq!(explain("docs:guide/start.md"), text);
    assert!(explain("other:guide/start.md").contains("docs: not in the index"));
    assert!(explain("empty.md").contains("not indexed from `docs`: empty"), "{}", explain("empty.md"));
    assert!(explain("out/a.md").contains("not indexed: excluded by `out/**`"));
    assert!(explain("a.rs").contains("not indexed: its extension is not among `allowed_extensions`"));
    assert!(explain("absent.md").contains("no run has found it"));
    let json = local.world.ok(&["explain", "guide/start.md", "--json"]).json();
    let file = &json["projects"][0]["files"][0];
    assert_eq!((&file["status"], &file["chunks"]), (&"synced".into(), &1.into()));
    assert_eq!(file["recipe"]["chunkers"][0]["stage"], "prose");
}

#[test]
fn problems_are_printed_for_programs() {
    let world = crate::support::world::World::new();
    world.config("[engine]\nconcurency = 8\n");
    let json = world.run(&["validate", "--format", "json"]).exits(2).json();
    let problem = &json["problems"][0];
    assert_eq!((&json["valid"], &json["file"]), (&false.into(), &"reposync.toml".into()), "{json}");
    assert_eq!((&problem["path"], &problem["line"]), (&"engine.concurency".into(), &2.into()), "{json}");
    let github = world.run(&["validate", "--format", "github"]).exits(2).stdout;
    assert!(github.starts_with("::error file=reposync.toml,line=2,col=1,title=reposync::"), "{github}");
    let sarif = world.run(&["validate", "--format", "sarif"]).exits(2).json();
    let place = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place["region"]["startLine"], 2, "{sarif}");
    // A valid file produces no problems.
    let local = Local::new();
    let json = local.world.ok(&["validate", "--format", "json"]).json();
    assert_eq!((&json["valid"], &json["problems"]), (&true.into(), &Value::Array(Vec::new())));
    assert_eq!(local.world.ok(&["validate", "--format", "github"]).stdout, "");
}

#[test]
fn validate_online_checks_every_service() {
    let local = Local::new();
    let text = local.world.ok(&["validate", "--online"]).stdout;
    for shown in [
        "local (for `docs`): 1 repository",
        "model (for `docs`): vectors of",
        "index (for `docs`): not there yet",
    ] {
        assert!(text.contains(shown), "no {shown} in {text}");
    }
    local.apply(&[]).exits(0);
    assert!(local.world.ok(&["validate", "--online"]).stdout.contains("index (for `docs`): ready"));
    // Nothing listens at this address: the source is still checked, and the exit code reports the
    // failed service.
    let refusing = project("").replace(
        "[stages.model]\nkind = \"local\"",
        "[stages.model]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:9\"\nmodel = \"m\"",
    );
    local.config(&format!("[engine]\nretries = 0\n{refusing}"));
    let ran = local.world.run(&["validate", "--online"]).exits(1);
    assert!(ran.stdout.contains("local (for `docs`): 1 repository"), "{}", ran.stdout);
    assert!(ran.stdout.contains("refused  model (for `docs`)"), "{}", ran.stdout);
    let json = local.world.run(&["validate", "--online", "--format", "json"]).exits(1).json();
    assert_eq!(json["problems"][0]["kind"], "service", "{json}");
    local.world.ok(&["validate"]);
}
