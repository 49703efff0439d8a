//! The records of a vector store.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer as _};
use serde_json::{Map, Value};

use super::{AttrValue, Attrs, Fingerprint, GitSha};

/// An embedding, with as many components as the embedder has dimensions.
pub type Vector = Arc<[f32]>;

/// The location of vectors. Projects with an equal place share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The store's kind: `sqlite`, `pgvector`, `pinecone`.
    pub kind: String,
    /// Host, or the absolute path of an embedded store's file.
    pub host: String,
    /// The index; empty if the kind has no indexes.
    pub index: String,
    /// The namespace.
    pub namespace: String,
}

impl Place {
    /// True if every store accepts this namespace: 1 to 512 visible ASCII characters (Pinecone's
    /// rule), with single spaces only between them.
    pub fn is_namespace(text: &str) -> bool {
        (1..=512).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
            && !text.starts_with(' ')
            && !text.ends_with(' ')
    }
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
    /// The id in ASCII; see [`super::ChunkIds`].
    pub id: String,
    /// The embedding.
    pub vector: Vector,
    /// The metadata; shared, since several stages hold the record.
    pub metadata: Arc<Metadata>,
}

/// The metadata of a vector. The field names are a contract; see `docs/consumers.md`.
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata {
    /// The project's name.
    pub project: String,
    /// The repository's name.
    pub repository: String,
    /// The path from the repository's root.
    pub file_path: String,
    /// Position in the file, from 0 without gaps.
    pub chunk_index: u32,
    /// The chunk's text, as in the cleaned file.
    pub text: String,
    /// First line in the original file, 1-based.
    pub start_line: u32,
    /// Last line in the original file, 1-based, inclusive.
    pub end_line: u32,
    /// The language by file name; empty if unknown.
    pub language: String,
    /// The blob that the text was read from.
    pub blob_sha: GitSha,
    /// The fingerprint of the settings that produced the chunk.
    pub recipe: Fingerprint,
    /// The commit at which the record was written.
    pub commit_sha: GitSha,
    /// A permalink to the lines; empty if the source has none.
    pub url: String,
    /// Heading path or signature that was prepended to the text for the embedding.
    pub context: Option<String>,
    /// What the chunk is: `function`, `section`, `table`, …
    pub kind: Option<String>,
    /// The name of the symbol or section.
    pub name: Option<String>,
    /// Attributes from a component, without their `attr_` prefix.
    pub attrs: Attrs,
    /// The complete metadata of a record that RepoSync did not write. If set, only this is stored.
    pub foreign: Option<Map<String, Value>>,
}

impl Metadata {
    /// Metadata of a record that RepoSync did not write. It is stored unchanged; the fields that
    /// ours has too (text, path, context) are also read by name, so that search treats both alike.
    pub fn foreign(map: Map<String, Value>) -> Self {
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

    /// The fields that stores keep and queries return, in order and by their contractual names.
    /// Absent values are left out.
    pub fn fields(&self) -> Vec<(Cow<'_, str>, Field<'_>)> {
        if let Some(foreign) = &self.foreign {
            return foreign.iter().map(|(key, value)| (key.into(), Field::Json(value))).collect();
        }
        let text = |text| Field::Text(Cow::Borrowed(text));
        let own = [
            ("project", text(&self.project)),
            ("repository", text(&self.repository)),
            ("file_path", text(&self.file_path)),
            ("chunk_index", Field::Whole(self.chunk_index)),
            ("text", text(&self.text)),
            ("start_line", Field::Whole(self.start_line)),
            ("end_line", Field::Whole(self.end_line)),
            ("language", text(&self.language)),
            ("blob_sha", Field::Text(self.blob_sha.to_string().into())),
            ("recipe", text(self.recipe.as_str())),
            ("commit_sha", Field::Text(self.commit_sha.to_string().into())),
            ("url", text(&self.url)),
        ];
        let optional = [("context", &self.context), ("kind", &self.kind), ("name", &self.name)];
        let optional = optional.into_iter().filter_map(|(key, value)| Some((key, text(value.as_deref()?))));
        let attrs = self.attrs.iter().enumerate().filter_map(|(n, (key, _))| {
            // A repeated attribute keeps the position of its first occurrence and the value of its
            // last.
            let again = self.attrs[..n].iter().any(|(before, _)| before == key);
            let (_, last) = self.attrs.iter().rfind(|(name, _)| name == key)?;
            (!again).then(|| (format!("attr_{key}").into(), Field::Attr(last)))
        });
        own.into_iter().chain(optional).map(|(key, value)| (key.into(), value)).chain(attrs).collect()
    }

    /// The fields as a JSON object.
    pub fn to_json(&self) -> Map<String, Value> {
        let fields = self.fields().into_iter();
        fields.map(|(key, value)| (key.into_owned(), value.into_json())).collect()
    }

    /// Appends the fields that pass `keep` as a JSON object, without building it in memory.
    pub fn write_json(&self, out: &mut Vec<u8>, keep: impl Fn(&str, &Field<'_>) -> bool) {
        let kept = self.fields().into_iter().filter(|(key, value)| keep(key, value));
        let mut serializer = serde_json::Serializer::new(out);
        serializer.collect_map(kept).expect("plain data has a JSON form and memory takes it");
    }
}

/// The value of a field of [`Metadata`]. Serializes to the JSON that stores keep.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Field<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// An integer.
    Whole(u32),
    /// An attribute from a component.
    Attr(&'a AttrValue),
    /// A value of a foreign record.
    Json(&'a Value),
}

impl Field<'_> {
    /// The value as a number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Whole(number) => Some(f64::from(*number)),
            Self::Attr(AttrValue::Number(number)) => Some(*number).filter(|number| number.is_finite()),
            Self::Json(value) => value.as_f64(),
            Self::Text(_) | Self::Attr(_) => None,
        }
    }

    /// True if the value serializes to `null`: a number that is not finite, or a foreign `null`.
    pub fn is_null(&self) -> bool {
        match self {
            Self::Attr(AttrValue::Number(number)) => !number.is_finite(),
            Self::Json(value) => value.is_null(),
            Self::Text(_) | Self::Whole(_) | Self::Attr(_) => false,
        }
    }

    fn into_json(self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.into_owned()),
            Self::Whole(number) => number.into(),
            Self::Attr(AttrValue::Text(text)) => text.as_str().into(),
            Self::Attr(AttrValue::Number(number)) => (*number).into(),
            Self::Attr(AttrValue::Flag(flag)) => (*flag).into(),
            Self::Attr(AttrValue::Texts(texts)) => texts.clone().into(),
            Self::Json(value) => value.clone(),
        }
    }
}

/// A result of a query, or a record fetched by id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Match {
    /// The record's id.
    pub id: String,
    /// Higher is nearer. Comparable only within one query.
    pub score: f64,
    /// The stored metadata; foreign records may have any fields.
    pub metadata: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_attribute_given_twice_is_kept_once() {
        let mut metadata = Metadata::foreign(Map::new());
        metadata.foreign = None;
        let attr = |key: &str, n| (key.to_owned(), AttrValue::Number(n));
        metadata.attrs = vec![attr("a", 1.0), attr("b", 2.0), attr("a", 3.0)];
        let mut written = Vec::new();
        metadata.write_json(&mut written, |key, _| key.starts_with("attr_"));
        assert_eq!(String::from_utf8(written).expect("text"), r#"{"attr_a":3.0,"attr_b":2.0}"#);
        assert_eq!(metadata.to_json()["attr_a"], json!(3.0));
    }
}
