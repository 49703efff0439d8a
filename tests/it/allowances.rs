//! What a service allows holds for all processes on one state together.

use crate::support::github::TOKEN;
use crate::support::http::{Fault, Gate};
use crate::support::openai::Options;
use crate::support::services::AZURE_KEY;
use crate::support::shop::{ALONE, Shop};

/// Calls that all processes with one token may make at once.
const AT_ONCE: usize = 80;

/// The number of requests for contents.
fn blobs(shop: &Shop) -> usize {
    let requests = shop.services.github.api().requests();
    requests.iter().filter(|request| request.path.contains("/git/blobs/")).count()
}

#[test]
fn calls_at_once_with_one_token_are_bounded_over_workers_and_the_run() {
    let Some(shop) = Shop::open("units = 3\n", Options::default()) else { return };
    let text = shop.services.world.read("reposync.toml");
    let text = text.replace("[engine]\n", "[engine]\nconcurrency = 100\n");
    shop.services
        .world
        .config(&text.replace("dimensions = 64", "dimensions = 64\nrequests_per_minute = 60000"));
    // Each process wants 60 contents at once.
    shop.pages(12, 20);
    let gate = Gate::default();
    shop.services.github.fail("/git/blobs/", usize::MAX, Fault::Gate(gate.clone()));
    let _workers = [shop.worker("one"), shop.worker("two")];
    let mut run = shop.apply();
    let api = shop.services.github.api();
    run.until("that all places are taken", |_| api.at_once() == AT_ONCE);
    let sharing = shop.sql("SELECT count(*) FROM allowance_calls WHERE calls > 0");
    assert!(["2", "3"].contains(&&*sharing), "{sharing} processes");
    gate.open();
    let report = run.wait().exits(0).json();
    assert_eq!(report["projects"][0]["counts"]["files_added"], 240, "{report}");
    assert_eq!(api.most_at_once(), AT_ONCE);
    let recorded = shop.sql("SELECT allowances::text FROM allowances");
    assert_eq!(recorded.lines().count(), 3, "GitHub, Azure and Slack: {recorded}");
    assert!(!recorded.contains(TOKEN) && !recorded.contains(AZURE_KEY), "{recorded}");
}

#[test]
fn commands_that_read_share_the_limits_too() {
    let Some(shop) = Shop::open("", Options::default()) else { return };
    let text = shop.services.world.read("reposync.toml");
    shop.services
        .world
        .config(&text.replace("dimensions = 64", "dimensions = 64\nrequests_per_minute = 60000"));
    shop.pages(1, 1);
    shop.apply().wait().exits(0);
    shop.sql("UPDATE allowances SET paused_until = now() + interval '4 minutes', reason = 'slow down'");
    for args in [&["plan", "--full", "--exact"][..], &["query", "what is a guide"]] {
        let world = &shop.services.world;
        let mut command = world.start(&mut world.command(args), args);
        command
            .until("that it pauses", |command| command.stderr().contains("asked another process to pause"));
    }
}

#[test]
fn a_pause_that_one_process_is_asked_for_holds_the_others() {
    let Some(shop) = Shop::open(&format!("{ALONE}units = 1\n"), Options::default()) else { return };
    shop.pages(2, 1);
    let slow_down = Fault::status(429).with("retry-after", "240");
    shop.services.github.fail("/git/blobs/", 1, slow_down);
    let _first = shop.worker("first");
    let mut run = shop.apply();
    run.until("that the pause is recorded", |_| {
        shop.sql("SELECT count(*) FROM allowances WHERE paused_until > now() + interval '1 minute'") == "1"
    });
    let mut second = shop.worker("second");
    second.until("that it pauses", |worker| worker.stderr().contains("asked another process to pause"));
    assert_eq!(blobs(&shop), 1, "{}", second.stderr());
}
