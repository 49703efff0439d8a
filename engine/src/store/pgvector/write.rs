//! Writing and deleting records. Vector, metadata and words of a record change in one transaction.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::model::{ErrorKind, Record, StageError};
use crate::postgres::{Arg, BEGIN_TO_WRITE, Transaction};
use crate::rank::Tokens;

use super::database::{Database, Failed};
use super::documents::{Counts, Document, draw};
use super::names::Part;
use super::schema;
use super::totals::{Files, Totals};

/// A stored record.
struct Known {
    row: i64,
    file: i64,
    vector_hash: i64,
    words_hash: i64,
}

/// A record that is written.
struct Written<'a> {
    record: &'a Record,
    document: Document,
    /// The number of its file.
    file: i64,
    known: Option<Known>,
}

impl Written<'_> {
    fn has_new_vector(&self) -> bool {
        self.known
            .as_ref()
            .is_none_or(|known| known.vector_hash != self.document.vector_hash || known.file != self.file)
    }

    fn has_new_words(&self) -> bool {
        self.known
            .as_ref()
            .is_none_or(|known| known.words_hash != self.document.words_hash || known.file != self.file)
    }
}

/// Inserts records, replacing those with the same id.
///
/// Of a known record only what differs is written: if only line numbers or other facts moved, neither its vector nor
/// its words are.
pub(super) async fn upsert(db: &Database, namespace: &str, records: &Arc<[Record]>) -> Result<(), Failed> {
    let Some(first) = records.first() else { return Ok(()) };
    let dimensions = first.vector.len();
    for record in &**records {
        check_vector(&db.stage, record, dimensions)?;
    }
    let tables = schema::tables_for(db, dimensions).await?;
    let part = schema::part_for(db, tables, namespace).await?;
    let documents = blocking(db, records, |records| records.iter().map(Document::new).collect()).await?;
    let transaction = db.pool.begin(BEGIN_TO_WRITE).await?;
    let mut files = Files::default();
    let written = known(db, &transaction, &part, &mut files, records, documents).await?;
    let rows = write_records(&transaction, &part, &written).await?;
    let row_of = |one: &Written<'_>| -> Result<i64, Failed> {
        match (&one.known, rows.get(one.record.id.as_str())) {
            (Some(known), _) => Ok(known.row),
            (None, Some((row, true))) => Ok(*row),
            // Another writer was first with the same id; the next try sees its record.
            (None, _) => {
                let message = format!("another process wrote `{}` at the same time", one.record.id);
                Err(StageError::transient(&db.stage, message).into())
            }
        }
    };
    let mut totals = Totals::default();
    let (mut with_vector, mut with_words) = (Vec::new(), Vec::new());
    for one in &written {
        let row = row_of(one)?;
        if one.known.is_none() {
            totals.chunks += 1;
        }
        match &one.known {
            Some(known) if known.file != one.file => {
                files.change(known.file, -1);
                files.change(one.file, 1);
            }
            Some(_) => {}
            None => files.change(one.file, 1),
        }
        if one.has_new_vector() {
            totals.changed += 1;
            with_vector.push((row, one));
        }
        if one.has_new_words() {
            with_words.push((row, one));
        }
    }
    write_vectors(&transaction, &part, dimensions, &with_vector).await?;
    write_words(db, &transaction, &part, &with_words, &mut totals).await?;
    files.finish(db, &transaction).await?;
    totals.finish(db, &transaction, &part).await?;
    transaction.commit().await?;
    Ok(())
}

/// Deletes records by id. Unknown ids are ignored.
pub(super) async fn delete(db: &Database, namespace: &str, ids: &[String]) -> Result<(), Failed> {
    let Some(part) = schema::part(db, namespace).await?.filter(|_| !ids.is_empty()) else { return Ok(()) };
    let transaction = db.pool.begin(BEGIN_TO_WRITE).await?;
    let Part { records, vectors, words, .. } = &part;
    let ids = ids.to_vec();
    // Files first and each in order, as upserts do, so that two writers do not wait for each other.
    let sql = format!(
        "SELECT FROM {} WHERE number IN (SELECT file FROM {records} WHERE id = ANY($1)) ORDER BY key FOR UPDATE",
        db.names.files()
    );
    transaction.rows(&sql, &[&ids]).await?;
    let sql = format!("SELECT row, file FROM {records} WHERE id = ANY($1) ORDER BY id FOR UPDATE");
    let found = transaction.rows(&sql, &[&ids]).await?;
    let mut files = Files::default();
    let mut totals = Totals::default();
    let mut rows: Vec<i64> = Vec::with_capacity(found.len());
    for one in found {
        rows.push(one.get(0));
        files.change(one.get(1), -1);
        totals.chunks -= 1;
        totals.changed += 1;
    }
    if rows.is_empty() {
        transaction.commit().await?;
        return Ok(());
    }
    let sql = format!("DELETE FROM {words} WHERE row = ANY($1) RETURNING words, length");
    for one in transaction.rows(&sql, &[&rows]).await? {
        totals.remove_words(one.get(0), one.get(1));
    }
    for table in [vectors, records] {
        transaction.run(&format!("DELETE FROM {table} WHERE row = ANY($1)"), &[&rows]).await?;
    }
    files.finish(db, &transaction).await?;
    totals.finish(db, &transaction, &part).await?;
    transaction.commit().await?;
    Ok(())
}

