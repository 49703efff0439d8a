//! A generated repository in memory, as GitHub serves it: tree, blobs, archive. The same arguments give
//! the same repository.

use std::collections::HashMap;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

/// The files in their current state.
pub(crate) struct Repository {
    files: Vec<String>,
    words: Words,
}

/// One commit of the repository.
pub(crate) struct Commit {
    /// The commit's object id.
    pub(crate) sha: String,
    /// The recursive tree, as JSON.
    pub(crate) tree: Bytes,
    /// Contents by object id.
    pub(crate) blobs: HashMap<String, Bytes>,
    /// The archive, gzipped.
    pub(crate) archive: Bytes,
}

impl Repository {
    /// `files` Markdown files of about `characters` characters each, between three and five quarters of
    /// it.
    pub(crate) fn new(files: usize, characters: usize) -> Self {
        Self::seeded(files, characters, 1)
    }

    /// The same with other words.
    pub(crate) fn seeded(files: usize, characters: usize, seed: u64) -> Self {
        let mut words = Words(seed);
        let files = (0..files)
            .map(|n| {
                let size = characters * 3 / 4 + characters * (n * 7 % 16) / 32;
                let mut text = format!("# Page {n}\n");
                while text.len() < size {
                    text.push_str("\n\n");
                    for _ in 0..5 {
                        words.sentence(&mut text);
                    }
                }
                text.push('\n');
                text
            })
            .collect();
        Self { files, words }
    }

    /// Number of files.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// Changes this many files, evenly spread: one more sentence in the middle of each.
    pub(crate) fn edit(&mut self, files: usize) {
        let step = self.files.len() / files.max(1);
        for n in 0..files {
            let text = &mut self.files[n * step];
            let middle = text[..text.len() / 2].rfind(". ").map_or(0, |at| at + 2);
            let mut sentence = String::new();
            self.words.sentence(&mut sentence);
            text.insert_str(middle, &sentence);
        }
    }

    /// A commit of the current files.
    pub(crate) fn commit(&self) -> Commit {
        let mut entries = Vec::with_capacity(self.files.len());
        let mut blobs = HashMap::with_capacity(self.files.len());
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (n, text) in self.files.iter().enumerate() {
            let path = format!("docs/part-{}/page-{n}.md", n % 50);
            let sha = object_id(gix::objs::Kind::Blob, text.as_bytes());
            entries.push(json!({
                "path": path, "mode": "100644", "type": "blob", "sha": sha, "size": text.len(),
                "url": format!("https://api.github.com/repos/acme/docs/git/blobs/{sha}"),
            }));
            blobs.insert(sha, Bytes::from(text.clone()));
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            let path = format!("acme-docs-0a1b2c3/{path}");
            archive.append_data(&mut header, path, text.as_bytes()).expect("memory takes it");
        }
        let archive = archive.into_inner().and_then(GzEncoder::finish).expect("memory takes it");
        // Any id will do as long as different trees have different ids.
        let tree = json!(entries).to_string();
        let sha = object_id(gix::objs::Kind::Tree, tree.as_bytes());
        let tree = format!(r#"{{"sha":"{sha}","truncated":false,"tree":{tree}}}"#);
        Commit { sha, tree: tree.into(), blobs, archive: archive.into() }
    }
}

fn object_id(kind: gix::objs::Kind, content: &[u8]) -> String {
    let id = gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, content).expect("no collision attack");
    id.to_string()
}

/// Sentences of plain words, no two the same.
struct Words(u64);

impl Words {
    const ALL: [&str; 32] = [
        "index", "store", "file", "folder", "commit", "branch", "chunk", "vector", "the", "a", "of", "and",
        "keeps", "reads", "writes", "finds", "moves", "every", "other", "changed", "whole", "small", "when",
        "after", "before", "without", "plan", "run", "ledger", "cache", "service", "answer",
    ];

    fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits")
    }

    fn sentence(&mut self, text: &mut String) {
        text.push_str("Here");
        for _ in 0..8 + self.next() % 8 {
            text.push(' ');
            text.push_str(Self::ALL[self.next() % Self::ALL.len()]);
        }
        text.push_str(". ");
    }
}
