//! Byte pair encoding of a word, as far as the number of its tokens needs it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::vocabulary::rank;

/// The tokens of a word. It starts as single bytes; as long as two neighbours together are a token, the pair of the lowest
/// rank is united, the first of several. A heap of pairs keeps that at n log n steps for n bytes.
pub(super) fn count(word: &[u8]) -> usize {
    if word.len() < 2 || rank(word).is_some() {
        return word.len().min(1);
    }
    let mut parts = Parts::of(word);
    let mut count = word.len();
    while parts.unite_next() {
        count -= 1;
    }
    count
}

/// A word in parts, and the pairs of them that may be united.
struct Parts<'a> {
    word: &'a [u8],
    /// For a byte that begins a part: where the next one begins. 0 for all other bytes.
    next: Vec<usize>,
    /// For a byte that begins a part: where the part before begins.
    before: Vec<usize>,
    /// Rank, beginning and end of a pair. It is out of date once its parts have been united with others.
    pairs: BinaryHeap<Reverse<(u32, usize, usize)>>,
}

impl<'a> Parts<'a> {
    /// A part for each byte.
    fn of(word: &'a [u8]) -> Self {
        let bytes = 0..word.len();
        let pairs = word
            .windows(2)
            .zip(bytes.clone())
            .filter_map(|(pair, start)| Some(Reverse((rank(pair)?, start, start + 2))));
        Self {
            word,
            next: bytes.clone().map(|byte| byte + 1).collect(),
            before: bytes.map(|byte| byte.saturating_sub(1)).collect(),
            pairs: pairs.collect(),
        }
    }

    /// Unites the next pair; whether there was one.
    fn unite_next(&mut self) -> bool {
        while let Some(Reverse((_, start, end))) = self.pairs.pop() {
            let middle = self.next[start];
            if middle == 0 || middle >= end || self.next[middle] != end {
                continue;
            }
            self.next[start] = end;
            self.next[middle] = 0;
            if end < self.word.len() {
                self.before[end] = start;
                self.pair(start, self.next[end]);
            }
            if start > 0 {
                self.pair(self.before[start], end);
            }
            return true;
        }
        false
    }

    /// Two neighbours, from the beginning of the first to the end of the second.
    fn pair(&mut self, start: usize, end: usize) {
        if let Some(rank) = rank(&self.word[start..end]) {
            self.pairs.push(Reverse((rank, start, end)));
        }
    }
}
