//! Counting tokens exactly as a model's own tokenizer does, fast enough to measure every line by.

use std::collections::HashMap;

use parking_lot::RwLock;
use serde::Deserialize;
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
///
/// A token for text that is unknown to the model counts as its number of characters: the model sees a sentence
/// in a script without spaces, or a line of digits, as one such token, however long it is.
pub(super) struct WordCounter {
    tokenizer: Tokenizer,
    unknown: Option<u32>,
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
        let unknown = unknown_token(json, &tokenizer)?;
        Ok(Self { tokenizer, unknown, by_word, known: RwLock::default() })
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
        if let Some(&tokens) = self.known.read().get(word) {
            return tokens;
        }
        let tokens = self.tokens(word);
        let mut known = self.known.write();
        if known.len() >= MOST_WORDS {
            known.clear();
        }
        known.insert(word.into(), tokens);
        tokens
    }

    fn tokens(&self, text: &str) -> usize {
        let text = identifiers::split(text);
        let count = || -> tokenizers::Result<usize> {
            let encoding = self.tokenizer.encode_fast(&*text, false)?;
            let is_unknown = |id: &u32| Some(*id) == self.unknown;
            if !encoding.get_ids().iter().any(is_unknown) {
                return Ok(encoding.len());
            }
            // Once more, with the places in the text, which take longer to find.
            let encoding = self.tokenizer.encode_char_offsets(&*text, false)?;
            let tokens = encoding.get_ids().iter().zip(encoding.get_offsets());
            Ok(tokens.map(|(id, (start, end))| if is_unknown(id) { (end - start).max(1) } else { 1 }).sum())
        };
        // A tokenizer that cannot read a text cannot embed it either; some size it must have.
        count().unwrap_or_else(|_| identifiers::estimate_tokens(&text))
    }
}

/// The id that a model gives to what it does not know, by the name or the number that its file states.
fn unknown_token(json: &[u8], tokenizer: &Tokenizer) -> tokenizers::Result<Option<u32>> {
    #[derive(Deserialize)]
    struct File {
        model: Model,
    }

    #[derive(Deserialize)]
    struct Model {
        unk_token: Option<String>,
        unk_id: Option<u32>,
    }

    let File { model } = serde_json::from_slice(json)?;
    Ok(model.unk_id.or_else(|| tokenizer.token_to_id(&model.unk_token?)))
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
    }

    #[test]
    fn what_the_model_does_not_know_counts_by_its_characters() {
        let hex = "0a1b2c3d".repeat(40);
        let thai = "\u{e01}\u{e23}\u{e38}\u{e13}\u{e32}".repeat(40);
        for (text, tokens) in [(hex.as_str(), 320), (&thai, 200), ("\u{1f966}", 1), ("word", 1)] {
            assert_eq!(COUNTER.count(text), tokens, "{text:?}");
        }
        assert_eq!(COUNTER.count(&format!("word {hex} word")), 322);
        assert_eq!(COUNTER.count(&format!("{thai}\n{thai}")), 400);
    }

    proptest! {
        #[test]
        fn words_sum_up_to_the_text(text in "([a-zA-Z0-9_.,(){}\\[\\]]{0,12}|[ \n\t\r]|[ÄéßŁ漢字\u{301}\u{200b}\u{85}\u{b}\u{2028}\u{a0}\u{0}🎉]|\\[UNK\\]){0,30}") {
            prop_assert_eq!(COUNTER.count(&text), COUNTER.tokens(&text));
        }
    }
}
