//! Text as it is searched by words: identifiers split, compatibility forms unified, scripts without
//! spaces cut into pairs of characters. Index and query use this alike; a change here is a new
//! version of the index's schema.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// A text in the form in which its words are indexed: words are separated by characters that are
/// neither letters, digits nor marks.
///
/// ASCII text only has its identifiers split. In other text, compatibility forms are unified
/// (NFKC: full-width letters, ligatures), diacritics and zero-width characters are dropped, and a
/// run of a script without spaces becomes its overlapping pairs of characters followed by its last
/// character.
pub fn searchable(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return split_identifiers(text);
    }
    let unified: String = text.nfkd().filter(|c| !is_dropped(*c)).nfc().collect();
    let paired = pair(&unified);
    Cow::Owned(split_identifiers(&paired).into_owned())
}

/// The words of a text in the form of [`searchable`].
pub(super) fn words(searchable: &str) -> impl Iterator<Item = &str> {
    searchable.split(|c: char| !is_word(c)).filter(|word| !word.is_empty())
}

/// Letters, digits, and the marks that belong to them.
pub(super) fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || (!c.is_ascii() && (c.is_alphanumeric() || is_combining_mark(c)))
}

/// Inserts a space where a word starts inside an identifier: `parseHTTPHeader` becomes `parse HTTP
/// Header`. Other separators (`_`, `.`, `::`) already end a word.
fn split_identifiers(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let mut from = 0;
    for at in 1..bytes.len() {
        if !bytes[at].is_ascii_uppercase() {
            continue;
        }
        let before = bytes[at - 1];
        let lower_follows = bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase);
        if before.is_ascii_lowercase()
            || before.is_ascii_digit()
            || (before.is_ascii_uppercase() && lower_follows)
        {
            out.push_str(&text[from..at]);
            out.push(' ');
            from = at;
        }
    }
    if from == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[from..]);
    Cow::Owned(out)
}

/// Zero-width characters, and the diacritics that decomposition has separated from Latin, Greek and
/// Cyrillic letters.
fn is_dropped(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}' | '\u{300}'..='\u{36f}')
}

/// Cuts runs of scripts without spaces into pairs: `abc` becomes ` ab bc c `, so that every pair and
/// every single character of the run begins a word.
fn pair(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_spaceless) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() * 2);
    let mut run: Vec<char> = Vec::new();
    for c in text.chars() {
        if is_spaceless(c) || (!run.is_empty() && is_combining_mark(c)) {
            run.push(c);
        } else {
            flush(&mut run, &mut out);
            out.push(c);
        }
    }
    flush(&mut run, &mut out);
    Cow::Owned(out)
}

fn flush(run: &mut Vec<char>, out: &mut String) {
    if run.is_empty() {
        return;
    }
    for pair in run.windows(2) {
        out.push(' ');
        out.extend(pair);
    }
    out.push(' ');
    out.extend(run.last());
    out.push(' ');
    run.clear();
}

/// Characters of words in scripts that are written without spaces. Hangul is among them because
/// particles are written together with their noun.
pub(super) fn is_spaceless(c: char) -> bool {
    const RANGES: &[(char, char)] = &[
        ('\u{e00}', '\u{eff}'),     // Thai, Lao
        ('\u{f00}', '\u{fff}'),     // Tibetan
        ('\u{1000}', '\u{109f}'),   // Myanmar
        ('\u{1100}', '\u{11ff}'),   // Hangul
        ('\u{1780}', '\u{17ff}'),   // Khmer
        ('\u{1950}', '\u{19df}'),   // Tai Le, New Tai Lue
        ('\u{1a20}', '\u{1aaf}'),   // Tai Tham
        ('\u{3005}', '\u{3007}'),   // Han iteration mark, closing mark, zero
        ('\u{3040}', '\u{30ff}'),   // Hiragana, Katakana
        ('\u{31f0}', '\u{31ff}'),   // Katakana extensions
        ('\u{3400}', '\u{4dbf}'),   // Han
        ('\u{4e00}', '\u{9fff}'),   // Han
        ('\u{a9e0}', '\u{a9ff}'),   // Myanmar
        ('\u{aa60}', '\u{aa7f}'),   // Myanmar
        ('\u{ac00}', '\u{d7ff}'),   // Hangul
        ('\u{f900}', '\u{faff}'),   // Han
        ('\u{20000}', '\u{3ffff}'), // Han
    ];
    c >= '\u{e00}' && is_word(c) && RANGES.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn listed(text: &str) -> Vec<String> {
        words(&searchable(text)).map(str::to_lowercase).collect()
    }

    #[test]
    fn identifiers_are_split_at_their_words() {
        for (text, split) in [
            ("parseHTTPHeader2Json", "parse HTTP Header2 Json"),
            ("plain_snake case", "plain_snake case"),
            ("SqliteStore::openNow", "Sqlite Store::open Now"),
            ("A", "A"),
            ("", ""),
        ] {
            assert_eq!(searchable(text), split);
        }
    }

    #[test]
    fn scripts_without_spaces_become_pairs() {
        for (text, expected) in [
            ("東京都", &["東京", "京都", "都"][..]),
            ("犬", &["犬"]),
            ("ログを消す!", &["ログ", "グを", "を消", "消す", "す"]),
            ("日本go語", &["日本", "本", "go", "語"]),
            ("검색을", &["검색", "색을", "을"]),
        ] {
            assert_eq!(listed(text), expected, "{text}");
        }
        // Thai: vowels above and below are marks of the word.
        assert_eq!(listed("ค้นหา").len(), 5);
    }

    #[test]
    fn forms_that_look_alike_are_one_word() {
        for (text, expected) in [
            ("ＦＵＬＬ　ｗｉｄｔｈ", &["full", "width"][..]),
            ("pass\u{200b}word", &["password"]),
            ("soft\u{ad}hyphen", &["softhyphen"]),
            ("ﬁle", &["file"]),
            ("naïve Übung cafe\u{301}", &["naive", "ubung", "cafe"]),
            ("ｶﾞｲﾄﾞ", &["ガイ", "イド", "ド"]),
        ] {
            assert_eq!(listed(text), expected, "{text}");
        }
    }

    proptest! {
        /// A part of a run is found wherever it stands: all its words are words of the whole.
        #[test]
        fn words_of_a_part_are_words_of_the_whole(before in "[一-龥]{0,4}", part in "[一-龥]{2,5}", after in "[一-龥]{0,4}") {
            let whole = listed(&format!("{before}{part}{after}"));
            let pairs = listed(&part);
            for pair in &pairs[..pairs.len() - 1] {
                prop_assert!(whole.contains(pair));
            }
        }

        #[test]
        fn the_form_of_a_form_has_the_same_words(text in "\\PC{0,40}") {
            let once = searchable(&text).into_owned();
            let latin = !once.chars().any(is_spaceless);
            if latin {
                prop_assert_eq!(listed(&text), listed(&once));
            }
        }
    }
}
