//! A large state: a million files with ten million chunks, and a queue with a thousand units.

use std::time::{Duration, Instant};

use reposync::config::StatePlace;
use reposync::factory::open_for_service;
use reposync::model::WorkerSettings;
use reposync::state::{UnitClaim, Worker};

use super::queue::{generation, unit};
use super::world::World;
use super::{Bench, milliseconds, percentile, row};

const REPOSITORIES: u64 = 1_000;

pub(crate) fn measure(bench: &Bench) {
    let files = bench.of(1_000_000);
    let url = bench.server.database();
    let world = World::organization(bench, 1, &format!("state = \"{url}\""), "");
    world.apply(&[]);
    let began = Instant::now();
    fill(bench, &url, files);
    // As after some days: nothing is left to be vacuumed or written while it is measured.
    bench.server.sql(&url, "VACUUM ANALYZE");
    bench.server.sql(&url, "CHECKPOINT");
    let size = bench.server.sql(&url, "SELECT pg_size_pretty(pg_database_size(current_database()))");
    let about = format!(
        "{files} files, {} chunks, {size}, filled in {:.0} s",
        files * 10,
        began.elapsed().as_secs_f64()
    );
    let mut times = bench.runtime.block_on(claims(&url, bench.of(1_000)));
    let details = format!(
        "99th percentile of {}, median {}; {about}",
        times.len(),
        milliseconds(percentile(&mut times, 50))
    );
    row("large: a claim", &milliseconds(percentile(&mut times, 99)), "<= 20 ms", &details);
    let mut times: Vec<Duration> = (0..5)
        .map(|_| {
            let began = Instant::now();
            let status = world.command(&["status", "--json", "--quiet"]).output().expect("it runs");
            assert!(
                String::from_utf8_lossy(&status.stdout).contains(&(files + 1).to_string()),
                "the files are counted"
            );
            began.elapsed()
        })
        .collect();
    let slowest = percentile(&mut times, 100);
    row("large: `status`", &milliseconds(slowest), "<= 1000 ms", &format!("slowest of {}", times.len()));
}

/// Adds files to the project of the first run, as runs would have recorded them.
fn fill(bench: &Bench, url: &str, files: u64) {
    let each = files / REPOSITORIES;
    bench.server.sql(
        url,
        &format!(
            "INSERT INTO repositories (project_id, name, key, entry, last_commit_sha, last_synced_at, head_sha, head_asked_at,
                 settled, basis)
             SELECT project_id, 'acme/big-' || n, 'big-' || n, entry, last_commit_sha, last_synced_at, head_sha, head_asked_at,
                 settled, basis
             FROM repositories, generate_series(1, {REPOSITORIES}) AS n;
             INSERT INTO selected_repositories (project_id, name)
             SELECT project_id, name FROM repositories ON CONFLICT DO NOTHING;
             INSERT INTO files (target_id, repository, file_path, last_commit_sha, last_synced_at, embedding_count, status,
                 blob_sha, recipe)
             SELECT target_id, 'acme/big-' || r, 'docs/page-' || n || '.md', last_commit_sha, last_synced_at, 10, status,
                 blob_sha, recipe
             FROM (SELECT * FROM files LIMIT 1) AS file, generate_series(1, {REPOSITORIES}) AS r, generate_series(1, {each}) AS n;
             INSERT INTO chunks (file_id, id, fingerprint)
             SELECT id, md5(id::text) || '-' || n, md5(n::text)
             FROM files, generate_series(1, 10) AS n WHERE repository LIKE 'acme/big-%'"
        ),
    );
}

/// The times of claims of one unit each, while as many are ready.
async fn claims(url: &str, units: u64) -> Vec<Duration> {
    let place = StatePlace::of_argument(url, false, None).expect("an address");
    let (state, _) = open_for_service(&place).await.expect("opened");
    let queue = state.queue().expect("a queue");
    let run = state.lease(&[]).await.expect("asked").expect("free");
    let generation = queue.put_generation(&generation()).await.expect("stored");
    for n in 0..units {
        queue.put(run.fence(), unit(n, generation)).await.expect("put");
    }
    let worker = Worker::new("w".to_owned(), 1);
    queue.enter(&worker).await.expect("entered");
    let claim = UnitClaim::new(worker, WorkerSettings::default());
    let mut times = Vec::new();
    let mut held = Vec::new();
    for _ in 0..units {
        let began = Instant::now();
        held.extend(queue.claim(&claim).await.expect("claimed"));
        times.push(began.elapsed());
    }
    assert_eq!(held.len() as u64, units, "each claim got a unit");
    times
}
