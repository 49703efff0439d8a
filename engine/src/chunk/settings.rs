//! What the chunker stages can be told.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::{ByteSize, HumanDuration};

/// `kind = "sentence"`: windows that end after blank lines, lines and sentences, and overlap.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SentenceSettings {
    /// Which files; left out: everything.
    #[serde(rename = "match")]
    pub patterns: Option<Vec<String>>,
    /// Characters at most in a chunk.
    pub max_chunk_size: usize,
    /// Characters that neighbouring chunks share at most; less than `max_chunk_size`.
    pub chunk_overlap: usize,
    /// Tokens at most in a chunk; replaces `max_chunk_size`.
    pub max_tokens: Option<usize>,
    /// Tokens that neighbouring chunks share at most; less than `max_tokens`. Left out: a fifth of it.
    pub overlap_tokens: Option<usize>,
    /// Fold runs of blanks and of empty lines, as the original did.
    pub normalize_whitespace: bool,
}

impl SentenceSettings {
    /// What neighbours share, in the unit of the size.
    pub fn overlap(&self) -> usize {
        match self.max_tokens {
            // The character defaults say nothing about tokens; the share stays the same.
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

/// `kind = "markdown"`: headings, fences, tables and lists kept whole where they fit.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MarkdownSettings {
    /// Which files; left out: Markdown files.
    #[serde(rename = "match")]
    pub patterns: Option<Vec<String>>,
    /// Characters at most in a chunk.
    pub max_chunk_size: usize,
    /// Tokens at most in a chunk; replaces `max_chunk_size`.
    pub max_tokens: Option<usize>,
}

impl Default for MarkdownSettings {
    fn default() -> Self {
        Self { patterns: None, max_chunk_size: 1500, max_tokens: None }
    }
}

/// `kind = "code"`: chunks along the syntax, with symbol names; along lines where there is no grammar.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CodeSettings {
    /// Which files; left out: every language of code, configuration or data, by file name, and
    /// scripts by their first line (`#!/bin/sh`).
    #[serde(rename = "match")]
    pub patterns: Option<Vec<String>>,
    /// Characters at most in a chunk.
    pub max_chunk_size: usize,
    /// Tokens at most in a chunk; replaces `max_chunk_size`.
    pub max_tokens: Option<usize>,
}

impl Default for CodeSettings {
    fn default() -> Self {
        Self { patterns: None, max_chunk_size: 1500, max_tokens: None }
    }
}

/// What becomes of a file that a component cannot chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The next chunker of the pipeline that matches takes it.
    Next,
    /// It is a failed file.
    Fail,
}

impl OnError {
    /// The word for it in the file.
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
    /// The component's file, relative to `reposync.toml`.
    pub component: PathBuf,
    /// Pins the component: its SHA-256 in hex.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Which files; left out: the extensions that the component declares.
    #[serde(rename = "match", default)]
    pub patterns: Option<Vec<String>>,
    /// Handed to the component as JSON.
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
    /// What becomes of a file that the component cannot chunk: `next` leaves it to the next chunker of
    /// the pipeline, `fail` counts it as failed. Left out: `next` for a document that the component
    /// calls bad, `fail` for everything else.
    #[serde(default)]
    pub on_error: Option<OnError>,
    /// `config` for people: with references as they stand in the file, not with what they stand for.
    #[serde(skip)]
    pub shown_config: serde_json::Map<String, serde_json::Value>,
    /// Linear memory at most.
    #[serde(default = "default_memory")]
    pub memory: ByteSize,
    /// Wall time for a document; 10 s per MiB of document come on top.
    #[serde(default = "default_deadline")]
    pub deadline: HumanDuration,
    /// Bytes that a component may hand back for a document.
    #[serde(default = "default_output")]
    pub output: ByteSize,
}

impl WasmSettings {
    /// `config` for people; settings that come from no file have only one.
    pub fn shown_config(&self) -> &serde_json::Map<String, serde_json::Value> {
        if self.shown_config.is_empty() { &self.config } else { &self.shown_config }
    }

    /// The settings of a stage that names a component and says no more.
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

/// Shows references in `config`, not what they stand for: that may be a secret.
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