/// Pairs the records with what is stored of them, which stays locked. Of two with the same id the last counts.
async fn known<'a>(
    db: &Database,
    transaction: &Transaction,
    part: &Part,
    files: &mut Files,
    records: &'a [Record],
    documents: Vec<Document>,
) -> Result<Vec<Written<'a>>, Failed> {
    let mut seen = HashSet::new();
    let mut last: Vec<(&Record, Document)> =
        records.iter().zip(documents).rev().filter(|(record, _)| seen.insert(record.id.as_str())).collect();
    last.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
    // Locks the files, so that writers of a file take turns, and the second sees what the first wrote.
    let numbers =
        files.numbers(db, transaction, part, last.iter().map(|(_, document)| &document.file)).await?;
    let ids: Vec<&str> = last.iter().map(|(record, _)| record.id.as_str()).collect();
    let sql = format!(
        "SELECT id, row, file, vector_hash, words_hash FROM {} WHERE id = ANY($1) ORDER BY id FOR UPDATE",
        part.records
    );
    let mut found: HashMap<String, Known> = HashMap::new();
    for row in transaction.rows(&sql, &[&ids]).await? {
        let known =
            Known { row: row.get(1), file: row.get(2), vector_hash: row.get(3), words_hash: row.get(4) };
        found.insert(row.get(0), known);
    }
    let paired = last.into_iter().map(|(record, document)| Written {
        record,
        file: numbers.get(&document.file.key).copied().unwrap_or_default(),
        known: found.remove(&record.id),
        document,
    });
    Ok(paired.collect())
}

/// Writes metadata and texts. Gives the rows that were written by id, and whether they are new.
async fn write_records(
    transaction: &Transaction,
    part: &Part,
    written: &[Written<'_>],
) -> Result<HashMap<String, (i64, bool)>, Failed> {
    let ids: Vec<&str> = written.iter().map(|one| one.record.id.as_str()).collect();
    let languages: Vec<&str> = written.iter().map(|one| one.document.language.as_str()).collect();
    let kinds: Vec<&str> = written.iter().map(|one| one.document.kind.as_str()).collect();
    let symbols: Vec<&str> = written.iter().map(|one| one.document.symbol.as_str()).collect();
    let facts: Vec<&str> = written.iter().map(|one| one.document.facts.as_str()).collect();
    let bodies: Vec<&str> = written.iter().map(|one| one.document.text.as_str()).collect();
    let files: Vec<i64> = written.iter().map(|one| one.file).collect();
    let vectors: Vec<i64> = written.iter().map(|one| one.document.vector_hash).collect();
    let words: Vec<i64> = written.iter().map(|one| one.document.words_hash).collect();
    let Part { number, records, .. } = part;
    let sql = format!(
        "INSERT INTO {records} AS old
             (namespace, id, file, language, kind, symbol, vector_hash, words_hash, facts, text)
         SELECT {number}, id, file, language, kind, symbol, vector_hash, words_hash, facts::json, text
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)
             AS new (id, file, language, kind, symbol, vector_hash, words_hash, facts, text)
         ON CONFLICT (id) DO UPDATE SET
             file = excluded.file, language = excluded.language, kind = excluded.kind, symbol = excluded.symbol,
             vector_hash = excluded.vector_hash, words_hash = excluded.words_hash, facts = excluded.facts,
             text = excluded.text
         WHERE (old.facts::text, old.text, old.file, old.vector_hash, old.words_hash)
             IS DISTINCT FROM
             (excluded.facts::text, excluded.text, excluded.file, excluded.vector_hash, excluded.words_hash)
         RETURNING id, row, xmax = 0"
    );
    let args: &[&dyn Arg] = &[&ids, &files, &languages, &kinds, &symbols, &vectors, &words, &facts, &bodies];
    let rows = transaction.rows(&sql, args).await?;
    Ok(rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect())
}

