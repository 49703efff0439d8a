//! Tokens of texts, for stores whose full-text search is ours.

use rust_stemmers::{Algorithm, Stemmer};

use super::text::{is_spaceless, words};

/// Maximum length of a token in bytes; longer words are cut. An encoded binary may be one word of many kilobytes.
const LONGEST: usize = 64;

/// Cuts texts into the tokens that [`Word::token`](super::Word::token) gives for the words of queries.
pub struct Tokens {
    stemmer: Stemmer,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { stemmer: Stemmer::create(Algorithm::English) }
    }
}

impl Tokens {
    /// Passes each word of a text in the form of [`searchable`](super::searchable) to `each`. Returns the number of
    /// words.
    ///
    /// Of a script without spaces, the first character of each word is passed as a separate token, which a query
    /// of that character alone finds.
    pub fn each(&self, searchable: &str, mut each: impl FnMut(&str)) -> usize {
        let mut count = 0;
        for word in words(searchable) {
            count += 1;
            if let Some(first) = word.chars().next().filter(|first| is_spaceless(*first)) {
                each(&prefix_token(first));
            }
            let lower = word.to_lowercase();
            each(shortened(&self.stemmer.stem(&lower)));
        }
        count
    }
}

/// The token of all words that begin with a character. No word has an asterisk.
pub(super) fn prefix_token(first: char) -> String {
    format!("{first}*")
}

pub(super) fn shortened(token: &str) -> &str {
    &token[..token.floor_char_boundary(LONGEST)]
}

#[cfg(test)]
mod tests {
    use super::super::{Words, searchable};
    use super::*;

    fn tokens(text: &str) -> (usize, Vec<String>) {
        let mut found = Vec::new();
        let count = Tokens::default().each(&searchable(text), |token| found.push(token.to_owned()));
        (count, found)
    }

    #[test]
    fn texts_become_stems() {
        let (count, found) = tokens("Retrying the parseHTTPHeader");
        assert_eq!(
            (count, found),
            (5, ["retri", "the", "pars", "http", "header"].map(str::to_owned).to_vec())
        );
        let (count, found) = tokens("東京都");
        assert_eq!(
            (count, found),
            (3, ["東*", "東京", "京*", "京都", "都*", "都"].map(str::to_owned).to_vec())
        );
    }

    #[test]
    fn a_query_finds_the_tokens_of_its_words() {
        let long = "x".repeat(200);
        for (query, text) in [
            ("deletions", "a guarded deletion"),
            ("犬", "小犬が"),
            ("東京", "東京都"),
            ("max_batch", "maxBatches"),
            (&*long, &*format!("{long}y")),
        ] {
            let (_, found) = tokens(text);
            for word in Words::new(query).list() {
                assert!(found.contains(&word.token()), "{query}: {} in {found:?}", word.token());
            }
        }
    }
}
