//! A document as the host hands it over: where each of its parts lies. The host asked `cabi_realloc`
//! for that memory, filled it, and leaves it to us, so the parts become `String`s as they lie there.

#![expect(unsafe_code, reason = "raw memory of the canonical ABI; each use says why it is sound")]

use crate::{AttrValue, Attrs, Document};

/// A text: UTF-8 in memory that is ours.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct HandedText(pub *mut u8, pub usize);

/// `list<string>`
#[derive(Clone, Copy)]
#[repr(C)]
struct HandedTexts(*mut HandedText, usize);

/// `tuple<string, attr-value>`
#[repr(C)]
pub struct HandedAttr {
    name: HandedText,
    tag: u8,
    value: Value,
}

#[repr(C)]
union Value {
    text: HandedText,
    number: f64,
    flag: u8,
    texts: HandedTexts,
}

#[cfg(target_pointer_width = "32")]
const _: () =
    assert!(size_of::<HandedAttr>() == 24 && align_of::<HandedAttr>() == 8, "the contract's layout");

/// What `split` is called with: the contract's record.
pub struct Handed {
    /// Path from the repository's root.
    pub path: HandedText,
    /// The cleaned text.
    pub text: HandedText,
    /// Media type.
    pub media_type: HandedText,
    /// Language, when it is known.
    pub language: Option<HandedText>,
    /// Where the first attribute lies, and how many there are.
    pub attrs: (*mut HandedAttr, usize),
}

impl Handed {
    /// The document; takes over the memory it lies in.
    ///
    /// # Safety
    /// The parts must be what the host called `split` with, by the contract of `wit/chunker.wit`, and
    /// each call's parts may be taken once.
    pub unsafe fn document(self) -> Document {
        // SAFETY: the host promises by the canonical ABI what `text` and `list` ask for; the caller,
        // that nobody else takes them.
        unsafe {
            Document {
                path: text(self.path),
                text: text(self.text),
                media_type: text(self.media_type),
                language: self.language.map(|it| text(it)),
                attrs: attrs(self.attrs.0, self.attrs.1),
            }
        }
    }
}

/// # Safety
/// As for [`list`], and each attribute's tag must say what its value is.
unsafe fn attrs(place: *mut HandedAttr, count: usize) -> Attrs {
    // SAFETY: a variant's tag says which of its values was written.
    unsafe {
        let value = |attr: &HandedAttr| match attr.tag {
            0 => AttrValue::Text(text(attr.value.text)),
            1 => AttrValue::Number(attr.value.number),
            2 => AttrValue::Flag(attr.value.flag != 0),
            _ => {
                let texts = attr.value.texts;
                AttrValue::Texts(list(texts.0, texts.1).into_iter().map(|it| text(it)).collect())
            }
        };
        list(place, count).into_iter().map(|attr| (text(attr.name).into(), value(&attr))).collect()
    }
}

/// # Safety
/// As for [`list`], and the bytes must be UTF-8.
unsafe fn text(HandedText(place, length): HandedText) -> String {
    // SAFETY: the host hands over nothing but UTF-8.
    unsafe { String::from_utf8_unchecked(list(place, length)) }
}

/// # Safety
/// `place` must be memory of `count` items that were written, which the global allocator gave out for
/// exactly that many, and nobody else may free it.
unsafe fn list<T>(place: *mut T, count: usize) -> Vec<T> {
    if count == 0 {
        return Vec::new(); // nothing was given out
    }
    // SAFETY: `cabi_realloc` is the global allocator, asked for the size of `count` items and their
    // alignment.
    unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(place, count)) }.into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a host does: the items in memory of their own, and where they lie.
    fn hand<T>(items: Vec<T>) -> (*mut T, usize) {
        let items = Box::leak(items.into_boxed_slice());
        (items.as_mut_ptr(), items.len())
    }

    fn hand_text(text: &str) -> HandedText {
        let (place, length) = hand(text.as_bytes().to_vec());
        HandedText(place, length)
    }

    #[test]
    fn a_document_is_taken_as_it_was_handed_over() {
        let several = hand(vec![hand_text("one"), hand_text(""), hand_text("zwei ü")]);
        let attrs = [
            ("text", 0, Value { text: hand_text("Überblick 🦀") }),
            ("number", 1, Value { number: -2.5 }),
            ("flag", 2, Value { flag: 1 }),
            ("texts", 3, Value { texts: HandedTexts(several.0, several.1) }),
            ("none", 3, Value { texts: HandedTexts(std::ptr::null_mut(), 0) }),
        ];
        let attrs = attrs.map(|(name, tag, value)| HandedAttr { name: hand_text(name), tag, value });
        let handed = Handed {
            path: hand_text("docs/a.md"),
            text: hand_text("aü 🦀\n"),
            media_type: HandedText(std::ptr::null_mut(), 0),
            language: Some(hand_text("markdown")),
            attrs: hand(attrs.into()),
        };
        // SAFETY: made like a host's, with the global allocator, and taken once.
        let document = unsafe { handed.document() };
        let mut expected = Document::new("docs/a.md", "aü 🦀\n");
        expected.media_type = String::new();
        expected.language = Some("markdown".into());
        expected.attrs = vec![
            ("text".into(), "Überblick 🦀".into()),
            ("number".into(), AttrValue::Number(-2.5)),
            ("flag".into(), true.into()),
            ("texts".into(), vec!["one".to_owned(), String::new(), "zwei ü".to_owned()].into()),
            ("none".into(), Vec::new().into()),
        ];
        assert_eq!(document, expected);
    }
}
