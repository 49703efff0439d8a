//! The dispatcher over a long time, which passes as fast as its runs allow.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::model::Outcome;

/// A clock that goes with tokio's, from a fixed morning on.
fn simulated() -> DateTime<Utc> {
    static START: OnceLock<Instant> = OnceLock::new();
    let passed = START.get_or_init(Instant::now).elapsed();
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

#[tokio::test(start_paused = true)]
async fn twenty_four_days_of_schedules_have_every_run_and_leave_nothing_behind() {
    const DAYS: usize = 24;
    let folder = tempfile::tempdir().expect("a folder");
    repository(&folder.path().join("r"));
    let path = folder.path().join("reposync.toml");
    std::fs::write(&path, FILE).expect("a file");
    let need = Need::enabled().with_api();
    let config = crate::config::load(&path, &need).expect("valid");
    let cancel = CancellationToken::new();
    let (mut shared, _claim, generation) =
        open(config, need, Arc::new(|_: &Observed<'_>| {}), cancel.clone()).expect("opened");
    shared.now = simulated;
    let shared = Arc::new(shared);
    let (_sender, inbox) = mpsc::channel(INBOX);
    let (dispatcher, view) = Dispatcher::new(Arc::clone(&shared), generation, inbox);
    let work = tokio::spawn(dispatcher.run());
    tokio::time::sleep(Duration::from_secs(DAYS as u64 * 24 * 3600)).await;
    let view = Arc::clone(&view.borrow());
    assert!(view.runs.is_empty(), "{:?}", view.runs);
    assert_eq!(view.generation(), 1);
    cancel.cancel();
    work.await.expect("no panic");

    let runs = shared.ledger.runs(usize::MAX).expect("the history");
    let ended = |project: &str, trigger: &str| {
        let of = |row: &&crate::ledger::RunRow| {
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
