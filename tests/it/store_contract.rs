//! The contract of `VectorStore`, checked on every implementation: in memory, SQLite, and the Pinecone
//! client against a fake of the service.

use std::sync::Arc;

use reposync::model::{AttrValue, ErrorKind, Fingerprint, GitSha, Metadata, Record, Vector};
use reposync::store::sqlite::SqliteStore;
use reposync::store::{MemoryStore, Query, VectorStore};
use serde_json::json;

/// A record of project `p` with every optional field set.
pub(crate) fn record(id: &str, vector: &[f32], line: u32) -> Record {
    Record {
        id: id.to_owned(),
        vector: Vector::from(vector),
        metadata: Arc::new(Metadata {
            project: "p".into(),
            repository: "acme/docs".into(),
            file_path: format!("docs/naïve file {line}.md"),
            chunk_index: line,
            text: format!("Zeile \"{line}\"\n\tend </script> 💡"),
            start_line: line,
            end_line: line + 1,
            language: "markdown".into(),
            blob_sha: GitSha([7; 20]),
            recipe: Fingerprint::of(["recipe"]),
            commit_sha: GitSha([9; 20]),
            url: String::new(),
            context: Some("A > B".into()),
            kind: None,
            name: Some(String::new()),
            foreign: None,
            attrs: vec![
                ("level".into(), AttrValue::Number(2.5)),
                ("draft".into(), AttrValue::Flag(line.is_multiple_of(2))),
                ("tags".into(), AttrValue::Texts(vec!["x".into(), format!("t{line}")])),
            ],
        }),
    }
}

fn nearest_to(vector: &[f32], filter: Option<serde_json::Value>) -> Query {
    Query { vector: Vector::from(vector), top_k: 3, filter }
}

async fn ids_under(store: &dyn VectorStore, namespace: &str, prefix: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut after = None;
    loop {
        let page = store.list(namespace, prefix, after).await.expect("list");
        ids.extend(page.ids);
        after = page.next;
        if after.is_none() {
            return ids;
        }
    }
}

async fn found(store: &dyn VectorStore, namespace: &str, query: &Query) -> Vec<String> {
    let matches = store.query(namespace, query).await.expect("query");
    assert!(matches.is_sorted_by(|a, b| a.score >= b.score), "best first: {matches:?}");
    matches.into_iter().map(|one| one.id).collect()
}

