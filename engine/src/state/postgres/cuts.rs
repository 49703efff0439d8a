//! Answers of the server that are lost, one after the other: each call is tried again, and what it did is done once.

use crate::model::WorkerSettings;
use crate::postgres::{PostgresUrl, Tls};
use crate::state::postgres::PostgresState;
use crate::state::{Daemons as _, Generation, NewUnit, Queue as _, State as _, UnitClaim, Worker};

use super::tests::server::Postgres;
use cutting::{Cut, Cutting};

#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../../../../tests/it/support/cutting.rs"]
mod cutting;

/// A new database behind a proxy; `None` if no server can be started.
fn behind() -> Option<(&'static Postgres, Cutting, PostgresUrl, String)> {
    let server = Postgres::start()?;
    let url = server.database();
    let proxy = Cutting::start(&url);
    let through = PostgresUrl::parse(&proxy.url(&url), Tls::default()).expect("an address");
    let name = url.rsplit('/').next().expect("a name").to_owned();
    Some((server, proxy, through, name))
}

#[tokio::test]
async fn a_database_is_opened_whichever_answer_is_lost() {
    for n in 1.. {
        let Some((server, proxy, url, name)) = behind() else { return };
        proxy.arm(Cut::Answer(n));
        let opened = PostgresState::open(&url, 2).await;
        assert!(opened.is_ok(), "answer {n}: {:?}", opened.err());
        assert_eq!(server.sql(&name, "SELECT count(*) FROM reposync_schema"), "1", "answer {n}");
        if !proxy.has_cut() {
            assert!(n > 10, "only {n} answers");
            break;
        }
    }
}

#[tokio::test]
async fn units_are_claimed_once_whichever_answer_is_lost() {
    let Some((server, proxy, url, name)) = behind() else { return };
    let state = PostgresState::open(&url, 2).await.expect("opened");
    let run = state.lease(&[]).await.expect("asked").expect("free");
    let generation = Generation {
        digest: "d".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        text: String::new(),
        projects: vec!["p".into()],
        components: Vec::new(),
    };
    let generation = state.put_generation(&generation).await.expect("stored");
    let claim = UnitClaim::new(Worker::new("w".into(), 2), WorkerSettings::default());
    for n in 1.. {
        state.clear(run.fence(), &[]).await.expect("cleared");
        for repository in ["a", "b", "c"] {
            let unit = NewUnit {
                run: format!("run {n}"),
                project: "p".into(),
                repository: repository.into(),
                generation,
                digest: "work".into(),
                task: "{}".into(),
            };
            state.put(run.fence(), unit).await.expect("put");
        }
        proxy.arm(Cut::Answer(n));
        let claimed = state.claim(&claim).await.expect("claimed");
        let has_cut = proxy.has_cut();
        proxy.arm(Cut::Never);
        let names: Vec<_> = claimed.iter().map(|unit| unit.repository.as_str()).collect();
        assert_eq!(names, ["a", "b"], "answer {n}");
        let sql = "SELECT string_agg(repository || ' ' || attempts, ', ' ORDER BY id) FROM units
             JOIN leases USING (epoch) WHERE state = 'running' AND until > now()";
        assert_eq!(server.sql(&name, sql), "a 1, b 1", "answer {n}");
        if !has_cut {
            assert!(n > 5, "only {n} answers");
            break;
        }
    }
}

#[tokio::test]
async fn the_dispatcher_is_asked_once_whichever_answer_is_lost() {
    let Some((server, proxy, url, name)) = behind() else { return };
    let state = PostgresState::open(&url, 2).await.expect("opened");
    for n in 1.. {
        server.sql(&name, "DELETE FROM requests");
        proxy.arm(Cut::Answer(n));
        let id = state.ask("a request").await.expect("asked");
        let has_cut = proxy.has_cut();
        proxy.arm(Cut::Never);
        assert_eq!(state.asked().await.expect("read"), [(id, "a request".to_owned())], "answer {n}");
        if !has_cut {
            assert!(n > 5, "only {n} answers");
            break;
        }
    }
}
