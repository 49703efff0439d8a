//! Settings of the chunker stages.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::{ByteSize, HumanDuration};

/// `kind = "sentence"`: overlapping windows that end after blank lines, lines and sentences.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SentenceSettings {
    /// Globs of the files this stage takes. Default: all files.
    #[serde(rename = "match")]
    pub patterns: Option<Vec<String>>,
    /// Maximum size of a chunk in characters.
    pub max_chunk_size: usize,
    /// Maximum overlap of neighbouring chunks in characters; less than `max_chunk_size`.
    pub chunk_overlap: usize,
    /// Maximum size of a chunk in tokens; replaces `max_chunk_size`.
    pub max_tokens: Option<usize>,
    /// Maximum overlap of neighbouring chunks in tokens; less than `max_tokens`. Default: a fifth
    /// of `max_tokens`.
    pub overlap_tokens: Option<usize>,
    /// Collapse runs of spaces and tabs into one space, and runs of empty lines into one.
    pub normalize_whitespace: bool,
}

impl SentenceSettings {
    /// Maximum overlap of neighbouring chunks, in the unit of the size.
    pub fn overlap(&self) -> usize {
        match self.max_tokens {
            // The default overlap in characters is a fifth as well.
            Some(max) => self.overlap_tokens.unwrap_or(max / 5),
            None => self.chunk_overlap,
        }
    }
}

impl Default for SentenceSettings {
    fn default() -> Self {
        Self {
            patterns: None,
            max_chunk_size: 1000,
            chunk_overlap: 200,
            max_tokens: None,
            overlap_tokens: None,
            normalize_whitespace: true,
        }
    }
}

/// `kind = "markdown"`: sections; code fences, tables and lists are kept whole if they fit.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MarkdownSettings {
    /// Globs of the files this stage takes. Default: Markdown files.
    #[serde(rename = "match")]
    pub patterns: Option<Vec<String>>,
    /// Maximum size of a chunk in characters.
    pub max_chunk_size: usize,
    /// Maximum size of a chunk in tokens; replaces `max_chunk_size`.
    pub max_tokens: Option<usize>,
}

impl Default for MarkdownSettings {
    fn default() -> Self {
        Self { patterns: None, max_chunk_size: 1500, max_tokens: None }
    }
}

/// `kind = "code"`: chunks along the syntax, named after their symbols; along lines without a
/// grammar.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CodeSettings {
    /// Globs of the files this stage takes. Default: all files of code, configuration or data, by
    /// file name, and scripts by their first line (`#!/bin/sh`).
    #[serde(rename = "match")]
    pub patterns: Option<Vec<String>>,
    /// Maximum size of a chunk in characters.
    pub max_chunk_size: usize,
    /// Maximum size of a chunk in tokens; replaces `max_chunk_size`.
    pub max_tokens: Option<usize>,
}

impl Default for CodeSettings {
    fn default() -> Self {
        Self { patterns: None, max_chunk_size: 1500, max_tokens: None }
    }
}

/// What to do with a file that a component cannot chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// Pass the file to the next matching chunker of the pipeline.
    Next,
    /// Count the file as failed.
    Fail,
}

impl OnError {
    /// The value in `reposync.toml`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Fail => "fail",
        }
    }
}

/// `kind = "wasm"`: a chunker component.
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WasmSettings {
    /// Path of the component, relative to `reposync.toml`.
    pub component: PathBuf,
    /// Expected SHA-256 of the component in hex; any other component is refused.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Globs of the files this stage takes. Default: the extensions that the component declares.
    #[serde(rename = "match", default)]
    pub patterns: Option<Vec<String>>,
    /// Configuration of the component, passed to it as JSON.
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
    /// What to do with a file that the component cannot chunk: `next` passes it to the next chunker
    /// of the pipeline, `fail` counts it as failed. Default: `next` for a document that the
    /// component rejects as malformed, `fail` for everything else.
    #[serde(default)]
    pub on_error: Option<OnError>,
    /// `config` for display: references are shown as written in the file, not resolved.
    #[serde(skip)]
    pub shown_config: serde_json::Map<String, serde_json::Value>,
    /// Maximum linear memory.
    #[serde(default = "default_memory")]
    pub memory: ByteSize,
    /// Maximum wall time per document, plus 10 s per MiB of the document.
    #[serde(default = "default_deadline")]
    pub deadline: HumanDuration,
    /// Maximum number of bytes that a component may return for a document.
    #[serde(default = "default_output")]
    pub output: ByteSize,
}

impl WasmSettings {
    /// `config` for display. Settings that were not read from a file have only one form.
    pub fn shown_config(&self) -> &serde_json::Map<String, serde_json::Value> {
        if self.shown_config.is_empty() { &self.config } else { &self.shown_config }
    }

    /// Default settings for a component.
    pub fn of(component: &std::path::Path) -> Self {
        Self {
            component: component.to_owned(),
            sha256: None,
            patterns: None,
            config: serde_json::Map::new(),
            on_error: None,
            shown_config: serde_json::Map::new(),
            memory: default_memory(),
            deadline: default_deadline(),
            output: default_output(),
        }
    }
}

/// Shows references in `config` unresolved, because the values may be secrets.
impl fmt::Debug for WasmSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            component,
            sha256,
            patterns,
            config: _,
            shown_config: _,
            on_error,
            memory,
            deadline,
            output,
        } = self;
        f.debug_struct("WasmSettings")
            .field("component", component)
            .field("sha256", sha256)
            .field("patterns", patterns)
            .field("config", self.shown_config())
            .field("on_error", on_error)
            .field("memory", memory)
            .field("deadline", deadline)
            .field("output", output)
            .finish()
    }
}

fn default_memory() -> ByteSize {
    ByteSize::mib(256)
}

fn default_deadline() -> HumanDuration {
    HumanDuration(Duration::from_secs(2))
}

fn default_output() -> ByteSize {
    ByteSize::mib(32)
}
