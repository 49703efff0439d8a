//! Converts offsets in a component's own unit to byte offsets, in a single pass over the text.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The unit of a component's offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OffsetUnit {
    /// Bytes of UTF-8.
    Utf8Bytes,
    /// 16-bit code units of UTF-16.
    Utf16Units,
    /// Unicode code points.
    CodePoints,
}

impl OffsetUnit {
    const ALL: [Self; 3] = [Self::Utf8Bytes, Self::Utf16Units, Self::CodePoints];

    /// The unit in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Utf8Bytes => "UTF-8 bytes",
            Self::Utf16Units => "UTF-16 units",
            Self::CodePoints => "code points",
        }
    }

    /// The unit as spelled in `wit/chunker.wit`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8Bytes => "utf8-bytes",
            Self::Utf16Units => "utf16-units",
            Self::CodePoints => "code-points",
        }
    }

    /// Number of units that begin in these bytes of UTF-8. Written to be vectorized.
    fn count(self, bytes: &[u8]) -> usize {
        let begins = |byte: &&u8| byte.cast_signed() >= -64;
        match self {
            Self::Utf8Bytes => bytes.len(),
            Self::CodePoints => bytes.iter().filter(begins).count(),
            Self::Utf16Units => {
                bytes.iter().filter(begins).count() + bytes.iter().filter(|&&byte| byte >= 0xF0).count()
            }
        }
    }
}

/// Why a range is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RangeFault {
    /// It is empty or ends before it starts.
    Empty { start: u32, end: u32 },
    /// It starts, or ends, before the previous range does.
    Unordered { what: Edge, offset: u32, before: u32 },
    /// An offset past the end of the text.
    Beyond { what: Edge, offset: u32, length: usize },
    /// An offset inside a character: the character, and its line (1-based).
    Inside { what: Edge, offset: u32, character: char, line: usize },
}

/// Which end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    Start,
    End,
}

impl Edge {
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Start => "starts",
            Self::End => "ends",
        }
    }
}

/// Converts ranges from a component's unit to bytes, one after the other.
pub(super) struct Ranges<'a> {
    // Neither starts nor ends decrease, so each cursor passes over the text once.
    starts: Cursor<'a>,
    ends: Cursor<'a>,
    before: (u32, u32),
}

impl<'a> Ranges<'a> {
    pub(super) fn new(text: &'a str, unit: OffsetUnit) -> Self {
        // In ASCII text all units are equal.
        let unit =
            if unit != OffsetUnit::Utf8Bytes && text.is_ascii() { OffsetUnit::Utf8Bytes } else { unit };
        Self { starts: Cursor::new(text, unit), ends: Cursor::new(text, unit), before: (0, 0) }
    }

    /// Converts the next range. After an error it must not be called again.
    pub(super) fn next(&mut self, start: u32, end: u32) -> Result<Range<usize>, RangeFault> {
        if end <= start {
            return Err(RangeFault::Empty { start, end });
        }
        let edges = [(Edge::Start, start, self.before.0), (Edge::End, end, self.before.1)];
        for (what, offset, before) in edges {
            if offset < before {
                return Err(RangeFault::Unordered { what, offset, before });
            }
        }
        self.before = (start, end);
        Ok(self.starts.seek(start, Edge::Start)?..self.ends.seek(end, Edge::End)?)
    }
}

/// Converts offsets in any order; the error is the index of the first invalid one among the sorted ones.
pub(super) fn places(
    text: &str,
    unit: OffsetUnit,
    offsets: &[u32],
) -> Result<Vec<usize>, (usize, RangeFault)> {
    let mut order: Vec<usize> = (0..offsets.len()).collect();
    order.sort_by_key(|&at| offsets[at]);
    let mut cursor = Cursor::new(text, unit);
    let mut places = vec![0; offsets.len()];
    for at in order {
        places[at] = cursor.seek(offsets[at], Edge::Start).map_err(|fault| (at, fault))?;
    }
    Ok(places)
}

/// True if all ranges, in this unit, lie in the text and in order.
fn fits(text: &str, unit: OffsetUnit, spans: &[(u32, u32)]) -> bool {
    let mut ranges = Ranges::new(text, unit);
    spans.iter().all(|&(start, end)| ranges.next(start, end).is_ok())
}

