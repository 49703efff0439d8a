//! Counting tokens as OpenAI's embedding models do (cl100k). For another server's model it is an
//! estimate: keep `max_input_tokens` below what it takes.
//!
//! Nothing but counts is needed, so there is one table of tokens. A library that encodes and decodes as well
//! (`bpe-openai`) takes 27 MB of memory and 35 ms of each start for its tables; the tests compare with it.

mod merge;
mod vocabulary;
mod words;

/// Tokens of a text, special markers counted as ordinary text. A text of n bytes takes n log n steps at most, whatever it
/// is made of.
pub fn count(text: &str) -> usize {
    words::words(text).map(merge::count).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(text: &str) {
        assert_eq!(count(text), bpe_openai::cl100k_base().count(text), "{text:?}");
    }

    #[test]
    fn counts_are_those_of_the_service() {
        for (text, tokens) in [("", 0), ("hello world", 2), ("<|endoftext|>", 7)] {
            assert_eq!(count(text), tokens, "{text}");
        }
    }

    #[test]
    fn long_runs_of_anything_are_counted_in_their_time() {
        // Quadratic work over these 256 KiB would take minutes.
        for one in ["1", "a", "ab", "-", " ", "\n", "ü", "1ü"] {
            assert!(count(&one.repeat((1 << 18) / one.len())) > 0, "{one:?}");
        }
    }

    #[test]
    fn every_token_and_this_source_are_counted_alike() {
        for token in vocabulary::tokens().filter_map(|token| std::str::from_utf8(token).ok()) {
            same(token);
        }
        same(include_str!("mod.rs"));
        same(include_str!("../service.rs"));
    }

    proptest! {
        #[test]
        fn counts_are_those_of_the_reference(parts in prop::collection::vec(prop_oneof![
            4 => "[a-z]{1,40}", 2 => "[a-zA-Z]{1,12}", 1 => "[ab]{1,60}", 1 => "[ \t\n]{1,9}", 1 => "[-=_./]{1,30}", 1 => "\\PC{1,9}",
        ], 0..12)) {
            same(&parts.concat());
        }
    }
}
