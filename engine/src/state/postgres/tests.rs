//! The state and the vector cache in a real server: the suites, and what concerns the server alone.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::model::{ByteSize, ErrorKind, WorkerSettings};
use crate::postgres::{PostgresUrl, Tls};
use crate::state::conformance::{World, cache_cases, state_cases};
use crate::state::{FileKey, Files as _, RunQuery, State, VectorCache};

#[path = "../../../../tests/it/support/postgres.rs"]
pub(super) mod server;

/// A new database; `None` if no server can be started.
fn database() -> Option<PostgresUrl> {
    let url = server::Postgres::start()?.database();
    Some(PostgresUrl::parse(&url, Tls::default()).expect("an address"))
}

/// A state in a new database.
async fn state() -> Option<World<dyn State>> {
    let url = migrated().await?;
    Some(World::new(move || -> Arc<dyn State> { Arc::new(PostgresState::over(&url, 4).expect("a pool")) }))
}

/// A cache in a new database.
async fn cache() -> Option<World<dyn VectorCache>> {
    let url = migrated().await?;
    Some(World::new(move || -> Arc<dyn VectorCache> {
        Arc::new(PostgresVectorCache::new(&url, 4, ByteSize::mib(64)).expect("a pool"))
    }))
}

pub(super) async fn migrated() -> Option<PostgresUrl> {
    let url = database()?;
    drop(PostgresState::open(&url, 1).await.expect("opened"));
    Some(url)
}

mod ledger {
    use super::{state, state_cases};

    state_cases!(state().await);
}

mod vectors {
    use super::{cache, cache_cases};

    cache_cases!(cache().await);
}

/// The server, and a new database that is opened for writing.
async fn opened() -> Option<(&'static server::Postgres, PostgresUrl, PostgresState)> {
    let url = database()?;
    let state = PostgresState::open(&url, 2).await.expect("opened");
    Some((server::Postgres::start()?, url, state))
}

/// The name of a database.
pub(super) fn database_name(url: &PostgresUrl) -> String {
    url.to_string().rsplit('/').next().expect("a name").to_owned()
}

#[tokio::test]
async fn a_lease_that_lapsed_is_taken_over_and_fences_its_holder() {
    let Some((server, url, state)) = opened().await else { return };
    let lease = state.lease(&[]).await.expect("asked").expect("free");
    let other = PostgresState::open(&url, 2).await.expect("opened");
    assert!(other.lease(&["p".to_owned()]).await.expect("asked").is_err(), "it is held");
    server.sql(&database_name(&url), "UPDATE leases SET until = now() - interval '1 second'");
    assert_eq!(state.holder().await.expect("read"), None);
    let second = other.lease(&[]).await.expect("asked").expect("lapsed");
    assert!(second.fence().epoch > lease.fence().epoch);
    for state in [&state, &other] {
        let late = state.record_recipes(lease.fence(), Vec::new()).await.expect_err("fenced");
        assert_eq!(late.kind, ErrorKind::Fenced, "{}", late.message);
        state.record_recipes(second.fence(), Vec::new()).await.expect("the holder writes");
    }
}

#[tokio::test]
async fn a_lease_lapses_when_its_holder_makes_no_progress_any_more() {
    let Some((server, url, state)) = opened().await else { return };
    let [lease, stuck] = [3, 1].map(Duration::from_secs);
    let [renew, grace] = [500, 500].map(Duration::from_millis);
    state.set_leases(WorkerSettings { lease, renew, grace, stuck, ..WorkerSettings::default() });
    let names = ["run", "copy"].map(|name| vec![name.to_owned()]);
    let run = state.lease(&names[0]).await.expect("asked").expect("free");
    let _copy = state.lease(&names[1]).await.expect("asked").expect("free");
    run.moved();
    // Nothing of this executor runs meanwhile.
    let held = || server.sql(&database_name(&url), "SELECT projects FROM leases WHERE until > now()");
    let began = std::time::Instant::now();
    while held() != "{copy}" {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", held());
    }
    let other = PostgresState::open(&url, 2).await.expect("opened");
    assert!(other.lease(&names[1]).await.expect("asked").is_err(), "its holder reports no progress");
    let second = other.lease(&names[0]).await.expect("asked").expect("lapsed");
    let late = state.record_recipes(run.fence(), Vec::new()).await.expect_err("fenced");
    assert_eq!(late.kind, ErrorKind::Fenced);
    other.record_recipes(second.fence(), Vec::new()).await.expect("the holder writes");
}