async fn write_vectors(
    transaction: &Transaction,
    part: &Part,
    dimensions: usize,
    written: &[(i64, &Written<'_>)],
) -> Result<(), Failed> {
    if written.is_empty() {
        return Ok(());
    }
    let rows: Vec<i64> = written.iter().map(|(row, _)| *row).collect();
    let files: Vec<i64> = written.iter().map(|(_, one)| one.file).collect();
    let draws: Vec<i32> = written.iter().map(|(_, one)| draw(&one.record.id)).collect();
    let components: Vec<f32> =
        written.iter().flat_map(|(_, one)| one.record.vector.iter().copied()).collect();
    let Part { number, vectors, .. } = part;
    let sql = format!(
        "INSERT INTO {vectors} (namespace, row, file, draw, v)
         SELECT {number}, row, file, draw, $4[(n - 1) * {dimensions} + 1 : n * {dimensions}]::vector
         FROM unnest($1, $2, $3) WITH ORDINALITY AS new (row, file, draw, n)
         ON CONFLICT (row) DO UPDATE SET file = excluded.file, v = excluded.v"
    );
    transaction.run(&sql, &[&rows, &files, &draws, &components]).await?;
    Ok(())
}

async fn write_words(
    db: &Database,
    transaction: &Transaction,
    part: &Part,
    written: &[(i64, &Written<'_>)],
    totals: &mut Totals,
) -> Result<(), Failed> {
    if written.is_empty() {
        return Ok(());
    }
    let Part { number, words, .. } = part;
    let known: Vec<i64> =
        written.iter().filter(|(_, one)| one.known.is_some()).map(|(row, _)| *row).collect();
    if !known.is_empty() {
        let sql = format!("SELECT words, length FROM {words} WHERE row = ANY($1)");
        for row in transaction.rows(&sql, &[&known]).await? {
            totals.remove_words(row.get(0), row.get(1));
        }
    }
    let records: Arc<[Record]> = written.iter().map(|(_, one)| one.record.clone()).collect();
    let counts: Vec<Counts> = blocking(db, &records, |records| {
        let tokens = Tokens::default();
        records.iter().map(|record| Counts::new(&tokens, record)).collect()
    })
    .await?;
    let rows: Vec<i64> = written.iter().map(|(row, _)| *row).collect();
    let files: Vec<i64> = written.iter().map(|(_, one)| one.file).collect();
    let lengths: Vec<i32> = counts.iter().map(|one| one.length).collect();
    // No word has a space, so lists of words travel as texts.
    let lists: Vec<String> =
        counts.iter().map(|one| one.words.keys().map(String::as_str).collect::<Vec<_>>().join(" ")).collect();
    let numbers: Vec<String> = counts
        .iter()
        .map(|one| one.words.values().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        .collect();
    for one in counts {
        totals.add_words(one);
    }
    let sql = format!(
        "INSERT INTO {words} (namespace, row, file, length, words, counts)
         SELECT {number}, row, file, length, string_to_array(words, ' '), string_to_array(counts, ' ')::integer[]
         FROM unnest($1, $2, $3, $4, $5) AS new (row, file, length, words, counts)
         ON CONFLICT (row) DO UPDATE SET
             file = excluded.file, length = excluded.length, words = excluded.words, counts = excluded.counts"
    );
    transaction.run(&sql, &[&rows, &files, &lengths, &lists, &numbers]).await?;
    Ok(())
}

/// Computes something of many records outside of the threads that wait for sockets.
async fn blocking<T: Send + 'static>(
    db: &Database,
    records: &Arc<[Record]>,
    work: impl FnOnce(&[Record]) -> Vec<T> + Send + 'static,
) -> Result<Vec<T>, Failed> {
    let records = Arc::clone(records);
    let done = tokio::task::spawn_blocking(move || work(&records)).await;
    done.map_err(|error| {
        StageError::new(&db.stage, ErrorKind::Bug, "preparing an upsert panicked").caused_by(error).into()
    })
}

fn check_vector(stage: &str, record: &Record, dimensions: usize) -> Result<(), StageError> {
    let of = |what| StageError::new(stage, ErrorKind::Bug, format!("the vector of `{}` {what}", record.id));
    if record.vector.len() != dimensions {
        return Err(of("has another dimension than the others"));
    }
    let square: f64 = record.vector.iter().map(|component| f64::from(*component).powi(2)).sum();
    if square > 0.0 && square.is_finite() { Ok(()) } else { Err(of("is zero or not finite")) }
}
