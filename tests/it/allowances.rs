//! What a service allows holds for all processes on one state together.

use std::time::{Duration, Instant};

use crate::support::github::TOKEN;
use crate::support::http::{Fault, Gate};
use crate::support::openai::Options;
use crate::support::services::AZURE_KEY;
use crate::support::shop::{ALONE, Shop};

/// Calls that all processes with one token may make at once.
const AT_ONCE: usize = 80;

const EIGHT: [&str; 8] = ["one", "two", "three", "four", "five", "six", "seven", "eight"];

/// The number of requests for contents.
fn blobs(shop: &Shop) -> usize {
    let requests = shop.services.github.api().requests();
    requests.iter().filter(|request| request.path.contains("/git/blobs/")).count()
}

#[test]
fn calls_at_once_with_one_token_are_bounded_over_workers_and_the_run() {
    let Some(shop) = Shop::open("units = 1\n", Options::default()) else { return };
    let text = shop.services.world.read("reposync.toml");
    let text = text.replace("[engine]\n", "[engine]\nconcurrency = 100\n");
    shop.services
        .world
        .config(&text.replace("dimensions = 64", "dimensions = 64\nrequests_per_minute = 60000"));
    // Each process wants 20 contents at once.
    shop.pages(12, 20);
    let gate = Gate::default();
    shop.services.github.fail("/git/blobs/", usize::MAX, Fault::Gate(gate.clone()));
    let _workers = EIGHT.map(|label| shop.worker(label));
    let mut run = shop.apply();
    let api = shop.services.github.api();
    run.until("that all places are taken", |_| api.at_once() == AT_ONCE);
    let sharing: usize =
        shop.sql("SELECT count(*) FROM allowance_calls WHERE calls > 0").parse().expect("a number");
    assert!((4..=9).contains(&sharing), "{sharing} processes");
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

/// For `REPOSYNC_MINUTES` (five), while there is more to do than the limit allows.
#[test]
#[ignore = "long: .ci/long"]
fn eight_workers_use_a_limit_up_and_stay_within_it() {
    const PER_MINUTE: usize = 600;
    const MINUTE: Duration = Duration::from_secs(60);
    let minutes =
        std::env::var("REPOSYNC_MINUTES").ok().and_then(|minutes| minutes.parse().ok()).unwrap_or(5);
    let Some(shop) = Shop::open(&format!("{ALONE}units = 1\n"), Options::default()) else { return };
    let text = shop.services.world.read("reposync.toml");
    let limited = format!("requests_per_minute = {PER_MINUTE}\nbatch_size = 1\n");
    shop.services.world.config(&text.replace("batch_size = 100\n", &limited));
    // A call for each text, and a quarter more than are allowed.
    shop.pages(16, (minutes + 1) * PER_MINUTE * 5 / 4 / 16);
    let _workers = EIGHT.map(|label| shop.worker(label));
    let mut run = shop.apply();
    let calls = || shop.services.ada.calls().len();
    run.until("a call", |_| calls() > 0);
    let began = Instant::now();
    let mut seen: Vec<(Duration, usize)> = Vec::new();
    while began.elapsed() < MINUTE * u32::try_from(minutes).expect("small") {
        seen.push((began.elapsed(), calls()));
        std::thread::sleep(Duration::from_millis(100));
    }
    run.signal("INT");
    run.wait();
    let (_, all) = seen.last().expect("at least one");
    for (index, (at, before)) in seen.iter().enumerate() {
        let within = seen[index..].iter().take_while(|(time, _)| *time <= *at + MINUTE);
        let most = within.last().expect("itself").1 - before;
        assert!(most <= PER_MINUTE * 11 / 10, "{most} calls in the minute from {at:?} on");
    }
    assert!(*all >= PER_MINUTE * minutes * 9 / 10, "only {all} calls in {minutes} minutes");
}
