//! The queue in a real server: which worker gets which unit, and what happens when a worker dies.

use std::sync::Arc;
use std::time::Duration;

use super::super::PostgresState;
use super::super::tests::{database_name, migrated, server};
use crate::model::{ErrorKind, WorkerSettings};
use crate::postgres::PostgresUrl;
use crate::state::{
    ClaimedUnit, ComponentFile, Fence, FileIds, FileKey, FileRow, Files as _, Generation, Lease, NewUnit,
    Placed, PutBack, Queue as _, State as _, UnitClaim, UnitState, Worker,
};

/// The processes of a run and of workers on one database.
struct Shop {
    url: PostgresUrl,
    state: Arc<PostgresState>,
    run: Lease,
    generation: i64,
}

fn generation(text: &str) -> Generation {
    Generation {
        digest: text.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        text: text.to_owned(),
        projects: vec!["a".into(), "b".into()],
        components: vec![ComponentFile {
            stage: "sql".into(),
            digest: "d".into(),
            is_file: true,
            bytes: vec![7; 9 << 20],
        }],
    }
}

impl Shop {
    async fn open() -> Option<Self> {
        let url = migrated().await?;
        let state = Arc::new(PostgresState::over(&url, 4).expect("a pool"));
        let run = state.lease(&[]).await.expect("asked").expect("free");
        let generation = state.put_generation(&generation("first")).await.expect("stored");
        Some(Self { url, state, run, generation })
    }

    async fn put(&self, project: &str, repository: &str) -> Placed {
        let unit = NewUnit {
            run: "run".into(),
            project: project.into(),
            repository: repository.into(),
            generation: self.generation,
            digest: "work".into(),
            task: "{}".into(),
        };
        self.state.put(self.run.fence(), unit).await.expect("put")
    }

    async fn claim(&self, label: &str, units: usize) -> Vec<ClaimedUnit> {
        let worker = Worker::new(label.into(), units);
        self.state.enter(&worker).await.expect("entered");
        self.state.claim(&UnitClaim::new(worker, WorkerSettings::default())).await.expect("claimed")
    }

    /// As if the lease had not been renewed for an hour.
    fn lapse(&self, unit: &ClaimedUnit) {
        let epoch = unit.lease.fence().epoch;
        let sql = format!("UPDATE leases SET until = now() - interval '1 hour' WHERE epoch = {epoch}");
        server::Postgres::start().expect("it runs").sql(&database_name(&self.url), &sql);
    }

    async fn state_of(&self, id: i64) -> (UnitState, u32, Option<String>) {
        let unit = self.state.unit(id).await.expect("read").expect("it is there");
        (unit.state, unit.attempts, unit.reason)
    }
}

fn names(units: &[ClaimedUnit]) -> Vec<String> {
    units.iter().map(|unit| format!("{} {}", unit.project, unit.repository)).collect()
}

#[tokio::test]
async fn a_unit_has_one_worker_and_projects_take_turns() {
    let Some(shop) = Shop::open().await else { return };
    for (project, repository) in [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1")] {
        assert!(matches!(shop.put(project, repository).await, Placed::Queued(_)));
    }
    let first = shop.claim("w1", 1).await;
    assert_eq!(names(&first), ["a 1"]);
    let second = shop.claim("w2", 2).await;
    assert_eq!(names(&second), ["a 2", "b 1"], "a project without a running unit comes first");
    // Units that are dropped end their leases, and go to others.
    let third = shop.claim("w3", 9).await;
    assert_eq!(names(&third), ["a 3"]);
    assert!(shop.claim("w4", 9).await.is_empty());
    let counts = shop.state.counts().await.expect("counted");
    assert_eq!((counts.ready, counts.running), (0, 4));
    shop.state.finish(first[0].lease.fence(), "{\"done\":1}").await.expect("finished");
    let news = shop.state.of_run("run", "a").await.expect("read");
    assert_eq!((news[0].state, news[0].result.as_deref()), (UnitState::Done, Some("{\"done\":1}")));
    shop.state.forget(shop.run.fence(), vec![news[0].id]).await.expect("deleted");
    assert!(shop.state.of_run("run", "a").await.expect("read").is_empty());
}

#[tokio::test]
async fn workers_of_one_label_have_units_of_their_own() {
    let Some(shop) = Shop::open().await else { return };
    for repository in ["1", "2", "3"] {
        shop.put("a", repository).await;
    }
    let mut first = shop.claim("same", 2).await;
    let _second = shop.claim("same", 1).await;
    let running = async || {
        let workers = shop.state.workers().await.expect("listed");
        workers.iter().map(|worker| worker.running).collect::<Vec<_>>()
    };
    assert_eq!(running().await, [2, 1]);
    let done = first.remove(0);
    shop.state.finish(done.lease.fence(), "{}").await.expect("finished");
    assert_eq!(running().await, [1, 1]);
}

