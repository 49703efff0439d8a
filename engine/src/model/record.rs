//! What a vector store holds.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer as _};
use serde_json::{Map, Value};

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

impl Place {
    /// True for the name of a namespace that every store takes: 1 to 512 visible ASCII characters
    /// (Pinecone's rule), with single blanks only between them.
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
    pub foreign: Option<Map<String, Value>>,
}

impl Metadata {
    /// Somebody else's metadata, stored as it is. What it has in common with ours (text, path,
    /// context) is known by name, so that it can be searched alike.
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

    /// The fields that stores keep and queries return, in their order, with the names that are a
    /// contract. Absent values have no field.
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
        let told = [("context", &self.context), ("kind", &self.kind), ("name", &self.name)];
        let told = told.into_iter().filter_map(|(key, value)| Some((key, text(value.as_deref()?))));
        let attrs = self.attrs.iter().enumerate().filter_map(|(n, (key, _))| {
            // A name that was given again stands where it was given first, with its last value.
            let again = self.attrs[..n].iter().any(|(before, _)| before == key);
            let (_, last) = self.attrs.iter().rfind(|(name, _)| name == key)?;
            (!again).then(|| (format!("attr_{key}").into(), Field::Attr(last)))
        });
        own.into_iter().chain(told).map(|(key, value)| (key.into(), value)).chain(attrs).collect()
    }

    /// The fields as a JSON object.
    pub fn to_json(&self) -> Map<String, Value> {
        let fields = self.fields().into_iter();
        fields.map(|(key, value)| (key.into_owned(), value.into_json())).collect()
    }

    /// Appends the JSON object of the fields that are to be kept, without building it.
    pub fn write_json(&self, out: &mut Vec<u8>, keep: impl Fn(&str, &Field<'_>) -> bool) {
        let kept = self.fields().into_iter().filter(|(key, value)| keep(key, value));
        let mut serializer = serde_json::Serializer::new(out);
        serializer.collect_map(kept).expect("plain data has a JSON form and memory takes it");
    }
}

/// The value of a field of [`Metadata`]; serialised it is the JSON that stores keep.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Field<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A number of ours.
    Whole(u32),
    /// What a component told.
    Attr(&'a AttrValue),
    /// What somebody else wrote.
    Json(&'a Value),
}

impl Field<'_> {
    /// The number that it is, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Whole(number) => Some(f64::from(*number)),
            Self::Attr(AttrValue::Number(number)) => Some(*number).filter(|number| number.is_finite()),
            Self::Json(value) => value.as_f64(),
            Self::Text(_) | Self::Attr(_) => None,
        }
    }

    /// True for what JSON has no other word for: a number that is none, somebody else's null.
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

/// One answer to a query, or one record fetched back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Match {
    /// The record's id.
    pub id: String,
    /// Higher is nearer. Comparable within one answer only.
    pub score: f64,
    /// The stored metadata; foreign records may hold anything.
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
