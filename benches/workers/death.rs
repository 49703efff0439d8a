//! A worker is killed: the time until its unit runs elsewhere.

use std::time::{Duration, Instant};

use super::world::{World, until};
use super::{Bench, percentile, row};

const SETTINGS: &str =
    "[workers]\nlocal = false\nunits = 1\nlease = \"5s\"\nrenew = \"1s\"\ngrace = \"1s\"\npoll = \"1s\"\n";

pub(crate) fn measure(bench: &Bench) {
    let mut times = Vec::new();
    for _ in 0..bench.of(5) {
        let url = bench.server.database();
        // Long enough that the unit is at work when its worker dies.
        let latency = Duration::from_secs(2);
        let world = World::new(bench, 1, latency, &format!("state = \"{url}\""), SETTINGS);
        let mut workers = [world.worker(&url, 0), world.worker(&url, 1)];
        world.until_workers(2);
        let run = world.start(&["apply", "--quiet"], "run");
        let at_work = || {
            let worker = bench.server.sql(&url, "SELECT worker FROM units WHERE state = 'running'");
            worker.strip_prefix('w').and_then(|number| number.parse::<usize>().ok())
        };
        let first = until("a worker at work", at_work);
        let began = Instant::now();
        workers[first].kill();
        until("another worker at work", || at_work().filter(|worker| *worker != first));
        times.push(began.elapsed());
        drop(run);
    }
    let slowest = percentile(&mut times, 100).as_secs_f64();
    let details = format!(
        "slowest of {}; lease 5 s, grace 1 s, poll 1 s; median {:.1} s",
        times.len(),
        percentile(&mut times, 50).as_secs_f64()
    );
    row("death: killed until its unit runs elsewhere", &format!("{slowest:.1} s"), "<= 8 s", &details);
}
