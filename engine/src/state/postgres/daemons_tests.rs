//! Several daemons in a real server.

use std::time::Duration;

use super::PostgresState;
use super::tests::{database_name, migrated, server};
use crate::model::{ErrorKind, WorkerSettings};
use crate::state::{Daemon, Daemons as _, Generation, Queue as _, Standing, State as _, Worker};

fn generation(text: &str) -> Generation {
    Generation {
        digest: text.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        text: text.to_owned(),
        projects: Vec::new(),
        components: Vec::new(),
    }
}

#[tokio::test]
async fn one_daemon_leads_and_only_it_shows_and_answers() {
    let Some(url) = migrated().await else { return };
    let [first, second] = [(); 2].map(|()| PostgresState::over(&url, 2).expect("a pool"));
    let [a, b] = ["a", "b"].map(|label| Daemon::new(label.into()));
    for daemon in [&a, &b] {
        first.enter_daemon(daemon).await.expect("entered");
    }
    let lease = first.lead().await.expect("asked").expect("free");
    assert!(second.lead().await.expect("asked").is_none(), "it is held");
    // A lease on projects is another matter.
    let run = second.lease(&[]).await.expect("asked").expect("free");
    drop(run);
    first.show(lease.fence(), &a.id, "first").await.expect("shown");
    let shown = second.shown().await.expect("read").expect("shown");
    assert_eq!((shown.daemon, shown.content.as_str(), shown.is_led), (a.id.clone(), "first", true));
    let leads = |daemons: Vec<crate::state::DaemonRow>| {
        daemons.into_iter().map(|one| (one.label, one.dispatcher)).collect::<Vec<_>>()
    };
    let expected = [("a".to_owned(), true), ("b".to_owned(), false)];
    assert_eq!(leads(second.list_daemons().await.expect("read")), expected);

    let [asked, given_up] = ["sync", "cancel"].map(|request| second.ask(request));
    let (asked, given_up) = (asked.await.expect("asked"), given_up.await.expect("asked"));
    assert!(second.withdraw(given_up).await.expect("withdrawn"));
    assert_eq!(first.asked().await.expect("read"), [(asked, "sync".to_owned())]);
    first.answer_request(lease.fence(), asked, Some("yes")).await.expect("answered");
    assert_eq!(second.answer_to(asked).await.expect("read"), Some("yes".to_owned()));
    assert!(!second.withdraw(asked).await.expect("read"), "it is answered");

    server::Postgres::start()
        .expect("it runs")
        .sql(&database_name(&url), "UPDATE leases SET until = now() - interval '1 second'");
    assert!(!second.shown().await.expect("read").expect("shown").is_led);
    let taken = second.lead().await.expect("asked").expect("lapsed");
    let late = first.show(lease.fence(), &a.id, "late").await.expect_err("fenced");
    assert_eq!(late.kind, ErrorKind::Fenced);
    second.show(taken.fence(), &b.id, "second").await.expect("shown");
    assert_eq!(first.shown().await.expect("read").expect("shown").content, "second");
}

#[tokio::test]
async fn the_lease_of_the_dispatcher_is_given_back_and_never_longer_than_others() {
    let Some(url) = migrated().await else { return };
    let state = PostgresState::over(&url, 2).expect("a pool");
    let settings = WorkerSettings { lease: Duration::from_secs(3), ..WorkerSettings::default() };
    state.set_leases(settings);
    for _ in 0..2 {
        drop(state.lead().await.expect("asked").expect("it was given back"));
    }
    let held = state.lead().await.expect("asked").expect("free");
    let sql =
        "SELECT count(*) FROM leases WHERE role = 'dispatcher' AND until < now() + interval '4 seconds'";
    assert_eq!(server::Postgres::start().expect("it runs").sql(&database_name(&url), sql).trim(), "1");
    drop(held);
}

#[tokio::test]
async fn an_older_configuration_counts_again_only_on_request() {
    let Some(url) = migrated().await else { return };
    let state = PostgresState::over(&url, 2).expect("a pool");
    let lease = state.lead().await.expect("asked").expect("free");
    let fence = lease.fence();
    let [old, new] = ["old", "new"].map(generation);
    assert_eq!(state.standing("old").await.expect("read"), Standing::New);
    let Standing::Newest(first) = state.adopt(fence, &old, false).await.expect("adopted") else {
        panic!("it counts")
    };
    let Standing::Newest(second) = state.adopt(fence, &new, false).await.expect("adopted") else {
        panic!("it counts")
    };
    assert_eq!(state.newest_generation().await.expect("read"), Some(second));
    // A run of the command line with a third file changes nothing.
    state.put_generation(&generation("other")).await.expect("stored");
    assert_eq!(state.newest_generation().await.expect("read"), Some(second));
    assert_eq!(state.standing("other").await.expect("read"), Standing::New);
    assert_eq!(state.adopt(fence, &old, false).await.expect("compared"), Standing::Older(second));
    assert_eq!(state.adopt(fence, &old, true).await.expect("adopted"), Standing::Newest(first));
    assert_eq!(state.standing("new").await.expect("read"), Standing::Older(first));
    assert_eq!(state.newest_generation().await.expect("read"), Some(first));

    let worker = Worker::new("w".into(), 1);
    state.enter(&worker).await.expect("entered");
    state.answer_generation(first, &worker.id, Some("no key".into())).await.expect("answered");
    let answers = state.answers_to_generation(first).await.expect("read");
    assert_eq!(answers, [("w".to_owned(), Some("no key".to_owned()))]);
}

#[tokio::test]
async fn events_of_runs_are_read_once_and_in_order() {
    let Some(url) = migrated().await else { return };
    let state = PostgresState::over(&url, 2).expect("a pool");
    let lease = state.lead().await.expect("asked").expect("free");
    let put = |events: &[(&str, &str)]| {
        let events = events.iter().map(|(run, text)| ((*run).to_owned(), (*text).to_owned())).collect();
        state.put_events(lease.fence(), events, vec!["1".into()])
    };
    put(&[("1", "a"), ("2", "b")]).await.expect("put");
    put(&[("1", "c")]).await.expect("put");
    let read = state.events_after(0).await.expect("read");
    assert_eq!(read.iter().map(|one| one.events.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(state.events_after(read[1].id).await.expect("read").len(), 1);
    let server = server::Postgres::start().expect("it runs");
    server.sql(&database_name(&url), "UPDATE live_events SET at = now() - interval '1 hour'");
    put(&[("1", "d")]).await.expect("put");
    let read = state.events_after(0).await.expect("read");
    let left: Vec<_> = read.iter().map(|one| (one.run.as_str(), one.events.as_str())).collect();
    assert_eq!(left, [("1", "a"), ("1", "c"), ("1", "d")], "those of run 2, which has ended, are deleted");
}
