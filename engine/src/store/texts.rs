//! Texts of files, as their chunks hold them.

use std::ops::ControlFlow;

use serde::Deserialize;
use serde_json::{Map, Value};

/// The chunks of one file, in order.
#[derive(Debug, Clone, Default)]
pub struct FileTexts {
    /// The project.
    pub project: String,
    /// The repository.
    pub repository: String,
    /// The path.
    pub path: String,
    /// The chunks.
    pub chunks: Vec<TextChunk>,
}

/// The text of a chunk and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct TextChunk {
    /// Position among the chunks of the file.
    #[serde(rename = "chunk_index")]
    pub index: u64,
    /// First line in the file.
    pub start_line: u64,
    /// Last line in the file.
    pub end_line: u64,
    /// The commit at which the record was written.
    #[serde(rename = "commit_sha")]
    pub commit: String,
    /// A permalink with lines; empty if there is none.
    pub url: String,
    /// The language of the file.
    pub language: String,
    /// The cleaned text.
    pub text: String,
}

/// Gets each file; ends the reading by breaking.
pub type TextVisitor = Box<dyn FnMut(FileTexts) -> ControlFlow<()> + Send>;

impl TextChunk {
    /// A chunk from the metadata of a record. Remote stores return numbers as floats.
    pub fn of(metadata: &Map<String, Value>) -> Self {
        let text = |key: &str| metadata.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |key: &str| {
            let value = metadata.get(key);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a line; saturates")]
            let float = |value: &Value| value.as_f64().map(|line| line as u64);
            value.and_then(|value| value.as_u64().or_else(|| float(value))).unwrap_or_default()
        };
        Self {
            index: number("chunk_index"),
            start_line: number("start_line"),
            end_line: number("end_line"),
            commit: text("commit_sha"),
            url: text("url"),
            language: text("language"),
            text: text("text"),
        }
    }
}
