//! Reads a result from memory as a host does, by the offsets of the canonical ABI, and compares it
//! with the original. Addresses are truncated to 32 bits here, so texts are looked up by address.

use std::collections::HashMap;

use super::*;

/// The texts and lists of a result, by address.
struct Memory<'a> {
    texts: HashMap<Place, &'a str>,
    answer: &'a Answer,
}

impl<'a> Memory<'a> {
    fn of(answer: &'a Answer) -> Self {
        let mut texts = HashMap::new();
        let mut know = |it: &'a str| {
            texts.insert(text(it), it);
        };
        match &answer.kept {
            Ok(chunks) => {
                for chunk in chunks {
                    if let Content::Generated(passage) = &chunk.content {
                        know(passage);
                    }
                    [&chunk.context, &chunk.name].into_iter().flatten().for_each(|it| know(it));
                    chunk.kind.iter().for_each(|it| know(it));
                    for (name, value) in &chunk.attrs {
                        know(name);
                        match value {
                            AttrValue::Text(it) => know(it),
                            AttrValue::Texts(several) => several.iter().for_each(|it| know(it)),
                            AttrValue::Number(_) | AttrValue::Flag(_) => {}
                        }
                    }
                }
            }
            Err(ChunkError::BadDocument(diagnostics)) => {
                for it in diagnostics {
                    know(&it.code);
                    know(&it.message);
                    it.pointer.iter().for_each(|it| know(it));
                }
            }
            Err(ChunkError::Failed(reason)) => know(reason),
            Err(ChunkError::NotMine) => {}
        }
        Self { texts, answer }
    }

    /// The 4 bytes at an offset of a record.
    fn at(bytes: &[u8], offset: usize) -> u32 {
        u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("4 bytes"))
    }

    fn text(&self, bytes: &[u8], offset: usize) -> String {
        self.texts[&[Self::at(bytes, offset), Self::at(bytes, offset + 4)]].to_owned()
    }

    fn optional(&self, bytes: &[u8], offset: usize) -> Option<String> {
        (bytes[offset] == 1).then(|| self.text(bytes, offset + 4))
    }

    /// The bytes of the records of the list whose pointer and length are at this offset.
    fn records<T, const SIZE: usize>(
        bytes: &[u8],
        offset: usize,
        items: &[T],
        laid_out: impl Fn(&T) -> Vec<u8>,
    ) -> Vec<Vec<u8>> {
        let [place, count] = [Self::at(bytes, offset), Self::at(bytes, offset + 4)];
        let first = (0..=items.len()).find(|&n| list(&items[n..])[0] == place).expect("a place in the list");
        let records: Vec<_> = items[first..][..count as usize].iter().map(laid_out).collect();
        assert!(records.iter().all(|it| it.len() == SIZE), "{SIZE} bytes each");
        records
    }

    fn attr(&self, bytes: &[u8]) -> (std::borrow::Cow<'static, str>, AttrValue) {
        let value = match bytes[8] {
            0 => AttrValue::Text(self.text(bytes, 16)),
            1 => AttrValue::Number(f64::from_le_bytes(bytes[16..].try_into().expect("8 bytes"))),
            2 => AttrValue::Flag(bytes[16] == 1),
            3 => {
                let place = [Self::at(bytes, 16), Self::at(bytes, 20)];
                let texts = self.answer.texts.iter().find(|it| list(it) == place).expect("a list of texts");
                AttrValue::Texts(texts.iter().map(|it| self.texts[it].to_owned()).collect())
            }
            other => panic!("no such value: {other}"),
        };
        (self.text(bytes, 0).into(), value)
    }

    fn chunk(&self, bytes: &[u8]) -> Chunk {
        let content = match bytes[0] {
            0 => Content::Slice(Self::at(bytes, 4) as usize..Self::at(bytes, 8) as usize),
            1 => Content::Generated(self.text(bytes, 4)),
            other => panic!("no such content: {other}"),
        };
        let attrs = Self::records::<_, 24>(bytes, 48, &self.answer.attrs, words_of_8);
        Chunk {
            content,
            context: self.optional(bytes, 12),
            kind: self.optional(bytes, 24).map(Into::into),
            name: self.optional(bytes, 36),
            attrs: attrs.iter().map(|it| self.attr(it)).collect(),
        }
    }

    fn diagnostic(&self, bytes: &[u8]) -> Diagnostic {
        Diagnostic {
            severity: [Severity::Error, Severity::Warning, Severity::Note][usize::from(bytes[0])],
            code: self.text(bytes, 4),
            message: self.text(bytes, 12),
            pointer: self.optional(bytes, 20),
            at: (bytes[32] == 1).then(|| Self::at(bytes, 36) as usize..Self::at(bytes, 40) as usize),
        }
    }

    fn read(&self) -> Result<Vec<Chunk>, ChunkError> {
        let result = words_of_4(&self.answer.result);
        match (result[0], result[4]) {
            (0, _) => {
                let chunks = Self::records::<_, 56>(&result, 4, &self.answer.chunks, |it| words_of_4(it));
                Ok(chunks.iter().map(|it| self.chunk(it)).collect())
            }
            (1, 0) => Err(ChunkError::NotMine),
            (1, 1) => {
                let all = Self::records::<_, 44>(&result, 8, &self.answer.diagnostics, |it| words_of_4(it));
                Err(ChunkError::BadDocument(all.iter().map(|it| self.diagnostic(it)).collect()))
            }
            (1, 2) => Err(ChunkError::Failed(self.text(&result, 8))),
            other => panic!("no such result: {other:?}"),
        }
    }
}

