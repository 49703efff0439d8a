//! Copies a state to another one, of the same or of another implementation, and proves that both hold the same.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::STAGE;
use crate::model::{StageError, StageResult};

/// Rows in one part.
pub(super) const PAGE: usize = 1000;
/// Parts under way.
const PARTS: usize = 4;

/// What a column holds, and how it is written in a [`Row`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number that the database counts up.
    Id,
    /// A number.
    Int,
    /// Text.
    Text,
    /// `true` or `false`.
    Bool,
    /// RFC 3339 in UTC with milliseconds.
    Time,
    /// A nested value.
    Json,
    /// A list of texts.
    List,
    /// Hexadecimal digits.
    Bytes,
    /// Days since 1970.
    Day,
}

/// A table that every implementation has.
#[derive(Debug)]
pub struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [(&'static str, Kind)],
}

/// The values of a row, in the order of the columns.
pub type Row = Vec<Value>;

/// A part of a copy. Without `End`, the sender failed, and the copy is incomplete.
#[derive(Debug)]
pub enum Part {
    /// Some rows of a table.
    Rows(&'static Table, Vec<Row>),
    /// Everything was sent.
    End,
}

/// What can be read and written table by table.
#[async_trait]
pub trait Tables: fmt::Debug + Send + Sync {
    /// Whether it holds nothing.
    async fn is_empty(&self) -> StageResult<bool>;

    /// Sends everything, of one moment, the tables in an order in which no row refers to a later one.
    async fn send_all(&self, parts: Sender<Part>) -> StageResult<()>;

    /// Writes everything that is sent, in one transaction, into tables that are empty. Writes nothing, and fails, if
    /// the end is missing.
    async fn receive_all(&self, parts: Receiver<Part>) -> StageResult<()>;
}

/// What a receiver says if the end is missing.
pub(super) const INCOMPLETE: &str = "the copy is incomplete";

/// Rows of each table that were copied.
pub type Copied = Vec<(&'static str, u64)>;

/// Copies everything, reads it back and compares. Where the target holds the same already, as after an earlier attempt,
/// nothing is left to do. Fails, and leaves the target as it was, if it holds anything else.
pub async fn copy(from: &dyn Tables, to: &dyn Tables) -> StageResult<Copied> {
    if !to.is_empty().await? {
        let (sums, found) = (sum_up(from).await?, sum_up(to).await?);
        if sums == found {
            return Ok(rows(sums));
        }
        return Err(StageError::local(STAGE, "the target is not empty")
            .hint("copy into a new file or a new database; nothing was changed"));
    }
    let (sender, sent) = channel(PARTS);
    let (passed_on, received) = channel(PARTS);
    let summed = sum(sent, Some(passed_on));
    let (exported, sums, imported) = tokio::join!(from.send_all(sender), summed, to.receive_all(received));
    // The cause first: what was not sent cannot be received.
    exported?;
    imported?;
    let found = sum_up(to).await?;
    for (table, sum) in &sums {
        if found.get(table) != Some(sum) {
            let rows = found.get(table).map_or(0, |sum| sum.rows);
            let message = format!("`{table}` has {} rows, and in the copy {rows}, or others", sum.rows);
            return Err(StageError::local(STAGE, message).hint("discard the copy, and report this"));
        }
    }
    Ok(rows(sums))
}

/// What each table holds.
async fn sum_up(tables: &dyn Tables) -> StageResult<BTreeMap<&'static str, Sum>> {
    let (sender, sent) = channel(PARTS);
    let (exported, sums) = tokio::join!(tables.send_all(sender), sum(sent, None));
    exported?;
    Ok(sums)
}

fn rows(sums: BTreeMap<&'static str, Sum>) -> Copied {
    sums.into_iter().map(|(table, sum)| (table, sum.rows)).collect()
}

/// What a table holds, whatever the order of its rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    rows: u64,
    /// The sum of the first 128 bits of each row's hash.
    digest: u128,
}

/// Sums up what is sent, and passes it on.
async fn sum(mut parts: Receiver<Part>, to: Option<Sender<Part>>) -> BTreeMap<&'static str, Sum> {
    let mut sums: BTreeMap<&'static str, Sum> = BTreeMap::new();
    while let Some(part) = parts.recv().await {
        if let Part::Rows(table, rows) = &part {
            let sum = sums.entry(table.name).or_default();
            for row in rows {
                let hash = blake3::hash(Value::from(row.clone()).to_string().as_bytes());
                let [first, ..] = hash.as_bytes().as_chunks::<16>().0 else { continue };
                sum.rows += 1;
                sum.digest = sum.digest.wrapping_add(u128::from_le_bytes(*first));
            }
        }
        if let Some(to) = &to
            && to.send(part).await.is_err()
        {
            // The receiver failed, and says why.
            break;
        }
    }
    sums
}

/// Text that every implementation can store.
pub(super) fn text(text: &str) -> Value {
    text.replace('\0', "\u{fffd}").into()
}

/// A nested value from JSON, with its keys in order.
pub(super) fn nested(json: &str) -> Value {
    sorted(serde_json::from_str(&json.replace("\\u0000", "\\ufffd")).unwrap_or_default())
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<String, Value> =
                map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            sorted.into_iter().collect()
        }
        Value::Array(list) => list.into_iter().map(sorted).collect(),
        other => other,
    }
}

