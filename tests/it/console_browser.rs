//! The console in a real browser, over the real daemon and the fakes.

use crate::support::browser::{Browser, TOKEN, VIEWS, at_work, axe};
use crate::support::daemon::{API, Daemon};
use crate::support::http::Fault;
use crate::support::local::{Local, STAGES};
use crate::support::services::Services;

const PIPELINE: &str = "pipeline = [\"local\", \"prose\", \"model\", \"index\"]";

#[test]
fn a_run_is_watched_to_its_end_without_reloading_the_page() {
    let Some(browser) = Browser::start() else { return };
    let (_services, daemon, gate, run) = at_work();
    browser.sign_in(&format!("http://{}/console/runs/{run}", daemon.address()));
    browser.until_shows("Progress");
    assert!(browser.text().contains("running") && browser.text().contains("Cancel"), "{}", browser.text());
    browser.picture("run-working");
    browser.run("window.marker = true");
    gate.open();
    browser.until_shows("Run again");
    assert!(browser.text().contains("done"), "{}", browser.text());
    assert_eq!(browser.run("return window.marker"), true, "the page was not loaded again");
}

#[test]
fn a_run_that_hangs_is_cancelled() {
    let Some(browser) = Browser::start() else { return };
    let services = Services::start();
    services.world.config(&format!("{}\n{API}token = \"{TOKEN}\"\n", services.file()));
    let files = [("a.md", "one\n"), ("b.md", "two\n")].map(|(path, text)| (path, text.to_owned()));
    let repo = services.repository("api", &files);
    services.github.fail(&format!("/git/blobs/{}", repo.sha("HEAD:b.md")), usize::MAX, Fault::Hang);
    let mut daemon = Daemon::start(&services.world);
    daemon.token = Some(TOKEN.to_owned());
    daemon.until_state("handbook", "running");
    let run = daemon.project("handbook")["running"].as_str().expect("a run").to_owned();
    browser.sign_in(&format!("http://{}/console/runs/{run}", daemon.address()));
    browser.until_shows("Cancel");
    browser.click("button.danger");
    browser.until_shows("interrupted");
    daemon.until_ended(&run);
}

#[test]
fn a_plan_is_approved_and_carried_out() {
    let Some(browser) = Browser::start() else { return };
    let local = Local::new();
    local.config(&format!(
        "{STAGES}\n[projects.docs]\n{PIPELINE}\nrepositories = [\"docs\"]\n{API}token = \"{TOKEN}\"\n"
    ));
    let mut daemon = Daemon::start(&local.world);
    daemon.token = Some(TOKEN.to_owned());
    daemon.until_runs(1);
    local.repo.write("guide/new.md", "New here.\n").commit("new");
    browser.sign_in(&format!("http://{}/console/projects/docs", daemon.address()));
    browser.until_shows("Sync now");
    browser.click("form[action$='/plan'] button");
    browser.until_shows("Bill");
    let text = browser.text();
    assert!(text.contains("guide/new.md") && text.contains("Approve") && text.contains("open"), "{text}");
    let path = browser.run("return location.pathname");
    let path = path.as_str().expect("a path");
    assert!(path.starts_with("/console/plans/"), "{path}");
    browser.click("form[action$='/approve'] button");
    browser.until_shows("Run again");
    let text = browser.text();
    assert!(text.contains("done") && text.contains("plan"), "{text}");
    assert_eq!(daemon.project("docs")["files"], 4);
    browser.go(&format!("http://{}{path}", daemon.address()));
    browser.until_shows("approved");
    assert!(!browser.text().contains("Approve\n"), "{}", browser.text());
}

#[test]
fn a_withheld_deletion_is_seen_and_allowed() {
    let Some(browser) = Browser::start() else { return };
    let local = Local::new();
    for n in 0..120 {
        local.repo.write(&format!("old/{n}.md"), format!("Page {n} of the old manual.\n"));
    }
    local.repo.commit("many");
    local.config(&format!(
        "{STAGES}\n[projects.docs]\n{PIPELINE}\nrepositories = [\"docs\"]\n{API}token = \"{TOKEN}\"\n"
    ));
    let mut daemon = Daemon::start(&local.world);
    daemon.token = Some(TOKEN.to_owned());
    daemon.until_runs(1);
    local.repo.git(&["rm", "-q", "-r", "old"]);
    local.repo.commit("the old manual goes");
    browser.sign_in(&format!("http://{}/console/projects/docs", daemon.address()));
    browser.until_shows("Sync now");
    browser.click("form[action$='/sync'] button.primary");
    browser.until_shows("Run again");
    assert!(browser.text().contains("Withheld by the deletion guard"), "{}", browser.text());
    browser.go(&format!("http://{}/console/projects/docs", daemon.address()));
    browser.until_shows("Withheld by the deletion guard");
    browser.picture("project-withheld");
    browser.click("form[action$='/plan'] button");
    browser.until_shows("Plan again with these deletions");
    browser.picture("plan-withheld");
    browser.click("button.danger");
    browser.until_shows("deletions are allowed");
    browser.click("form[action$='/approve'] button");
    browser.until_shows("Run again");
    assert!(!browser.text().contains("Withheld"), "{}", browser.text());
    assert_eq!(daemon.project("docs")["files"], 3);
}

