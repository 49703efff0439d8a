//! Calls of the database: retries, time-outs, events, error messages.

use std::collections::HashMap;
use std::future::Future;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::model::{ErrorKind, Event, EventSink, ServiceKind, StageError, StageResult};
use crate::net::Timeouts;
use crate::postgres::{Failure, Pool, failed};

use super::names::Names;
use super::settings::Index;
use super::tables::Tables;

/// SQLSTATE of a table that does not exist.
const UNDEFINED_TABLE: &str = "42P01";
/// SQLSTATE of a relation that exists already. Two creators of a schema may see it.
const DUPLICATE: [&str; 2] = ["42P07", "23505"];

/// The database of a store, and what is known about its tables.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) stage: String,
    pub(super) pool: Pool,
    pub(super) names: Names,
    pub(super) index: Index,
    /// Time-out of a call that builds an index.
    pub(super) patience: Duration,
    pub(super) timeouts: Timeouts,
    cancel: CancellationToken,
    events: EventSink,
    tables: Mutex<Option<Tables>>,
    namespaces: Mutex<HashMap<String, i32>>,
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// The server, or the connection to it.
    Postgres(Failure),
    /// An error that we raised.
    Stage(StageError),
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self::Postgres(failure)
    }
}

impl From<StageError> for Failed {
    fn from(error: StageError) -> Self {
        Self::Stage(error)
    }
}

/// A call as metrics name it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    /// For metrics.
    pub(super) operation: &'static str,
    /// For messages: "cannot … in `postgres://…`".
    pub(super) what: &'static str,
    /// Number of records or ids.
    pub(super) items: usize,
}

impl Database {
    pub(super) fn new(
        stage: String,
        pool: Pool,
        names: Names,
        index: Index,
        cancel: CancellationToken,
        events: EventSink,
    ) -> Self {
        Self {
            stage,
            pool,
            names,
            index,
            patience: Duration::from_secs(6 * 3600),
            timeouts: Timeouts::default(),
            cancel,
            events,
            tables: Mutex::default(),
            namespaces: Mutex::default(),
        }
    }

    /// Does `work` until it succeeds or its error is not transient. Work is one or several whole transactions.
    pub(super) async fn call<T, F, W>(&self, call: Call, work: W) -> StageResult<T>
    where
        F: Future<Output = Result<T, Failed>>,
        W: Fn() -> F,
    {
        self.call_within(self.timeouts.answer, call, work).await
    }

    /// Like [`Database::call`], with another time-out for each attempt.
    pub(super) async fn call_within<T, F, W>(&self, limit: Duration, call: Call, work: W) -> StageResult<T>
    where
        F: Future<Output = Result<T, Failed>>,
        W: Fn() -> F,
    {
        let mut tried = 0;
        loop {
            tried += 1;
            let began = Instant::now();
            let result = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(StageError::cancelled(&self.stage)),
                result = tokio::time::timeout(limit, work()) => match result {
                    Ok(result) => result.map_err(|failure| (label(&failure), self.describe(call.what, failure))),
                    Err(_) => Err(("timeout", self.no_answer(call.what, limit))),
                },
            };
            self.events.emit(Event::Call {
                service: ServiceKind::Store,
                stage: self.stage.clone(),
                operation: call.operation,
                items: call.items as u64,
                tokens: 0,
                seconds: began.elapsed().as_secs_f64(),
                ok: result.is_ok(),
                error: result.as_ref().err().map(|(label, _)| *label),
            });
            let error = match result {
                Ok(value) => return Ok(value),
                Err((_, error)) => error,
            };
            let (wait, error) = self.timeouts.retry.pause_after(tried, error)?;
            self.events.waiting(&self.stage, wait, &error.one_line());
            tokio::select! {
                () = self.cancel.cancelled() => return Err(StageError::cancelled(&self.stage)),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn no_answer(&self, what: &str, limit: Duration) -> StageError {
        let message =
            format!("cannot {what} in `{}`: no answer within {} s", self.pool.url(), limit.as_secs());
        StageError::transient(&self.stage, message)
            .hint("look for locks and long transactions in `pg_stat_activity`")
    }

    fn describe(&self, what: &str, failure: Failed) -> StageError {
        let failure = match failure {
            Failed::Stage(error) => return error,
            Failed::Postgres(failure) => failure,
        };
        let code = failure.code().map(|code| code.code().to_owned()).unwrap_or_default();
        let is_undefined = code == UNDEFINED_TABLE;
        if is_undefined || DUPLICATE.contains(&code.as_str()) {
            // Somebody drops or creates tables meanwhile: look again.
            self.forget();
            let error = failed(&self.stage, self.pool.url(), what, failure);
            return StageError { kind: ErrorKind::Transient { retry_after: None }, ..error }
                .hint("a table was dropped or created meanwhile; run `reposync verify --repair`");
        }
        failed(&self.stage, self.pool.url(), what, failure)
    }

    /// Forgets what is known about the tables.
    fn forget(&self) {
        *self.tables.lock() = None;
        self.namespaces.lock().clear();
    }

    pub(super) fn known_tables(&self) -> Option<Tables> {
        *self.tables.lock()
    }

    pub(super) fn know_tables(&self, tables: Tables) {
        *self.tables.lock() = Some(tables);
    }

    pub(super) fn known_namespace(&self, name: &str) -> Option<i32> {
        self.namespaces.lock().get(name).copied()
    }

    pub(super) fn know_namespace(&self, name: &str, number: i32) {
        self.namespaces.lock().insert(name.to_owned(), number);
    }
}

/// The value of `type` in `reposync_errors_total`, of those that stores have.
fn label(failed: &Failed) -> &'static str {
    match failed {
        Failed::Stage(_) => "refused",
        Failed::Postgres(failure) => match failure.code() {
            None => "connection",
            // Invalid authorization; insufficient privilege.
            Some(code) if code.code().starts_with("28") || code.code() == "42501" => "auth",
            Some(_) => "server",
        },
    }
}
