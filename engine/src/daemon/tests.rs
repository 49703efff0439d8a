//! Runs the dispatcher through weeks of simulated time, with tokio's clock paused.

use std::cell::OnceCell;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use chrono::DateTime;
use tokio::time::Instant;

use super::*;
use crate::model::Outcome;

/// A clock that advances with tokio's paused clock, from a fixed start. The start is thread-local:
/// the dispatcher reads the clock on the thread of its test.
fn simulated() -> DateTime<Utc> {
    thread_local! {
        static START: OnceCell<Instant> = const { OnceCell::new() };
    }
    let passed = START.with(|start| *start.get_or_init(Instant::now)).elapsed();
    let morning: DateTime<Utc> = "2026-01-31T00:00:30Z".parse().expect("a moment");
    morning + passed
}

fn repository(folder: &Path) {
    std::fs::create_dir(folder).expect("a folder");
    std::fs::write(folder.join("a.md"), "A page.\n").expect("a file");
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"] as &[_],
        &["add", "a.md"],
        &["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "-m", "first"],
    ] {
        let status = Command::new("git").args(arguments).current_dir(folder).status().expect("git");
        assert!(status.success(), "git {arguments:?}");
    }
}

const FILE: &str = concat!(
    include_str!("../../../tests/it/fixtures/local.toml"),
    r#"[projects.daily]
pipeline = ["here", "prose", "model", "index"]
repositories = ["r"]
schedule = "0 8 * * *"
[projects.hourly]
pipeline = ["here", "prose", "model", "index"]
repositories = ["r"]
schedule = "0 * * * *"
"#
);

/// A running dispatcher on the simulated clock.
struct Simulation {
    shared: Arc<Shared>,
    view: tokio::sync::watch::Receiver<Arc<View>>,
    work: JoinHandle<StageResult<()>>,
    _claim: Claim,
    _sender: mpsc::Sender<message::Message>,
}

impl Simulation {
    /// Creates a repository and a configuration file in `folder` and starts the dispatcher on them.
    async fn start(folder: &Path) -> Self {
        repository(&folder.join("r"));
        let path = folder.join("reposync.toml");
        std::fs::write(&path, FILE).expect("a file");
        let need = Need::enabled().with_api();
        let config = crate::config::load(&path, &need).expect("valid");
        let nobody = Arc::new(|_: &Observed<'_>| {});
        let states = crate::factory::open_for_service(&config.engine.state).await.expect("a ledger");
        let (mut shared, claim, generation) =
            open(config, states, need, nobody, audit::queue().0, CancellationToken::new()).expect("opened");
        shared.now = simulated;
        let shared = Arc::new(shared);
        let (sender, inbox) = mpsc::channel(INBOX);
        let (dispatcher, view) = Dispatcher::new(Arc::clone(&shared), generation, inbox);
        let work = tokio::spawn(dispatcher.run());
        Self { shared, view, work, _claim: claim, _sender: sender }
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// Stops the dispatcher and returns the state that its tasks shared.
    async fn end(self) -> Arc<Shared> {
        self.shared.cancel.cancel();
        self.work.await.expect("no panic").expect("nobody changed the tables");
        self.shared
    }
}

#[tokio::test(start_paused = true)]
async fn twenty_four_days_of_schedules_have_every_run_and_leave_nothing_behind() {
    const DAYS: usize = 24;
    let folder = tempfile::tempdir().expect("a folder");
    let simulation = Simulation::start(folder.path()).await;
    tokio::time::sleep(Duration::from_secs(DAYS as u64 * 24 * 3600)).await;
    let view = simulation.view();
    assert!(view.runs.is_empty(), "{:?}", view.runs);
    assert_eq!(view.generation(), 1);
    let shared = simulation.end().await;

    let runs = shared.state.runs(&RunQuery::newest(usize::MAX)).await.expect("read").expect("a page");
    let ended = |project: &str, trigger: &str| {
        let of = |row: &&crate::state::RunRow| {
            let report = row.report.as_ref().expect("it ended");
            row.trigger == trigger && report.projects[0].project == project && report.outcome == Outcome::Done
        };
        runs.iter().filter(of).count()
    };
    assert_eq!((ended("daily", "start"), ended("hourly", "start")), (1, 1));
    assert_eq!((ended("daily", "schedule"), ended("hourly", "schedule")), (DAYS, DAYS * 24));
    assert_eq!(runs.len(), 2 + DAYS + DAYS * 24);
    assert!(shared.feeds.len() <= 60, "the events of {} runs are kept", shared.feeds.len());
}

#[tokio::test(start_paused = true)]
async fn a_failed_run_is_retried_until_it_is_done() {
    let folder = tempfile::tempdir().expect("a folder");
    // A folder in place of the store's file makes every write fail.
    let obstacle = folder.path().join(".reposync/index.db");
    std::fs::create_dir_all(obstacle.join("x")).expect("a folder");
    let simulation = Simulation::start(folder.path()).await;
    // Retries come after one, two and four minutes. Then the obstacle is removed.
    tokio::time::sleep(Duration::from_secs(8 * 60)).await;
    let failed = simulation.view().projects["daily"].clone();
    assert_eq!(failed.last_outcome, Some(Outcome::Failed));
    assert!(failed.retry_at.is_some() && simulation.view().is_degraded());
    std::fs::remove_dir_all(&obstacle).expect("removed");
    tokio::time::sleep(Duration::from_secs(10 * 60)).await;
    let repaired = simulation.view().projects["daily"].clone();
    assert_eq!((repaired.last_outcome, repaired.retry_at), (Some(Outcome::Done), None));
    assert!(!simulation.view().is_degraded());
    let shared = simulation.end().await;
    let runs = shared.state.runs(&RunQuery::newest(usize::MAX)).await.expect("read").expect("a page");
    let of_daily =
        |row: &&crate::state::RunRow| row.report.as_ref().expect("it ended").projects[0].project == "daily";
    let mut triggers: Vec<&str> = runs.iter().filter(of_daily).map(|row| row.trigger.as_str()).collect();
    triggers.reverse();
    assert_eq!(triggers, ["start", "retry", "retry", "retry", "retry"]);
}
