//! A chunker component for RepoSync: a chunk starts at every line with a marker.
//!
//! A pure function over the text. The macro call before the tests turns it into a component.

use reposync_plugin_sdk::{
    Chunk, ChunkError, Chunker, Diagnostic, Document, Info, export_chunker,
};

/// The keys of `config` in `reposync.toml`; the JSON Schema is derived from this type.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A chunk starts at each line that starts with this text.
    pub marker: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { marker: "## ".into() }
    }
}

#[derive(Debug)]
pub struct Sections {
    marker: String,
}

impl Chunker for Sections {
    const INFO: Info = Info {
        name: "{{name}}",
        version: env!("CARGO_PKG_VERSION"),
        summary: "Starts a chunk at every line with a marker.",
        extensions: &[".txt"],
    };

    type Config = Config;

    fn configure(config: Config) -> Result<Self, Vec<Diagnostic>> {
        if config.marker.is_empty() {
            let message = "set the text that the first line of a chunk starts with";
            return Err(vec![Diagnostic::error("invalid-config", message).in_config("/marker")]);
        }
        Ok(Self { marker: config.marker })
    }

    fn split(&self, document: &Document) -> Result<Vec<Chunk>, ChunkError> {
        let mut chunks = Vec::new();
        let mut start = 0;
        let mut at = 0;
        for line in document.text.split_inclusive('\n') {
            if line.starts_with(&self.marker) {
                chunks.extend(self.chunk(&document.text, start, at));
                start = at;
            }
            at += line.len();
        }
        chunks.extend(self.chunk(&document.text, start, at));
        Ok(chunks)
    }
}

impl Sections {
    /// The chunk of a range without trailing white space; `None` if nothing is left.
    fn chunk(&self, text: &str, start: usize, end: usize) -> Option<Chunk> {
        let section = text[start..end].trim_end();
        if section.is_empty() {
            return None;
        }
        let chunk = Chunk::slice(start..start + section.len()).with_kind("section");
        let title = section.lines().next().and_then(|line| line.strip_prefix(&self.marker));
        Some(match title.map(str::trim).filter(|title| !title.is_empty()) {
            Some(title) => chunk.with_name(title),
            None => chunk,
        })
    }
}

export_chunker!(Sections);

#[cfg(test)]
mod tests {
    use reposync_plugin_sdk::testing;

    use super::*;

    #[test]
    fn a_chunk_starts_at_the_marker() {
        let document = Document::new("notes.txt", "first 🚀\n\n## Second\nline\n");
        let chunks = testing::chunk::<Sections>("{}", &document);
        assert_eq!(testing::texts(&document, &chunks), ["first 🚀", "## Second\nline"]);
        assert_eq!(chunks[1].name.as_deref(), Some("Second"));
        testing::assert_contract(&document, &chunks);
        testing::assert_covers(&document, &chunks);
    }

    #[test]
    fn an_empty_marker_is_refused() {
        let problems = testing::configured::<Sections>(r#"{"marker":""}"#).expect_err("refused");
        assert_eq!(problems[0].pointer.as_deref(), Some("/marker"));
    }
}