#[tokio::test]
async fn units_of_a_dead_worker_are_taken_over_and_its_writes_are_fenced() {
    let Some(shop) = Shop::open().await else { return };
    let Placed::Queued(id) = shop.put("a", "1").await else { panic!("nothing is dead") };
    let first = shop.claim("w1", 1).await.remove(0);
    assert!(shop.claim("w2", 1).await.is_empty(), "its lease is valid");
    shop.lapse(&first);
    let second = shop.claim("w2", 1).await.remove(0);
    assert_eq!(shop.state_of(id).await.0, UnitState::Running);
    for late in [
        shop.state.finish(first.lease.fence(), "{}").await,
        shop.state.put_back(first.lease.fence(), PutBack::Unfinished).await,
        shop.state.record_recipes(first.lease.fence(), Vec::new()).await,
    ] {
        assert_eq!(late.expect_err("fenced").kind, ErrorKind::Fenced);
    }
    shop.state.record_recipes(second.lease.fence(), Vec::new()).await.expect("the holder writes");
    assert_eq!(shop.state.counts().await.expect("counted").fenced, 1);
    let lost = shop.state.unit(id).await.expect("read").expect("there").history;
    assert_eq!((lost.len(), lost[0].worker.as_str()), (1, "w1"));
}

#[tokio::test]
async fn a_unit_that_ends_its_workers_is_dead_until_an_operator_says_so() {
    let Some(shop) = Shop::open().await else { return };
    let Placed::Queued(id) = shop.put("a", "1").await else { panic!("nothing is dead") };
    // Those that are dropped end their leases, at a moment that is not known.
    let mut units = Vec::new();
    for n in 1..=5 {
        let unit = shop.claim(&format!("w{n}"), 1).await.remove(0);
        shop.lapse(&unit);
        units.push(unit);
    }
    assert!(shop.claim("w6", 1).await.is_empty());
    assert_eq!(shop.state_of(id).await.0, UnitState::Dead);
    let Placed::Dead(unit) = shop.put("a", "1").await else { panic!("the same work is dead") };
    assert_eq!((unit.id, unit.attempts, unit.history.len()), (id, 5, 5));
    assert!(shop.state.settle(id, false).await.expect("asked"));
    assert!(matches!(shop.put("a", "1").await, Placed::Dead(unit) if unit.state == UnitState::Dropped));
    assert!(shop.state.settle(id, true).await.expect("asked"));
    assert!(!shop.state.settle(id, true).await.expect("asked"), "it is gone");
    assert!(matches!(shop.put("a", "1").await, Placed::Queued(new) if new != id));
}

#[tokio::test]
async fn a_failed_unit_is_tried_again_later_and_one_given_back_at_once() {
    let Some(shop) = Shop::open().await else { return };
    let Placed::Queued(id) = shop.put("a", "1").await else { panic!("nothing is dead") };
    let given = shop.claim("w1", 1).await.remove(0);
    shop.state.put_back(given.lease.fence(), PutBack::Unfinished).await.expect("put back");
    assert_eq!(shop.state_of(id).await, (UnitState::Ready, 0, None));
    let failed = |attempts| PutBack::Failed { reason: "503".into(), after: None, attempts };
    let unit = shop.claim("w1", 1).await.remove(0);
    shop.state.put_back(unit.lease.fence(), failed(5)).await.expect("put back");
    assert_eq!(shop.state_of(id).await, (UnitState::Ready, 1, Some("503".into())));
    assert!(shop.claim("w1", 1).await.is_empty(), "not yet");
    let sql = "UPDATE units SET not_before = now()";
    server::Postgres::start().expect("it runs").sql(&database_name(&shop.url), sql);
    let unit = shop.claim("w1", 1).await.remove(0);
    shop.state.put_back(unit.lease.fence(), failed(2)).await.expect("put back");
    assert_eq!(shop.state_of(id).await, (UnitState::Dead, 2, Some("503".into())));
}

#[tokio::test]
async fn a_new_run_clears_what_an_earlier_one_has_left() {
    let Some(shop) = Shop::open().await else { return };
    shop.put("a", "1").await;
    shop.put("b", "1").await;
    let left = shop.claim("w1", 9).await;
    shop.state.clear(shop.run.fence(), &["a".to_owned()]).await.expect("cleared");
    let late = shop.state.finish(left[0].lease.fence(), "{}").await.expect_err("fenced");
    assert_eq!(late.kind, ErrorKind::Fenced);
    shop.state.finish(left[1].lease.fence(), "{}").await.expect("another project's");
    // The fence of the run itself.
    let other = Fence { epoch: shop.run.fence().epoch + 1000 };
    assert_eq!(shop.state.clear(other, &[]).await.expect_err("fenced").kind, ErrorKind::Fenced);
}

#[tokio::test]
async fn a_worker_leaves_alone_what_it_cannot_build() {
    let Some(shop) = Shop::open().await else { return };
    shop.put("a", "1").await;
    let me = Worker::new("w1".into(), 1);
    shop.state.enter(&me).await.expect("entered");
    let refused = Some("no secret".to_owned());
    shop.state.answer_generation(shop.generation, &me.id, refused).await.expect("answered");
    let claim = UnitClaim::new(me.clone(), WorkerSettings::default());
    assert!(shop.state.claim(&claim).await.expect("claimed").is_empty());
    let workers = shop.state.workers().await.expect("listed");
    assert_eq!(workers[0].refused.as_deref(), Some("no secret"));
    let older =
        UnitClaim { worker: Worker { version: "0.0.9".into(), ..Worker::new("w2".into(), 1) }, ..claim };
    assert!(shop.state.claim(&older).await.expect("claimed").is_empty(), "another version");
    assert_eq!(shop.claim("w3", 1).await.len(), 1);
    shop.state.leave(&me.id).await.expect("left");
    assert_eq!(shop.state.workers().await.expect("listed").len(), 1);
}

