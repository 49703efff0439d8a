//! What is stored of a record besides its vector.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use crate::model::{Fingerprint, Metadata, Record, file_prefix};
use crate::rank::{Tokens, last_part};
use crate::store::searched::Searched;

/// A record in the form of its columns.
pub(super) struct Document {
    /// JSON without `text`.
    pub(super) facts: String,
    pub(super) text: String,
    pub(super) language: String,
    pub(super) kind: String,
    /// The last part of the symbol's name.
    pub(super) symbol: String,
    pub(super) file: File,
    pub(super) vector_hash: i64,
    pub(super) words_hash: i64,
}

/// What identifies a file in its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) key: String,
    pub(super) project: String,
    pub(super) repository: String,
    pub(super) path: String,
}

/// The words of a record.
pub(super) struct Counts {
    /// By word: how often it occurs, weighted by column.
    pub(super) words: BTreeMap<String, i32>,
    /// The number of words, without weights.
    pub(super) length: i32,
}

impl Document {
    pub(super) fn new(record: &Record) -> Self {
        let metadata = &record.metadata;
        let searched = Searched::of_written(metadata);
        let [project, repository, path] = searched.file();
        // PostgreSQL stores no NUL in texts; in JSON it is escaped.
        let has_nul = metadata.text.contains('\0');
        let mut facts = Vec::new();
        metadata.write_json(&mut facts, |key, _| key != "text" || has_nul);
        let mut vector = Vec::with_capacity(record.vector.len() * 4);
        record.vector.iter().for_each(|component| vector.extend_from_slice(&component.to_le_bytes()));
        Self {
            facts: String::from_utf8(facts).expect("JSON is UTF-8"),
            text: without_nul(&metadata.text),
            language: without_nul(&lower(metadata, "language", Some(&metadata.language))),
            kind: without_nul(&lower(metadata, "kind", metadata.kind.as_deref())),
            symbol: without_nul(last_part(searched.texts()[2])),
            file: File {
                key: file_prefix(project, repository, path),
                project: without_nul(project),
                repository: without_nul(repository),
                path: without_nul(path),
            },
            vector_hash: hash([vector]),
            words_hash: hash(searched.texts()),
        }
    }
}

impl Counts {
    pub(super) fn new(tokens: &Tokens, record: &Record) -> Self {
        let searched = Searched::of_written(&record.metadata);
        let mut words: HashMap<String, i32> = HashMap::new();
        let mut length = 0;
        for (column, weight) in searched.columns().iter().zip(Searched::WEIGHTS) {
            length += tokens.each(column, |token| match words.get_mut(token) {
                Some(count) => *count = count.saturating_add(i32::from(weight)),
                None => drop(words.insert(token.to_owned(), i32::from(weight))),
            });
        }
        Self { words: words.into_iter().collect(), length: i32::try_from(length).unwrap_or(i32::MAX) }
    }
}

/// A position in a random order that depends on the id alone.
pub(super) fn draw(id: &str) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
    let draw = hash([id]) as i32;
    draw
}

/// The metadata of a stored record.
pub(super) fn metadata(facts: &str, text: String) -> Map<String, Value> {
    // We wrote this JSON ourselves, so an error means that somebody else edited the table. Other records are still
    // usable.
    let mut map: Map<String, Value> = serde_json::from_str(facts).unwrap_or_default();
    map.entry("text").or_insert_with(|| text.into());
    map
}

fn hash<S: AsRef<[u8]>>(parts: impl IntoIterator<Item = S>) -> i64 {
    let digits = Fingerprint::of(parts);
    u64::from_str_radix(&digits.as_str()[..16], 16).expect("hexadecimal digits").cast_signed()
}

fn without_nul(text: &str) -> String {
    if text.contains('\0') { text.replace('\0', " ") } else { text.to_owned() }
}

/// A field by which queries filter, which a foreign record may have, too. In lower case, since filters ignore it.
fn lower(metadata: &Metadata, key: &str, own: Option<&str>) -> String {
    let value = match &metadata.foreign {
        Some(foreign) => foreign.get(key).and_then(Value::as_str),
        None => own,
    };
    value.unwrap_or_default().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::model::Vector;

    fn record(metadata: &Value) -> Record {
        let metadata = metadata.as_object().expect("an object").clone();
        Record {
            id: "a".into(),
            vector: Vector::from([1.0f32]),
            metadata: Arc::new(Metadata::foreign(metadata)),
        }
    }

    #[test]
    fn a_record_is_read_back_as_it_was_written() {
        for value in [
            json!({"project": "p", "text": "a text", "big": 1e300, "whole": 3.0, "n": 12}),
            json!({"text": "a\u{0}b", "language": "Rust\u{0}", "nested": {"x": ["\u{0}"]}}),
            json!({"text": ""}),
        ] {
            let document = Document::new(&record(&value));
            assert!(!document.text.contains('\0') && !document.facts.contains('\0'));
            assert_eq!(json!(metadata(&document.facts, document.text)), value);
        }
    }

    #[test]
    fn words_are_weighted_by_column() {
        let value = json!({
            "repository": "acme/api", "file_path": "src/retry.rs", "name": "RetryPolicy", "context": "Errors",
            "text": "retries of errors",
        });
        let Counts { words, length } = Counts::new(&Tokens::default(), &record(&value));
        let of = |word: &str| words.get(word).copied();
        // In the path, in the name and in the body.
        assert_eq!(of("retri"), Some(3 + 3 + 1));
        assert_eq!((of("error"), of("acm"), of("polici")), (Some(2 + 1), Some(3), Some(3)));
        assert_eq!(length, 11);
    }

    #[test]
    fn what_a_record_is_found_by_decides_what_is_written() {
        let of = |value: Value| {
            let document = Document::new(&record(&value));
            (document.vector_hash, document.words_hash)
        };
        let first = of(json!({"file_path": "a.md", "text": "x", "start_line": 1}));
        assert_eq!(first, of(json!({"file_path": "a.md", "text": "x", "start_line": 2})));
        assert_ne!(first.1, of(json!({"file_path": "b.md", "text": "x", "start_line": 1})).1);
    }
}
