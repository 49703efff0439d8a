//! A chunker in two versions, like a component that is replaced.

use reposync::chunk::{ChunkError, Chunker, Named};
use reposync::model::{AttrValue, Chunk, Document};

/// Takes files in `guide/`, one chunk per line; declines texts with repeated lines. Version 2 gives the
/// same texts another context, and attributes.
pub(crate) struct LabComponent {
    version: u8,
    named: Named,
}

impl LabComponent {
    pub(crate) fn new(version: u8) -> Self {
        let identity = format!("lab {version}");
        let named = Named { stage: "component".into(), label: identity.clone(), identity, patterns: None };
        Self { version, named }
    }
}

impl Chunker for LabComponent {
    fn named(&self) -> &Named {
        &self.named
    }

    fn matches(&self, path: &str) -> bool {
        path.starts_with("guide/")
    }

    fn may_decline(&self, _path: &str) -> bool {
        true
    }

    fn chunk(&self, document: &Document<'_>) -> Result<Vec<Chunk>, ChunkError> {
        if document.text.contains("again") {
            return Err(ChunkError::NotMine);
        }
        let mut chunks = Vec::new();
        let mut start = 0;
        for sentence in document.text.split_inclusive(". ") {
            let mut chunk = Chunk::slice(start..start + sentence.len());
            if self.version > 1 {
                chunk.context = Some("guide".into());
                chunk.attrs = vec![("version".into(), AttrValue::Number(f64::from(self.version)))];
            }
            chunks.push(chunk);
            start += sentence.len();
        }
        Ok(chunks)
    }
}