fn words_of_4(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn words_of_8(words: &[u64; 3]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn every_result_reads_back_unchanged() {
    let owned = String::from("made up");
    let several = vec!["one".to_owned(), String::new(), "Überblick 🦀".to_owned()];
    let chunks = vec![
        Chunk::slice(0..7),
        Chunk::slice(3..70_000)
            .with_context("1.2.0 (2026-05-01)")
            .with_kind("release")
            .with_name("1.2.0")
            .with_attr("yanked", true)
            .with_attr("size", -2.5)
            .with_attr(owned.clone(), owned.as_str())
            .with_attr("authors", several)
            .with_attr("none", Vec::new()),
        Chunk::generated("a text of its own").with_kind(owned).with_attr("left", false),
    ];
    let problems = vec![
        Diagnostic::error("unknown-key", "write another").in_config("/a~1b"),
        Diagnostic::warning("odd", "no end of line").in_document(4..9),
        Diagnostic::note("", ""),
    ];
    // Reuse one `Answer`, as an instance does.
    let mut answer = Answer::new();
    for given in [
        Ok(chunks.clone()),
        Err(ChunkError::NotMine),
        Err(ChunkError::BadDocument(problems)),
        Err(ChunkError::BadDocument(Vec::new())),
        Err(ChunkError::Failed("asked too early".into())),
        Err(ChunkError::Failed(String::new())),
        Ok(Vec::new()),
        Ok(chunks),
    ] {
        let place = answer.set(given.clone());
        assert_eq!(place, answer.result.as_ptr());
        assert_eq!(Memory::of(&answer).read(), given);
    }
    answer.clear();
    assert!(answer.kept.as_ref().is_ok_and(Vec::is_empty) && answer.attrs.is_empty());
}

#[test]
fn records_do_not_move_while_they_are_written() {
    let chunks: Vec<_> = (0..1_000)
        .map(|n| {
            Chunk::slice(n..n + 1).with_attr("number", f64::from(u32::try_from(n).expect("a small number")))
        })
        .collect();
    let mut answer = Answer::new();
    answer.set(Ok(chunks.clone()));
    assert_eq!(Memory::of(&answer).read(), Ok(chunks));
}
