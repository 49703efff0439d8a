//! Ranking of search candidates. Pure: candidates with their cosine and BM25 in, scores out. Every
//! store uses the same code, so that a query ranks alike whatever holds the vectors.

mod candidate;
mod definitions;
mod identifiers;
mod names;
mod penalty;
mod per_file;
mod phrases;
mod score;
mod similar;
mod snippet;
mod stop_words;
mod text;
mod tokens;
mod words;

pub use candidate::{Candidate, Candidates, Scale, Span};
pub use identifiers::{is_identifier, last_part};
pub use penalty::{Penalties, is_source_path};
pub use per_file::{PerFile, limit_per_file};
pub use score::{Mode, Ranked, Terms, Weights, rank};
pub use similar::FILE_CHUNKS;
pub(crate) use similar::file_cosine;
pub use snippet::{Snippet, SnippetLine, snippet};
pub use stop_words::asks_for_tests;
pub use text::searchable;
pub use tokens::Tokens;
pub use words::{Word, Words};
