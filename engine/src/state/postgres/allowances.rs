//! What services allow all processes together, as rows. Only the server's clock counts. All of it is written lazily: after
//! a crash of the server it is as it was a moment before.

use std::time::Duration;

use async_trait::async_trait;

use super::store::{Tries, text};
use crate::model::{Allowances, Borrow, Fingerprint, Loan, Pause, Rate, Recorded, StageResult};
use crate::postgres::{BEGIN_TO_WRITE_LAZILY, Failure, Pool, Row, Transaction};

/// Places lapse this long after the last report of their process.
const LAPSE: &str = "10 seconds";
/// Rows that were not used for this long are deleted.
const FORGOTTEN: &str = "7 days";
/// A row whose time is further in the future was written before the server's clock was set back.
const SET_BACK: &str = "10 seconds";
/// Longest recorded reason of a pause, in characters.
const LONGEST_REASON: usize = 500;

/// The shared allowances in a database.
#[derive(Debug)]
pub(super) struct PostgresAllowances {
    pool: Pool,
}

impl PostgresAllowances {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool }
    }

    async fn try_borrow(&self, key: &str, borrow: &Borrow) -> Result<Loan, Failure> {
        if borrow.is_free() {
            let sql = "SELECT extract(epoch FROM paused_until - now())::float8, reason FROM allowances
                 WHERE key = $1 AND paused_until > now()";
            let row = self.pool.get().await?.row(sql, &[&key]).await?;
            let pause = row.and_then(|row| pause(row.get(0), row.get(1)));
            return Ok(borrow.decide(&mut Recorded { pause, ..Recorded::default() }));
        }
        // The row is locked until the end of the transaction, so that processes decide one after the other.
        let sql = "SELECT requests, tokens, extract(epoch FROM now() - refilled_at)::float8,
                 extract(epoch FROM paused_until - now())::float8, reason,
                 request_rate, extract(epoch FROM now() - requested_at)::float8,
                 token_rate, extract(epoch FROM now() - drawn_at)::float8
             FROM allowances WHERE key = $1 FOR UPDATE";
        let (tx, mut row) = self.pool.begin_with(BEGIN_TO_WRITE_LAZILY, sql, &[&key]).await?;
        if row.is_none() {
            begin_key(&tx, key).await?;
            row = tx.row(sql, &[&key]).await?;
        }
        let mut recorded = recorded(&row.ok_or_else(|| Failure::Other("no row of a new key".into()))?);
        if borrow.calls.is_some() {
            let sql = "SELECT calls, wanted FROM allowance_calls
                 WHERE key = $1 AND borrower <> $2 AND until > now()";
            let rows = tx.rows(sql, &[&key, &borrow.borrower]).await?;
            recorded.others = rows.iter().map(|row| (number(row.get(0)), number(row.get(1)))).collect();
        }
        let loan = borrow.decide(&mut recorded);
        let sql = format!(
            "UPDATE allowances SET requests = $2, tokens = $3, refilled_at = CASE
                 WHEN refilled_at > now() + interval '{SET_BACK}' THEN now() ELSE greatest(refilled_at, now()) END,
                 request_rate = $4, requested_at = now() - make_interval(secs => $5),
                 token_rate = $6, drawn_at = now() - make_interval(secs => $7)
             WHERE key = $1"
        );
        let (request_rate, token_rate) = (recorded.request_rate, recorded.token_rate);
        let per_minute = |rate: Option<Rate>| rate.map(|rate| rate.per_minute);
        let age = |rate: Option<Rate>| rate.map(|rate| rate.age.as_secs_f64());
        tx.run(
            &sql,
            &[
                &key,
                &recorded.requests,
                &recorded.tokens,
                &per_minute(request_rate),
                &age(request_rate),
                &per_minute(token_rate),
                &age(token_rate),
            ],
        )
        .await?;
        if let Some(places) = borrow.calls {
            let sql = format!(
                "WITH lapsed AS (DELETE FROM allowance_calls WHERE key = $1 AND borrower <> $2 AND until < now())
                 {}",
                put_calls()
            );
            tx.run(&sql, &[&key, &borrow.borrower, &count(loan.calls), &count(places.wanted)]).await?;
        }
        tx.commit().await?;
        Ok(loan)
    }

    async fn try_report(&self, key: &str, borrower: &str, in_flight: usize) -> Result<(), Failure> {
        if in_flight == 0 {
            let sql = "DELETE FROM allowance_calls WHERE key = $1 AND borrower = $2";
            return self.pool.rows_lazily(sql, &[&key, &borrower]).await.map(drop);
        }
        let calls = count(in_flight);
        self.pool.rows_lazily(&put_calls(), &[&key, &borrower, &calls, &calls]).await.map(drop)
    }

    async fn try_pause(&self, key: &str, pause: &Pause) -> Result<(), Failure> {
        let sql = "INSERT INTO allowances AS old (key, paused_until, reason)
             VALUES ($1, now() + make_interval(secs => $2), $3)
             ON CONFLICT (key) DO UPDATE SET paused_until = excluded.paused_until, reason = excluded.reason
             WHERE old.paused_until IS NULL OR old.paused_until < excluded.paused_until";
        let reason: String = text(&pause.reason).chars().take(LONGEST_REASON).collect();
        self.pool.rows_lazily(sql, &[&key, &pause.wait.as_secs_f64(), &reason]).await.map(drop)
    }
}

