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

/// The runs: what they are called, their options, and what is asked of both databases.
const RUNS: [(&str, &[&str], [&str; 2]); 3] = [
    ("first run", &[], ["<= 1.3", "<= 1.6"]),
    ("nothing changed", &[], ["", ""]),
    ("--full", &["--full"], ["<= 1.3", "<= 1.6"]),
];

pub(crate) fn measure(bench: &Bench) {
    let repositories = bench.of(bench.args.repositories);
    shape(bench, "many small", (repositories, FILES));
    shape(bench, "one large", (1, usize::try_from(bench.of(2_700)).expect("small")));
}

/// `size`: repositories, each in a project of its own, and files of each.
fn shape(bench: &Bench, name: &str, size: (u64, usize)) {
    let mut fastest = [[f64::INFINITY; PLACES.len()]; RUNS.len()];
    for _ in 0..ROUNDS {
        let (url, other) = (bench.server.database(), bench.server.database());
        let slow = Slow::start(&other, ROUND_TRIP);
        let places =
            [String::new(), format!("state = \"{url}\""), format!("state = \"{}\"", slow.url(&other))];
        // Without latency of the services nothing hides the state's.
        let worlds = places.map(|state| World::with(bench, size, Duration::ZERO, &state, ""));
        for (run, (_, args, _)) in RUNS.iter().enumerate() {
            for (place, world) in worlds.iter().enumerate() {
                fastest[run][place] = fastest[run][place].min(world.apply(args).seconds);
            }
        }
    }
    for ((run, _, asked), seconds) in RUNS.iter().zip(fastest) {
        for (place, asked) in (1..PLACES.len()).zip(asked) {
            let times = format!("{:.2} times", seconds[place] / seconds[0]);
            let details = format!(
                "{:.2} s, with a file {:.2} s; fastest of {ROUNDS}; {} x {} files, services without latency",
                seconds[place], seconds[0], size.0, size.1
            );
            row(&format!("states: {name}, {run}, {}", PLACES[place]), &times, asked, &details);
        }
    }
}
