//! The same first run by one worker and by more.

use super::world::{BATCH, CALLS, FILES, Process, World};
use super::{Bench, row};

/// How many times as fast as one worker.
const ASKED: [(usize, &str); 4] = [(1, ""), (2, ">= 1.9"), (4, ">= 3.6"), (8, ">= 6.5")];

pub(crate) fn measure(bench: &Bench) {
    let repositories = bench.of(bench.args.repositories);
    let mut alone = None;
    let mut twice = 0;
    for (workers, asked) in ASKED {
        let url = bench.server.database();
        let (state, more) = (format!("state = \"{url}\""), "[workers]\nlocal = false\n");
        let world = World::new(bench, repositories, bench.latency(), &state, more);
        let started: Vec<Process> = (0..workers).map(|n| world.worker(&url, n)).collect();
        world.until_workers(workers);
        let measured = world.apply(&[]);
        let texts = world.texts();
        let (seconds, all) = *alone.get_or_insert((measured.seconds, texts));
        twice += texts.saturating_sub(all);
        let times = format!("{:.2} times", seconds / measured.seconds);
        let details = format!(
            "{:.1} s for {texts} texts of {repositories} repositories of {FILES} files; {CALLS} calls of {BATCH} texts at once \
             in each process, {:?} each; {:.2} CPU s in the run's own process",
            measured.seconds,
            bench.latency(),
            measured.cpu.unwrap_or_default()
        );
        row(&format!("scaling: {workers} workers against one"), &times, asked, &details);
        drop(started);
    }
    row("scaling: texts paid twice", &twice.to_string(), "0", "in all of these runs, without a death");
}