#[test]
fn a_match_links_to_its_lines_at_the_indexed_commit() {
    let Some(browser) = Browser::start() else { return };
    let services = Services::start();
    services.world.config(&format!("{}\n{API}token = \"{TOKEN}\"\n", services.file()));
    let files = [("guide/login.md", "How to log in with a passkey.\n"), ("b.md", "Something else.\n")];
    let repo = services.repository("api", &files.map(|(path, text)| (path, text.to_owned())));
    let commit = repo.sha("HEAD");
    let mut daemon = Daemon::start(&services.world);
    daemon.token = Some(TOKEN.to_owned());
    daemon.until_state("handbook", "current");
    browser.sign_in(&format!("http://{}/console/search", daemon.address()));
    browser.until_shows("Question, words or a symbol");
    browser.enter("input[name=q]", "passkey");
    browser.click("form[action='/console/search'] button");
    browser.until_shows("match");
    let link = browser.run("return document.querySelector('.hit a').href");
    let link = link.as_str().expect("a link");
    assert!(link.contains(&format!("/blob/{commit}/guide/login.md#L1")), "{link}");
    // The address of the page is a link to the same answer.
    let address = browser.run("return location.href");
    let text = browser.text();
    browser.go(&format!("http://{}/console", daemon.address()));
    browser.go(address.as_str().expect("an address"));
    assert_eq!(browser.text(), text);
    assert!(text.contains("guide/login.md") && text.contains("current"), "{text}");
}

#[test]
fn a_page_goes_on_after_a_restart_and_asks_to_sign_in_where_the_token_changed() {
    let Some(browser) = Browser::start() else { return };
    let local = Local::new();
    // The next daemon listens at the same port.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let config = |token: &str| {
        local.config(&format!(
            "{STAGES}\n[projects.docs]\n{PIPELINE}\nrepositories = [\"docs\"]\n\
             [api]\nlisten = \"127.0.0.1:{port}\"\ntoken = \"{token}\"\n"
        ));
    };
    config(TOKEN);
    let mut daemon = Daemon::start(&local.world);
    daemon.token = Some(TOKEN.to_owned());
    daemon.until_runs(1);
    browser.sign_in(&format!("http://127.0.0.1:{port}/console/runs?project=docs"));
    browser.until_shows("Filter");
    daemon.stop().exits(0);
    browser.until_shows("RepoSync does not answer");
    browser.picture("daemon-away");
    let daemon = Daemon::start(&local.world);
    browser.until_gone("#away");
    browser.until_shows("Filter");
    daemon.stop().exits(0);
    config("another-token-of-the-tests");
    let _daemon = Daemon::start(&local.world);
    browser.until_shows("Token of the API");
    browser.enter("input[name=token]", "another-token-of-the-tests");
    browser.click("button[type=submit]");
    browser.until_shows("docs");
    assert_eq!(browser.run("return location.pathname + location.search"), "/console/runs?project=docs");
}

/// Usage of the last month, as runs would have left it.
fn record_usage(ledger: &std::path::Path) {
    let db = rusqlite::Connection::open(ledger).expect("a ledger");
    let today = chrono::Utc::now().timestamp() / 86_400;
    let mut add = db
        .prepare("INSERT OR REPLACE INTO usage (day, project, measure, amount) VALUES (?1, ?2, ?3, ?4)")
        .expect("the table");
    for ago in 1..30 {
        let wave = (ago * 7) % 11;
        for (measure, amount) in [
            ("runs:done".to_owned(), 20 + wave),
            ("runs:failed".to_owned(), wave / 8),
            (format!("duration:{}", 8 + wave / 3), 18),
            (format!("duration:{}", 14 + wave / 4), 3),
            ("texts".to_owned(), 900 + 240 * wave),
            ("cached".to_owned(), 3000 + 100 * wave),
            ("tokens".to_owned(), 240_000 + 61_000 * wave),
            ("price".to_owned(), 31_000 + 8_000 * wave),
            ("behind:0".to_owned(), 200),
            (format!("behind:{}", 18 + wave / 2), 60),
            ("errors:model".to_owned(), wave / 4),
            ("errors:index".to_owned(), (wave + 3) / 7),
        ] {
            add.execute(rusqlite::params![today - ago, "docs", measure, amount]).expect("added");
        }
    }
}

