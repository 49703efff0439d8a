//! Helpers for tests: they run the chunker natively and check the contract.

use crate::{Chunk, ChunkError, Chunker, Content, Diagnostic, Document, configure};

/// Configures a chunker with JSON, as the host does.
pub fn configured<C: Chunker>(config_json: &str) -> Result<C, Vec<Diagnostic>> {
    configure::configure(config_json)
}

/// Configures a chunker and splits one document.
pub fn try_chunk<C: Chunker>(config_json: &str, document: &Document) -> Result<Vec<Chunk>, ChunkError> {
    configured::<C>(config_json).map_err(ChunkError::BadDocument)?.split(document)
}

/// Configures a chunker and splits one document, for tests that expect both to succeed.
///
/// # Panics If the configuration is refused or `split` returns an error.
pub fn chunk<C: Chunker>(config_json: &str, document: &Document) -> Vec<Chunk> {
    match try_chunk::<C>(config_json, document) {
        Ok(chunks) => chunks,
        Err(error) => panic!("{} did not split {}: {error:?}", C::INFO.name, document.path),
    }
}

/// The chunks' texts.
///
/// # Panics
/// If a range is not valid for the document.
pub fn texts<'a>(document: &'a Document, chunks: &'a [Chunk]) -> Vec<&'a str> {
    chunks
        .iter()
        .enumerate()
        .map(|(n, chunk)| chunk.text(document).unwrap_or_else(|| panic!("{}", bad_range(n, chunk))))
        .collect()
}

/// Violations of the contract: ranges outside the text, not at character boundaries or empty,
/// starts or ends that decrease, numbers that are not finite. Empty if there are none.
pub fn breaches(document: &Document, chunks: &[Chunk]) -> Vec<String> {
    let mut found = Vec::new();
    let (mut start, mut end) = (0, 0);
    for (n, chunk) in chunks.iter().enumerate() {
        match &chunk.content {
            Content::Slice(range) if document.text.get(range.clone()).is_none_or(str::is_empty) => {
                found.push(bad_range(n, chunk));
            }
            Content::Slice(range) => {
                if range.start < start || range.end < end {
                    found.push(format!("chunk {n} ({range:?}) starts or ends before the previous chunk"));
                }
                (start, end) = (range.start, range.end);
            }
            Content::Generated(text) if text.is_empty() => {
                found.push(format!("chunk {n} is a generated text without a character"));
            }
            Content::Generated(_) => {}
        }
        for (name, value) in &chunk.attrs {
            if matches!(value, crate::AttrValue::Number(number) if !number.is_finite()) {
                found.push(format!("chunk {n}: the number `{name}` is not finite"));
            }
        }
    }
    found
}

/// The parts of the text, other than white space, that no slice covers.
pub fn gaps<'a>(document: &'a Document, chunks: &[Chunk]) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut end = 0;
    for chunk in chunks {
        if let Content::Slice(range) = &chunk.content {
            found.extend(document.text.get(end..range.start));
            end = end.max(range.end);
        }
    }
    found.extend(document.text.get(end..));
    found.retain(|gap| !gap.trim().is_empty());
    found
}

/// Asserts that the chunks satisfy the contract.
///
/// # Panics
/// If there is a violation; the message lists all of them.
pub fn assert_contract(document: &Document, chunks: &[Chunk]) {
    let found = breaches(document, chunks);
    assert!(found.is_empty(), "{}: {}", document.path, found.join("; "));
}

/// Asserts that the chunks cover all text except white space.
///
/// # Panics
/// If some text is in no chunk.
pub fn assert_covers(document: &Document, chunks: &[Chunk]) {
    let found = gaps(document, chunks);
    assert!(found.is_empty(), "{}: in no chunk: {found:?}", document.path);
}

/// The JSON Schema that the component declares for its configuration.
pub fn config_schema<C: Chunker>() -> String {
    configure::schema::<C>()
}

fn bad_range(n: usize, chunk: &Chunk) -> String {
    format!("chunk {n} ({:?}) is not a range of the text", chunk.content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_violation_is_named() {
        let document = Document::new("a.txt", "häuser\n\nund mehr");
        let breaches_of = |ranges: &[(usize, usize)]| {
            let chunks: Vec<_> = ranges.iter().map(|&(a, b)| Chunk::slice(a..b)).collect();
            breaches(&document, &chunks)
        };
        assert!(breaches_of(&[(0, 7), (7, 9), (8, 17)]).is_empty());
        assert_eq!(breaches_of(&[(0, 2)]), ["chunk 0 (Slice(0..2)) is not a range of the text"]);
        assert_eq!(breaches_of(&[(3, 3)]), ["chunk 0 (Slice(3..3)) is not a range of the text"]);
        assert_eq!(breaches_of(&[(9, 99)]), ["chunk 0 (Slice(9..99)) is not a range of the text"]);
        assert_eq!(
            breaches_of(&[(3, 9), (0, 9)]),
            ["chunk 1 (0..9) starts or ends before the previous chunk"]
        );
        let endless = Chunk::generated("x").with_attr("size", f64::INFINITY);
        assert_eq!(breaches(&document, &[endless]), ["chunk 0: the number `size` is not finite"]);
    }

    #[test]
    fn gaps_are_text_not_white_space() {
        let document = Document::new("a.txt", "one\n\ntwo\nthree");
        let chunks = [Chunk::slice(0..3), Chunk::slice(5..9)];
        assert_eq!(gaps(&document, &chunks), ["three"]);
        assert!(gaps(&document, &[Chunk::slice(0..14)]).is_empty());
    }
}
