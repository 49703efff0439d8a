//! SDK for RepoSync chunker components: one trait, [`Chunker`], and one macro,
//! [`export_chunker!`].
//!
//! A chunker is a pure function from a document to ranges of it. It is written and tested natively
//! like any other Rust code; only `reposync plugin build` compiles it to a WebAssembly component.
//! The bindings to the component model are private to this crate.
//!
//! # A complete component
//!
//! ```
//! use reposync_plugin_sdk::{
//!     Chunk, ChunkError, Chunker, Diagnostic, Document, Info, export_chunker, schemars, serde,
//! };
//!
//! /// The type of `config` in `reposync.toml`.
//! #[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
//! #[serde(crate = "reposync_plugin_sdk::serde", default, deny_unknown_fields)]
//! #[schemars(crate = "reposync_plugin_sdk::schemars")]
//! struct Config {
//!     /// The line that separates two chunks.
//!     separator: String,
//! }
//!
//! impl Default for Config {
//!     fn default() -> Self {
//!         Self { separator: "---".into() }
//!     }
//! }
//!
//! struct Sections {
//!     separator: String,
//! }
//!
//! impl Chunker for Sections {
//!     const INFO: Info = Info {
//!         name: "sections",
//!         version: "0.1.0",
//!         summary: "Splits a text at separator lines.",
//!         extensions: &[".txt"],
//!     };
//!
//!     type Config = Config;
//!
//!     fn configure(config: Config) -> Result<Self, Vec<Diagnostic>> {
//!         if config.separator.is_empty() {
//!             return Err(vec![
//!                 Diagnostic::error("empty-separator", "write the line that separates two chunks")
//!                     .in_config("/separator"),
//!             ]);
//!         }
//!         Ok(Self { separator: config.separator })
//!     }
//!
//!     fn split(&self, document: &Document) -> Result<Vec<Chunk>, ChunkError> {
//!         let mut chunks = Vec::new();
//!         let (mut start, mut end) = (0, 0);
//!         for line in document.text.split_inclusive('\n') {
//!             end += line.len();
//!             if line.trim_end() == self.separator {
//!                 chunks.push(Chunk::slice(start..end).with_kind("section"));
//!                 start = end;
//!             }
//!         }
//!         if start < end {
//!             chunks.push(Chunk::slice(start..end).with_kind("section"));
//!         }
//!         Ok(chunks)
//!     }
//! }
//!
//! export_chunker!(Sections);
//!
//! // A native test: needs no WebAssembly toolchain.
//! use reposync_plugin_sdk::testing;
//! let document = Document::new("notes.txt", "one\n---\ntwo\n");
//! let chunks = testing::chunk::<Sections>(r#"{ "separator": "---" }"#, &document);
//! assert_eq!(testing::texts(&document, &chunks), ["one\n---\n", "two\n"]);
//! testing::assert_contract(&document, &chunks);
//! testing::assert_covers(&document, &chunks);
//! ```
//!
//! # The rules
//!
//! - Offsets are bytes of [`Document::text`], at character boundaries; a range is not empty.
//! - Starts and ends never decrease from one chunk to the next; overlap is allowed.
//! - The result depends only on document and configuration, never on earlier documents.
//! - Never panic, whatever the document contains: a panic fails the file. RepoSync reports its
//!   message and location, with a command that replays the document.
//! - Return [`ChunkError::NotMine`] for a file that another chunker should handle.

mod chunker;
mod configure;
mod diagnostic;
mod document;
mod export;
mod host;
mod log;
pub mod testing;

pub use chunker::{ChunkError, Chunker, Info, NoConfig};
pub use diagnostic::{Diagnostic, Severity};
pub use document::{AttrValue, Attrs, Chunk, Content, Document};
pub use host::{count_tokens, max_tokens};
pub use log::{Level, log};

pub use schemars;
pub use serde;

#[doc(hidden)]
#[cfg(target_family = "wasm")]
pub use export::{__private, bindings};
