//! A run over many repositories of which none has changed.

use super::world::World;
use super::{Bench, row};

pub(crate) fn measure(bench: &Bench) {
    let repositories = bench.of(1_000);
    let url = bench.server.database();
    let world = World::organization(bench, repositories, &format!("state = \"{url}\""), "");
    let worker = world.worker(&url, 0);
    world.until_workers(1);
    let first = world.apply(&[]);
    world.services[0].take_asked();
    let numbered = || {
        bench.server.sql(
            &url,
            "SELECT coalesce(max(last_value), 0) FROM pg_sequences WHERE sequencename = 'units_id_seq'",
        )
    };
    let before = numbered();
    let measured = world.apply(&[]);
    let (asked, units) = (world.services[0].take_asked(), if before == numbered() { "0" } else { "some" });
    let name = |what: &str| format!("unchanged: {repositories} repositories, {what}");
    let details = format!("the first run took {:.1} s, with a worker", first.seconds);
    row(&name("units"), units, "0", &details);
    row(&name("requests"), &asked.github.to_string(), "<= 12", "to GitHub; pages of 100");
    row(&name("time"), &format!("{:.2} s", measured.seconds), "<= 3 s", "");
    drop(worker);
}
