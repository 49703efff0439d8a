//! Pages of the console that stay open while things change, and names that try to be markup, in a real browser.

use serde_json::{Value, json};

use crate::support::browser::{Browser, TOKEN, VIEWS, at_work, axe};
use crate::support::daemon::{API, Daemon};
use crate::support::local::{Local, project};
use crate::support::relay::Relay;

/// A daemon over a local project whose first run has ended.
fn of_local() -> (Local, Daemon) {
    let local = Local::new();
    local.config(&project(&format!("{API}token = \"{TOKEN}\"\n")));
    let mut daemon = Daemon::start(&local.world);
    daemon.token = Some(TOKEN.to_owned());
    daemon.until_runs(1);
    (local, daemon)
}

/// Makes the page believe that its tab is hidden, or no longer.
fn hide(browser: &Browser, is_hidden: bool) {
    browser.run(&format!(
        "Object.defineProperty(document, 'hidden', {{ configurable: true, get: () => {is_hidden} }});
         document.dispatchEvent(new Event('visibilitychange'))"
    ));
}

#[test]
fn a_stream_of_events_that_a_proxy_cuts_is_opened_again() {
    let Some(browser) = Browser::start() else { return };
    let (_services, mut daemon, gate, run) = at_work();
    let relay = Relay::of(daemon.address());
    browser.sign_in(&format!("http://{}/console/runs/{run}", relay.address()));
    browser.until_shows("Progress");
    daemon.until("the stream", |_| browser.run("return events.readyState") == 1);
    browser.run("window.opened = 0; events.addEventListener('open', () => window.opened += 1)");
    relay.cut();
    daemon.until("the next stream", |_| browser.run("return window.opened") == 1);
    assert!(browser.text().contains("Progress"), "{}", browser.text());
    gate.open();
    browser.until_shows("Run again");
    assert!(!browser.text().contains("does not answer"), "{}", browser.text());
    assert_eq!(browser.run("return window.opened"), 1, "the page was not loaded again");
    daemon.until_ended(&run);
}

#[test]
fn a_run_that_ends_behind_another_tab_is_shown_when_its_tab_is_seen_again() {
    let Some(browser) = Browser::start() else { return };
    let (_services, mut daemon, gate, run) = at_work();
    browser.sign_in(&format!("http://{}/console/runs/{run}", daemon.address()));
    browser.until_shows("Progress");
    hide(&browser, true);
    assert_eq!(browser.run("return events"), Value::Null, "a hidden page keeps no connection");
    gate.open();
    daemon.until_ended(&run);
    assert!(browser.text().contains("Progress"), "{}", browser.text());
    hide(&browser, false);
    browser.until_shows("Run again");
    assert_eq!(
        browser.run("return document.querySelector('[data-live]').dataset.events ?? null"),
        Value::Null
    );
}

#[test]
fn a_look_keeps_what_somebody_uses() {
    let Some(browser) = Browser::start() else { return };
    let (_local, daemon) = of_local();
    browser.sign_in(&format!("http://{}/console/projects/docs", daemon.address()));
    browser.until_shows("Sync now");
    // The focus stays where the keyboard has brought it.
    browser.run("document.querySelector('button.primary').focus(); window.old = document.activeElement");
    browser.look();
    let focused =
        browser.run("return [document.activeElement.textContent, document.activeElement === window.old]");
    assert_eq!(focused, json!(["Sync now", false]), "it has the focus in the new copy, too");
    // A text that is marked, to be copied, is left alone.
    browser.run("getSelection().selectAllChildren(document.querySelector('.tiles')); window.tiles = document.querySelector('.tiles')");
    browser.look();
    assert_eq!(browser.run("return document.querySelector('.tiles') === window.tiles"), true);
    browser.run("getSelection().removeAllRanges()");
    browser.look();
    assert_eq!(browser.run("return document.querySelector('.tiles') === window.tiles"), false);
    // What is gone is said to be gone.
    browser.run("history.replaceState(null, '', '/console/projects/nothing')");
    browser.look();
    assert!(browser.text().contains("no longer there"), "{}", browser.text());
}

#[test]
fn names_that_try_to_be_markup_or_to_reorder_text_are_shown_as_they_are() {
    let Some(browser) = Browser::start() else { return };
    let (local, mut daemon) = of_local();
    let long = "x".repeat(200);
    for name in [
        "<img src=x onerror=window.hit=1>.md",
        "\"'><script>window.hit=1<&amp;.md",
        "gpj.\u{202e}dm.md",
        "\u{5d0}\u{5d1}\u{5d2}.md",
        &format!("{long}.md"),
        &format!("{long}/{long}.md"),
    ] {
        local.repo.write(name, format!("A page named {name}.\n"));
    }
    local.repo.git(&["rm", "-q", "README.md"]);
    local.repo.commit("odd names");
    let plan = daemon.post("/plans", &json!({ "project": "docs" })).is(201).json();
    assert_eq!(plan["summary"]["added"], 6, "{plan}");
    let plan = plan["id"].as_str().expect("an id").to_owned();
    let axe = axe();
    let base = format!("http://{}", daemon.address());
    browser.sign_in(&format!("{base}/console"));
    browser.until_shows("Projects");
    let look_at = |name: &str, page: &str| {
        for view in VIEWS {
            browser.view(view);
            browser.go(&format!("{base}{page}"));
            browser.picture(&format!("{name}-{}", view.name));
            browser.check(axe.as_deref(), &format!("{name} {}", view.name));
            assert_eq!(browser.run("return window.hit ?? null"), Value::Null, "{name}");
            assert_eq!(browser.run("return document.querySelectorAll('main img, main script').length"), 0);
            let text = browser.text();
            for shown in ["<img src=x onerror=window.hit=1>.md", "\"'><script>window.hit=1<&amp;.md", &long] {
                assert!(text.contains(shown), "{name}: no {shown} in {text}");
            }
            assert!(text.contains("gpj.\\u{202e}dm.md") && !text.contains('\u{202e}'), "{name}: {text}");
        }
    };
    look_at("plan-odd-names", &format!("/console/plans/{plan}"));
    daemon.post(&format!("/plans/{plan}/approve"), &json!({})).is(202);
    daemon.until("the new files", |daemon| daemon.project("docs")["files"] == 8);
    look_at("files-odd-names", "/console/projects/docs/files");
}
