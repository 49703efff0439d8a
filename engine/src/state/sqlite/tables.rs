//! Ledger and vector cache table by table, for copies.

use async_trait::async_trait;
use rusqlite::types::{ToSqlOutput, Value as Sql, ValueRef};
use rusqlite::{Connection, params_from_iter};
use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender};

use super::store::SqliteState;
use super::vector_cache::SqliteVectorCache;
use crate::model::{ErrorKind, StageError, StageResult};
use crate::state::STAGE;
use crate::state::copy::{INCOMPLETE, Kind, LEDGER, PAGE, Part, Table, Tables, VECTORS, nested, text};

#[async_trait]
impl Tables for SqliteState {
    async fn is_empty(&self) -> StageResult<bool> {
        self.read("look for rows", |conn| {
            let sql = "SELECT NOT EXISTS (SELECT 1 FROM project_rows) AND NOT EXISTS (SELECT 1 FROM runs)";
            conn.query_row(sql, [], |row| row.get(0))
        })
        .await
    }

    async fn send_all(&self, parts: Sender<Part>) -> StageResult<()> {
        self.read("read all tables", move |conn| send_all(conn, LEDGER, &parts)).await
    }

    async fn receive_all(&self, mut parts: Receiver<Part>) -> StageResult<()> {
        let receive = move |conn: &Connection| receive_all(conn, &mut parts);
        self.call(move |database| database.write("write all tables", receive)).await
    }
}

#[async_trait]
impl Tables for SqliteVectorCache {
    async fn is_empty(&self) -> StageResult<bool> {
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM vectors)";
        self.on_file(move |conn| conn.query_row(sql, [], |row| row.get(0))).await
    }

    async fn send_all(&self, parts: Sender<Part>) -> StageResult<()> {
        self.on_file(move |conn| send_all(conn, VECTORS, &parts)).await
    }

    async fn receive_all(&self, mut parts: Receiver<Part>) -> StageResult<()> {
        let receive = move |conn: &Connection| {
            let tx = conn.unchecked_transaction()?;
            receive_all(&tx, &mut parts)?;
            tx.commit()
        };
        self.on_file(receive).await
    }
}

impl SqliteVectorCache {
    /// Works on the file; an error if it cannot be used.
    async fn on_file<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> StageResult<T> {
        let done = self.call(|file, _| file.on_connection(work)).await;
        match done
            .ok_or_else(|| StageError::new(STAGE, ErrorKind::Bug, "a call on the vector cache panicked"))?
        {
            Some(done) => done
                .map_err(|error| StageError::local(STAGE, "cannot copy the vector cache").caused_by(error)),
            None => Err(StageError::local(STAGE, "the vector cache cannot be used")
                .hint("make its folder readable and writable")),
        }
    }
}

fn send_all(conn: &Connection, tables: &'static [Table], parts: &Sender<Part>) -> rusqlite::Result<()> {
    for table in tables {
        let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
        let mut select = conn.prepare(&format!("SELECT {} FROM {}", columns.join(", "), table.name))?;
        let mut found = select.query([])?;
        let mut rows = Vec::new();
        loop {
            let row = found.next()?;
            if let Some(row) = row {
                let value = |(at, (_, kind)): (usize, &(&str, Kind))| Ok(to_json(row.get_ref(at)?, *kind));
                rows.push(table.columns.iter().enumerate().map(value).collect::<rusqlite::Result<_>>()?);
            }
            let is_over = row.is_none();
            if rows.len() == PAGE || is_over {
                // A receiver that is gone says itself why.
                if parts.blocking_send(Part::Rows(table, std::mem::take(&mut rows))).is_err() {
                    return Ok(());
                }
            }
            if is_over {
                break;
            }
        }
    }
    // Likewise.
    parts.blocking_send(Part::End).unwrap_or_default();
    Ok(())
}

fn receive_all(conn: &Connection, parts: &mut Receiver<Part>) -> rusqlite::Result<()> {
    loop {
        let (table, rows) = match parts.blocking_recv() {
            Some(Part::Rows(table, rows)) => (table, rows),
            Some(Part::End) => return Ok(()),
            None => return Err(rusqlite::Error::ToSqlConversionFailure(INCOMPLETE.into())),
        };
        let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
        let places = vec!["?"; columns.len()].join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES ({places})", table.name, columns.join(", "));
        let mut insert = conn.prepare_cached(&sql)?;
        for row in rows {
            let values = row.into_iter().zip(table.columns).map(|(value, (_, kind))| of_json(value, *kind));
            insert.execute(params_from_iter(values.map(ToSqlOutput::Owned)))?;
        }
    }
}

fn to_json(value: ValueRef<'_>, kind: Kind) -> Value {
    match (value, kind) {
        (ValueRef::Integer(n), Kind::Bool) => (n != 0).into(),
        (ValueRef::Integer(n), _) => n.into(),
        (ValueRef::Real(x), _) => x.into(),
        (ValueRef::Blob(bytes), _) => hex::encode(bytes).into(),
        (ValueRef::Text(bytes), Kind::Json | Kind::List) => nested(&String::from_utf8_lossy(bytes)),
        (ValueRef::Text(bytes), _) => text(&String::from_utf8_lossy(bytes)),
        (ValueRef::Null, _) => Value::Null,
    }
}

fn of_json(value: Value, kind: Kind) -> Sql {
    match (value, kind) {
        (Value::Null, _) => Sql::Null,
        (Value::Bool(is), _) => Sql::Integer(is.into()),
        (value, Kind::Json | Kind::List) => Sql::Text(value.to_string()),
        (Value::String(text), Kind::Bytes) => Sql::Blob(hex::decode(text).unwrap_or_default()),
        (Value::String(text), _) => Sql::Text(text),
        (value, _) => value.as_i64().map_or(Sql::Null, Sql::Integer),
    }
}
