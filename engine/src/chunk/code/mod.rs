//! `kind = "code"`: source code, configuration and data. Cuts along the syntax tree and names each
//! chunk after its symbol; languages without a grammar are cut along lines. Keeps the indentation.

mod config;
mod item;
mod pack;
mod parse;
mod settings;
mod sql;
mod syntax;
mod walk;
mod yaml;

#[cfg(test)]
mod tests;

pub use settings::CodeSettings;

use super::language::is_prose;
use super::lines::Lines;
use super::script::interpreter;
use super::size::Size;
use super::{ChunkError, Chunker, Named, TokenCounter, language_of};
use crate::model::{Chunk, Document, StageResult};
use syntax::{OF_SCRIPTS, Syntax};

/// Bump when the same document, settings and grammar would give different chunks, or when a new
/// version of the tree-sitter library builds different trees.
const VERSION: u32 = 2;

/// Larger files are data or generated code, not worth the memory: a tree takes ten times the size
/// of its text.
const MAX_PARSED_BYTES: usize = 4 << 20;

/// A longer average line means minified code, where the syntax offers no line to cut at.
const MAX_MEAN_LINE: usize = 400;

/// Cuts source code along its syntax tree.
pub struct CodeChunker {
    named: Named,
    size: Size,
    /// Identity of a file, by the set of grammars that may parse it.
    identities: Vec<(&'static [Syntax], String)>,
}

impl CodeChunker {
    /// `counter` counts tokens as the embedder does; required if the settings set `max_tokens`.
    pub fn new(stage: &str, settings: &CodeSettings, counter: Option<TokenCounter>) -> StageResult<Self> {
        let size = super::size_of(stage, settings.max_chunk_size, settings.max_tokens, counter)?;
        let base = format!("code/{VERSION} {}", size.describe());
        let with = |grammars: &[Syntax]| {
            let versions = grammars.iter().map(|syntax| syntax.version());
            std::iter::once(base.as_str()).chain(versions).collect::<Vec<_>>().join(" ")
        };
        let named =
            Named::new(stage, with(Syntax::ALL), format!("code {VERSION}"), settings.patterns.as_deref())?;
        let identities = Syntax::sets().map(|grammars| (grammars, with(grammars))).collect();
        Ok(Self { named, size, identities })
    }

    /// The grammars that may parse a file with this path.
    fn grammars(path: &str) -> &'static [Syntax] {
        language_of(path).map_or(OF_SCRIPTS, |language| Syntax::candidates(language, path))
    }
}

impl Chunker for CodeChunker {
    fn named(&self) -> &Named {
        &self.named
    }

    fn matches(&self, path: &str) -> bool {
        // For a file without a known name, `chunk` inspects the text to see whether it is a script.
        self.named.takes(path, || language_of(path).is_none_or(|language| !is_prose(language)))
    }

    fn identity_of(&self, path: &str) -> &str {
        let grammars = Self::grammars(path);
        let found = self.identities.iter().find(|(of, _)| *of == grammars);
        found.map_or(&self.named.identity, |(_, identity)| identity)
    }

    fn may_decline(&self, path: &str) -> bool {
        self.named.patterns.is_none() && language_of(path).is_none()
    }

    fn chunk(&self, document: &Document<'_>) -> Result<Vec<Chunk>, ChunkError> {
        let text = document.text;
        if self.may_decline(document.path) && interpreter(text).is_none() {
            return Err(ChunkError::NotMine);
        }
        let ruler = self.size.ruler(text);
        let lines = Lines::new(&ruler);
        match document.language {
            Some("sql") => return Ok(pack::pack(&sql::outline(&lines), &lines)),
            Some("yaml") => return Ok(pack::pack(&yaml::outline(&lines), &lines)),
            _ => {}
        }
        let syntax = document
            .language
            .and_then(|language| Syntax::of(language, document.path, text))
            .filter(|syntax| Self::grammars(document.path).contains(syntax));
        let worth_it = text.len() <= MAX_PARSED_BYTES && text.len() / lines.count().max(1) <= MAX_MEAN_LINE;
        let tree = match syntax.filter(|_| worth_it) {
            Some(syntax) => parse::parse(syntax, text).map_err(|_| too_slow())?.map(|tree| (syntax, tree)),
            None => None,
        };
        Ok(match tree {
            Some((syntax, tree)) => pack::pack(&walk::outline(syntax, tree.root_node(), &lines), &lines),
            None => lines.split(0..lines.count()).into_iter().map(Chunk::slice).collect(),
        })
    }
}

/// The error for a file whose parse exceeds the CPU time limit.
fn too_slow() -> ChunkError {
    ChunkError::Failed {
        message: "parsing it exceeded the time limit".to_owned(),
        hint: Some(
            "exclude it with `exclude_patterns`, or assign it to another chunker with `match`".to_owned(),
        ),
    }
}
