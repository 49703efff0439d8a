//! Converts a file's bytes to clean text: decoded, without a byte order mark and control
//! characters, and with `\n` as the only line ending. Line numbers stay the same.

use std::borrow::Cow;

use super::latin1::latin1;
use crate::model::{Cleaned, LineMap, SkipReason};

/// Git calls a file binary if it finds a NUL within this many bytes.
const BINARY_PROBE: usize = 8000;

/// Largest pointer file that Git LFS itself parses. Real pointers have about 130 bytes.
const LFS_POINTER_MAX: usize = 1024;

/// Decodes and cleans a file, or returns why it has no text to index.
///
/// Supported encodings: UTF-8, UTF-16 with a byte order mark, and Latin-1 where `latin1` is
/// certain. ISO-2022 is rejected, because it would otherwise pass for ASCII. The byte order mark
/// and all control characters except tab and newline (C1 controls too) are dropped. CRLF and lone
/// CR become LF, so line n of the result is line n of the file.
pub fn clean(bytes: &[u8]) -> Result<Cleaned, SkipReason> {
    let decoded = decode(bytes)?;
    if is_lfs_pointer(&decoded) {
        return Err(SkipReason::LfsPointer);
    }
    let text = match first_dirt(decoded.as_bytes()) {
        None => decoded.into_owned(),
        Some(_) if is_iso_2022(&decoded) => return Err(SkipReason::Undecodable),
        Some(at) => scrub(&decoded, at),
    };
    if text.trim_start().is_empty() {
        return Err(SkipReason::Empty);
    }
    Ok(Cleaned { text, lines: LineMap::Identity })
}

fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, SkipReason> {
    match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => return decode_unmarked(rest),
        // UTF-32 is not supported. Its byte order mark starts with the one of UTF-16.
        [0xFF, 0xFE, 0, 0, ..] => return Err(SkipReason::Undecodable),
        [0xFF, 0xFE, rest @ ..] => return decode_utf16(rest, encoding_rs::UTF_16LE),
        [0xFE, 0xFF, rest @ ..] => return decode_utf16(rest, encoding_rs::UTF_16BE),
        _ => {}
    }
    decode_unmarked(bytes)
}

fn decode_unmarked(bytes: &[u8]) -> Result<Cow<'_, str>, SkipReason> {
    if memchr::memchr(0, &bytes[..bytes.len().min(BINARY_PROBE)]).is_some() {
        return Err(SkipReason::Binary);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_) => latin1(bytes).map(Cow::Owned).ok_or(SkipReason::Undecodable),
    }
}

fn decode_utf16(
    bytes: &[u8],
    encoding: &'static encoding_rs::Encoding,
) -> Result<Cow<'static, str>, SkipReason> {
    encoding
        .decode_without_bom_handling_and_without_replacement(bytes)
        .map(|text| Cow::Owned(text.into_owned()))
        .ok_or(SkipReason::Undecodable)
}

/// True for text in an encoding of the ISO-2022 family (JP, KR, CN): ASCII in which escape
/// sequences switch the character set of the bytes that follow.
fn is_iso_2022(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memmem::find_iter(bytes, b"\x1B$")
        .any(|at| matches!(bytes.get(at + 2), Some(b'@' | b'A' | b'B' | b'('..=b'+')))
        && text.is_ascii()
}

/// True for a pointer file of Git LFS (or its predecessor) in place of the real content.
fn is_lfs_pointer(text: &str) -> bool {
    text.len() <= LFS_POINTER_MAX
        && matches!(
            text.lines().next(),
            Some("version https://git-lfs.github.com/spec/v1" | "version https://hawser.github.com/spec/v1")
        )
        && text.lines().any(|line| line.starts_with("oid sha256:"))
}

/// Offset of the first byte of a character to drop or replace.
///
/// Most files are clean, so blocks are checked without branches (the loop is vectorized), and only
/// a block with a suspicious byte is inspected byte by byte.
#[expect(clippy::needless_bitwise_bool, reason = "a branch-free loop can be vectorized")]
fn first_dirt(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 128;
    for (n, block) in bytes.chunks(BLOCK).enumerate() {
        // C2 leads the C1 controls, but also `©` and others, so the block needs a closer look.
        let suspicious = block.iter().fold(false, |seen, &b| {
            seen | ((b < b' ') & (b != b'\n') & (b != b'\t')) | (b == 0x7F) | (b == 0xC2)
        });
        if suspicious {
            let start = n * BLOCK;
            let found = block.iter().enumerate().find(|&(at, &byte)| match byte {
                b'\n' | b'\t' => false,
                0..b' ' | 0x7F => true,
                0xC2 => bytes.get(start + at + 1).is_some_and(|next| (0x80..0xA0).contains(next)),
                _ => false,
            });
            if let Some((at, _)) = found {
                return Some(start + at);
            }
        }
    }
    None
}

/// Cleans the text from the first dirty character on; clean stretches are copied whole.
fn scrub(text: &str, first: usize) -> String {
    let bytes = text.as_bytes();
    let mut clean = String::with_capacity(text.len());
    let (mut from, mut dirt) = (0, Some(first));
    while let Some(at) = dirt {
        clean.push_str(&text[from..at]);
        from = at + 1;
        match bytes[at] {
            b'\r' => {
                clean.push('\n');
                if bytes.get(from) == Some(&b'\n') {
                    from += 1;
                }
            }
            0xC2 => from += 1, // the second byte of a C1 control
            _ => {}
        }
        dirt = next_dirt(bytes, from);
    }
    clean.push_str(&text[from..]);
    clean
}

