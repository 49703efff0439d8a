//! The words of a query.

use std::collections::HashMap;

use rust_stemmers::{Algorithm, Stemmer};

use super::identifiers::identifiers;
use super::stop_words::{asks_for_tests, is_stop_word};
use super::text::{is_spaceless, searchable, words};
use super::tokens::{prefix_token, shortened};

/// Maximum number of a query's words that are searched for; more do not improve the ranking.
const MAX_WORDS: usize = 64;
/// Maximum number of neighbouring words that are looked for side by side.
const MAX_PAIRS: usize = 12;
/// Maximum number of bytes of a query that are read for words.
const MAX_BYTES: usize = 64 << 10;

/// A word of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// In lower case, letters, digits and marks only.
    pub text: String,
    /// True for a single character of a script without spaces: every word that begins with it
    /// matches.
    pub prefix: bool,
    stem: String,
}

impl Word {
    /// The token under which [`Tokens`](super::Tokens) lists the texts that this word matches.
    pub fn token(&self) -> String {
        match self.text.chars().next() {
            Some(first) if self.prefix => prefix_token(first),
            _ => shortened(&self.stem).to_owned(),
        }
    }
}

/// The words of a query, without stop words (unless there are no others) and without repetitions.
pub struct Words {
    list: Vec<Word>,
    /// Positions in `list` of words that stand side by side in the query.
    pairs: Vec<(usize, usize)>,
    by_stem: HashMap<String, usize>,
    prefixes: Vec<usize>,
    identifiers: Vec<String>,
    tests: bool,
    stemmer: Stemmer,
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Words").field("list", &self.list).finish_non_exhaustive()
    }
}

impl Words {
    /// The words of a query's text.
    pub fn new(text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(MAX_BYTES)];
        let stemmer = Stemmer::create(Algorithm::English);
        let form = searchable(text);
        let all: Vec<String> = without_single_ends(words(&form).map(str::to_lowercase).collect());
        let has_other = all.iter().any(|word| !is_stop_word(word));
        let mut made = Self {
            list: Vec::new(),
            pairs: Vec::new(),
            by_stem: HashMap::new(),
            prefixes: Vec::new(),
            identifiers: identifiers(text),
            tests: asks_for_tests(text),
            stemmer,
        };
        let mut before = None;
        for text in all {
            if has_other && is_stop_word(&text) {
                continue;
            }
            let Some(at) = made.add(text) else { break };
            if let Some(before) = before
                && made.pairs.len() < MAX_PAIRS
                && before != at
                && !made.pairs.contains(&(before, at))
            {
                made.pairs.push((before, at));
            }
            before = Some(at);
        }
        made
    }

    /// The position of a word, added if it is new; `None` if there are enough.
    fn add(&mut self, text: String) -> Option<usize> {
        let stem = self.stemmer.stem(&text).into_owned();
        if let Some(at) = self.by_stem.get(&stem) {
            return Some(*at);
        }
        if self.list.len() == MAX_WORDS {
            return None;
        }
        let at = self.list.len();
        let mut characters = text.chars();
        let prefix = characters.next().is_some_and(is_spaceless) && characters.next().is_none();
        if prefix {
            self.prefixes.push(at);
        }
        self.by_stem.insert(stem.clone(), at);
        self.list.push(Word { text, prefix, stem });
        Some(at)
    }

    /// The words, in the order of the query.
    pub fn list(&self) -> &[Word] {
        &self.list
    }

    /// True if the query has no word, as `?!`.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The identifiers that the query names, as it writes them.
    pub fn identifiers(&self) -> &[String] {
        &self.identifiers
    }

    /// True if the query is about tests.
    pub fn asks_for_tests(&self) -> bool {
        self.tests
    }

    pub(super) fn pairs(&self) -> &[(usize, usize)] {
        &self.pairs
    }

    /// Which word of the query another word is a form of.
    pub(super) fn find(&self, word: &str) -> Option<usize> {
        let first = word.chars().next()?;
        if let Some(at) = self.prefixes.iter().find(|at| self.list[**at].text.starts_with(first)) {
            return Some(*at);
        }
        let lower = first.to_ascii_lowercase();
        if first.is_ascii() && !self.list.iter().any(|word| word.stem.starts_with(lower)) {
            return None;
        }
        let word = word.to_lowercase();
        let stem = self.stemmer.stem(&word);
        self.by_stem.get(stem.as_ref()).copied()
    }
}

/// Drops the single character that [`searchable`] adds at the end of a run, so that a query does not
/// search for every text that has this character.
fn without_single_ends(words: Vec<String>) -> Vec<String> {
    let is_single = |word: &str| word.chars().count() == 1;
    let mut kept: Vec<String> = Vec::with_capacity(words.len());
    for word in words {
        let ends_run = word.chars().next().is_some_and(is_spaceless)
            && is_single(&word)
            && kept.last().is_some_and(|last| {
                last.ends_with(&word) && last.chars().all(is_spaceless) && !is_single(last)
            });
        if !ends_run {
            kept.push(word);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        Words::new(text).list.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn a_query_is_its_significant_words() {
        for (text, expected) in [
            ("how is a deletion guarded?", &["deletion", "guarded"][..]),
            ("what is it", &["what", "is", "it"]),
            ("NEAR(\"a\" b*) NOT col:x -- ^'", &["near", "b", "col", "x"]),
            ("maxBatch max batches", &["max", "batch"]),
            ("東京都", &["東京", "京都"]),
            ("犬", &["犬"]),
            ("?! --", &[]),
            ("", &[]),
        ] {
            assert_eq!(list(text), expected, "{text}");
        }
    }

    #[test]
    fn enormous_queries_are_cut() {
        let text = (0..100_000).map(|n| format!("word{n}")).collect::<Vec<_>>().join(" ");
        assert_eq!(Words::new(&text).list.len(), MAX_WORDS);
    }

    #[test]
    fn forms_of_a_word_are_found() {
        let words = Words::new("retrying connections 犬");
        assert_eq!(words.find("Retry"), Some(0));
        assert_eq!(words.find("connection"), Some(1));
        assert_eq!(words.find("犬が"), Some(2));
        assert_eq!(words.find("retreat"), None);
        assert_eq!(words.pairs(), [(0, 1), (1, 2)]);
    }
}
