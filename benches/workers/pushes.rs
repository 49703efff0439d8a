//! A push to a daemon: the time until a worker has its unit.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::push;
use super::repository::Repository;
use super::world::{World, until};
use super::{Bench, milliseconds, percentile, row};

const SECRET: &str = "It's a Secret to Everybody";
const TOKEN: &str = "a-token-of-the-benchmark";

/// Notes when units are claimed.
const NOTE: &str = "CREATE TABLE claimed (at TIMESTAMPTZ);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO claimed VALUES (clock_timestamp()); RETURN NULL; END $$;
    CREATE TRIGGER note AFTER UPDATE ON units FOR EACH ROW
        WHEN (old.state = 'ready' AND new.state = 'running') EXECUTE FUNCTION note()";

pub(crate) fn measure(bench: &Bench) {
    let url = bench.server.database();
    let api = format!(
        "[workers]\nlocal = false\n[api]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\nwebhook_secret = \"{SECRET}\"\n"
    );
    let world = World::new(bench, 1, Duration::ZERO, &format!("state = \"{url}\""), &api);
    let worker = world.worker(&url, 0);
    let daemon = world.start(&["daemon", "--quiet"], "daemon");
    let record = world.folder.path().join(".reposync/postgres.daemon");
    let address = until("the daemon's record", || {
        let record: Value = serde_json::from_slice(&std::fs::read(&record).ok()?).ok()?;
        record["listen"].as_str().map(|address| format!("http://{address}"))
    });
    reposync::net::install_tls_provider();
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let runs = || bench.server.sql(&url, "SELECT count(*) FROM runs WHERE finished_at IS NOT NULL");
    until("the first run", || (runs() == "1").then_some(()));
    bench.server.sql(&url, NOTE);
    let mut repository = Repository::seeded(20, 2_000, 7919);
    let mut times = Vec::new();
    for n in 0..bench.of(60) {
        repository.edit(1);
        world.services[0].push(repository.commit());
        let began = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        bench.runtime.block_on(deliver(&client, &address));
        let ended = (n + 2).to_string();
        until("the end of the run", || (runs() == ended).then_some(()));
        let claimed = bench.server.sql(&url, "SELECT extract(epoch FROM max(at)) FROM claimed");
        let claimed: f64 = claimed.parse().expect("a claim");
        times.push(Duration::from_secs_f64((claimed - began.as_secs_f64()).max(0.0)));
    }
    let late = percentile(&mut times, 95);
    let details = format!(
        "95th percentile of {}, median {}, slowest {}",
        times.len(),
        milliseconds(percentile(&mut times, 50)),
        milliseconds(percentile(&mut times, 100))
    );
    row("pushes: until the unit is claimed", &milliseconds(late), "<= 100 ms", &details);
    drop((daemon, worker));
}

/// Sends one signed push.
async fn deliver(client: &reqwest::Client, address: &str) {
    let request = client.post(format!("{address}/webhooks/github"));
    let answer = push::signed(request, SECRET).send().await.expect("an answer");
    assert_eq!(answer.status(), 202);
}
