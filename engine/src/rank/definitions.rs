//! Term by definition: the chunk defines an identifier that the query names.

use super::candidate::Candidate;
use super::identifiers::last_part;
use super::words::Words;

/// Kinds of chunks that define a name.
const KINDS: &[&str] = &["function", "method", "class", "struct", "interface", "type", "enum", "trait"];

/// True if the chunk is a definition whose name ends in an identifier of the query.
pub(super) fn defines(words: &Words, candidate: &Candidate) -> bool {
    if words.identifiers().is_empty() || !KINDS.contains(&candidate.text("kind")) {
        return false;
    }
    let name = last_part(candidate.text("name"));
    words.identifiers().iter().any(|identifier| identifier == name)
}