macro_rules! tables {
    ($($name:literal: $($column:literal $kind:ident),+;)+) => {
        &[$(Table { name: $name, columns: &[$(($column, Kind::$kind)),+] }),+]
    };
}

/// The tables of the ledger. Stored plans and sign-ins of the console are left out: they do not last, and are made again
/// in a moment.
pub(super) static LEDGER: &[Table] = tables! {
    "project_rows": "id" Id, "name" Text, "organization" Text, "filter_keyword" Text, "namespace" Text, "enabled" Bool,
        "allowed_extensions" List, "exclude_patterns" List, "created_at" Time, "updated_at" Time, "selection" Text,
        "first_run_ended_at" Time;
    "places": "id" Id, "kind" Text, "host" Text, "idx" Text, "namespace" Text;
    "targets": "id" Id, "project_id" Int, "place_id" Int, "recipe" Text, "state" Text, "adopted_at" Time;
    "repositories": "project_id" Int, "name" Text, "key" Text, "entry" Json, "last_commit_sha" Text,
        "last_synced_at" Time, "head_sha" Text, "head_asked_at" Time, "settled" Bool, "basis" Text,
        "orphan_since" Time, "commits_behind" Int, "revision" Int;
    "selected_repositories": "project_id" Int, "name" Text, "error" Text, "empty" Bool;
    "recipes": "fingerprint" Text, "parts" Text;
    "files": "id" Id, "target_id" Int, "repository" Text, "file_path" Text, "last_commit_sha" Text,
        "last_synced_at" Time, "embedding_count" Int, "status" Text, "blob_sha" Text, "recipe" Text, "detail" Text;
    "chunks": "file_id" Int, "id" Text, "fingerprint" Text;
    "intents": "place_id" Int, "id" Text, "project" Text, "repository" Text, "file_path" Text;
    "leftovers": "place_id" Int, "id" Text, "project" Text, "repository" Text, "file_path" Text;
    "runs": "id" Text, "request" Text, "project" Text, "trigger" Text, "started_at" Time, "finished_at" Time,
        "outcome" Text, "report" Json;
    "run_events": "run_id" Text, "seq" Int, "at" Time, "event" Json;
    "last_runs": "project" Text, "run_id" Text, "finished_at" Time, "outcome" Text, "error" Text, "withheld" Json;
    "answers": "key" Text, "etag" Text, "body" Bytes, "used_at" Time;
    "usage": "day" Int, "project" Text, "measure" Text, "amount" Int;
    "audit": "id" Id, "at" Time, "who" Text, "what" Text, "projects" List, "outcome" Text, "address" Text;
};

/// The table of the vector cache.
pub(super) static VECTORS: &[Table] = tables! { "vectors": "key" Bytes, "vector" Bytes, "used" Day; };

/// A state and its vector cache.
#[derive(Debug, Clone)]
pub struct Copyable {
    /// The ledger.
    pub ledger: Arc<dyn Tables>,
    /// The vector cache.
    pub vectors: Arc<dyn Tables>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;

    use super::*;
    use crate::state::sqlite::SqliteState;
    use crate::state::{History as _, NewRun, State as _};

    /// A source that fails after its first rows.
    #[derive(Debug)]
    struct Failing;

    #[async_trait]
    impl Tables for Failing {
        async fn is_empty(&self) -> StageResult<bool> {
            Ok(false)
        }

        async fn send_all(&self, parts: Sender<Part>) -> StageResult<()> {
            let place = ["7", "k", "h", "", "n"].map(Value::from);
            let row = std::iter::once(Value::from(7)).chain(place.into_iter().skip(1)).collect();
            parts.send(Part::Rows(&LEDGER[1], vec![row])).await.expect("received");
            Err(StageError::local(STAGE, "the disk cannot be read"))
        }

        async fn receive_all(&self, _parts: Receiver<Part>) -> StageResult<()> {
            Ok(())
        }
    }

    /// As where the ledger was copied, and the vector cache was not.
    #[tokio::test]
    async fn a_copy_that_was_made_before_is_left_as_it_is() {
        let [source, target] = [(); 2].map(|()| SqliteState::in_memory().expect("opened"));
        let run = async |state: &SqliteState, id: &str| {
            let fence = state.lease(&[]).await.expect("asked").expect("free").fence();
            let run = NewRun { id: id.into(), request: id.into(), project: None, trigger: "test".into() };
            state.start_run(fence, &run, Duration::MAX, DateTime::UNIX_EPOCH).await.expect("recorded");
        };
        run(&source, "1").await;
        let copied = copy(&source, &target).await.expect("copied");
        assert!(copied.contains(&("runs", 1)), "{copied:?}");
        assert_eq!(copy(&source, &target).await.expect("there"), copied);
        run(&source, "2").await;
        let error = copy(&source, &target).await.expect_err("it holds something else");
        assert_eq!(error.message, "the target is not empty");
    }

    #[tokio::test]
    async fn a_source_that_fails_leaves_the_target_empty() {
        let target = SqliteState::in_memory().expect("opened");
        let error = copy(&Failing, &target).await.expect_err("incomplete");
        assert_eq!(error.message, "the disk cannot be read");
        let sums = sum_up(&target).await.expect("read");
        assert!(sums.values().all(|sum| sum.rows == 0), "{sums:?}");
    }
}
