//! Encoded data inside a text: base64 images, digests, percent-encoded documents. It is not
//! embedded and does not count towards the size of a chunk, but the stored `text` of a record keeps
//! it.

use std::borrow::Cow;
use std::ops::Range;

use super::{ChunkError, Chunker};
use crate::model::{Body, Chunk, Cleaned, Document};

/// Longer runs without white space count as encoded data. Words, paths and identifiers are shorter;
/// scripts written without spaces use characters outside [`ALPHABET`].
const LONGEST_WORD: usize = 200;

/// Bytes of each run that a built-in chunker sees. Long enough that a rule or underline (`====`)
/// stays one, and that `----` does not turn into a front matter fence.
const STAND_IN: usize = 4;

/// The alphabets of base64, base64url, hexadecimal, percent-encoding and quoted-printable.
const ALPHABET: [bool; 256] = {
    let mut alphabet = [false; 256];
    let mut byte = 0_u8;
    loop {
        alphabet[byte as usize] = matches!(
            byte,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'=' | b'_' | b'%' | b'.' | b'-'
        );
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    alphabet
};

/// The runs of encoded data in a text, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoded {
    runs: Vec<Range<usize>>,
}

impl Encoded {
    /// Finds the runs. Inspects few bytes: only positions where a long run may end.
    pub fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut runs = Vec::new();
        let mut at = 0;
        while at + LONGEST_WORD < bytes.len() {
            let window = &bytes[at..=at + LONGEST_WORD];
            if let Some(last) = window.iter().rposition(|&byte| !ALPHABET[usize::from(byte)]) {
                at += last + 1;
                continue;
            }
            let rest = &bytes[at + LONGEST_WORD..];
            let len = rest.iter().position(|&byte| !ALPHABET[usize::from(byte)]).unwrap_or(rest.len());
            let end = at + LONGEST_WORD + len;
            runs.push(at..end);
            at = end;
        }
        Self { runs }
    }

    /// True for a text without encoded data.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The original line numbers (1-based) that hold encoded data, without duplicates.
    pub fn lines(&self, cleaned: &Cleaned) -> Vec<u32> {
        let (mut newlines, mut from) = (0, 0);
        let mut lines: Vec<u32> = Vec::new();
        for run in &self.runs {
            newlines += memchr::memchr_iter(b'\n', &cleaned.text.as_bytes()[from..run.start]).count();
            from = run.start;
            lines.push(cleaned.lines.original(newlines));
        }
        lines.dedup();
        lines
    }

    /// A range of the text without its encoded data: the part that is embedded.
    pub fn outside<'a>(&self, text: &'a str, range: Range<usize>) -> Cow<'a, str> {
        let first = self.runs.partition_point(|run| run.end <= range.start);
        let within = self.runs[first..].iter().take_while(|run| run.start < range.end);
        let mut kept: Option<String> = None;
        let mut from = range.start;
        for run in within {
            let kept = kept.get_or_insert_with(String::new);
            kept.push_str(&text[from..run.start.max(from)]);
            from = run.end.min(range.end);
        }
        match kept {
            None => Cow::Borrowed(&text[range]),
            Some(mut kept) => {
                kept.push_str(&text[from..range.end]);
                Cow::Owned(kept)
            }
        }
    }
}

/// A text without its encoded data.
pub fn without(text: &str) -> Cow<'_, str> {
    Encoded::of(text).outside(text, 0..text.len())
}

/// Cuts one document. A built-in chunker sees the text with encoded data abridged, and its ranges
/// are mapped back; a component sees the original text.
pub fn chunk(
    chunker: &dyn Chunker,
    document: &Document<'_>,
    encoded: &Encoded,
) -> Result<Vec<Chunk>, ChunkError> {
    if encoded.is_empty() || chunker.reads_encoded() {
        return chunker.chunk(document);
    }
    let shown = Shown::new(document.text, encoded);
    let mut chunks = chunker.chunk(&Document { text: &shown.text, ..*document })?;
    for chunk in &mut chunks {
        if let Body::Slice(range) = &mut chunk.body {
            *range = shown.original(range.start)..shown.original(range.end);
        }
    }
    Ok(chunks)
}