/// Like [`first_dirt`], for files known to be dirty: with CRLF line endings the next hit is near.
fn next_dirt(bytes: &[u8], from: usize) -> Option<usize> {
    const NEAR: usize = 256;
    let rest = &bytes[from..];
    let near = rest.iter().take(NEAR).enumerate().position(|(at, &byte)| match byte {
        b'\n' | b'\t' => false,
        0..b' ' | 0x7F => true,
        0xC2 => rest.get(at + 1).is_some_and(|next| (0x80..0xA0).contains(next)),
        _ => false,
    });
    match near {
        Some(at) => Some(from + at),
        None if rest.len() > NEAR => first_dirt(&rest[NEAR..]).map(|at| from + NEAR + at),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(bytes: &[u8]) -> Result<String, SkipReason> {
        clean(bytes).map(|cleaned| cleaned.text)
    }

    #[test]
    fn files_are_decoded_and_cleaned() {
        for (bytes, clean) in [
            (&b"plain\n\ttext"[..], "plain\n\ttext"),
            (b"\xEF\xBB\xBFmark", "mark"),
            (b"a\r\nb\rc\r\r\nd\n", "a\nb\nc\n\nd\n"),
            (b"bell\x07 del\x7F esc\x1B[0m vt\x0B", "bell del esc[0m vt"),
            ("c1\u{85}\u{9F} ©\u{A0}kept".as_bytes(), "c1 ©\u{A0}kept"),
            ("a\u{FEFF}b\u{2028}c".as_bytes(), "a\u{FEFF}b\u{2028}c"),
            (b"\xFF\xFEh\0i\0\r\0\n\0\x3D\xD8\x00\xDE", "hi\n😀"),
            (b"\xFE\xFF\0h\0i", "hi"),
            (
                b"caf\xE9 \xE0 la cr\xE8me, na\xEFve \xAB mot \xBB 20\xB0C",
                "café à la crème, naïve « mot » 20°C",
            ),
            (b"Stra\xDFe, \xDCbung: gr\xFC\xDFen", "Straße, Übung: grüßen"),
            (b"tput\x1B(B reset", "tput(B reset"), // terminal reset
            ("\x1B$B and 漢".as_bytes(), "$B and 漢"),
        ] {
            assert_eq!(text(bytes).as_deref(), Ok(clean), "{bytes:?}");
        }
        let late_nul = [b"x".repeat(8000), b"\0y".to_vec()].concat();
        assert_eq!(text(&late_nul), Ok("x".repeat(8000) + "y"));
    }

    #[test]
    fn files_without_text_are_skipped_with_a_reason() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        let old_pointer = b"version https://hawser.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        let nul_at_limit = [b"x".repeat(7999), b"\0".to_vec()].concat();
        for (bytes, reason) in [
            (&b""[..], SkipReason::Empty),
            (b" \n\t\r\n ", SkipReason::Empty),
            (b"\xEF\xBB\xBF\n", SkipReason::Empty),
            (b"\x07\x1B", SkipReason::Empty),
            (b"\xFF\xFE", SkipReason::Empty),
            (b"ab\0c", SkipReason::Binary),
            (&nul_at_limit, SkipReason::Binary),
            (b"\xFF\xFEh\0i", SkipReason::Undecodable), // half a code unit
            (b"\xFF\xFE\x00\xDE", SkipReason::Undecodable), // half a surrogate pair
            (b"\xFF\xFE\0\0h\0\0\0", SkipReason::Undecodable), // UTF-32
            (b"\xCF\xF0\xE8\xE2\xE5\xF2", SkipReason::Undecodable), // Cyrillic
            (b"za\xBF\xF3\xB3\xE6", SkipReason::Undecodable), // Polish, ISO-8859-2
            (b"\x93quoted\x94", SkipReason::Undecodable), // Windows-1252
            (b"\xC4\xE3\xBA\xC3", SkipReason::Undecodable), // Chinese, GBK
            (b"\x82\xB1\x82\xF1", SkipReason::Undecodable), // Japanese, Shift JIS
            (b"\xE9\xE9\xE9", SkipReason::Undecodable),
            (b"\x1B$B$3$s\x1B(B", SkipReason::Undecodable), // Japanese, ISO-2022-JP
            (b"\x1B$)C\x0EGQ\x0F", SkipReason::Undecodable), // Korean, ISO-2022-KR
            (pointer, SkipReason::LfsPointer),
            (old_pointer, SkipReason::LfsPointer),
        ] {
            assert_eq!(text(bytes), Err(reason), "{bytes:?}");
        }
        assert!(text(b"version https://git-lfs.github.com/spec/v1\nis what a pointer begins with").is_ok());
    }

    /// The cleaning rule, applied character by character.
    fn naive(text: &str) -> String {
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
    }

    proptest! {
        #[test]
        fn cleaning_is_the_rule(parts in prop::collection::vec(
            prop_oneof![
                "\\PC{0,200}", ".{0,8}",
                Just("\r\n".to_owned()), Just("\r".to_owned()), Just("\u{85}".to_owned()), Just("©".to_owned()),
            ], 0..20)) {
            let file = parts.concat();
            prop_assume!(!file.contains('\0'));
            let expected = naive(&file);
            match text(file.as_bytes()) {
                Ok(clean) => {
                    prop_assert_eq!(&clean, &expected);
                    prop_assert_eq!(text(clean.trim_start_matches('\u{FEFF}').as_bytes()).ok(), Some(clean.trim_start_matches('\u{FEFF}').to_owned()));
                }
                Err(reason) => {
                    prop_assert_eq!(reason, SkipReason::Empty);
                    prop_assert!(expected.trim().is_empty());
                }
            }
        }

        #[test]
        fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(clean) = clean(&bytes) {
                prop_assert!(!clean.text.contains('\r'));
            }
        }
    }
}
