//! One process with its state in a file, and in a database: near by, and a millisecond away.

use std::time::Duration;

use super::slow::Slow;
use super::world::{FILES, World};
use super::{Bench, row};

/// The round trip to a database in the same data centre.
const ROUND_TRIP: Duration = Duration::from_millis(1);
/// How many times each run is measured, in turn with the others; the fastest one counts.
const ROUNDS: usize = 3;
/// Where the state is.
const PLACES: [&str; 3] = ["file", "database", "database, 1 ms away"];

/// What is asked of both databases, of runs in which something waits for the service.
const ASKED: [&str; 2] = ["<= 1.3", "<= 1.6"];
/// The runs: what they are called, and their options.
const RUNS: [(&str, &[&str]); 3] = [("first run", &[]), ("nothing changed", &[]), ("--full", &["--full"])];

pub(crate) fn measure(bench: &Bench) {
    let repositories = bench.of(bench.args.repositories);
    let (small, large) = ((repositories, FILES), (1, usize::try_from(bench.of(2_700)).expect("small")));
    shape(bench, "many small, slow service", small, bench.latency(), 1);
    // Without latency of the services nothing hides the state's.
    shape(bench, "many small", small, Duration::ZERO, ROUNDS);
    shape(bench, "one large", large, Duration::ZERO, ROUNDS);
}

/// `size`: repositories, each in a project of its own, and files of each.
fn shape(bench: &Bench, name: &str, size: (u64, usize), latency: Duration, rounds: usize) {
    let runs = if latency.is_zero() { &RUNS[..] } else { &RUNS[..1] };
    let mut fastest = [[f64::INFINITY; PLACES.len()]; RUNS.len()];
    for _ in 0..rounds {
        let (url, other) = (bench.server.database(), bench.server.database());
        let slow = Slow::start(&other, ROUND_TRIP);
        let places =
            [String::new(), format!("state = \"{url}\""), format!("state = \"{}\"", slow.url(&other))];
        let worlds = places.map(|state| World::with(bench, size, latency, &state, ""));
        for (run, (_, args)) in runs.iter().enumerate() {
            for (place, world) in worlds.iter().enumerate() {
                fastest[run][place] = fastest[run][place].min(world.apply(args).seconds);
            }
        }
    }
    for ((run, _), seconds) in runs.iter().zip(fastest) {
        for (place, asked) in (1..PLACES.len()).zip(ASKED) {
            let asked = if latency.is_zero() { "" } else { asked };
            let times = format!("{:.2} times", seconds[place] / seconds[0]);
            let details = format!(
                "{:.2} s, with a file {:.2} s; fastest of {rounds}; {} x {} files, {latency:?} for a call",
                seconds[place], seconds[0], size.0, size.1
            );
            row(&format!("states: {name}, {run}, {}", PLACES[place]), &times, asked, &details);
        }
    }
}
