//! Searching what is indexed, and measuring how well it is found.

use serde_json::{Value, json};

use crate::support::local::{Local, STAGES};

const PIPELINE: &str = "pipeline = [\"local\", \"prose\", \"model\", \"index\"]";

/// The paths of the matches, best first.
fn paths(found: &Value) -> Vec<&str> {
    let matches = found["matches"].as_array().expect("matches");
    matches.iter().map(|one| one["metadata"]["file_path"].as_str().expect("a path")).collect()
}

#[test]
fn several_projects_are_ranked_together() {
    let local = Local::new();
    local
        .world
        .repo("other")
        .write("upload.md", "How an upload is retried after a network error.\n")
        .write("zebra.md", "Stripes of animals.\n")
        .commit("first");
    local.config(&format!(
        "{STAGES}\n[projects.a]\n{PIPELINE}\nrepositories = [\"docs\"]\n[projects.b]\n{PIPELINE}\nrepositories = [\"other\"]\n"
    ));
    local.apply(&[]).exits(0);
    let query = |args: &[&str]| {
        local.world.ok(&[&["query", "how", "is", "an", "upload", "retried", "--json"], args].concat()).json()
    };
    let found = query(&[]);
    assert_eq!(paths(&found)[0], "upload.md", "not the first match of the first project");
    let scores: Vec<f64> = found["matches"]
        .as_array()
        .expect("matches")
        .iter()
        .map(|one| one["score"].as_f64().expect("a score"))
        .collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "one scale: {scores:?}");
    assert_eq!(paths(&query(&["--project", "a"])).iter().filter(|path| **path == "upload.md").count(), 0);
    assert_eq!(paths(&query(&["--repo", "!other"])), paths(&query(&["--project", "a"])));
}

#[test]
fn filters_that_nothing_passes_are_named() {
    let local = Local::new();
    local.apply(&[]).exits(0);
    let ran = local.world.ok(&["query", "guard", "lang:klingon", "--path", "!x/**"]);
    assert_eq!(ran.stdout, "Nothing found.\n");
    assert_eq!(ran.stderr, "note: no match passes the filters: not path `x/**`, language `klingon`\n");
    for args in [
        ["query", "guard", "path:["],
        ["query", "guard", "--path=["],
        ["query", "lang:rust", "--mode=hybrid"],
    ] {
        let refused = local.world.run(&args);
        assert_eq!(refused.code, Some(2), "{args:?}: {}", refused.stderr);
    }
}

#[test]
fn one_file_does_not_fill_the_answer() {
    let local = Local::new();
    let paragraph =
        |n: usize| format!("Paragraph {n} says how a deletion is guarded. {}\n\n", "More of it. ".repeat(12));
    let text: String = (0..6).map(paragraph).collect();
    local.repo.write("long.md", text).commit("second");
    local.apply(&[]).exits(0);
    let query = |args: &[&str]| {
        local.world.ok(&[&["query", "how is a deletion guarded", "--json", "-k", "10"], args].concat()).json()
    };
    let of_long = |found: &Value| paths(found).iter().filter(|path| **path == "long.md").count();
    let found = query(&[]);
    assert_eq!(of_long(&found), 2);
    let more = found["matches"][0]["more"].as_array().expect("what is not shown").len();
    let all = of_long(&query(&["--per-file", "0"]));
    assert_eq!((2 + more, all > 4), (all, true));
    let shown = local.world.ok(&["query", "how is a deletion guarded"]).stdout;
    assert!(shown.contains("more in this file: "), "{shown}");
    let second = query(&["--offset", "1"]);
    assert_eq!(second["matches"][0]["id"], found["matches"][1]["id"]);
}

#[test]
fn questions_without_an_answer_get_weak_matches() {
    let local = Local::applied();
    let weak = |text: &str| local.world.ok(&["query", text, "--json"]).json()["weak"].as_bool();
    assert_eq!(weak("recipe for vegetarian lasagna with spinach"), Some(true));
    assert_eq!(weak("where do I start to read?"), Some(false));
    let shown = local.world.ok(&["query", "recipe for vegetarian lasagna with spinach"]).stdout;
    assert!(shown.starts_with("Weak matches only"), "{shown}");
}

