//! The data plane's JSON: what is sent and what comes back.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Number, Value};

use crate::model::Record;
use crate::net::Buffer;

/// Bytes of a record's metadata that the service takes at most.
const MOST_METADATA: usize = 40_000;

/// What `describe_index_stats` says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stats {
    pub(super) dimension: Option<usize>,
    pub(super) metric: Option<String>,
    pub(super) vector_type: Option<String>,
    #[serde(default)]
    pub(super) namespaces: BTreeMap<String, NamespaceStats>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NamespaceStats {
    #[serde(default)]
    pub(super) vector_count: u64,
}

/// An answer of which only its being JSON matters: a page of a proxy is none.
#[derive(Debug, Deserialize)]
pub(super) struct Accepted {}

/// A page of ids.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    #[serde(default)]
    pub(super) vectors: Vec<ListedId>,
    pub(super) pagination: Option<Pagination>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ListedId {
    pub(super) id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Pagination {
    pub(super) next: Option<String>,
}

/// Records by id.
#[derive(Debug, Deserialize)]
pub(super) struct Fetched {
    #[serde(default)]
    pub(super) vectors: HashMap<String, FetchedRecord>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FetchedRecord {
    #[serde(default)]
    pub(super) values: Vec<f32>,
    #[serde(default)]
    pub(super) metadata: Option<Map<String, Value>>,
}

/// Matches, best first.
#[derive(Debug, Deserialize)]
pub(super) struct Matches {
    #[serde(default)]
    pub(super) matches: Vec<Scored>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Scored {
    pub(super) id: String,
    #[serde(default)]
    pub(super) score: f64,
    #[serde(default)]
    pub(super) metadata: Option<Map<String, Value>>,
}

/// Part of an upsert: which records, and its encoded body.
#[derive(Debug)]
pub(super) struct UpsertBody {
    pub(super) records: Range<usize>,
    pub(super) body: Bytes,
}

/// Encodes an upsert as few bodies of at most `most_records` records and `most_bytes` bytes each.
pub(super) fn upsert_bodies(
    namespace: &str,
    records: &[Record],
    most_records: usize,
    most_bytes: usize,
) -> Result<Vec<UpsertBody>, String> {
    let mut bodies = Vec::new();
    let mut from = 0;
    while from < records.len() {
        let body = next_body(namespace, records, from, most_records, most_bytes)?;
        from = body.records.end;
        bodies.push(body);
    }
    Ok(bodies)
}

/// Encodes as many records, beginning at `from`, as fit into one body. A record that exceeds the limit is sent
/// in a separate body, and the service decides.
pub(super) fn next_body(
    namespace: &str,
    records: &[Record],
    from: usize,
    most_records: usize,
    most_bytes: usize,
) -> Result<UpsertBody, String> {
    const END: &[u8] = b"]}";
    let mut body = Buffer::take();
    body.extend_from_slice(b"{\"namespace\":");
    write_json(&mut body, namespace);
    body.extend_from_slice(b",\"vectors\":[");
    let mut end = from;
    for record in records[from..].iter().take(most_records) {
        let before = body.len();
        if end > from {
            body.push(b',');
        }
        write_record(&mut body, record)?;
        if end > from && body.len() + END.len() > most_bytes {
            body.truncate(before);
            break;
        }
        if end == from {
            // Records are about as long as the first one; the last may be taken off again.
            let one = body.len() - before;
            let left = (records.len() - from).min(most_records) - 1;
            let room = (left * (one + one / 16)).min(most_bytes.saturating_sub(body.len()) + one);
            body.reserve(room);
        }
        end += 1;
    }
    body.extend_from_slice(END);
    Ok(UpsertBody { records: from..end, body: body.into() })
}

fn write_record(out: &mut Vec<u8>, record: &Record) -> Result<(), String> {
    out.extend_from_slice(b"{\"id\":");
    write_json(out, &record.id);
    out.extend_from_slice(b",\"values\":");
    write_numbers(out, &record.vector);
    out.extend_from_slice(b",\"metadata\":");
    let before = out.len();
    record.metadata.write_json(out, |_, value| !value.is_null()); // the service takes no null
    let bytes = out.len() - before;
    out.push(b'}');
    if bytes > MOST_METADATA {
        return Err(format!("the metadata of `{}` has {bytes} bytes, more than {MOST_METADATA}", record.id));
    }
    Ok(())
}

/// A list of numbers as `serde_json` writes it, without its call for every piece: numbers are most
/// of a body.
fn write_numbers(out: &mut Vec<u8>, numbers: &[f32]) {
    const GROUP: usize = 64;
    const LONGEST: usize = 24; // characters of any number
    let mut digits = zmij::Buffer::new();
    let mut text = [0; GROUP * (LONGEST + 1)];
    out.push(b'[');
    let before = out.len();
    for group in numbers.chunks(GROUP) {
        let mut at = 0;
        for &number in group {
            let number = if number.is_finite() { digits.format_finite(number) } else { "null" }.as_bytes();
            let end = at + number.len();
            match (number.first_chunk::<8>(), number.last_chunk::<8>()) {
                // Two copies of eight bytes that overlap are two moves.
                (Some(first), Some(last)) if number.len() <= 16 => {
                    text[at..at + 8].copy_from_slice(first);
                    text[end - 8..end].copy_from_slice(last);
                }
                _ => text[at..end].copy_from_slice(number),
            }
            text[end] = b',';
            at = end + 1;
        }
        out.extend_from_slice(&text[..at]);
    }
    out.truncate(before.max(out.len() - 1)); // without the last comma
    out.push(b']');
}

fn write_json(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    serde_json::to_writer(&mut *out, value).expect("plain data has a JSON form and memory takes it");
    out.flush().expect("memory takes it");
}

/// The service keeps every number as floating point; whole ones become integers again.
pub(super) fn with_whole_numbers(metadata: Option<Map<String, Value>>) -> Map<String, Value> {
    let mut metadata = metadata.unwrap_or_default();
    for value in metadata.values_mut() {
        if let Some(whole) = value.as_f64().filter(|_| value.is_f64()).and_then(whole) {
            *value = Value::Number(whole);
        }
    }
    metadata
}

fn whole(number: f64) -> Option<Number> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: beyond it not every integer exists
    #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53 fits")]
    (number.fract() == 0.0 && number.abs() <= EXACT).then(|| Number::from(number as i64))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{AttrValue, Fingerprint, GitSha, Metadata, Vector};
    use serde_json::json;

    fn record(id: &str, text: &str) -> Record {
        Record {
            id: id.into(),
            vector: Vector::from([0.1f32, -1.0]),
            metadata: Arc::new(Metadata {
                project: "p".into(),
                repository: "r".into(),
                file_path: "a \"quoted\" ü.md".into(),
                chunk_index: 3,
                text: text.into(),
                start_line: 1,
                end_line: 2,
                language: String::new(),
                blob_sha: GitSha([0; 20]),
                recipe: Fingerprint::of(["r"]),
                commit_sha: GitSha([0; 20]),
                url: String::new(),
                context: None,
                kind: None,
                name: None,
                foreign: None,
                attrs: vec![
                    ("odd".into(), AttrValue::Number(f64::NAN)),
                    ("n".into(), AttrValue::Number(2.0)),
                ],
            }),
        }
    }

    #[test]
    fn bodies_are_json_within_the_limits() {
        let records: Vec<Record> = (0..25).map(|n| record(&format!("id-{n}"), &"x".repeat(n * 20))).collect();
        for (most_records, most_bytes) in
            [(1000, 2_000_000), (4, 2_000_000), (1000, 1500), (7, 2000), (1, 10)]
        {
            let bodies = upsert_bodies("n\"s", &records, most_records, most_bytes).expect("encoded");
            let mut ids = Vec::new();
            for UpsertBody { records, body } in &bodies {
                assert!(records.len() <= most_records && !records.is_empty());
                assert!(body.len() <= most_bytes || records.len() == 1);
                let body: Value = serde_json::from_slice(body).expect("JSON");
                assert_eq!(body["namespace"], "n\"s");
                let vectors = body["vectors"].as_array().expect("a list");
                assert_eq!(vectors.len(), records.len());
                ids.extend(vectors.iter().map(|vector| vector["id"].as_str().expect("text").to_owned()));
            }
            assert!(ids.iter().eq(records.iter().map(|record| &record.id)), "{most_records} {most_bytes}");
        }
        assert!(upsert_bodies("n", &[], 10, 10).expect("nothing").is_empty());
    }

    #[test]
    fn a_record_is_written_as_the_service_takes_it() {
        let body = &upsert_bodies("n", &[record("a", "t")], 10, 10_000).expect("encoded")[0].body;
        let body: Value = serde_json::from_slice(body).expect("JSON");
        assert_eq!(body["vectors"][0]["values"], json!([0.1, -1.0]));
        let metadata = body["vectors"][0]["metadata"].as_object().expect("an object");
        assert_eq!(metadata["file_path"], "a \"quoted\" ü.md");
        assert_eq!((&metadata["attr_n"], metadata.get("attr_odd")), (&json!(2.0), None));
        let error =
            upsert_bodies("n", &[record("long", &"x".repeat(50_000))], 10, 1_000_000).expect_err("too long");
        assert!(error.starts_with("the metadata of `long` has 50"), "{error}");
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_by_serde(bits in proptest::collection::vec(any::<u32>(), 0..200)) {
            let any = bits.iter().map(|bits| f32::from_bits(*bits));
            let numbers: Vec<f32> = any.chain(bits.iter().map(|bits| *bits as f32 / 4.0e9)).collect();
            let mut written = Vec::new();
            write_numbers(&mut written, &numbers);
            prop_assert_eq!(written, serde_json::to_vec(&numbers).expect("numbers"));
        }
    }

    #[test]
    fn whole_numbers_come_back_as_such() {
        let map = |value: Value| value.as_object().cloned();
        let back =
            with_whole_numbers(map(json!({"a": 3.0, "b": 2.5, "c": 1e300, "d": "3.0", "e": 7, "f": -2.0})));
        assert_eq!(Value::Object(back), json!({"a": 3, "b": 2.5, "c": 1e300, "d": "3.0", "e": 7, "f": -2}));
        assert!(with_whole_numbers(None).is_empty());
    }
}
