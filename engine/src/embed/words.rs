//! Counting tokens exactly as a model's own tokenizer does, fast enough to measure every line by.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use tokenizers::{NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

use super::identifiers;

/// Words that are remembered, and bytes of the longest: a few MB, and by far most of what a
/// repository says.
const MOST_WORDS: usize = 1 << 16;
const LONGEST_WORD: usize = 48;

/// A tokenizer that only counts.
///
/// BERT's normaliser and pre-tokenizer never join what white space parts, so a text has as many
/// tokens as its words together, and a word has as many as it had the last time. Any other
/// tokenizer counts whole texts.
pub(super) struct WordCounter {
    tokenizer: Tokenizer,
    by_word: bool,
    known: RwLock<HashMap<Box<str>, usize>>,
}

impl WordCounter {
    /// Reads a `tokenizer.json`.
    pub(super) fn new(json: &[u8]) -> tokenizers::Result<Self> {
        let mut tokenizer = Tokenizer::from_bytes(json)?;
        tokenizer.with_truncation(None)?;
        tokenizer.with_padding(None);
        let normalizer = tokenizer.get_normalizer();
        let by_word = matches!(normalizer, None | Some(NormalizerWrapper::BertNormalizer(_)))
            && matches!(tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)));
        Ok(Self { tokenizer, by_word, known: RwLock::default() })
    }

    /// Tokens of a text, as it is embedded: its identifiers taken apart.
    pub(super) fn count(&self, text: &str) -> usize {
        if !self.by_word {
            return self.tokens(text);
        }
        // These are blanks to the tokenizer, too; other white space is not, or is dropped.
        text.split([' ', '\n', '\t', '\r']).filter(|word| !word.is_empty()).map(|word| self.word(word)).sum()
    }

    fn word(&self, word: &str) -> usize {
        if word.len() > LONGEST_WORD {
            return self.tokens(word);
        }
        if let Some(&tokens) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(word) {
            return tokens;
        }
        let tokens = self.tokens(word);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_WORDS {
            known.clear();
        }
        known.insert(word.into(), tokens);
        tokens
    }

    fn tokens(&self, text: &str) -> usize {
        // A tokenizer that cannot read a text cannot embed it either; some size it must have.
        self.tokenizer
            .encode_fast(identifiers::split(text), false)
            .map_or_else(|_| identifiers::estimate_tokens(text), |encoding| encoding.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    const TOKENIZER: &[u8] = include_bytes!("../../models/static-256/tokenizer.json");
    static COUNTER: LazyLock<WordCounter> = LazyLock::new(|| WordCounter::new(TOKENIZER).expect("loads"));

    #[test]
    fn real_texts_have_as_many_tokens_as_the_tokenizer_says() {
        assert!(COUNTER.by_word);
        for text in [include_str!("words.rs"), include_str!("../../models/static-256/README.md"), ""] {
            assert_eq!(COUNTER.count(text), COUNTER.tokens(text));
        }
        let long = "0a1b2c3d".repeat(40);
        assert_eq!(COUNTER.count(&long), 1, "one unknown word");
    }

    proptest! {
        #[test]
        fn words_sum_up_to_the_text(text in "([a-zA-Z0-9_.,(){}\\[\\]]{0,12}|[ \n\t\r]|[ÄéßŁ漢字\u{301}\u{200b}\u{85}\u{b}\u{2028}\u{a0}\u{0}🎉]|\\[UNK\\]){0,30}") {
            prop_assert_eq!(COUNTER.count(&text), COUNTER.tokens(&text));
        }
    }
}