#[tokio::test]
async fn a_generation_is_stored_once_with_its_components() {
    let Some(shop) = Shop::open().await else { return };
    assert_eq!(shop.state.put_generation(&generation("first")).await.expect("known"), shop.generation);
    let second = shop.state.put_generation(&generation("second")).await.expect("stored");
    assert_eq!(shop.state.newest_generation().await.expect("read"), Some(second));
    let read = shop.state.generation(second).await.expect("read").expect("it is there");
    assert_eq!((read.text.as_str(), read.components[0].digest.as_str()), ("second", "d"));
    assert_eq!(shop.state.component("d").await.expect("read"), Some(vec![7; 9 << 20]));
    assert_eq!(shop.state.component("e").await.expect("read"), None);
}

#[tokio::test]
async fn waiting_workers_hear_of_new_units() {
    let Some(shop) = Shop::open().await else { return };
    let other = PostgresState::over(&shop.url, 1).expect("a pool");
    let mut ready = other.ready();
    // Listening has begun.
    ready.changed().await.expect("open");
    shop.put("a", "1").await;
    tokio::time::timeout(Duration::from_secs(30), ready.changed()).await.expect("heard").expect("open");
}

#[tokio::test]
async fn ids_that_a_dead_worker_may_still_write_are_looked_at_once_more() {
    let Some(shop) = Shop::open().await else { return };
    let world = crate::state::conformance::World::<dyn crate::state::State>::new({
        let state: Arc<dyn crate::state::State> = shop.state.clone();
        move || Arc::clone(&state)
    });
    let (project, place) = world.entered(shop.run.fence()).await;
    shop.put(&project, "r").await;
    let unit = shop.claim("w1", 1).await.remove(0);
    let file = FileKey::new("r", "a.md");
    let intents = vec![FileIds { file: file.clone(), ids: vec!["late".into()] }];
    shop.state.open_intents(unit.lease.fence(), &project, &place, intents).await.expect("opened");
    shop.lapse(&unit);
    let second = shop.claim("w2", 1).await.remove(0);
    // The second worker writes the file without that id.
    let row = FileRow { file: file.clone(), ..crate::state::conformance::row("a.md", &["now"]) };
    shop.state
        .commit_files(second.lease.fence(), &project, &place, vec![row], chrono::Utc::now())
        .await
        .expect("recorded");
    let held = async || {
        let held = shop.state.held_ids_many(&project, &place, vec![file.clone()]).await.expect("read");
        held[0].open.iter().cloned().collect::<Vec<_>>()
    };
    assert!(held().await.is_empty());
    world.entered(shop.run.fence()).await;
    assert!(held().await.is_empty(), "not yet");
    let sql = "UPDATE suspects SET look_at = now() - interval '1 second'";
    server::Postgres::start().expect("it runs").sql(&database_name(&shop.url), sql);
    world.entered(shop.run.fence()).await;
    assert_eq!(held().await, ["late"], "the next run deletes it, if it is there");
}

#[tokio::test]
async fn a_lease_is_renewed_while_the_executor_is_blocked_but_not_for_ever() {
    let Some(shop) = Shop::open().await else { return };
    shop.put("a", "1").await;
    let [lease, stuck] = [2, 3].map(Duration::from_secs);
    let [renew, grace] = [500, 500].map(Duration::from_millis);
    let settings = WorkerSettings { lease, renew, grace, stuck, ..WorkerSettings::default() };
    let claim = UnitClaim::new(Worker::new("w1".into(), 1), settings);
    let unit = shop.state.claim(&claim).await.expect("claimed").remove(0);
    let own = format!(" FROM leases JOIN units USING (epoch) WHERE epoch = {}", unit.lease.fence().epoch);
    // Nothing of this executor runs meanwhile.
    let until = |what: &str, is_reached: &dyn Fn(&str) -> bool| {
        let began = std::time::Instant::now();
        let ask = || server::Postgres::start().expect("it runs").sql(&database_name(&shop.url), what);
        while !is_reached(&ask()) {
            assert!(began.elapsed() < Duration::from_secs(60), "{what}: {}", ask());
        }
    };
    // `changed_at` is the moment of the claim.
    until(&format!("SELECT until > changed_at + lapse{own}"), &|renewed| renewed == "t");
    until(&format!("SELECT until > now(){own}"), &|held| held != "t");
    shop.lapse(&unit);
    let taken = shop.claim("w2", 1).await;
    assert_eq!(taken.len(), 1, "another worker continues");
    let late = shop.state.finish(unit.lease.fence(), "{}").await.expect_err("fenced");
    assert_eq!(late.kind, ErrorKind::Fenced);
}
