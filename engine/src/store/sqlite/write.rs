//! Writing and deleting records. Vector, metadata and words of a record change in one transaction.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension as _, Transaction, params};
use serde_json::{Map, Value};

use crate::model::{Record, StageError};
use crate::store::searched::Searched;

use super::codes::{self, Large};
use super::database::Database;
use super::failed::Failed;
use super::files::Files;
use super::namespaces::{known_namespace, namespace_number, rows_of};
use super::vector::{encode, norm};
use super::words;

/// Inserts records, replacing those with the same id.
///
/// Of a known record only what differs is written: if only line numbers or other facts moved, neither
/// its vector nor its words are.
pub(super) fn upsert(
    database: &Database,
    transaction: &Transaction<'_>,
    namespace: &str,
    records: &[Record],
) -> Result<(), Failed> {
    let Some(first) = records.first() else {
        return Ok(());
    };
    check_dimension(database, transaction, first.vector.len())?;
    let number = namespace_number(transaction, namespace)?;
    let mut batch = Batch::new(database, transaction, number);
    let (first_row, last_row) = rows_of(number);
    let mut next: i64 = transaction
        .prepare_cached("SELECT max(row) FROM records WHERE row BETWEEN ?1 AND ?2")?
        .query_row([first_row, last_row], |row| row.get::<_, Option<i64>>(0))?
        .map_or(first_row, |last| last + 1);
    let mut facts = Vec::new();
    for record in records {
        let norm = checked_norm(database.stage(), record, first.vector.len())?;
        facts.clear();
        record.metadata.write_json(&mut facts, |key, _| key != "text");
        let facts = std::str::from_utf8(&facts).expect("JSON is UTF-8");
        if let Some(known) = batch.find(&record.id)? {
            batch.update(known, record, facts, norm)?;
        } else {
            batch.insert(next, record, facts, norm)?;
            next += 1;
        }
    }
    batch.finish()
}

/// Deletes records by id. Unknown ids are ignored.
pub(super) fn delete(
    database: &Database,
    transaction: &Transaction<'_>,
    namespace: &str,
    ids: &[String],
) -> Result<(), Failed> {
    let Some(number) = known_namespace(transaction, namespace)? else {
        return Ok(());
    };
    let mut batch = Batch::new(database, transaction, number);
    for id in ids {
        if let Some(known) = batch.find(id)? {
            batch.delete(known)?;
        }
    }
    batch.finish()
}

/// The writes to one namespace in one transaction, with what follows from them at its end.
struct Batch<'a> {
    large: Large,
    transaction: &'a Transaction<'a>,
    namespace: i64,
    files: Files,
    /// Blocks of codes that are out of date.
    blocks: BTreeSet<i64>,
    /// Change of the number of records.
    records: i64,
}

/// A stored record.
struct Known {
    row: i64,
    facts: String,
    text: String,
}

impl<'a> Batch<'a> {
    fn new(database: &Database, transaction: &'a Transaction<'a>, namespace: i64) -> Self {
        let large = database.large;
        Self { large, transaction, namespace, files: Files::default(), blocks: BTreeSet::new(), records: 0 }
    }

    fn find(&self, id: &str) -> Result<Option<Known>, Failed> {
        let mut find = self
            .transaction
            .prepare_cached("SELECT row, facts, text FROM records WHERE namespace = ?1 AND id = ?2")?;
        let known = find.query_row(params![self.namespace, id], |row| {
            Ok(Known { row: row.get(0)?, facts: row.get(1)?, text: row.get(2)? })
        });
        Ok(known.optional()?)
    }

