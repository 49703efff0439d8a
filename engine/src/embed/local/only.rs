//! The built-in model with only those entries of its vocabulary that can occur in one text. It gives that text the same
//! vector as the whole model, and is made in a tenth of the time.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

use anyhow::Context as _;
use model2vec_rs::model::StaticModel;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::{NormalizedString, Normalizer as _, Tokenizer};

use super::super::identifiers;

/// Maximum length of the text in bytes.
pub(super) const LONGEST: usize = 1000;

/// The parts of `tokenizer.json` that are needed.
#[derive(Deserialize)]
struct TokenizerFile<'a> {
    added_tokens: Vec<AddedToken<'a>>,
    normalizer: BertNormalizer,
    #[serde(borrow)]
    model: WordPiece<'a>,
}

#[derive(Deserialize)]
struct AddedToken<'a> {
    #[serde(borrow)]
    content: Cow<'a, str>,
}

#[derive(Deserialize)]
struct WordPiece<'a> {
    continuing_subword_prefix: String,
    #[serde(borrow)]
    vocab: &'a RawValue,
}

/// The header of a safetensors file.
#[derive(Deserialize)]
struct Tensors {
    embeddings: Tensor,
    weights: Tensor,
}

#[derive(Deserialize)]
struct Tensor {
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// The model for one text, from the files of the whole model: a `WordPiece` tokenizer, rows of int8, weights of f32.
pub(super) fn model(tokenizer: &[u8], tensors: &[u8], text: &str) -> anyhow::Result<StaticModel> {
    let json = std::str::from_utf8(tokenizer)?;
    let file: TokenizerFile<'_> = serde_json::from_str(json)?;
    let mut normalized = NormalizedString::from(&*identifiers::split(text));
    file.normalizer.normalize(&mut normalized).map_err(anyhow::Error::from_boxed)?;
    let Vocabulary(vocabulary) = serde_json::from_str(file.model.vocab.get())?;

    let pieces = pieces(normalized.get());
    let prefix = file.model.continuing_subword_prefix.as_str();
    let is_needed = |entry: &str| {
        pieces.contains(entry.strip_prefix(prefix).unwrap_or(entry))
            || pieces.contains(entry)
            || file.added_tokens.iter().any(|added| added.content == entry)
    };
    let mut needed: BTreeMap<&str, usize> = BTreeMap::new();
    let mut rows: Vec<usize> = Vec::new();
    for (entry, row) in &vocabulary {
        if is_needed(entry) {
            needed.insert(entry, rows.len());
            rows.push(*row);
        }
    }
    let small = json.replacen(file.model.vocab.get(), &serde_json::to_string(&needed)?, 1);
    let small = Tokenizer::from_bytes(small).map_err(anyhow::Error::from_boxed)?;

    let (table, width, weights) = parts(tensors).context("not the tensors of an int8 model")?;
    let (mut chosen, mut weighed) = (Vec::with_capacity(rows.len() * width), Vec::with_capacity(rows.len()));
    for row in &rows {
        let bytes =
            table.get(row * width..).and_then(|rest| rest.get(..width)).context("a row is missing")?;
        chosen.extend(bytes.iter().map(|byte| byte.cast_signed()));
        weighed.push(*weights.get(*row).context("a weight is missing")?);
    }
    StaticModel::from_owned_i8(small, chosen, rows.len(), width, true, Some(weighed), None)
}

/// All that can be an entry of the vocabulary in a normalised text: the parts of its words.
fn pieces(text: &str) -> HashSet<&str> {
    /// Longer than any entry, in characters.
    const LONGEST_ENTRY: usize = 32;
    let mut pieces = HashSet::new();
    for word in text.split_whitespace() {
        let borders: Vec<usize> = word.char_indices().map(|(at, _)| at).chain([word.len()]).collect();
        for (at, start) in borders.iter().enumerate() {
            for end in borders[at + 1..].iter().take(LONGEST_ENTRY) {
                pieces.insert(&word[*start..*end]);
            }
        }
    }
    pieces
}

/// Rows, their width, and weights of a safetensors file.
fn parts(bytes: &[u8]) -> Option<(&[u8], usize, Vec<f32>)> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (header, data) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let header: Tensors = serde_json::from_slice(header).ok()?;
    let of = |tensor: &Tensor| data.get(tensor.data_offsets[0]..tensor.data_offsets[1]);
    let weights = of(&header.weights)?.as_chunks::<4>().0;
    let weights = weights.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Some((of(&header.embeddings)?, *header.embeddings.shape.get(1)?, weights))
}

/// The entries of a vocabulary with their rows, in the order of the file.
struct Vocabulary<'a>(Vec<(Cow<'a, str>, usize)>);

impl<'de> Deserialize<'de> for Vocabulary<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Vocabulary<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vocabulary")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((Entry(entry), row)) = map.next_entry()? {
                    entries.push((entry, row));
                }
                Ok(Vocabulary(entries))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

/// A text that is borrowed if it has no escapes.
#[derive(Deserialize)]
struct Entry<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{EMBEDDED, MODEL, TOKENIZER, encode};
    use super::*;

    fn assert_same(text: &str) {
        let texts = [text.to_owned()];
        let small = model(TOKENIZER, MODEL, text).expect("a model");
        assert_eq!(encode(&small, &texts), encode(&EMBEDDED, &texts), "{text:?}");
    }

    #[test]
    fn a_text_has_the_vector_that_the_whole_model_gives() {
        for text in [
            "how is a deletion guarded?",
            "parseHTTPHeader Guard::check(\"x\\y\") [UNK] [PAD] ##ing",
            "Straße naïve Ünïcödé 漢字 全文検索 🎉 a\u{301}\u{200b}b",
            "",
            " ",
            "0a1b2c3d4e5f0a1b2c3d4e5f0a1b2c3d4e5f0a1b2c3d4e5f",
        ] {
            assert_same(text);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_text_has_the_same_vector(text in "([a-zA-Z]{1,14}|[0-9_.,()#\\[\\]\"']{1,4}|[ \n\t]|\\PC){0,40}") {
            assert_same(&text);
        }
    }
}
