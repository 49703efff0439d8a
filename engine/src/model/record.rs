//! What a vector store holds.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{AttrValue, Attrs, Fingerprint, GitSha};

/// An embedding: f32 components, as many as the embedder's dimensions.
pub type Vector = Arc<[f32]>;

/// Where vectors live. Two projects with the same place share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The store's kind: `sqlite`, `pinecone`.
    pub kind: String,
    /// Host, or the absolute path of an embedded store's file.
    pub host: String,
    /// The index; empty where the kind has none.
    pub index: String,
    /// The namespace.
    pub namespace: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.host)?;
        if !self.index.is_empty() {
            write!(f, "/{}", self.index)?;
        }
        write!(f, "#{}", self.namespace)
    }
}

/// One vector with its metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// ASCII; see [`super::chunk_id`].
    pub id: String,
    /// The embedding.
    pub vector: Vector,
    /// What is known about it; shared, since a record passes several hands.
    pub metadata: Arc<Metadata>,
}

/// The metadata on every vector. The names are a contract; see `docs/config.md`.
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata {
    /// The project's name.
    pub project: String,
    /// The repository's name.
    pub repository: String,
    /// The path from the repository's root.
    pub file_path: String,
    /// 0..n-1 in the file, without holes.
    pub chunk_index: u32,
    /// The body, as it stands in the cleaned text.
    pub text: String,
    /// First line in the original file, 1-based.
    pub start_line: u32,
    /// Last line in the original file, 1-based, inclusive.
    pub end_line: u32,
    /// Language by file name; empty where unknown.
    pub language: String,
    /// The blob the text was read from.
    pub blob_sha: GitSha,
    /// The recipe that made it.
    pub recipe: Fingerprint,
    /// The commit at which the record was written.
    pub commit_sha: GitSha,
    /// A permalink with lines; empty where the source has none.
    pub url: String,
    /// Heading path or signature that went in front of the text for the embedding.
    pub context: Option<String>,
    /// What the chunk is.
    pub kind: Option<String>,
    /// The symbol's or section's name.
    pub name: Option<String>,
    /// A component's own attributes, here without their `attr_` prefix.
    pub attrs: Attrs,
    /// The metadata of a record that is not RepoSync's own, as it came; nothing else is stored then.
    pub foreign: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Metadata {
    /// Somebody else's metadata, stored as it is. What it has in common with ours (text, path,
    /// context) is known by name, so that it can be searched alike.
    pub fn foreign(map: serde_json::Map<String, serde_json::Value>) -> Self {
        let text = |key: &str| map.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        Self {
            project: text("project"),
            repository: text("repository"),
            file_path: text("file_path"),
            chunk_index: 0,
            text: text("text"),
            start_line: 0,
            end_line: 0,
            language: text("language"),
            blob_sha: GitSha([0; 20]),
            recipe: Fingerprint::of([""]),
            commit_sha: GitSha([0; 20]),
            url: text("url"),
            context: map.get("context").and_then(|value| value.as_str()).map(str::to_owned),
            kind: None,
            name: None,
            attrs: Vec::new(),
            foreign: Some(map),
        }
    }

    /// The flat JSON object that stores keep and queries return. Absent values have no key.
    pub fn to_json(&self) -> serde_json::Map<String, serde_json::Value> {
        if let Some(foreign) = &self.foreign {
            return foreign.clone();
        }
        let mut map = serde_json::Map::new();
        map.insert("project".into(), self.project.as_str().into());
        map.insert("repository".into(), self.repository.as_str().into());
        map.insert("file_path".into(), self.file_path.as_str().into());
        map.insert("chunk_index".into(), self.chunk_index.into());
        map.insert("text".into(), self.text.as_str().into());
        map.insert("start_line".into(), self.start_line.into());
        map.insert("end_line".into(), self.end_line.into());
        map.insert("language".into(), self.language.as_str().into());
        map.insert("blob_sha".into(), self.blob_sha.to_string().into());
        map.insert("recipe".into(), self.recipe.as_str().into());
        map.insert("commit_sha".into(), self.commit_sha.to_string().into());
        map.insert("url".into(), self.url.as_str().into());
        for (key, value) in [("context", &self.context), ("kind", &self.kind), ("name", &self.name)] {
            if let Some(value) = value {
                map.insert(key.into(), value.as_str().into());
            }
        }
        for (key, value) in &self.attrs {
            let value = match value {
                AttrValue::Text(text) => text.as_str().into(),
                AttrValue::Number(number) => (*number).into(),
                AttrValue::Flag(flag) => (*flag).into(),
                AttrValue::Texts(texts) => texts.clone().into(),
            };
            map.insert(format!("attr_{key}"), value);
        }
        map
    }
}

/// One answer to a query, or one record fetched back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Match {
    /// The record's id.
    pub id: String,
    /// Higher is nearer. Comparable within one answer only.
    pub score: f64,
    /// The stored metadata; foreign records may hold anything.
    pub metadata: serde_json::Map<String, serde_json::Value>,
}