#[test]
fn every_page_fits_and_is_accessible() {
    let Some(browser) = Browser::start() else { return };
    let local = Local::new();
    local
        .repo
        .write("logo.bin", "a\0b")
        .write(&format!("{}.md", "long-".repeat(30)), "Long.\n")
        .commit("more");
    local.config(&format!(
        "{STAGES}\n[projects.docs]\n{PIPELINE}\nrepositories = [\"docs\"]\nschedule = \"0 8 * * *\"\n\
         [projects.broken]\n{PIPELINE}\nrepositories = [\"gone\"]\n[projects.off]\n{PIPELINE}\nrepositories = [\"docs\"]\n\
         enabled = false\n{API}token = \"{TOKEN}\"\n"
    ));
    let mut daemon = Daemon::start(&local.world);
    daemon.token = Some(TOKEN.to_owned());
    daemon.until_state("docs", "current");
    daemon.until("the broken project", |daemon| !daemon.runs_of("broken").is_empty());
    let of = |daemon: &Daemon, name: &str| daemon.runs_of(name)[0]["run"].as_str().expect("an id").to_owned();
    let (own, broken) = (of(&daemon, "docs"), of(&daemon, "broken"));
    record_usage(&local.world.path(".reposync/state.db"));
    local.repo.git(&["mv", "guide/end.md", "guide/finish.md"]);
    local.repo.git(&["rm", "-q", "README.md"]);
    local.repo.write("guide/start.md", "Start elsewhere.\n").write("new.md", "New.\n").commit("changes");
    let plan = daemon.post("/plans", &serde_json::json!({ "project": "docs" })).is(201).json();
    let plan = plan["id"].as_str().expect("an id").to_owned();
    let base = format!("http://{}", daemon.address());
    let axe = axe();
    browser.go(&format!("{base}/console"));
    let pages = [
        ("sign-in", "/console/sign-in".to_owned()),
        ("overview", "/console".to_owned()),
        ("project", "/console/projects/docs".to_owned()),
        ("project-failed", "/console/projects/broken".to_owned()),
        ("files", "/console/projects/docs/files?path=logo.bin".to_owned()),
        ("runs", "/console/runs".to_owned()),
        ("run", format!("/console/runs/{own}")),
        ("run-failed", format!("/console/runs/{broken}")),
        ("plans", "/console/plans".to_owned()),
        ("plan", format!("/console/plans/{plan}")),
        ("usage", "/console/usage".to_owned()),
        ("usage-empty", "/console/usage?project=off".to_owned()),
        ("link", "/console/sign-in?code=0123".to_owned()),
        ("search", "/console/search?q=where+do+I+start".to_owned()),
        ("config", "/console/config".to_owned()),
        ("audit", "/console/audit".to_owned()),
        ("docs", "/console/docs".to_owned()),
        ("not-found", "/console/runs/unknown".to_owned()),
    ];
    browser.sign_in(&format!("{base}/console"));
    browser.until_shows("Projects");
    let text = browser.text();
    assert!(text.find("broken") < text.find("docs"), "what fails is first: {text}");
    for view in VIEWS {
        browser.view(view);
        for (name, page) in &pages {
            browser.go(&format!("{base}{page}"));
            browser.picture(&format!("{name}-{}", view.name));
            browser.check(axe.as_deref(), &format!("{name} {}", view.name));
        }
    }
    // By the keyboard alone: from the row to its project, and to the field of the search.
    browser.go(&format!("{base}/console"));
    browser.run("document.dispatchEvent(new KeyboardEvent('keydown', { key: 'j', bubbles: true }))");
    let focused = browser.run("return document.activeElement.textContent");
    assert_eq!(focused, "broken");
    browser.run("document.dispatchEvent(new KeyboardEvent('keydown', { key: '/', bubbles: true }))");
    assert_eq!(browser.run("return document.activeElement.name"), "q");
}
