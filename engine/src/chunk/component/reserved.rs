//! The attributes of chunks that are for the engine: `@start` and `@end`, the passage of which a text was made.

use super::bindings::reposync::chunker::types::AttrValueResult;
use super::offsets::{OffsetUnit, RangeFault, places};
use super::said::one_line;
use crate::model::{Body, Chunk, Derived};

/// The attributes of one chunk.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    start: Option<u32>,
    end: Option<u32>,
}

/// A passage in the component's unit.
pub(super) type Origin = (u32, u32);

impl Reserved {
    pub(super) fn take(&mut self, name: &str, value: &AttrValueResult) -> Result<(), String> {
        let place = match name {
            "@start" => &mut self.start,
            "@end" => &mut self.end,
            _ => {
                let name = one_line(name);
                return Err(format!(
                    "the attribute `{name}` is not known; names that start with `@` are reserved"
                ));
            }
        };
        let AttrValueResult::Number(number) = value else { return Err(format!("`{name}` is not a number")) };
        *place = Some(offset(*number).ok_or_else(|| format!("`{name}` is {number}, which is no offset"))?);
        Ok(())
    }

    pub(super) fn is_used(&self) -> bool {
        self.start.is_some() || self.end.is_some()
    }

    /// The passage, if it belongs to a generated text.
    pub(super) fn origin(&self, body: &Body) -> Result<Origin, String> {
        if matches!(body, Body::Slice(_)) {
            return Err("it has `@start` or `@end`, which are for generated texts: a slice knows its place"
                .to_owned());
        }
        match (self.start, self.end) {
            (Some(start), Some(end)) if start < end => Ok((start, end)),
            (Some(start), Some(end)) => {
                Err(format!("its `@start` ({start}) is not before its `@end` ({end})"))
            }
            (Some(_), None) => Err("it has `@start` and no `@end`".to_owned()),
            (None, _) => Err("it has `@end` and no `@start`".to_owned()),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be a whole number in range"
)]
fn offset(number: f64) -> Option<u32> {
    ((0.0..=f64::from(u32::MAX)).contains(&number) && number.fract() == 0.0).then_some(number as u32)
}

/// Gives generated chunks their passages, by their indexes. Passages may be in any order.
pub(super) fn trace(
    text: &str,
    unit: OffsetUnit,
    chunks: &mut [Chunk],
    origins: &[(usize, Origin)],
) -> Result<(), String> {
    if origins.is_empty() {
        return Ok(());
    }
    let offsets: Vec<u32> = origins.iter().flat_map(|(_, (start, end))| [*start, *end]).collect();
    let bytes = places(text, unit, &offsets).map_err(|(at, fault)| {
        let (index, _) = origins[at / 2];
        let name = if at % 2 == 0 { "@start" } else { "@end" };
        format!("chunk {}: its `{name}` {}", index + 1, described(&fault, unit))
    })?;
    for ((index, _), place) in origins.iter().zip(bytes.chunks_exact(2)) {
        let body = &mut chunks[*index].body;
        if let Body::Generated(text) = body {
            let text = std::mem::take(text);
            *body = Body::Derived(Box::new(Derived { text, origin: place[0]..place[1] }));
        }
    }
    Ok(())
}

fn described(fault: &RangeFault, unit: OffsetUnit) -> String {
    match fault {
        RangeFault::Beyond { offset, length, .. } => {
            format!("({offset}) is past the end of the text ({length} {})", unit.words())
        }
        RangeFault::Inside { offset, character, line, .. } => {
            format!("({offset}) is inside the character `{}` of line {line}", character.escape_debug())
        }
        RangeFault::Empty { .. } | RangeFault::Unordered { .. } => "is no offset".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: f64) -> AttrValueResult {
        AttrValueResult::Number(number)
    }

    fn reserved(attrs: &[(&str, AttrValueResult)]) -> Result<Origin, String> {
        let mut reserved = Reserved::default();
        for (name, value) in attrs {
            reserved.take(name, value)?;
        }
        reserved.origin(&Body::Generated("x".into()))
    }

    #[test]
    fn what_is_no_passage_is_refused() {
        assert_eq!(reserved(&[("@start", number(1.0)), ("@end", number(4.0))]), Ok((1, 4)));
        for (attrs, fault) in [
            (
                vec![("@start", number(4.0)), ("@end", number(1.0))],
                "its `@start` (4) is not before its `@end` (1)",
            ),
            (
                vec![("@start", number(4.0)), ("@end", number(4.0))],
                "its `@start` (4) is not before its `@end` (4)",
            ),
            (vec![("@start", number(0.0))], "it has `@start` and no `@end`"),
            (vec![("@end", number(1.0))], "it has `@end` and no `@start`"),
            (vec![("@start", number(0.5))], "`@start` is 0.5, which is no offset"),
            (vec![("@end", number(-1.0))], "`@end` is -1, which is no offset"),
            (vec![("@end", number(f64::NAN))], "`@end` is NaN, which is no offset"),
            (vec![("@end", AttrValueResult::Flag(true))], "`@end` is not a number"),
            (
                vec![("@line", number(1.0))],
                "the attribute `@line` is not known; names that start with `@` are reserved",
            ),
        ] {
            assert_eq!(reserved(&attrs), Err(fault.to_owned()));
        }
        let mut slice = Reserved::default();
        slice.take("@start", &number(0.0)).expect("an offset");
        assert!(slice.origin(&Body::Slice(0..1)).is_err());
    }

    #[test]
    fn passages_are_converted_in_any_order() {
        let text = "aü😀b";
        let mut chunks: Vec<Chunk> =
            (0..2).map(|_| Chunk { body: Body::Generated("x".into()), ..Chunk::slice(0..1) }).collect();
        trace(text, OffsetUnit::Utf16Units, &mut chunks, &[(0, (2, 5)), (1, (0, 2))]).expect("in the text");
        let origins = chunks.iter().map(|chunk| match &chunk.body {
            Body::Derived(derived) => derived.origin.clone(),
            other => panic!("{other:?}"),
        });
        assert_eq!(origins.collect::<Vec<_>>(), [3..8, 0..3]);
        let fault =
            |origin| trace(text, OffsetUnit::Utf16Units, &mut chunks.clone(), &[(0, (0, 1)), (1, origin)]);
        assert_eq!(
            fault((0, 9)),
            Err("chunk 2: its `@end` (9) is past the end of the text (5 UTF-16 units)".to_owned())
        );
        assert_eq!(
            fault((3, 4)),
            Err("chunk 2: its `@start` (3) is inside the character `😀` of line 1".to_owned())
        );
    }
}