#[tokio::test]
async fn a_lease_that_the_server_does_not_know_any_more_ends_with_its_next_renewal() {
    let Some((server, url, state)) = opened().await else { return };
    let renew = Duration::from_millis(500);
    state.set_leases(WorkerSettings { lease: Duration::from_secs(600), renew, ..WorkerSettings::default() });
    let lease = state.lease(&[]).await.expect("asked").expect("free");
    server.sql(&database_name(&url), "UPDATE leases SET until = now() - interval '1 second'");
    tokio::time::timeout(Duration::from_secs(60), lease.ending()).await.expect("long before its end");
}

#[tokio::test]
async fn leases_on_different_projects_do_not_exclude_each_other() {
    let Some((_, _, state)) = opened().await else { return };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let _held = state.lease(&names(&["a", "b"])).await.expect("asked").expect("free");
    for (wanted, free) in [(names(&["c"]), true), (names(&["b", "c"]), false), (names(&[]), false)] {
        assert_eq!(state.lease(&wanted).await.expect("asked").is_ok(), free, "{wanted:?}");
    }
}

#[tokio::test]
async fn processes_that_open_a_new_database_at_once_leave_each_others_leases_alone() {
    let Some(url) = database() else { return };
    let open = |n: usize| {
        let url = url.clone();
        async move {
            let state = PostgresState::open(&url, 2).await.expect("opened");
            let lease = state.lease(&[n.to_string()]).await.expect("asked").expect("another project");
            (state, lease)
        }
    };
    for (state, lease) in &futures::future::join_all((0..6).map(open)).await {
        state.record_recipes(lease.fence(), Vec::new()).await.expect("the holder writes");
    }
}