    fn insert(&mut self, row: i64, record: &Record, facts: &str, norm: f32) -> Result<(), Failed> {
        let searched = Searched::of_written(&record.metadata);
        let file = self.files.add(self.transaction, self.namespace, searched.file(), 1)?;
        self.transaction
            .prepare_cached(
                "INSERT INTO records (row, namespace, id, facts, text) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![row, self.namespace, record.id, facts, record.metadata.text])?;
        self.transaction
            .prepare_cached("INSERT INTO vectors (row, file, norm, vector) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![row, file, norm, encode(&record.vector)])?;
        words::insert(self.transaction, row, &searched)?;
        self.blocks.insert(codes::block_of(row));
        self.records += 1;
        Ok(())
    }

    fn update(&mut self, known: Known, record: &Record, facts: &str, norm: f32) -> Result<(), Failed> {
        let Known { row, facts: old_facts, text: old_text } = known;
        let text = &record.metadata.text;
        if *text != old_text {
            self.transaction
                .prepare_cached("UPDATE records SET facts = ?2, text = ?3 WHERE row = ?1")?
                .execute(params![row, facts, text])?;
        } else if facts != old_facts {
            self.transaction
                .prepare_cached("UPDATE records SET facts = ?2 WHERE row = ?1")?
                .execute(params![row, facts])?;
        }
        let old_facts = parsed(&old_facts);
        let before = Searched::of_stored(&old_facts, &old_text);
        let after = Searched::of_written(&record.metadata);
        if !after.has_words_of(&before) {
            words::delete(self.transaction, row, &before)?;
            words::insert(self.transaction, row, &after)?;
        }
        let bytes = encode(&record.vector);
        let mut select =
            self.transaction.prepare_cached("SELECT file, norm, vector FROM vectors WHERE row = ?1")?;
        let (old_file, same_vector): (i64, bool) = select.query_row([row], |old| {
            let old_norm: f32 = old.get(1)?;
            Ok((old.get(0)?, old_norm.to_bits() == norm.to_bits() && old.get_ref(2)?.as_blob()? == bytes))
        })?;
        let file = if before.file() == after.file() {
            old_file
        } else {
            self.files.take(old_file);
            self.files.add(self.transaction, self.namespace, after.file(), 1)?
        };
        if same_vector && file == old_file {
            return Ok(());
        }
        self.transaction
            .prepare_cached("UPDATE vectors SET file = ?2, norm = ?3, vector = ?4 WHERE row = ?1")?
            .execute(params![row, file, norm, bytes])?;
        self.blocks.insert(codes::block_of(row));
        Ok(())
    }

    fn delete(&mut self, known: Known) -> Result<(), Failed> {
        let Known { row, facts, text } = known;
        words::delete(self.transaction, row, &Searched::of_stored(&parsed(&facts), &text))?;
        self.transaction.prepare_cached("DELETE FROM records WHERE row = ?1")?.execute([row])?;
        let file: i64 = self
            .transaction
            .prepare_cached("DELETE FROM vectors WHERE row = ?1 RETURNING file")?
            .query_row([row], |row| row.get(0))?;
        self.files.take(file);
        self.blocks.insert(codes::block_of(row));
        self.records -= 1;
        Ok(())
    }

    fn finish(self) -> Result<(), Failed> {
        self.files.finish(self.transaction)?;
        if self.records != 0 {
            self.transaction
                .prepare_cached("UPDATE namespaces SET records = records + ?2 WHERE number = ?1")?
                .execute([self.namespace, self.records])?;
        }
        codes::refresh(self.transaction, self.namespace, &self.blocks, self.large)
    }
}

/// Facts as they are stored. We wrote this JSON ourselves, so an error means a damaged file.
fn parsed(facts: &str) -> Map<String, Value> {
    serde_json::from_str(facts).unwrap_or_default()
}

/// Rejects vectors whose dimension differs from those in the file. An empty file accepts any.
pub(super) fn check_dimension(
    database: &Database,
    transaction: &Transaction<'_>,
    dimension: usize,
) -> Result<(), Failed> {
    match stored_dimension(transaction)? {
        Some(stored) if stored != dimension => Err(StageError::misconfigured(
            database.stage(),
            format!(
                "`{}` holds vectors of {stored} components, the embedder makes {dimension}",
                database.path().display()
            ),
        )
        .hint(
            "set another `path` for this stage (the old file stays as it is), go back to the old embedder, \
             or remove the file to index everything again",
        )
        .into()),
        _ => Ok(()),
    }
}

/// The dimension of the vectors in the file, taken from the first one since all are alike.
pub(super) fn stored_dimension(transaction: &Transaction<'_>) -> Result<Option<usize>, Failed> {
    let bytes: Option<u32> = transaction
        .prepare_cached("SELECT length(vector) FROM vectors LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(bytes.map(|bytes| bytes as usize / 4))
}

fn checked_norm(stage: &str, record: &Record, dimension: usize) -> Result<f32, StageError> {
    let of = |what| {
        StageError::new(stage, crate::model::ErrorKind::Bug, format!("the vector of `{}` {what}", record.id))
    };
    if record.vector.len() != dimension {
        return Err(of("has another dimension than the others"));
    }
    norm(&record.vector).ok_or_else(|| of("is zero or not finite"))
}