/// A text with abridged encoded data, and the mapping back to the original.
struct Shown<'a> {
    text: String,
    /// Offset of each abridged run in `text`.
    at: Vec<usize>,
    encoded: &'a Encoded,
}

impl<'a> Shown<'a> {
    fn new(text: &str, encoded: &'a Encoded) -> Self {
        let (mut shown, mut at, mut from) = (String::with_capacity(text.len() / 2), Vec::new(), 0);
        for run in &encoded.runs {
            shown.push_str(&text[from..run.start]);
            at.push(shown.len());
            shown.push_str(&text[run.start..run.start + STAND_IN]);
            from = run.end;
        }
        shown.push_str(&text[from..]);
        Self { text: shown, at, encoded }
    }

    /// Maps an offset to the original text. A cut inside an abridged run becomes a cut inside the
    /// run.
    fn original(&self, place: usize) -> usize {
        let Some(nearest) = self.at.partition_point(|&at| at <= place).checked_sub(1) else { return place };
        let run = &self.encoded.runs[nearest];
        let beyond = place - self.at[nearest];
        if beyond < STAND_IN { run.start + beyond } else { run.end + (beyond - STAND_IN) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::sentence::{SentenceChunker, SentenceSettings};

    fn found(text: &str) -> Vec<Range<usize>> {
        Encoded::of(text).runs
    }

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "a single range is intended")]
    fn only_long_runs_of_the_alphabets_count() {
        let long = "aB3+/=_%.-".repeat(21);
        for (text, expected) in [
            (String::new(), vec![]),
            ("a".repeat(200), vec![]),
            ("a".repeat(201), vec![0..201]),
            (format!("x {long}"), vec![2..212]),
            (format!("\"{long}\", {long}\n"), vec![1..211, 214..424]),
            (format!("{} {}", "a".repeat(150), "b".repeat(150)), vec![]),
            (format!("{},{}", "a".repeat(200), "b".repeat(200)), vec![]),
            (format!("{long}\n{long}é{long}"), vec![0..210, 211..421, 423..633]),
            ("(a,b;c)".repeat(100), vec![]),
        ] {
            assert_eq!(found(&text), expected, "{text}");
        }
    }

    #[test]
    fn scripts_without_spaces_never_count() {
        for letters in [
            "กรุณาติดตั้งโปรแกรมก่อนใช้งาน",
            "សូមដំឡើងកម្មវិធីមុនពេលប្រើ",
            "请在使用之前安装程序",
            "使用する前にプログラムをインストールしてください",
        ] {
            let paragraph: String = letters.chars().cycle().take(1000).collect();
            assert!(found(&paragraph).is_empty(), "{letters}");
        }
    }

    #[test]
    fn encoded_data_is_not_embedded() {
        let run = "QUJD".repeat(60);
        let text = format!("a {run} b \"{run}\" c");
        let encoded = Encoded::of(&text);
        assert_eq!(encoded.outside(&text, 0..text.len()), "a  b \"\" c");
        assert_eq!(encoded.outside(&text, 0..100), "a ");
        assert_eq!(encoded.outside(&text, 100..text.len()), " b \"\" c");
        assert_eq!(encoded.outside(&text, 50..60), "");
        assert!(matches!(encoded.outside(&text, 0..2), Cow::Borrowed("a ")));
        assert_eq!(without("plain"), "plain");
    }

    #[test]
    fn ranges_are_mapped_back_to_the_original_text() {
        let run = "QUJD".repeat(60);
        let text = format!("One two three. {run} four five. Six seven eight nine ten.");
        let settings =
            SentenceSettings { max_chunk_size: 32, chunk_overlap: 0, ..SentenceSettings::default() };
        let chunker = SentenceChunker::new("s", &settings, None).expect("valid settings");
        let document = Document { path: "a.txt", text: &text, language: None, ..Document::default() };
        let chunks =
            chunk(&chunker, &document, &Encoded::of(&text)).expect("built-in chunkers accept any text");
        let bodies: Vec<&str> = chunks
            .iter()
            .map(|chunk| match &chunk.body {
                Body::Slice(range) => &text[range.clone()],
                Body::Generated(text) => text,
                Body::Derived(derived) => &derived.text,
            })
            .collect();
        assert_eq!(bodies, [&format!("One two three. {run} four five."), "Six seven eight nine ten."]);
    }
}
