//! What operators see of projects and runs: `status` and `history`.

use serde_json::Value;

use crate::support::local::{Local, project};

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
    // Before the first run there are the names of the file.
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
    // Once it is there, nothing is said of it any more.
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
    // The run over both projects belongs to each.
    assert_eq!(runs(&history(&["--project", "more"])), [all[1].clone(), all[3].clone()]);
    let newest = &history(&["--limit", "1"])[0];
    assert_eq!((&newest["project"], &newest["request"]), (&"docs".into(), &newest["run"]));
    let page = local.world.ok(&["history", "--limit", "1"]);
    assert!(page.stderr.contains(&format!("`reposync history --before {}`", all[0])), "{}", page.stderr);
    let unknown = local.world.run(&["history", "--before", "2001"]).exits(2);
    assert!(unknown.stderr.contains("there is no run `2001`"), "{}", unknown.stderr);
}
