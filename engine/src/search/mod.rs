//! Searching what is indexed: the one implementation behind `reposync query` and `POST /query`.

mod answer;
mod file;
mod group;
mod neighbours;
mod parse;
mod request;
mod run;

pub use crate::rank::{Mode, Snippet, SnippetLine};
pub use crate::store::{Facet, Selection};
pub use answer::{Answer, Found, More, Neighbour};
pub use file::{FileText, file_chunks};
pub use request::Request;
pub use run::search;