/// The unit in which all ranges would be valid, if it is not the declared one.
pub(super) fn likely_unit(text: &str, declared: OffsetUnit, spans: &[(u32, u32)]) -> Option<OffsetUnit> {
    let fitting: Vec<_> =
        OffsetUnit::ALL.into_iter().filter(|&unit| unit != declared && fits(text, unit, spans)).collect();
    // If several fit, prefer one in which the last range ends at the end of the text or of its last
    // line.
    let last = spans.last().map_or(0, |&(_, end)| end as usize);
    let ends_well = |unit: &OffsetUnit| {
        let whole = unit.count(text.as_bytes());
        last == whole || last == unit.count(text.trim_end().as_bytes())
    };
    fitting.iter().copied().find(|unit| ends_well(unit)).or(fitting.first().copied())
}

/// Line and column of an offset, both 1-based, the column in characters. An offset past the end
/// counts as the end, one inside a character as that character.
pub(super) fn position(text: &str, unit: OffsetUnit, offset: u32) -> (usize, usize) {
    let mut cursor = Cursor::new(text, unit);
    let byte = cursor.seek(offset, Edge::Start).unwrap_or_else(|fault| match fault {
        RangeFault::Inside { .. } => text.floor_char_boundary(cursor.byte.saturating_sub(1)),
        _ => text.len(),
    });
    let before = &text[..byte];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (memchr::memchr_iter(b'\n', before.as_bytes()).count() + 1, before[line_start..].chars().count() + 1)
}

