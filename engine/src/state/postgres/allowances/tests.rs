use std::time::Instant;

use futures::future::join_all;

use super::super::PostgresState;
use super::super::tests::{database_name, migrated, server};
use super::*;
use crate::model::{Draw, Lacking, Places};
use crate::postgres::PostgresUrl;
use crate::state::State as _;

struct Shop {
    url: PostgresUrl,
    key: Fingerprint,
}

impl Shop {
    async fn open() -> Option<Self> {
        Some(Self { url: migrated().await?, key: Fingerprint::of(["key"]) })
    }

    /// The allowances as a process sees them.
    fn process(&self) -> std::sync::Arc<dyn Allowances> {
        PostgresState::over(&self.url, 2).expect("a pool").allowances().expect("shared")
    }

    fn sql(&self, statement: &str) -> String {
        server::Postgres::start().expect("a server").sql(&database_name(&self.url), statement)
    }

    async fn borrow(&self, borrow: &Borrow) -> Loan {
        self.process().borrow(&self.key, borrow).await.expect("asked")
    }
}

/// Of 600 in a minute.
fn requests(wanted: f64) -> Borrow {
    let draw = Draw { per_minute: 600.0, returned: 0.0, needed: 1.0, wanted };
    Borrow { borrower: "a".into(), requests: Some(draw), tokens: None, calls: None }
}

fn places(borrower: &str, in_flight: usize, wanted: usize) -> Borrow {
    let calls = Some(Places { at_once: 10, in_flight, wanted });
    Borrow { borrower: borrower.into(), requests: None, tokens: None, calls }
}

#[tokio::test]
async fn the_clock_of_the_database_refills_what_was_borrowed() {
    let Some(shop) = Shop::open().await else { return };
    let loan = shop.borrow(&requests(100.0)).await;
    assert_eq!((loan.requests, loan.is_full), (30.0, false));
    shop.sql("UPDATE allowances SET requests = -1000, refilled_at = now()");
    let (lacking, wait) = shop.borrow(&requests(1.0)).await.lacking.expect("used up");
    assert!(lacking == Lacking::Requests && wait <= Duration::from_millis(100_100), "{wait:?}");
    assert!(wait > Duration::from_secs(40), "{wait:?}");
    shop.sql("UPDATE allowances SET refilled_at = now() - interval '1 hour'");
    let draw = Draw { per_minute: 6000.0, returned: 0.0, needed: 7.0, wanted: 7.0 };
    let loan = shop.borrow(&Borrow { tokens: Some(draw), ..requests(20.0) }).await;
    assert_eq!((loan.requests, loan.tokens, loan.is_full), (20.0, 7.0, true));
    assert_eq!(shop.sql("SELECT round(requests), round(tokens) FROM allowances"), "10|293");
}

#[tokio::test]
async fn a_clock_that_is_set_back_stops_nobody() {
    let Some(shop) = Shop::open().await else { return };
    shop.borrow(&requests(1.0)).await;
    shop.sql("UPDATE allowances SET requests = 0, refilled_at = now() + interval '1 hour'");
    assert!(shop.borrow(&requests(1.0)).await.lacking.is_some());
    assert_eq!(shop.sql("SELECT refilled_at <= clock_timestamp() FROM allowances"), "t");
}

#[tokio::test]
async fn the_smallest_rate_of_an_account_counts_for_all_its_stages() {
    let Some(shop) = Shop::open().await else { return };
    let slow = Draw { per_minute: 60.0, returned: 0.0, needed: 1.0, wanted: 1.0 };
    shop.borrow(&Borrow { requests: Some(slow), ..requests(1.0) }).await;
    assert_eq!(shop.sql("SELECT request_rate, token_rate IS NULL FROM allowances"), "60|t");
    shop.sql("UPDATE allowances SET refilled_at = now() - interval '1 hour'");
    let loan = shop.borrow(&requests(100.0)).await;
    assert_eq!((loan.requests, loan.is_full), (3.0, false), "three seconds of 60 a minute");
    shop.sql("UPDATE allowances SET refilled_at = now() - interval '1 hour', requested_at = now() - interval '1 hour'");
    let loan = shop.borrow(&requests(100.0)).await;
    assert_eq!((loan.requests, loan.is_full), (30.0, false), "nobody uses the smaller rate any more");
}

#[tokio::test]
async fn a_user_who_may_only_read_does_not_borrow() {
    let Some(shop) = Shop::open().await else { return };
    let name = database_name(&shop.url);
    let role = format!("reads_{name}");
    shop.sql(&format!("CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"));
    let own = server::Postgres::start().expect("a server").url(&name);
    let borrows = async |address: &str| {
        let url = PostgresUrl::parse(address, crate::postgres::Tls::default()).expect("an address");
        let state = PostgresState::open_to_read(&url, 1).await.expect("opened").expect("its tables");
        state.allowances().is_some()
    };
    assert!(borrows(&own).await);
    assert!(!borrows(&own.replace("reposync@", &format!("{role}@"))).await);
}

