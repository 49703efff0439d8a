//! The console in a real browser, over the real daemon and the fakes.

use crate::support::browser::{Browser, VIEWS, axe};
use crate::support::daemon::{API, Daemon};
use crate::support::http::{Fault, Gate};
use crate::support::local::{Local, STAGES};
use crate::support::services::Services;

const TOKEN: &str = "correct horse";
const PIPELINE: &str = "pipeline = [\"local\", \"prose\", \"model\", \"index\"]";

/// Opens a page, which asks for the token first, and signs in.
#[track_caller]
fn sign_in(browser: &Browser, url: &str) {
    browser.go(url);
    browser.enter("input[name=token]", TOKEN);
    browser.click("button[type=submit]");
}

#[test]
fn a_run_is_watched_to_its_end_without_reloading_the_page() {
    let Some(browser) = Browser::start() else { return };
    let services = Services::start();
    services.world.config(&format!("{}\n{API}token = \"{TOKEN}\"\n", services.file()));
    let files = [("a.md", "one\n"), ("b.md", "two\n")].map(|(path, text)| (path, text.to_owned()));
    let repo = services.repository("api", &files);
    let gate = Gate::default();
    services.github.fail(&format!("/git/blobs/{}", repo.sha("HEAD:b.md")), 1, Fault::Gate(gate.clone()));
    let mut daemon = Daemon::start(&services.world);
    daemon.token = Some(TOKEN.to_owned());
    gate.until_reached();
    let run = daemon.project("handbook")["running"].as_str().expect("a run").to_owned();
    sign_in(&browser, &format!("http://{}/console/runs/{run}", daemon.address()));
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
    sign_in(&browser, &format!("http://{}/console/runs/{run}", daemon.address()));
    browser.until_shows("Cancel");
    browser.click("button.danger");
    browser.until_shows("interrupted");
    daemon.until_ended(&run);
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
        ("usage", "/console/usage?days=7".to_owned()),
        ("search", "/console/search?q=where+do+I+start".to_owned()),
        ("config", "/console/config".to_owned()),
        ("audit", "/console/audit".to_owned()),
        ("docs", "/console/docs".to_owned()),
        ("not-found", "/console/runs/unknown".to_owned()),
    ];
    sign_in(&browser, &format!("{base}/console"));
    browser.until_shows("Projects");
    let text = browser.text();
    assert!(text.find("broken") < text.find("docs"), "what fails is first: {text}");
    for view in VIEWS {
        browser.view(view);
        for (name, page) in &pages {
            browser.go(&format!("{base}{page}"));
            browser.picture(&format!("{name}-{}", view.name));
            let wider = browser.run("return document.documentElement.scrollWidth - innerWidth");
            assert!(wider.as_i64().is_some_and(|wider| wider <= 0), "{name} {}: {wider} too wide", view.name);
            let Some(axe) = &axe else { continue };
            let found = browser.run_until_called(&format!(
                "{axe}; const done = arguments[arguments.length - 1]; axe.run(document).then(found => done(found.violations
                 .filter(one => ['serious', 'critical'].includes(one.impact))
                 .map(one => one.id + ': ' + one.nodes.map(node => node.html).join(' '))));"
            ));
            assert_eq!(found, serde_json::json!([]), "{name} {}", view.name);
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