#[test]
fn words_without_spaces_are_found_and_shown() {
    let local = Local::new();
    local.repo.write("ja.md", "はじめに\n\nこの文書は全文検索の索引について説明します。\n").commit("second");
    local.apply(&[]).exits(0);
    let found = local.world.ok(&["query", "検索の索引", "--mode", "keyword", "--json"]).json();
    assert_eq!(paths(&found), ["ja.md"]);
    assert!(found["matches"][0]["similarity"].is_null() && found["matches"][0]["bm25"].as_f64() > Some(0.0));
    let lines = local.world.ok(&["query", "検索の索引", "--format", "vimgrep"]).stdout;
    assert!(lines.contains("ja.md:3:"), "{lines}");
    assert_eq!(local.world.ok(&["query", "検索の索引", "--files", "-k", "1"]).stdout, "ja.md\n");
}

#[test]
fn unusual_queries_are_answered_or_refused() {
    let local = Local::applied();
    let long = "word ".repeat(20_000);
    for text in ["\"' OR NEAR( *", "?!", "a", "🎉", "path:nowhere/ start", &long] {
        let ran = local.world.run(&["query", "--", text]);
        assert_eq!(
            (ran.code, ran.stderr.contains("panicked")),
            (Some(0), false),
            "{text:.40} {}",
            ran.stderr
        );
    }
    for (args, said) in [
        (&["query", "path:src/"][..], "has no words, only filters"),
        (&["query", "x", "--path", "a["], "is not a glob"),
        (&["query", "x", "--lang", "!"], "a filter is empty"),
        (&["query", "x", "--project", "nobody"], "nobody"),
    ] {
        let ran = local.world.run(args);
        assert!(ran.code != Some(0) && ran.stderr.contains(said), "{args:?} {:?} {}", ran.code, ran.stderr);
    }
}

#[test]
fn golden_questions_are_measured_and_compared() {
    let local = Local::applied();
    local.world.write(
        "queries.toml",
        "[[queries]]\nquery = \"where do I start?\"\npaths = [\"guide/start.md\"]\n\
         [[queries]]\nquery = \"when may I go home\"\npaths = [\"docs/guide/end.md\", \"absent.md\"]\n",
    );
    let ran = local.world.ok(&["eval", "queries.toml", "--json"]);
    let report = ran.json();
    assert_eq!(report["questions"].as_array().expect("questions").len(), 2);
    assert_eq!(report["questions"][0]["ranks"], serde_json::json!([1]));
    assert_eq!(report["questions"][1]["ranks"][1], Value::Null);
    assert_eq!(report["figures"]["mrr"], 1.0);
    assert_eq!(report["figures"]["recall_at_1"], 0.75);
    assert!(report["modes"]["keyword"].is_object() && report["without"]["penalties"].is_object());
    local.world.write("run.json", ran.stdout);
    let shown = local.world.ok(&["eval", "queries.toml", "--compare", "run.json", "--min-mrr", "1"]).stdout;
    assert!(shown.contains("MRR +0.000, 0 better, 0 worse"), "{shown}");
    let below = local.world.run(&["eval", "queries.toml", "--min-mrr", "1.5"]).exits(3);
    assert!(below.stderr.contains("is below 1.5"), "{}", below.stderr);
    for (args, said) in [
        (&["eval"][..], "there are no questions"),
        (&["eval", "reposync.toml"], "`reposync.toml`: "),
        (&["eval", "absent.toml"], "cannot read `absent.toml`"),
        (&["eval", "queries.toml", "--compare", "queries.toml"], "is no report"),
    ] {
        let ran = local.world.run(args).exits(2);
        assert!(ran.stderr.contains(said), "{args:?} {}", ran.stderr);
    }
}