#[tokio::test]
async fn processes_that_borrow_at_once_get_no_more_than_there_is() {
    let Some(shop) = Shop::open().await else { return };
    let start = Instant::now();
    let borrowing = (0..8).map(|_| async {
        let process = shop.process();
        let mut got = 0.0;
        for _ in 0..25 {
            got += process.borrow(&shop.key, &requests(2.0)).await.expect("asked").requests;
        }
        got
    });
    let got: f64 = join_all(borrowing).await.into_iter().sum();
    let most = 30.0 + 10.0 * start.elapsed().as_secs_f64();
    assert!((30.0..=most).contains(&got), "{got} of {most}");
}

#[tokio::test]
async fn places_are_lent_once_until_they_are_reported_or_lapse() {
    let Some(shop) = Shop::open().await else { return };
    assert_eq!(shop.borrow(&places("a", 0, 8)).await.calls, 8);
    assert_eq!(shop.borrow(&places("b", 0, 8)).await.calls, 2);
    shop.process().report(&shop.key, "a", 1).await.expect("reported");
    assert_eq!(shop.borrow(&places("b", 2, 8)).await.calls, 8);
    assert_eq!(shop.borrow(&places("c", 0, 8)).await.calls, 1);
    shop.process().report(&shop.key, "a", 0).await.expect("reported");
    shop.sql("UPDATE allowance_calls SET until = now() - interval '1 second' WHERE borrower = 'b'");
    assert_eq!(shop.borrow(&places("c", 1, 8)).await.calls, 8, "`b` has died");
    assert_eq!(shop.sql("SELECT borrower FROM allowance_calls"), "c");
    let loan = shop.borrow(&places("d", 0, 8)).await;
    assert_eq!((loan.calls, loan.lacking), (2, None));
    assert!(shop.borrow(&places("e", 0, 8)).await.lacking.is_some());
}

#[tokio::test]
async fn processes_that_want_places_at_once_get_no_more_than_there_are() {
    let Some(shop) = Shop::open().await else { return };
    let names = ["a", "b", "c", "d", "e", "f"];
    let shop = &shop;
    let lent = names.map(|name| async move { shop.borrow(&places(name, 0, 8)).await.calls });
    assert!(join_all(lent).await.into_iter().sum::<usize>() <= 10);
}

#[tokio::test]
async fn a_pause_is_seen_by_every_process_and_not_shortened() {
    let Some(shop) = Shop::open().await else { return };
    let pause = |seconds, reason: &str| Pause { wait: Duration::from_secs(seconds), reason: reason.into() };
    shop.process().pause(&shop.key, &pause(250, "slow\0 down")).await.expect("recorded");
    shop.process().pause(&shop.key, &pause(5, "shorter")).await.expect("recorded");
    let free = Borrow { requests: None, ..requests(1.0) };
    for borrow in [&requests(1.0), &free, &places("a", 0, 1)] {
        let paused = shop.borrow(borrow).await.pause.expect("paused");
        assert_eq!(paused.reason, "slow\u{fffd} down");
        assert!((100..=250).contains(&paused.wait.as_secs()), "{:?}", paused.wait);
    }
    let other = shop.process().borrow(&Fingerprint::of(["another key"]), &free).await.expect("asked");
    assert_eq!(other.pause, None);
    shop.sql("UPDATE allowances SET paused_until = now()");
    for borrow in [&requests(1.0), &free, &places("a", 0, 1)] {
        let loan = shop.borrow(borrow).await;
        assert!(loan.pause.is_none() && loan.is_full, "{loan:?}");
    }
}

#[tokio::test]
async fn a_loan_is_asked_for_again_when_the_connection_breaks() {
    let Some(shop) = Shop::open().await else { return };
    let process = shop.process();
    process.borrow(&shop.key, &requests(1.0)).await.expect("asked");
    let end = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()",
        database_name(&shop.url)
    );
    shop.sql(&end);
    assert!(process.borrow(&shop.key, &requests(1.0)).await.expect("on a new connection").is_full);
}

#[tokio::test]
async fn rows_that_nobody_uses_are_deleted() {
    let Some(shop) = Shop::open().await else { return };
    shop.borrow(&requests(1.0)).await;
    shop.sql("UPDATE allowances SET refilled_at = now() - interval '8 days'");
    shop.process().borrow(&Fingerprint::of(["another key"]), &requests(1.0)).await.expect("asked");
    assert_eq!(shop.sql("SELECT count(*) FROM allowances"), "1");
}
