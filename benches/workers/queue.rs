//! What the queue itself costs: a unit is put, claimed, ended, taken and deleted, without any work between.

use std::time::Instant;

use reposync::config::StatePlace;
use reposync::factory::open_for_service;
use reposync::model::WorkerSettings;
use reposync::state::{Generation, NewUnit, State, UnitClaim, Worker};

use super::world::World;
use super::{Bench, row};

const RUN: &str = "run";
const PROJECT: &str = "p";

pub(crate) fn measure(bench: &Bench) {
    let url = bench.server.database();
    let units = bench.of(2_000);
    let seconds = bench.runtime.block_on(async {
        let place = StatePlace::of_argument(&url, false, None).expect("an address");
        let (state, _) = open_for_service(&place).await.expect("opened");
        let began = Instant::now();
        cycle(&*state, units).await;
        began.elapsed().as_secs_f64()
    });
    let each = seconds * 1000.0 / units as f64;
    row(
        "queue: own cost of a unit",
        &format!("{each:.2} ms"),
        "<= 10 ms",
        &format!("of {units}, one after the other"),
    );
    // As a part of a run by one worker, whose units are the repositories.
    let repositories = bench.of(40);
    let url = bench.server.database();
    let (state, more) = (format!("state = \"{url}\""), "[workers]\nlocal = false\n");
    let world = World::new(bench, repositories, bench.latency(), &state, more);
    let worker = world.worker(&url, 0);
    world.until_workers(1);
    let run = world.apply(&[]).seconds;
    let part = each / 1000.0 * repositories as f64 / run * 100.0;
    let details =
        format!("{repositories} units in {run:.1} s by one worker, {:?} for a call", bench.latency());
    row("queue: part of a run", &format!("{part:.2} %"), "< 5 %", &details);
    drop(worker);
}

async fn cycle(state: &dyn State, units: u64) {
    let queue = state.queue().expect("a queue");
    let run = state.lease(&[]).await.expect("asked").expect("free");
    let generation = queue.put_generation(&generation()).await.expect("stored");
    let worker = Worker::new("w".to_owned(), 1);
    queue.enter(&worker).await.expect("entered");
    let claim = UnitClaim::new(worker, WorkerSettings::default());
    for n in 0..units {
        queue.put(run.fence(), unit(n, generation)).await.expect("put");
        let claimed = queue.claim(&claim).await.expect("claimed").pop().expect("a unit");
        queue.report(claimed.lease.fence(), "{}").await.expect("reported");
        queue.finish(claimed.lease.fence(), "{}").await.expect("ended");
        let news = queue.of_run(RUN, PROJECT).await.expect("read");
        queue.forget(run.fence(), news.iter().map(|unit| unit.id).collect()).await.expect("deleted");
    }
}

/// A configuration of which nothing is built.
pub(crate) fn generation() -> Generation {
    Generation {
        digest: "d".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        text: String::new(),
        projects: vec![PROJECT.to_owned()],
        components: Vec::new(),
    }
}

pub(crate) fn unit(n: u64, generation: i64) -> NewUnit {
    NewUnit {
        run: RUN.to_owned(),
        project: PROJECT.to_owned(),
        repository: format!("acme/docs-{n}"),
        generation,
        digest: "work".to_owned(),
        task: "{}".to_owned(),
    }
}
