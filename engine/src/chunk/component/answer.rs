//! Converts a component's result into the engine's chunks. Components are untrusted: every range,
//! number and name is validated.

use super::bindings::reposync::chunker::types::{AttrValueResult, Chunk as Given, Content};
use super::limits::MAX_CHUNKS;
use super::offsets::{OffsetUnit, RangeFault, Ranges, likely_unit};
use super::reserved::{Reserved, trace};
use super::said::one_line;
use crate::model::{AttrValue, Body, Chunk};

/// Returns the chunks, or a one-line description of the first violation.
pub(super) fn chunks(text: &str, unit: OffsetUnit, given: Vec<Given>) -> Result<Vec<Chunk>, String> {
    if given.len() > MAX_CHUNKS {
        return Err(format!("it returned {} chunks; the limit is {MAX_CHUNKS}", given.len()));
    }
    let mut convert = Ranges::new(text, unit);
    let mut ranges = Vec::with_capacity(given.len());
    for (index, chunk) in given.iter().enumerate() {
        if let Content::Slice(span) = &chunk.content {
            let range = convert.next(span.start, span.end);
            ranges.push(range.map_err(|fault| bad_range(text, unit, &given, index, &fault))?);
        }
    }
    let mut ranges = ranges.into_iter();
    let mut origins = Vec::new();
    // Both chunk types have the same size, so `collect` reuses the allocation of the input.
    let chunks: Result<Vec<Chunk>, String> = given
        .into_iter()
        .enumerate()
        .map(|(index, chunk)| {
            let body = match chunk.content {
                Content::Slice(_) => Body::Slice(ranges.next().expect("one range per slice")),
                Content::Generated(text) if text.is_empty() => {
                    return Err(format!("chunk {} is an empty generated text", index + 1));
                }
                Content::Generated(text) => Body::Generated(text),
            };
            let mut reserved = Reserved::default();
            let attrs = attrs(chunk.attrs, &mut reserved);
            let attrs = attrs.map_err(|fault| format!("chunk {}: {fault}", index + 1))?;
            if reserved.is_used() {
                let origin =
                    reserved.origin(&body).map_err(|fault| format!("chunk {}: {fault}", index + 1))?;
                origins.push((index, origin));
            }
            Ok(Chunk { body, context: chunk.context, kind: chunk.kind, name: chunk.name, attrs })
        })
        .collect();
    let mut chunks = chunks?;
    trace(text, unit, &mut chunks, &origins)?;
    Ok(chunks)
}

/// Converts attributes. Those for the engine go to `reserved`.
fn attrs(
    given: Vec<(String, AttrValueResult)>,
    reserved: &mut Reserved,
) -> Result<Vec<(String, AttrValue)>, String> {
    given
        .into_iter()
        .filter_map(|(name, value)| {
            if name.starts_with('@') {
                return reserved.take(&name, &value).err().map(Err);
            }
            Some(attr(name, value))
        })
        .collect()
}

fn attr(name: String, value: AttrValueResult) -> Result<(String, AttrValue), String> {
    if name.is_empty() {
        return Err("an attribute has no name".to_owned());
    }
    if name.contains(char::is_control) {
        return Err(format!("the attribute `{}` has a control character", name.escape_debug()));
    }
    let value = match value {
        AttrValueResult::Text(text) => AttrValue::Text(text),
        AttrValueResult::Number(number) if !number.is_finite() => {
            return Err(format!("the attribute `{}` is {number}, which no store can hold", one_line(&name)));
        }
        AttrValueResult::Number(number) => AttrValue::Number(number),
        AttrValueResult::Flag(flag) => AttrValue::Flag(flag),
        AttrValueResult::Texts(texts) => AttrValue::Texts(texts),
    };
    Ok((name, value))
}