/// A forward-only position in a text.
struct Cursor<'a> {
    text: &'a str,
    unit: OffsetUnit,
    byte: usize,
    units: usize,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str, unit: OffsetUnit) -> Self {
        Self { text, unit, byte: 0, units: 0 }
    }

    /// Advances to an offset that is not before the previous one.
    fn seek(&mut self, offset: u32, what: Edge) -> Result<usize, RangeFault> {
        let target = offset as usize;
        let bytes = self.text.as_bytes();
        if self.unit == OffsetUnit::Utf8Bytes {
            (self.byte, self.units) = (target, target);
        } else {
            self.walk(target);
        }
        if self.byte > bytes.len() || self.units < target {
            let length = self.unit.count(bytes);
            return Err(RangeFault::Beyond { what, offset, length });
        }
        if self.units > target || !self.text.is_char_boundary(self.byte) {
            // The second half of a surrogate pair maps to the end of its character, a byte offset
            // inside it.
            let last = if self.units > target { self.byte - 1 } else { self.byte };
            let start = self.text.floor_char_boundary(last);
            let character = self.text[start..].chars().next().unwrap_or(char::REPLACEMENT_CHARACTER);
            let line = memchr::memchr_iter(b'\n', &bytes[..start]).count() + 1;
            return Err(RangeFault::Inside { what, offset, character, line });
        }
        Ok(self.byte)
    }

    fn walk(&mut self, target: usize) {
        const BLOCK: usize = 64;
        let bytes = self.text.as_bytes();
        while let Some(block) = bytes.get(self.byte..self.byte + BLOCK) {
            let units = self.units + self.unit.count(block);
            if units >= target {
                break;
            }
            (self.byte, self.units) = (self.byte + BLOCK, units);
        }
        while self.units < target && self.byte < bytes.len() {
            self.units += self.unit.count(&bytes[self.byte..=self.byte]);
            self.byte += 1;
        }
        // Advance to the end of the character (after a block: of the one that the block split).
        while self.byte < bytes.len() && !self.text.is_char_boundary(self.byte) {
            self.byte += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The byte ranges, or the index of the first invalid range and its error.
    fn convert(
        text: &str,
        unit: OffsetUnit,
        spans: &[(u32, u32)],
    ) -> Result<Vec<Range<usize>>, (usize, RangeFault)> {
        let mut ranges = Ranges::new(text, unit);
        let all = spans.iter().enumerate();
        all.map(|(index, &(start, end))| ranges.next(start, end).map_err(|fault| (index, fault))).collect()
    }

    #[test]
    fn positions_count_lines_and_characters() {
        use OffsetUnit::{CodePoints, Utf8Bytes, Utf16Units};
        let text = "a🦀\nüx\n";
        for (unit, offset, expected) in [
            (Utf8Bytes, 0, (1, 1)),
            (Utf8Bytes, 5, (1, 3)),
            (Utf8Bytes, 8, (2, 2)),
            (Utf8Bytes, 2, (1, 2)),
            (Utf16Units, 3, (1, 3)),
            (Utf16Units, 2, (1, 2)),
            (Utf16Units, 5, (2, 2)),
            (CodePoints, 4, (2, 2)),
            (CodePoints, 6, (3, 1)),
            (CodePoints, 7, (3, 1)),
            (Utf8Bytes, u32::MAX, (3, 1)),
        ] {
            assert_eq!(position(text, unit, offset), expected, "{unit:?} {offset}");
        }
        assert_eq!(position("", CodePoints, 0), (1, 1));
    }

    fn offset(text: &str, unit: OffsetUnit) -> u32 {
        let units = match unit {
            OffsetUnit::Utf8Bytes => text.len(),
            OffsetUnit::Utf16Units => text.encode_utf16().count(),
            OffsetUnit::CodePoints => text.chars().count(),
        };
        u32::try_from(units).expect("a small number")
    }

    proptest! {
        #[test]
        fn every_unit_finds_the_same_bytes(
            text in "(\\PC|[aé🦀\n]){0,300}",
            mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let borders: Vec<usize> = (0..=text.len()).filter(|&i| text.is_char_boundary(i)).collect();
            let mut places: Vec<usize> = cuts.drain(..).map(|cut| *cut.get(&borders)).collect();
            places.sort_unstable();
            places.dedup();
            let ranges: Vec<_> = places.windows(2).map(|pair| pair[0]..pair[1]).collect();
            for unit in OffsetUnit::ALL {
                let spans: Vec<_> = ranges
                    .iter()
                    .map(|range| (offset(&text[..range.start], unit), offset(&text[..range.end], unit)))
                    .collect();
                let found = convert(&text, unit, &spans);
                prop_assert_eq!(found.as_ref(), Ok(&ranges));
            }
        }

        #[test]
        fn no_offset_panics(text in "[aé🦀\n]{0,100}", spans in prop::collection::vec((0u32..500, 0u32..500), 0..9)) {
            for unit in OffsetUnit::ALL {
                if let Ok(ranges) = convert(&text, unit, &spans) {
                    for range in ranges {
                        prop_assert!(text.get(range).is_some_and(|slice| !slice.is_empty()));
                    }
                }
            }
        }
    }

    #[test]
    fn each_kind_of_bad_range_is_reported() {
        let text = "ab\né🦀x";
        let check = |unit, spans: &[(u32, u32)]| convert(text, unit, spans).expect_err("bad");
        assert_eq!(
            check(OffsetUnit::Utf8Bytes, &[(0, 1), (2, 2)]),
            (1, RangeFault::Empty { start: 2, end: 2 })
        );
        assert_eq!(
            check(OffsetUnit::CodePoints, &[(2, 4), (1, 5)]),
            (1, RangeFault::Unordered { what: Edge::Start, offset: 1, before: 2 })
        );
        assert_eq!(
            check(OffsetUnit::CodePoints, &[(0, 7)]),
            (0, RangeFault::Beyond { what: Edge::End, offset: 7, length: 6 })
        );
        assert_eq!(
            check(OffsetUnit::Utf8Bytes, &[(0, 4)]),
            (0, RangeFault::Inside { what: Edge::End, offset: 4, character: 'é', line: 2 })
        );
        assert_eq!(
            check(OffsetUnit::Utf16Units, &[(0, 5)]),
            (0, RangeFault::Inside { what: Edge::End, offset: 5, character: '🦀', line: 2 })
        );
    }

    #[test]
    fn the_likely_unit_is_named() {
        let text = "é🦀 über\n";
        for truth in OffsetUnit::ALL {
            let spans = [(0, offset("é🦀", truth)), (offset("é🦀", truth), offset(text, truth))];
            for declared in OffsetUnit::ALL {
                if !fits(text, declared, &spans) {
                    assert_eq!(likely_unit(text, declared, &spans), Some(truth));
                }
            }
        }
    }
}
