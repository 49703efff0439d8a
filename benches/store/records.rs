//! Records for the store benchmarks, and a Pinecone client to write them with.

use std::sync::Arc;

use reposync::model::{EventSink, Fingerprint, GitSha, Metadata, Record, Secret, Vector};
use reposync::store::pinecone::{PineconeSettings, PineconeStore};
use tokio_util::sync::CancellationToken;

/// Records of a file.
pub(crate) const CHUNKS_PER_FILE: usize = 20;
const TEXT: &str = "The deletion guard counts only vectors of files that leave the index and have no \
    successor; chunks replaced when a file changes, moved files and copies into another place never count. ";

/// Pseudo-random numbers distributed like an embedding, reproducible.
pub(crate) fn vector(number: usize, dimension: usize) -> Vector {
    let mut state = number as u64 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32) / 16_777_216.0 - 0.5
    };
    (0..dimension).map(|_| next()).collect()
}

fn record(number: usize, dimension: usize) -> Record {
    let file = number / CHUNKS_PER_FILE;
    Record {
        id: format!("{:032x}-{:032x}-0", file * 7919 % 100_003, number),
        vector: vector(number, dimension),
        metadata: Arc::new(Metadata {
            project: "handbook".into(),
            repository: "acme/handbook".into(),
            file_path: format!("docs/part-{}/page-{file}.md", file % 100),
            chunk_index: u32::try_from(number % CHUNKS_PER_FILE).expect("small"),
            text: format!("{TEXT}{number} {TEXT}"),
            start_line: 1,
            end_line: 9,
            language: "markdown".into(),
            blob_sha: GitSha([1; 20]),
            recipe: Fingerprint::of(["recipe"]),
            commit_sha: GitSha([2; 20]),
            url: format!("https://example.com/acme/handbook/blob/main/page-{file}.md#L1-L9"),
            context: Some("Guards > Deletion".into()),
            kind: Some("section".into()),
            name: None,
            attrs: Vec::new(),
            foreign: None,
        }),
    }
}

/// Chunks of files, each with a different text.
pub(crate) fn records(count: usize, dimension: usize) -> Vec<Record> {
    (0..count).map(|number| record(number, dimension)).collect()
}

/// A client of an index at this URL. It sends no request before the first call.
pub(crate) fn pinecone(url: &str, calls: usize) -> PineconeStore {
    let settings = PineconeSettings {
        index: "docs".into(),
        api_key: Secret::new("none-is-asked-for"),
        api_url: url.to_owned(),
        host: Some(url.to_owned()),
        create: None,
        api_version: "2026-04".into(),
    };
    PineconeStore::new("vectors", &settings, calls, CancellationToken::new(), EventSink::none())
        .expect("a client")
}