#[test]
fn the_history_asks_for_the_files_that_commits_changed() {
    let local = Local::new();
    let repo = &local.repo;
    repo.write("upload.py", "def upload(file):\n    send(file)\n")
        .write("parse.py", "def parse_header(line):\n    return line\n")
        .commit("add two modules");
    repo.write("upload.py", "def upload(file):\n    send(file)\n    send(file)\n")
        .commit("send the upload twice (#7)");
    repo.write("new.py", "x = 1\n").commit("add a module that did not exist");
    repo.write("parse.py", "def parse_header(line):\n    return line.strip()\n")
        .commit("strip what parse_header returns");
    let report = local.world.ok(&["eval", "--history", "10", "--json"]).json();
    let questions = report["questions"].as_array().expect("questions");
    let of = |at: usize| (questions[at]["query"].as_str(), questions[at]["first"].as_str());
    assert_eq!(questions.len(), 2);
    assert_eq!(of(0), (Some("strip what parse_header returns"), Some("parse.py")));
    assert_eq!(of(1), (Some("send the upload twice"), Some("upload.py")));
    assert_eq!(report["figures"]["hit_at_5"], 1.0);
    // The live state is not touched.
    assert!(
        !local.world.path(".reposync/index.db").exists() && !local.world.path(".reposync/state.db").exists()
    );
}

#[test]
fn an_answer_says_how_current_it_is() {
    let local = Local::applied();
    let fresh = || local.world.ok(&["query", "start", "--json"]).json()["repositories"][0].clone();
    let indexed = local.repo.sha("HEAD").to_string();
    let current = json!({
        "project": "docs", "repository": "docs", "indexed_commit": indexed, "head": indexed,
        "commits_behind": 0, "differing_files": 0,
    });
    assert_eq!(fresh(), current);
    // Written again without a change, and a file that Git does not track.
    local.repo.write("README.md", "The readme says what it is about.\n").write("untracked.md", "New.\n");
    assert_eq!(fresh(), current);
    // Edited, of the same size, and with other line ends; staged; deleted.
    local.repo.write("README.md", "The readme says what is it about.\n");
    assert_eq!(fresh()["differing_files"], 1);
    local.repo.write("README.md", "The readme says what it is about.\r\n");
    assert_eq!(fresh()["differing_files"], 1, "Git stores another end of the line only where it is asked to");
    local.repo.write("guide/end.md", "Stop.\n").git(&["add", "guide/end.md"]);
    std::fs::remove_file(local.repo.path().join("guide/start.md")).expect("removed");
    assert_eq!(fresh()["differing_files"], 3);
    let ran = local.world.ok(&["query", "start"]);
    assert!(ran.stderr.contains("note: docs: 3 files differ from the indexed commit\n"), "{}", ran.stderr);
    let status = local.world.ok(&["status"]).stdout;
    assert!(status.contains("work tree: docs: 3 files differ from the indexed commit\n"), "{status}");
    local.repo.git(&["commit", "--quiet", "-m", "second"]);
    let behind = fresh();
    assert_eq!((&behind["commits_behind"], &behind["differing_files"]), (&json!(1), &json!(3)));
    assert_eq!(behind["head"], local.repo.sha("HEAD").to_string());
    let ran = local.world.ok(&["query", "start"]);
    assert!(ran.stderr.contains("docs: 1 commit behind, 3 files differ"), "{}", ran.stderr);
    // A branch that was rewritten, and a repository that is gone.
    local.repo.git(&["checkout", "--quiet", "--orphan", "other"]);
    local.repo.commit("another root");
    let rewritten = fresh();
    assert_eq!(rewritten["commits_behind"], Value::Null);
    assert!(rewritten["unknown"].as_str().is_some_and(|why| why.contains("rewritten")), "{rewritten}");
    std::fs::rename(local.repo.path(), local.world.path("elsewhere")).expect("moved");
    assert_eq!(
        fresh(),
        json!({
            "project": "docs", "repository": "docs", "indexed_commit": indexed, "head": indexed, "commits_behind": 0,
        })
    );
}

