//! A document as the host passes it: pointers to its parts. The host allocated them with
//! `cabi_realloc` and transfers ownership, so each part becomes a `String` without a copy.

#![expect(unsafe_code, reason = "raw memory of the canonical ABI; each use explains why it is sound")]

use crate::{AttrValue, Attrs, Document};

/// A text: owned UTF-8 bytes, as pointer and length.
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

/// The arguments of `split`: the `document` record of the contract.
pub struct Handed {
    /// Path relative to the root of the repository.
    pub path: HandedText,
    /// The cleaned text.
    pub text: HandedText,
    /// Media type.
    pub media_type: HandedText,
    /// Language; `None` if unknown.
    pub language: Option<HandedText>,
    /// Pointer to the first attribute, and their number.
    pub attrs: (*mut HandedAttr, usize),
}

impl Handed {
    /// Builds the document; takes ownership of the memory.
    ///
    /// # Safety
    /// The parts must be the arguments with which the host called `split`, as `wit/chunker.wit`
    /// defines it, and must be taken at most once per call.
    pub unsafe fn document(self) -> Document {
        // SAFETY: the canonical ABI guarantees what `text` and `list` require; the caller
        // guarantees that the parts are taken only once.
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
/// As for [`list`], and each attribute's tag must match its value.
unsafe fn attrs(place: *mut HandedAttr, count: usize) -> Attrs {
    // SAFETY: the tag of a variant says which of its values was written.
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
    // SAFETY: the host passes only valid UTF-8.
    unsafe { String::from_utf8_unchecked(list(place, length)) }
}

/// # Safety
/// `place` must point to `count` initialized items in an allocation of the global allocator for
/// exactly that many items, and nothing else may free it.
unsafe fn list<T>(place: *mut T, count: usize) -> Vec<T> {
    if count == 0 {
        return Vec::new(); // nothing was allocated
    }
    // SAFETY: `cabi_realloc` is the global allocator, called with the size and the alignment of
    // `count` items.
    unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(place, count)) }.into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Allocates the items as a host does; returns pointer and length.
    fn hand<T>(items: Vec<T>) -> (*mut T, usize) {
        let items = Box::leak(items.into_boxed_slice());
        (items.as_mut_ptr(), items.len())
    }

    fn hand_text(text: &str) -> HandedText {
        let (place, length) = hand(text.as_bytes().to_vec());
        HandedText(place, length)
    }

    #[test]
    fn a_document_is_read_as_the_host_passed_it() {
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
        // SAFETY: allocated like a host's document, with the global allocator, and taken once.
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
