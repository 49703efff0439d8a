//! The native twin of the changelog component: the same code behind the engine's chunker trait, with
//! the same identity. For tests and `benches/component.rs`.

use std::borrow::Cow;
use std::sync::Arc;

use changelog::Changelog;
use reposync::chunk::{ChunkError, Chunker, Named, media_type_of};
use reposync::model::{AttrValue, Body, Chunk, Document};
use reposync_plugin_sdk as sdk;
use sdk::Chunker as _;

/// A chunker with a component's identity that runs the native code.
pub(crate) struct Twin {
    component: Arc<dyn Chunker>,
    native: Changelog,
}

impl Twin {
    /// The twin of a component with this configuration.
    pub(crate) fn of(component: Arc<dyn Chunker>, config_json: &str) -> Self {
        let native = sdk::testing::configured::<Changelog>(config_json).expect("configured");
        Self { component, native }
    }
}

impl Chunker for Twin {
    fn named(&self) -> &Named {
        self.component.named()
    }

    fn matches(&self, path: &str) -> bool {
        self.component.matches(path)
    }

    fn may_decline(&self, path: &str) -> bool {
        self.component.may_decline(path)
    }

    fn chunk(&self, document: &Document<'_>) -> Result<Vec<Chunk>, ChunkError> {
        let given = sdk::Document {
            path: document.path.to_owned(),
            text: document.text.to_owned(),
            media_type: media_type_of(document.path),
            language: document.language.map(str::to_owned),
            attrs: Vec::new(),
        };
        match self.native.split(&given) {
            Ok(chunks) => Ok(chunks.into_iter().map(as_ours).collect()),
            Err(sdk::ChunkError::NotMine) => Err(ChunkError::NotMine),
            Err(other) => Err(ChunkError::Failed { message: format!("{other:?}"), hint: None }),
        }
    }
}

/// Converts a chunk of the SDK to the engine's type.
fn as_ours(chunk: sdk::Chunk) -> Chunk {
    let body = match chunk.content {
        sdk::Content::Slice(range) => Body::Slice(range),
        sdk::Content::Generated(text) => Body::Generated(text),
    };
    let attrs = chunk.attrs.into_iter().map(|(name, value)| {
        let value = match value {
            sdk::AttrValue::Text(text) => AttrValue::Text(text),
            sdk::AttrValue::Number(number) => AttrValue::Number(number),
            sdk::AttrValue::Flag(flag) => AttrValue::Flag(flag),
            sdk::AttrValue::Texts(texts) => AttrValue::Texts(texts),
        };
        (name.into_owned(), value)
    });
    Chunk {
        body,
        context: chunk.context,
        kind: chunk.kind.map(Cow::into_owned),
        name: chunk.name,
        attrs: attrs.collect(),
    }
}
