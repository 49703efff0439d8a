//! The text of a record that full-text search indexes, for the stores that have it.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::model::Metadata;
use crate::rank::searchable;

/// The columns that are searched by words, for one record. Depends only on what a store keeps of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Searched<'a> {
    project: &'a str,
    repository: &'a str,
    path: &'a str,
    name: &'a str,
    context: &'a str,
    text: &'a str,
}

impl<'a> Searched<'a> {
    /// Of a record that is written.
    pub(super) fn of_written(metadata: &'a Metadata) -> Self {
        if let Some(foreign) = &metadata.foreign {
            return Self::of_stored(foreign, &metadata.text);
        }
        Self {
            project: &metadata.project,
            repository: &metadata.repository,
            path: &metadata.file_path,
            name: metadata.name.as_deref().unwrap_or_default(),
            context: metadata.context.as_deref().unwrap_or_default(),
            text: &metadata.text,
        }
    }

    /// Of a record that is stored.
    pub(super) fn of_stored(facts: &'a Map<String, Value>, text: &'a str) -> Self {
        let of = |key: &str| facts.get(key).and_then(Value::as_str).unwrap_or_default();
        Self {
            project: of("project"),
            repository: of("repository"),
            path: of("file_path"),
            name: of("name"),
            context: of("context"),
            text,
        }
    }

    /// What identifies the record's file in its namespace.
    pub(super) fn file(&self) -> [&'a str; 3] {
        [self.project, self.repository, self.path]
    }

    /// True if both have the same words.
    pub(super) fn has_words_of(&self, other: &Searched<'_>) -> bool {
        self.texts() == other.texts()
    }

    /// Everything that words are taken from.
    pub(super) fn texts(&self) -> [&str; 5] {
        [self.repository, self.path, self.name, self.context, self.text]
    }

    /// How much a word of each column counts in BM25.
    pub(super) const WEIGHTS: [u8; 4] = [3, 3, 2, 1];

    /// Path with the repository, name, context and body, in the form in which words are indexed.
    pub(super) fn columns(&self) -> [Cow<'a, str>; 4] {
        let path = format!("{} {}", searchable(self.repository), searchable(self.path));
        [Cow::Owned(path), searchable(self.name), searchable(self.context), searchable(self.text)]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Fingerprint, GitSha};

    #[test]
    fn a_record_has_the_same_words_before_and_after_it_is_stored() {
        let foreign = serde_json::json!({
            "project": "x", "repository": "r", "file_path": "a.md", "name": "n", "context": "c", "text": "t", "z": 1,
        });
        let foreign = foreign.as_object().expect("an object").clone();
        let own = Metadata {
            foreign: None,
            blob_sha: GitSha([0; 20]),
            recipe: Fingerprint::of(["r"]),
            name: Some("naïve".into()),
            context: Some("A > B".into()),
            ..Metadata::foreign(foreign.clone())
        };
        for metadata in [own, Metadata::foreign(foreign)].map(Arc::new) {
            let mut facts = Vec::new();
            metadata.write_json(&mut facts, |key, _| key != "text");
            let facts: Map<String, Value> = serde_json::from_slice(&facts).expect("JSON");
            assert_eq!(Searched::of_written(&metadata), Searched::of_stored(&facts, &metadata.text));
        }
    }
}
