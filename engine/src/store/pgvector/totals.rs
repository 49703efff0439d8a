//! What is counted of a namespace: chunks by file, chunks by word, the mean of its vectors. Written at the end of a
//! transaction, so that writers wait for each other only for a moment.

use std::collections::{BTreeMap, HashMap};

use crate::postgres::Transaction;

use super::database::{Database, Failed};
use super::documents::{Counts, File};
use super::names::Part;

/// Size of the sample from which the mean of a namespace is estimated.
const SAMPLE: i64 = 1000;
/// The mean is computed again when a tenth of the chunks changed.
const REFRESHED_AT: i64 = 10;

/// The files that a transaction touches.
#[derive(Default)]
pub(super) struct Files {
    /// Change of the number of chunks, by number of the file.
    changes: BTreeMap<i64, i64>,
}

impl Files {
    /// The numbers of files by key; new files get one. The rows stay locked.
    pub(super) async fn numbers(
        &mut self,
        db: &Database,
        transaction: &Transaction,
        part: &Part,
        files: impl Iterator<Item = &File>,
    ) -> Result<HashMap<String, i64>, Failed> {
        let table = db.names.files();
        let number = part.number;
        let mut missing: BTreeMap<&str, &File> = files.map(|file| (file.key.as_str(), file)).collect();
        let keys: Vec<String> = missing.keys().map(|key| (*key).to_owned()).collect();
        let sql = format!(
            "SELECT key, number FROM {table} WHERE namespace = {number} AND key = ANY($1) ORDER BY key FOR UPDATE"
        );
        let mut numbers = HashMap::new();
        for row in transaction.rows(&sql, &[&keys]).await? {
            let key: String = row.get(0);
            missing.remove(key.as_str());
            numbers.insert(key, row.get(1));
        }
        if missing.is_empty() {
            return Ok(numbers);
        }
        let of =
            |text: fn(&File) -> &str| missing.values().map(|file| text(file).to_owned()).collect::<Vec<_>>();
        let (keys, projects) = (of(|file| &file.key), of(|file| &file.project));
        let (repositories, paths) = (of(|file| &file.repository), of(|file| &file.path));
        // The update changes nothing; it locks the row of a file that another writer has just added.
        let sql = format!(
            "INSERT INTO {table} AS old (namespace, key, project, repository, path, chunks)
             SELECT {number}, key, project, repository, path, 0
             FROM unnest($1, $2, $3, $4) AS new (key, project, repository, path)
             ON CONFLICT (namespace, key) DO UPDATE SET chunks = old.chunks
             RETURNING key, number"
        );
        for row in transaction.rows(&sql, &[&keys, &projects, &repositories, &paths]).await? {
            numbers.insert(row.get(0), row.get(1));
        }
        Ok(numbers)
    }

    /// Adds chunks to a file, or takes them away.
    pub(super) fn change(&mut self, number: i64, chunks: i64) {
        *self.changes.entry(number).or_default() += chunks;
    }

    /// Writes the counts; files without a chunk are removed.
    pub(super) async fn finish(self, db: &Database, transaction: &Transaction) -> Result<(), Failed> {
        let table = db.names.files();
        let (numbers, changes): (Vec<i64>, Vec<i64>) =
            self.changes.into_iter().filter(|(_, change)| *change != 0).unzip();
        if numbers.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "UPDATE {table} SET chunks = chunks + change
             FROM unnest($1, $2) AS new (file, change) WHERE number = file"
        );
        transaction.run(&sql, &[&numbers, &changes]).await?;
        if changes.iter().any(|change| *change < 0) {
            let sql = format!("DELETE FROM {table} WHERE number = ANY($1) AND chunks <= 0");
            transaction.run(&sql, &[&numbers]).await?;
        }
        Ok(())
    }
}

/// Changes of what is counted of a namespace.
#[derive(Default)]
pub(super) struct Totals {
    /// Number of chunks.
    pub(super) chunks: i64,
    /// Number of vectors that were written or deleted.
    pub(super) changed: i64,
    /// Number of words.
    tokens: i64,
    /// Chunks by word.
    words: BTreeMap<String, i64>,
}

impl Totals {
    /// Counts the words of a record.
    pub(super) fn add_words(&mut self, counts: Counts) {
        self.tokens += i64::from(counts.length);
        for word in counts.words.into_keys() {
            *self.words.entry(word).or_default() += 1;
        }
    }

    /// No longer counts the words of a record.
    pub(super) fn remove_words(&mut self, words: Vec<String>, length: i32) {
        self.tokens -= i64::from(length);
        for word in words {
            *self.words.entry(word).or_default() -= 1;
        }
    }

    /// Writes the changes.
    pub(super) async fn finish(
        mut self,
        db: &Database,
        transaction: &Transaction,
        part: &Part,
    ) -> Result<(), Failed> {
        self.words.retain(|_, change| *change != 0);
        let number = part.number;
        if !self.words.is_empty() {
            let table = db.names.frequencies();
            let has_fewer = self.words.values().any(|change| *change < 0);
            // In the order of words, so that two writers do not wait for each other.
            let (words, changes): (Vec<String>, Vec<i64>) = self.words.into_iter().unzip();
            let sql = format!(
                "INSERT INTO {table} AS old (namespace, word, chunks)
                 SELECT {number}, word, change FROM unnest($1, $2) AS new (word, change)
                 ON CONFLICT (namespace, word) DO UPDATE SET chunks = old.chunks + excluded.chunks"
            );
            transaction.run(&sql, &[&words, &changes]).await?;
            if has_fewer {
                let sql = format!(
                    "DELETE FROM {table} WHERE namespace = {number} AND word = ANY($1) AND chunks <= 0"
                );
                transaction.run(&sql, &[&words]).await?;
            }
        }
        if self.chunks == 0 && self.changed == 0 && self.tokens == 0 {
            return Ok(());
        }
        let table = db.names.namespaces();
        let sql = format!(
            "UPDATE {table} SET chunks = chunks + $1, tokens = tokens + $2, changed = changed + $3
             WHERE number = {number} RETURNING chunks, changed"
        );
        let row = transaction.row(&sql, &[&self.chunks, &self.tokens, &self.changed]).await?;
        let Some(row) = row else { return Ok(()) };
        let (chunks, changed): (i64, i64) = (row.get(0), row.get(1));
        if changed > 0 && (chunks <= SAMPLE || changed * REFRESHED_AT >= chunks) {
            let sql = format!(
                "UPDATE {table} SET changed = 0, mean = (
                     SELECT avg(l2_normalize(v)) FROM (SELECT v FROM {} ORDER BY draw LIMIT {SAMPLE}) AS sample
                 ) WHERE number = {number}",
                part.vectors
            );
            transaction.run(&sql, &[]).await?;
        }
        Ok(())
    }
}