/// Runs `$body` again after each failure that may pass, as long as other statements on the state are tried.
macro_rules! tried {
    ($pool:expr, $what:literal, $body:expr) => {{
        let mut tries = Tries::new($pool, $what);
        loop {
            match $body.await {
                Ok(done) => break Ok(done),
                Err(failure) => tries.after(failure.into()).await?,
            }
        }
    }};
}

#[async_trait]
impl Allowances for PostgresAllowances {
    async fn borrow(&self, key: &Fingerprint, borrow: &Borrow) -> StageResult<Loan> {
        tried!(&self.pool, "read the shared limits of a service", self.try_borrow(key.as_str(), borrow))
    }

    async fn report(&self, key: &Fingerprint, borrower: &str, in_flight: usize) -> StageResult<()> {
        tried!(&self.pool, "record calls of a service", self.try_report(key.as_str(), borrower, in_flight))
    }

    async fn pause(&self, key: &Fingerprint, pause: &Pause) -> StageResult<()> {
        tried!(&self.pool, "record the pause of a service", self.try_pause(key.as_str(), pause))
    }
}

/// Creates the row of a key, and deletes those that are not used any more.
async fn begin_key(tx: &Transaction, key: &str) -> Result<(), Failure> {
    let forget = format!(
        "DELETE FROM allowances WHERE key IN (
             SELECT key FROM allowances WHERE refilled_at < now() - interval '{FORGOTTEN}' FOR UPDATE SKIP LOCKED)"
    );
    tx.run(&forget, &[]).await?;
    tx.run("INSERT INTO allowances (key) VALUES ($1) ON CONFLICT DO NOTHING", &[&key]).await.map(drop)
}

fn put_calls() -> String {
    format!(
        "INSERT INTO allowance_calls (key, borrower, calls, wanted, until)
         VALUES ($1, $2, $3, $4, now() + interval '{LAPSE}')
         ON CONFLICT (key, borrower) DO UPDATE SET calls = excluded.calls, wanted = excluded.wanted,
             until = excluded.until"
    )
}

fn recorded(row: &Row) -> Recorded {
    Recorded {
        requests: row.get(0),
        tokens: row.get(1),
        age: duration(row.get(2)),
        pause: row.get::<_, Option<f64>>(3).and_then(|seconds| pause(seconds, row.get(4))),
        request_rate: rate(row.get(5), row.get(6)),
        token_rate: rate(row.get(7), row.get(8)),
        others: Vec::new(),
    }
}

fn rate(per_minute: Option<f64>, age: Option<f64>) -> Option<Rate> {
    Some(Rate { per_minute: per_minute?, age: duration(age?) })
}

fn pause(seconds: f64, reason: Option<String>) -> Option<Pause> {
    (seconds > 0.0).then(|| Pause { wait: duration(seconds), reason: reason.unwrap_or_default() })
}

/// Zero if it is negative, as where the clock was set back.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn number(stored: i32) -> usize {
    usize::try_from(stored).unwrap_or_default()
}

fn count(calls: usize) -> i32 {
    i32::try_from(calls).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
