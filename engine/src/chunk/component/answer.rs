//! A component's answer into the engine's chunks. A component is not to be believed: every range,
//! number and name is checked.

use super::bindings::reposync::chunker::types::{AttrValueResult, Chunk as Given, Content};
use super::limits::MAX_CHUNKS;
use super::offsets::{OffsetUnit, RangeFault, convert, likely_unit};
use crate::model::{AttrValue, Body, Chunk};

/// The chunks, or what is wrong with them in one line.
pub(super) fn chunks(text: &str, unit: OffsetUnit, given: Vec<Given>) -> Result<Vec<Chunk>, String> {
    if given.len() > MAX_CHUNKS {
        return Err(format!("it gave {} chunks; at most {MAX_CHUNKS} are taken", given.len()));
    }
    let count = given.len();
    let mut spans = Vec::with_capacity(count);
    let mut numbers = Vec::with_capacity(count);
    for (number, chunk) in given.iter().enumerate() {
        if let Content::Slice(span) = &chunk.content {
            spans.push((span.start, span.end));
            numbers.push(number + 1);
        }
    }
    let ranges = convert(text, unit, &spans)
        .map_err(|(index, fault)| bad_range(text, unit, &spans, index, numbers[index], &fault))?;
    let mut ranges = ranges.into_iter();
    given
        .into_iter()
        .enumerate()
        .map(|(index, chunk)| {
            let body = match chunk.content {
                Content::Slice(_) => Body::Slice(ranges.next().expect("one range for each slice")),
                Content::Generated(text) if text.is_empty() => {
                    return Err(format!("chunk {} is an empty text", index + 1));
                }
                Content::Generated(text) => Body::Generated(text),
            };
            let attrs = attrs(chunk.attrs).map_err(|fault| format!("chunk {}: {fault}", index + 1))?;
            Ok(Chunk { body, context: chunk.context, kind: chunk.kind, name: chunk.name, attrs })
        })
        .collect()
}

fn attrs(given: Vec<(String, AttrValueResult)>) -> Result<Vec<(String, AttrValue)>, String> {
    given
        .into_iter()
        .map(|(name, value)| {
            if name.is_empty() {
                return Err("an attribute has no name".to_owned());
            }
            let value = match value {
                AttrValueResult::Text(text) => AttrValue::Text(text),
                AttrValueResult::Number(number) if !number.is_finite() => {
                    return Err(format!("the attribute `{name}` is {number}, which no store can hold"));
                }
                AttrValueResult::Number(number) => AttrValue::Number(number),
                AttrValueResult::Flag(flag) => AttrValue::Flag(flag),
                AttrValueResult::Texts(texts) => AttrValue::Texts(texts),
            };
            Ok((name, value))
        })
        .collect()
}

fn bad_range(
    text: &str,
    unit: OffsetUnit,
    spans: &[(u32, u32)],
    index: usize,
    number: usize,
    fault: &RangeFault,
) -> String {
    let (start, end) = spans[index];
    let message = match fault {
        RangeFault::Empty => format!("chunk {number} is empty ({start}..{end})"),
        RangeFault::Unordered { what, offset, before } => format!(
            "chunk {number} {} at {offset}, before the one in front of it does ({before})",
            what.verb()
        ),
        RangeFault::Beyond { what, offset, length } => format!(
            "chunk {number} {} at {offset}, behind the end of the text ({length} {})",
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
        RangeFault::Beyond { .. } | RangeFault::Inside { .. } => likely_unit(text, unit, spans),
        RangeFault::Empty | RangeFault::Unordered { .. } => None,
    };
    match suspect {
        Some(likely) => {
            format!("{message}; its offsets look like {}, but it declares `{}`", likely.words(), unit.name())
        }
        None => message,
    }
}