fn bad_range(text: &str, unit: OffsetUnit, given: &[Given], index: usize, fault: &RangeFault) -> String {
    let number = index + 1;
    let message = match fault {
        RangeFault::Empty { start, end } => format!("chunk {number} is empty ({start}..{end})"),
        RangeFault::Unordered { what, offset, before } => {
            format!("chunk {number} {} at {offset}, before the previous chunk does ({before})", what.verb())
        }
        RangeFault::Beyond { what, offset, length } => format!(
            "chunk {number} {} at {offset}, past the end of the text ({length} {})",
            what.verb(),
            unit.words()
        ),
        RangeFault::Inside { what, offset, character, line } => format!(
            "chunk {number} {} at {offset}, inside the character `{}` of line {line}",
            what.verb(),
            character.escape_debug()
        ),
    };
    let suspect = match fault {
        RangeFault::Beyond { .. } | RangeFault::Inside { .. } => {
            let slices = given.iter().filter_map(|chunk| match &chunk.content {
                Content::Slice(span) => Some((span.start, span.end)),
                Content::Generated(_) => None,
            });
            likely_unit(text, unit, &slices.collect::<Vec<_>>())
        }
        RangeFault::Empty { .. } | RangeFault::Unordered { .. } => None,
    };
    match suspect {
        Some(likely) => {
            format!("{message}; its offsets look like {}, but it declares `{}`", likely.words(), unit.name())
        }
        None => message,
    }
}

/// Fuzz target: builds a document and a component's result from the bytes. Accepted chunks must lie
/// in the text, be in order, and fit.
#[cfg(any(test, fuzzing))]
pub fn fuzz(bytes: &[u8]) {
    use super::super::{Limits, fit};
    use super::bindings::reposync::chunker::types::Span;
    use crate::model::{Cleaned, LineMap};

    let mut bytes = crate::model::fuzzed::Reader(bytes);
    let unit = [OffsetUnit::Utf8Bytes, OffsetUnit::Utf16Units, OffsetUnit::CodePoints]
        [usize::from(bytes.byte() % 3)];
    let text = bytes.text();
    let mut given = Vec::new();
    while !bytes.is_empty() && given.len() < 64 {
        let shape = bytes.byte();
        let content = if shape & 1 == 0 {
            let start = bytes.number();
            Content::Slice(Span { start, end: start.saturating_add(bytes.number()) })
        } else {
            Content::Generated(bytes.text())
        };
        let mut may = |bit: u8| (shape & bit != 0).then(|| bytes.text());
        let (context, kind, name) = (may(2), may(4), may(8));
        let value = match shape >> 6 {
            0 => AttrValueResult::Number(f64::from(bytes.number()) / f64::from(bytes.byte())),
            1 => AttrValueResult::Flag(true),
            2 => AttrValueResult::Text(bytes.text()),
            _ => AttrValueResult::Texts(vec![bytes.text(), bytes.text()]),
        };
        let attrs = if shape & 16 == 0 { Vec::new() } else { vec![(bytes.text(), value)] };
        given.push(Given { content, context, kind, name, attrs });
    }
    let chunks = match chunks(&text, unit, given) {
        Ok(chunks) => chunks,
        Err(message) => return assert!(!message.contains('\n'), "one line: {message}"),
    };
    let cleaned = Cleaned { text, lines: LineMap::Identity };
    let counter = super::super::promises::counter();
    let limits = Limits { input_tokens: 40, counter: counter.clone(), metadata_bytes: 400 };
    let Ok(pieces) = fit(&cleaned, chunks, &limits) else { return };
    for piece in pieces {
        assert!(!piece.text.trim().is_empty(), "nothing to embed");
        assert!(
            piece.range.is_none_or(|range| cleaned.text[range] == piece.text),
            "the body is the text of its range"
        );
        assert!(piece.start_line <= piece.end_line);
        let json = serde_json::to_string(&piece.text).expect("text").len();
        assert!(json <= 400 + 2 || piece.text.chars().count() == 1, "{json} bytes of {:?}", piece.text);
    }
}

#[cfg(test)]
mod tests {
    use super::super::bindings::reposync::chunker::types::Span;
    use super::*;

    #[test]
    fn attributes_that_stores_cannot_hold_are_rejected() {
        let refused = |name: &str, value| {
            let chunk = Given {
                content: Content::Slice(Span { start: 0, end: 4 }),
                context: None,
                kind: None,
                name: None,
                attrs: vec![(name.to_owned(), value)],
            };
            chunks("text", OffsetUnit::Utf8Bytes, vec![chunk]).err().unwrap_or_default()
        };
        let flag = || AttrValueResult::Flag(true);
        assert_eq!(refused("ok", flag()), "");
        assert_eq!(refused("", flag()), "chunk 1: an attribute has no name");
        assert_eq!(refused("a\u{1b}b", flag()), "chunk 1: the attribute `a\\u{1b}b` has a control character");
        assert_eq!(
            refused("n", AttrValueResult::Number(f64::NAN)),
            "chunk 1: the attribute `n` is NaN, which no store can hold"
        );
    }
}