#[tokio::test]
async fn a_newer_older_or_foreign_database_is_refused_and_left_alone() {
    let Some((server, url, _)) = opened().await else { return };
    for (version, expected) in [(99, "newer RepoSync (version 99"), (0, "older RepoSync (version 0")] {
        server.sql(&database_name(&url), &format!("UPDATE reposync_schema SET version = {version}"));
        let error = PostgresState::open_to_read(&url, 1).await.expect_err("refused");
        assert!(error.message.contains(expected), "{}", error.message);
    }
    server.sql(&database_name(&url), "UPDATE reposync_schema SET version = 99");
    let error = PostgresState::open(&url, 1).await.expect_err("refused");
    assert!(error.message.contains("newer RepoSync"), "{}", error.message);

    let foreign = database().expect("a server");
    server.sql(&database_name(&foreign), "CREATE TABLE projects (x INT)");
    let error = PostgresState::open(&foreign, 1).await.expect_err("refused");
    assert!(error.message.contains("tables of another program"), "{}", error.message);
    assert_eq!(
        server.sql(&database_name(&foreign), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"),
        "1"
    );
}

/// The server answers with another version than its own.
#[tokio::test]
async fn a_server_that_is_too_old_is_refused_and_left_alone() {
    let Some(url) = database() else { return };
    let (server, name) = (server::Postgres::start().expect("it runs"), database_name(&url));
    server.sql(
        &name,
        &format!(
            "CREATE SCHEMA old;
             CREATE FUNCTION old.current_setting(name TEXT) RETURNS TEXT LANGUAGE sql STABLE AS $$
                 SELECT CASE name WHEN 'server_version_num' THEN '130022' WHEN 'server_version' THEN '13.22 (Debian)'
                     ELSE pg_catalog.current_setting(name) END $$;
             ALTER DATABASE {name} SET search_path = old, pg_catalog, public"
        ),
    );
    for error in [
        PostgresState::open(&url, 1).await.expect_err("refused"),
        PostgresState::open_to_read(&url, 1).await.expect_err("refused"),
    ] {
        assert_eq!(error.kind, ErrorKind::Misconfigured);
        assert_eq!(error.message, format!("`{url}` is PostgreSQL 13.22 (Debian); 14 or newer is needed"));
        assert_eq!(error.hint.as_deref(), Some("upgrade the server"));
    }
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname IN ('old', 'public')";
    assert_eq!(server.sql(&name, tables), "0");
}

#[tokio::test]
async fn what_is_wrong_with_the_database_is_said_with_a_remedy() {
    let Some((server, url, _)) = opened().await else { return };
    let other = |text: &str| PostgresUrl::parse(text, Tls::default()).expect("an address");
    let base = server.url("nothing");
    server.sql(&database_name(&url), "CREATE ROLE reader LOGIN; CREATE ROLE nobody_else LOGIN");
    let as_reader =
        server.url(&database_name(&database().expect("a server"))).replace("reposync@", "reader@");
    for (text, kind, message, hint) in [
        (base.clone(), ErrorKind::Misconfigured, "cannot", "createdb"),
        (
            server.url("postgres").replace("reposync@", "stranger@"),
            ErrorKind::Misconfigured,
            "cannot",
            "user and password",
        ),
        (as_reader, ErrorKind::Misconfigured, "cannot create the tables", "owner of the database"),
    ] {
        let error = PostgresState::open(&other(&text), 1).await.expect_err(&text);
        assert_eq!(error.kind, kind, "{text}: {}", error.one_line());
        assert!(error.message.contains(message), "{text}: {}", error.one_line());
        assert!(error.hint.as_deref().is_some_and(|given| given.contains(hint)), "{text}: {:?}", error.hint);
    }
    // Whoever writes waits for it to start.
    let error = PostgresState::open_to_read(&other("postgres://reposync@%2Fnowhere%2Fat%2Fall/db"), 1)
        .await
        .expect_err("away");
    assert_eq!(error.kind, ErrorKind::Transient { retry_after: None });
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("the server runs")), "{:?}", error.hint);
    server.sql(
        &database_name(&url),
        &format!("ALTER DATABASE {} SET default_transaction_read_only = on", database_name(&url)),
    );
    let standby = PostgresState::open(&url, 1).await.expect("its tables are there");
    let error = standby.lease(&[]).await.expect_err("read only");
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("name the primary")), "{:?}", error.hint);
}

#[tokio::test]
async fn zero_bytes_in_texts_do_not_stop_a_run() {
    let Some((_, _, state)) = opened().await else { return };
    let world = super::super::conformance::World::<dyn State>::new({
        let state: Arc<dyn State> = Arc::new(state);
        move || Arc::clone(&state)
    });
    let state = world.process();
    let lease = state.lease(&[]).await.expect("asked").expect("free");
    let (project, place) = world.entered(lease.fence()).await;
    let file = FileKey::new("r", "a.md");
    state.record_failure(lease.fence(), &project, &place, &file, "a\0b").await.expect("recorded");
    let known = state.known_files(&project, "r", &place).await.expect("read");
    assert_eq!(known.files[0].detail.as_deref(), Some("a\u{fffd}b"));
    assert_eq!(state.runs(&RunQuery::newest(1)).await.expect("read"), Some(Vec::new()));
}

#[tokio::test]
async fn a_transaction_is_tried_again_when_its_connection_breaks() {
    let Some((server, url, state)) = opened().await else { return };
    let lease = state.lease(&[]).await.expect("asked").expect("free");
    let end = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{}'",
        database_name(&url)
    );
    server.sql("postgres", &end);
    state.record_recipes(lease.fence(), Vec::new()).await.expect("on a new connection");
    assert!(state.holder().await.expect("read").is_some());
}