#[test]
fn a_bare_repository_has_no_work_tree() {
    let local = Local::new();
    local.repo.git(&["clone", "--quiet", "--bare", ".", "../bare.git"]);
    local.config(&crate::support::local::project("").replace("[\"docs\"]", "[\"bare.git\"]"));
    local.apply(&[]).exits(0);
    let answer = local.world.ok(&["query", "start", "--json"]).json();
    let fresh = &answer["repositories"][0];
    assert_eq!((&fresh["commits_behind"], &fresh["differing_files"]), (&json!(0), &Value::Null));
    assert!(!local.world.ok(&["status"]).stdout.contains("work tree"));
}

#[test]
fn apply_reports_golden_questions_that_find_less() {
    let local = Local::new();
    local.config(&crate::support::local::project("golden = \"queries.toml\"\nmin_mrr = 0.8"));
    local
        .world
        .write("queries.toml", "[[queries]]\nquery = \"where do I start?\"\npaths = [\"guide/start.md\"]\n");
    let quality =
        |applied: &crate::support::local::Applied| applied.report["projects"][0]["search_quality"].clone();
    let first = local.apply(&[]).exits(0);
    assert_eq!(quality(&first), json!({"questions": 1, "mrr": 1.0, "min_mrr": 0.8, "below": false}));
    assert!(!first.ran.stderr.contains("search quality"), "{}", first.ran.stderr);
    assert_eq!(quality(&local.apply(&[]).exits(0)), Value::Null, "nothing has changed");
    // A file that answers better takes the first place.
    local
        .repo
        .write("begin.md", "Where do I start? Where do I start? Start here: where do I start?\n")
        .commit("second");
    let below = local.apply(&[]).exits(0);
    assert_eq!((&quality(&below)["mrr"], &quality(&below)["below"]), (&json!(0.5), &json!(true)));
    let said = "MRR 0.500 of 1 golden question is below `min_mrr` 0.8; `reposync eval` shows which find less";
    assert!(below.ran.stderr.contains(&format!("search quality: `docs`: {said}\n")), "{}", below.ran.stderr);
    // The stored report has it, too.
    let run = below.report["run"].as_str().expect("an id");
    let stored = local.world.ok(&["history", run]).stdout;
    assert!(stored.contains(&format!("search        {said}\n")), "{stored}");
    local.world.write("queries.toml", "[[queries]]\nquestion = 1\n");
    local.repo.write("begin.md", "Another text.\n").commit("third");
    let unread = local.apply(&[]).exits(0);
    assert!(unread.ran.stderr.contains("the golden questions were not asked: "), "{}", unread.ran.stderr);
    assert_eq!(quality(&unread)["mrr"], Value::Null);
}

#[test]
fn a_clone_gives_the_history_of_a_remote_source() {
    let services = crate::support::services::Services::start();
    let repo = services.repository("api", &[("upload.py", "def upload(file):\n    send(file)\n".to_owned())]);
    repo.write("upload.py", "def upload(file):\n    send(file)\n    send(file)\n")
        .commit("send the upload twice");
    services.push("api", &repo);
    let file = services.file().replace("match = [\"**/*.md\", \"**/*.rst\"]\n", "");
    services.world.config(&file.replace("allowed_extensions = [\".md\", \".rst\"]\n", ""));
    let eval = |args: &[&str]| {
        services.world.run(&[&["eval", "--history", "10", "--allow-cost", "--json"], args].concat())
    };
    let refused = eval(&[]).exits(1);
    assert!(refused.stderr.contains("--repo PATH"), "{}", refused.stderr);
    let report = eval(&["--repo", "repos/api"]).exits(0).json();
    assert_eq!(report["questions"][0]["query"], "send the upload twice");
    assert_eq!(report["questions"][0]["first"], "upload.py");
    let absent = eval(&["--repo", "nowhere"]).exits(2);
    assert!(absent.stderr.contains("there is no folder `nowhere`"), "{}", absent.stderr);
}
