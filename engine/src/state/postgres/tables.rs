//! Ledger and vector cache table by table, for copies.

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender};

use super::store::PostgresState;
use super::vector_cache::PostgresVectorCache;
use crate::model::StageResult;
use crate::postgres::{Failure, Pool, Transaction, failed};
use crate::state::STAGE;
use crate::state::copy::{INCOMPLETE, Kind, LEDGER, PAGE, Part, Table, Tables, VECTORS, nested, text};

#[async_trait]
impl Tables for PostgresState {
    async fn is_empty(&self) -> StageResult<bool> {
        is_empty(
            &self.pool,
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM project_rows) OR EXISTS (SELECT 1 FROM runs)",
        )
        .await
    }

    async fn send_all(&self, parts: Sender<Part>) -> StageResult<()> {
        send_all(&self.pool, LEDGER, parts).await
    }

    async fn receive_all(&self, parts: Receiver<Part>) -> StageResult<()> {
        receive_all(&self.pool, parts).await
    }
}

#[async_trait]
impl Tables for PostgresVectorCache {
    async fn is_empty(&self) -> StageResult<bool> {
        is_empty(self.pool(), "SELECT 1 FROM vectors LIMIT 1").await
    }

    async fn send_all(&self, parts: Sender<Part>) -> StageResult<()> {
        send_all(self.pool(), VECTORS, parts).await
    }

    async fn receive_all(&self, parts: Receiver<Part>) -> StageResult<()> {
        receive_all(self.pool(), parts).await
    }
}

async fn is_empty(pool: &Pool, holds: &str) -> StageResult<bool> {
    let found = async { pool.get().await?.rows(holds, &[]).await };
    let rows = found.await.map_err(|failure| failed(STAGE, pool.url(), "look for rows", failure))?;
    Ok(rows.is_empty())
}

async fn send_all(pool: &Pool, tables: &'static [Table], parts: Sender<Part>) -> StageResult<()> {
    let sent = async {
        let tx = pool.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        for table in tables {
            send(&tx, table, &parts).await?;
        }
        tx.commit().await?;
        // A receiver that is gone says itself why.
        parts.send(Part::End).await.unwrap_or_default();
        Ok(())
    };
    sent.await.map_err(|failure| failed(STAGE, pool.url(), "read all tables", failure))
}

/// Sends a table through a cursor.
async fn send(tx: &Transaction, table: &'static Table, parts: &Sender<Part>) -> Result<(), Failure> {
    let columns: Vec<String> = table.columns.iter().map(|(name, kind)| read(name, *kind)).collect();
    // A row without a vector is a claim.
    let which = if table.name == "vectors" { " WHERE vector IS NOT NULL" } else { "" };
    let (name, columns) = (table.name, columns.join(", "));
    tx.batch(&format!(
        "DECLARE copied CURSOR FOR SELECT json_build_array({columns})::text FROM {name}{which}"
    ))
    .await?;
    loop {
        let found = tx.rows(&format!("FETCH {PAGE} FROM copied"), &[]).await?;
        let row = |row: &crate::postgres::Row| match nested(row.get(0)) {
            Value::Array(values) => values.into_iter().map(plain).collect(),
            _ => Vec::new(),
        };
        let rows: Vec<Vec<Value>> = found.iter().map(row).collect();
        let is_over = rows.len() < PAGE;
        // A receiver that is gone says itself why.
        if parts.send(Part::Rows(table, rows)).await.is_err() || is_over {
            break;
        }
    }
    tx.batch("CLOSE copied").await
}

fn plain(value: Value) -> Value {
    if let Value::String(value) = &value { text(value) } else { value }
}

async fn receive_all(pool: &Pool, mut parts: Receiver<Part>) -> StageResult<()> {
    let received = async {
        let tx = pool.begin("BEGIN").await?;
        loop {
            let (table, rows) = match parts.recv().await {
                Some(Part::Rows(table, rows)) => (table, rows),
                Some(Part::End) => return tx.commit().await,
                None => return Err(Failure::Other(INCOMPLETE.into())),
            };
            let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
            let values: Vec<String> =
                table.columns.iter().enumerate().map(|(at, (_, kind))| written(at, *kind)).collect();
            let (name, names, values) = (table.name, names.join(", "), values.join(", "));
            let sql = format!(
                "INSERT INTO {name} ({names}) OVERRIDING SYSTEM VALUE
                 SELECT {values} FROM json_array_elements($1::json) AS row"
            );
            let rows = Value::from(rows).to_string();
            tx.run(&sql, &[&rows]).await?;
            if table.columns.iter().any(|(_, kind)| *kind == Kind::Id) {
                let sql = format!(
                    "SELECT setval(pg_get_serial_sequence('{name}', 'id'), coalesce(max(id), 0) + 1, false) FROM {name}"
                );
                tx.run(&sql, &[]).await?;
            }
        }
    };
    received.await.map_err(|failure| failed(STAGE, pool.url(), "write all tables", failure))
}

/// A column as JSON.
fn read(name: &str, kind: Kind) -> String {
    match kind {
        Kind::Time => format!("to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"),
        Kind::Bytes => format!("encode({name}, 'hex')"),
        Kind::Day => format!("{name} - DATE '1970-01-01'"),
        Kind::Id | Kind::Int | Kind::Text | Kind::Bool | Kind::Json | Kind::List => name.to_owned(),
    }
}

/// A column from the JSON of a row.
fn written(at: usize, kind: Kind) -> String {
    let text = format!("row->>{at}");
    match kind {
        Kind::Text => text,
        Kind::Id | Kind::Int => format!("({text})::bigint"),
        Kind::Bool => format!("({text})::boolean"),
        Kind::Time => format!("({text})::timestamptz"),
        Kind::Json => format!("({text})::json"),
        Kind::List => format!(
            "CASE json_typeof(row->{at}) WHEN 'array' THEN ARRAY(SELECT json_array_elements_text(row->{at})) END"
        ),
        Kind::Bytes => format!("decode({text}, 'hex')"),
        Kind::Day => format!("DATE '1970-01-01' + ({text})::int"),
    }
}