/// The contract of the trait. The store is empty and takes vectors of three components.
pub(crate) async fn keeps_its_promises(store: Arc<dyn VectorStore>) {
    let store = &*store;
    let limits = store.limits();
    assert!(limits.records_per_upsert > 0 && limits.ids_per_delete > 0 && limits.calls > 0);
    store.check(3).await.expect("ready for three components");

    // A namespace that does not exist is empty.
    assert!(ids_under(store, "a", "").await.is_empty());
    assert!(store.fetch("a", &["x".into()]).await.expect("fetch").is_empty());
    assert!(found(store, "a", &nearest_to(&[1.0, 0.0, 0.0], None)).await.is_empty());
    store.delete("a", &["x".into()]).await.expect("nothing to delete");

    // Records are returned exactly as written, and only in their namespace.
    let records = [
        record("f1-a-0", &[1.0, 0.0, 0.0], 1),
        record("f1-b-0", &[0.6, 0.8, 0.0], 2),
        record("f2-a-0", &[0.0, 0.1, 0.7], 3),
    ];
    store.upsert("a", &records).await.expect("upsert");
    store.upsert("b", &records[2..]).await.expect("upsert");
    store.upsert("b", &[]).await.expect("nothing to write");
    assert_eq!(ids_under(store, "a", "").await, ["f1-a-0", "f1-b-0", "f2-a-0"]);
    assert_eq!(ids_under(store, "a", "f1-").await, ["f1-a-0", "f1-b-0"]);
    assert_eq!(ids_under(store, "b", "f1-").await, [""; 0]);
    let fetched =
        store.fetch("a", &["f2-a-0".into(), "unknown".into(), "f1-a-0".into()]).await.expect("fetch");
    assert_eq!(fetched.len(), 2);
    for stored in fetched {
        let written = records.iter().find(|record| record.id == stored.id).expect("one of ours");
        assert_eq!(stored.vector, written.vector);
        assert_eq!(json!(stored.metadata), json!(written.metadata.to_json()), "{}", stored.id);
    }

    // The nearest come first, with their metadata; filters apply.
    assert_eq!(found(store, "a", &nearest_to(&[1.0, 0.1, 0.0], None)).await, ["f1-a-0", "f1-b-0", "f2-a-0"]);
    let top = store.query("a", &nearest_to(&[0.0, 0.0, 1.0], None)).await.expect("query").remove(0);
    assert_eq!(json!(top.metadata), json!(records[2].metadata.to_json()));
    for (filter, ids) in [
        (json!({"project": "p"}), &["f1-a-0", "f1-b-0", "f2-a-0"][..]),
        (json!({"project": {"$ne": "p"}}), &[]),
        (json!({"start_line": {"$gte": 2}}), &["f1-b-0", "f2-a-0"]),
        (json!({"attr_draft": true}), &["f1-b-0"]),
        (json!({"attr_tags": {"$in": ["t1", "t3"]}}), &["f1-a-0", "f2-a-0"]),
        (json!({"$or": [{"start_line": 3}, {"file_path": "docs/naïve file 1.md"}]}), &["f1-a-0", "f2-a-0"]),
    ] {
        assert_eq!(
            found(store, "a", &nearest_to(&[1.0, 0.1, 0.0], Some(filter.clone()))).await,
            ids,
            "{filter}"
        );
    }
    let error = store
        .query("a", &nearest_to(&[1.0, 0.0, 0.0], Some(json!({"a": {"$regex": "x"}}))))
        .await
        .expect_err("an operator that does not exist");
    assert_eq!(error.kind, ErrorKind::BadInput, "{error:?}");

    // An upsert replaces the whole record and is idempotent.
    let mut replaced = record("f1-a-0", &[0.0, 0.0, 1.0], 8);
    let metadata = Arc::make_mut(&mut replaced.metadata);
    metadata.context = None;
    metadata.attrs.clear();
    for _ in 0..2 {
        store.upsert("a", std::slice::from_ref(&replaced)).await.expect("upsert again");
    }
    let stored = store.fetch("a", &["f1-a-0".into()]).await.expect("fetch").remove(0);
    assert_eq!(stored.vector, replaced.vector);
    assert_eq!(json!(stored.metadata), json!(replaced.metadata.to_json()));
    assert_eq!(found(store, "a", &nearest_to(&[0.0, 0.0, 1.0], None)).await[0], "f1-a-0");

    // A delete ignores unknown ids and leaves other namespaces alone.
    store.delete("a", &["f2-a-0".into(), "unknown".into()]).await.expect("delete");
    store.delete("a", &["f2-a-0".into()]).await.expect("delete again");
    store.delete("a", &[]).await.expect("nothing to delete");
    assert_eq!(ids_under(store, "a", "").await, ["f1-a-0", "f1-b-0"]);
    assert_eq!(ids_under(store, "b", "").await, ["f2-a-0"]);

    // More than any page or batch; concurrent calls.
    let many: Vec<_> = (0..250u32).map(|n| record(&format!("m-{n:04}"), &[1.0, n as f32, 0.5], n)).collect();
    let batches = many.chunks(limits.records_per_upsert.min(90));
    futures::future::try_join_all(batches.map(|batch| store.upsert("many", batch))).await.expect("upserts");
    let ids: Vec<String> = many.iter().map(|record| record.id.clone()).collect();
    assert_eq!(ids_under(store, "many", "m-").await, ids);
    let mut fetched = store.fetch("many", &ids).await.expect("fetch many");
    fetched.sort_by(|a, b| a.id.cmp(&b.id));
    assert!(fetched.iter().map(|record| &record.id).eq(&ids));

    let description = store.describe().await.expect("describe");
    assert_eq!(description.dimension, Some(3));
    let counts: Vec<_> = description.namespaces.iter().map(|(name, n)| (name.as_str(), *n)).collect();
    assert_eq!(counts, [("a", 2), ("b", 1), ("many", 250)]);

    // A vector of another length is refused before anything is written, with a remedy.
    for error in [
        store.check(4).await.expect_err("four components"),
        store.upsert("a", &[record("z", &[1.0, 0.0, 0.0, 0.0], 1)]).await.expect_err("four components"),
    ] {
        assert_eq!(error.kind, ErrorKind::Misconfigured, "{error:?}");
        assert!(error.message.contains('3') && error.message.contains('4'), "{error}");
    }
    assert_eq!(ids_under(store, "a", "").await, ["f1-a-0", "f1-b-0"]);

    // Two namespaces of one index are two places.
    let (a, b) = (store.place("a").await.expect("place"), store.place("b").await.expect("place"));
    assert_eq!((a.namespace.as_str(), b.namespace.as_str()), ("a", "b"));
    assert_eq!((a.kind, a.host, a.index), (b.kind, b.host, b.index));
}

#[tokio::test]
async fn memory() {
    keeps_its_promises(Arc::new(MemoryStore::new("memory"))).await;
}

#[tokio::test]
async fn sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deep/er/index.db");
    keeps_its_promises(Arc::new(SqliteStore::open("index", &path))).await;
    // Another process sees the same records.
    let again = SqliteStore::open("index", &path);
    assert_eq!(ids_under(&again, "a", "").await, ["f1-a-0", "f1-b-0"]);
}
