//! Decodes bytes that are not UTF-8 as Latin-1, if that is almost certainly right.
//!
//! Every byte sequence is valid Latin-1, so the decision rests on rules about what Western text
//! looks like and other encodings do not, and on an encoding detector that must agree. Measured on
//! translations of a website into 71 languages, each in its usual encodings, in samples of 40
//! sentences: of 4,662 texts in other encodings 2 are misread (169 by the rules alone, 993 by the
//! detector alone), and of 1,710 texts in Western encodings 72 % are decoded, none of them wrongly.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};

/// Decodes Latin-1. Returns `None` unless all of these rules hold:
///
/// - No multi-byte sequence is valid UTF-8. A file with one is UTF-8 with a damaged or foreign
///   part, and its `é` would be decoded as `Ã©`.
/// - No NUL, and no control bytes except tab, LF, CR and form feed; none in `80..9F` either, which
///   are controls in Latin-1 but letters or lead bytes in Windows-1252, KOI8, Shift JIS and GBK.
/// - The letters `C0..FE`, without `× ÷ ð Ð ý Ý þ Þ` (Turkish and other encodings assign those
///   codes differently): at most two in a row (Cyrillic, Greek and East Asian text has longer
///   runs), and next to an ASCII letter on at least one side. `õ` only before `e`, as in
///   Portuguese, because Hungarian (ISO-8859-2) has `ő` there.
/// - None of the signs `A0..BF` with an ASCII letter on both sides, where Central European text
///   (ISO-8859-2) has letters.
/// - `¦ ¨ ´ ¸ ¼ ½ ¾` not next to any letter, and no `¤`: in ISO-8859-15 they are `Š š Ž ž Œ œ Ÿ €`.
/// - At most a third of the letters are not ASCII.
/// - [`EncodingDetector`], which knows the frequencies of letter pairs in many languages, also
///   guesses a Western encoding.
pub(super) fn latin1(bytes: &[u8]) -> Option<String> {
    let possible = !has_utf8_characters(bytes) && looks_western(bytes) && is_detected(bytes);
    possible.then(|| bytes.iter().map(|&byte| char::from(byte)).collect())
}

fn has_utf8_characters(bytes: &[u8]) -> bool {
    bytes.utf8_chunks().any(|chunk| !chunk.valid().is_ascii())
}

/// Windows-1252 is the detector's name for Western text. The rules already exclude the bytes in
/// which it differs from Latin-1.
fn is_detected(bytes: &[u8]) -> bool {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, true);
    detector.guess(None, Utf8Detection::Allow) == encoding_rs::WINDOWS_1252
}

fn looks_western(bytes: &[u8]) -> bool {
    let ascii = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_alphabetic);
    let high = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(|byte| *byte >= 0xC0);
    let (mut ascii_letters, mut high_letters) = (0_usize, 0_usize);
    for (at, byte) in bytes.iter().enumerate() {
        let (before, after) = (at.checked_sub(1), Some(at + 1));
        match byte {
            b'\t' | b'\n' | b'\r' | 0x0C | b' '..=b'~' => {
                ascii_letters += usize::from(byte.is_ascii_alphabetic());
            }
            0xA6 | 0xA8 | 0xB4 | 0xB8 | 0xBC | 0xBD | 0xBE
                if ascii(before) || ascii(after) || high(before) || high(after) =>
            {
                return false;
            }
            0xA0..=0xBF if *byte != 0xA4 && !(ascii(before) && ascii(after)) => {}
            0xD7 | 0xF7 | 0xD0 | 0xF0 | 0xDD | 0xFD | 0xDE | 0xFE => return false,
            0xD5 | 0xF5 if !matches!(bytes.get(at + 1), Some(b'e' | b'E')) => return false,
            0xC0..=0xFE => {
                high_letters += 1;
                let far_before = at.checked_sub(2);
                let run = high(before) && high(after) || high(far_before) && high(before);
                let alone = !(ascii(before)
                    || ascii(after)
                    || high(before) && ascii(far_before)
                    || high(after) && ascii(Some(at + 2)));
                // A single `à` or `É` between spaces is a French word.
                let word = !high(before) && !high(after) && matches!(byte, 0xE0 | 0xC0 | 0xE9 | 0xC9);
                if run || (alone && !word) {
                    return false;
                }
            }
            _ => return false,
        }
    }
    high_letters * 2 <= ascii_letters
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodes a text as Latin-1.
    fn encoded(text: &str) -> Vec<u8> {
        text.chars().map(|c| u8::try_from(u32::from(c)).expect("a character of Latin-1")).collect()
    }

    #[test]
    fn western_text_is_read() {
        for text in [
            "Il a mangé à la crème brûlée, naïve « mot » à 20°C",
            "Die Straße ist für Fußgänger gesperrt, außer im März.",
            "El niño comió mañana: ¿qué pasó? ¡Sí!",
            "As configurações não são necessárias; põe só uma opção.",
            "Den første øl står på det blå bord, så går vi hjem.",
            "Größere Töpfe für ½ Liter Öl kosten 3 £ mehr als früher ¦ übrigens",
        ] {
            assert_eq!(latin1(&encoded(text)).as_deref(), Some(text));
        }
    }

    #[test]
    fn text_that_may_be_in_another_encoding_is_rejected() {
        for (bytes, why) in [
            (&b"Ren\xC3\xA9 wrote caf\xC3\xA9s in UTF-8.\nJos\xE9 wrote one line in Latin-1.\n"[..], "UTF-8"),
            (b"Un \xBDuvre pour la s\xBDur, voil\xE0 pour le caf\xE9", "ISO-8859-15: oe"),
            (b"Le prix du caf\xE9: 20 \xA4", "ISO-8859-15: euro"),
            (b"\xA6koda na \xE9t\xE9", "ISO-8859-15: S with caron"),
            (b"A f\xFCggv\xE9nyek k\xF6z\xF6tti k\xFCl\xF6nbs\xE9g er\xF5s", "Hungarian, ISO-8859-2"),
            (b"Nastavenia s\xFA ulo\xBEen\xE9 v s\xFAbore", "Slovak, ISO-8859-2"),
            (b"El m\x82s grande est\xA0 aqu\xA1", "Spanish, CP850"),
        ] {
            assert_eq!(latin1(bytes), None, "{why}");
        }
    }
}
