//! `kind = "code"`: chunks along the syntax, with the symbol they are about; along lines for
//! languages without a grammar.

mod grammar;
mod pack;
mod walk;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::ops::ControlFlow;

use tree_sitter::{ParseOptions, ParseState, Parser, Tree};

use super::lines::Lines;
use super::size::Size;
use super::{ChunkError, Chunker, CodeSettings, TokenCounter, language_of, matcher};
use crate::model::{Chunk, Document, PathMatcher, StageResult};
use grammar::Syntax;

/// Changes when the same document and settings would give other chunks.
const VERSION: u32 = 1;

/// Larger files are data or generated: their syntax is not worth the memory (a tree takes ten
/// times the text).
const MAX_PARSED_BYTES: usize = 4 << 20;

/// Lines longer than this on average are minified code, where syntax gives no line to cut at.
const MAX_MEAN_LINE: usize = 400;

thread_local! {
    /// Parsers keep buffers, not memories: a tree depends on the text alone.
    static PARSER: RefCell<Parser> = RefCell::new(Parser::new());
}

/// Cuts source code along its syntax.
pub struct CodeChunker {
    stage: String,
    identity: String,
    label: String,
    patterns: Option<PathMatcher>,
    size: Size,
}

impl CodeChunker {
    /// `counter` is needed where the settings name `max_tokens`: it counts as the embedder does.
    pub fn new(stage: &str, settings: &CodeSettings, counter: Option<TokenCounter>) -> StageResult<Self> {
        let size = super::size_of(stage, settings.max_chunk_size, settings.max_tokens, counter)?;
        Ok(Self {
            identity: format!("code/{VERSION} {}", size.describe()),
            label: format!("code {VERSION}"),
            patterns: matcher(stage, settings.patterns.as_deref())?,
            stage: stage.to_owned(),
            size,
        })
    }
}

impl Chunker for CodeChunker {
    fn stage(&self) -> &str {
        &self.stage
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn label(&self) -> &str {
        &self.label
    }

    fn matches(&self, path: &str) -> bool {
        match &self.patterns {
            Some(patterns) => patterns.matches(path),
            None => language_of(path).is_some_and(|language| Syntax::of(language, path, "").is_some()),
        }
    }

    fn chunk(&self, document: &Document<'_>) -> Result<Vec<Chunk>, ChunkError> {
        let text = document.text;
        let ruler = self.size.ruler(text);
        let lines = Lines::new(&ruler);
        let syntax = document.language.and_then(|language| Syntax::of(language, document.path, text));
        let worth_it = text.len() <= MAX_PARSED_BYTES && text.len() / lines.count().max(1) <= MAX_MEAN_LINE;
        let tree = syntax.filter(|_| worth_it).and_then(|syntax| Some((syntax, parse(syntax, text)?)));
        Ok(match tree {
            Some((syntax, tree)) => pack::pack(&walk::outline(syntax, tree.root_node(), &lines), &lines),
            None => lines.split(0..lines.count()).into_iter().map(Chunk::slice).collect(),
        })
    }
}

/// The syntax tree of a text, errors and all; none where it would take far more work than code
/// does. The bound counts the parser's steps, not time, so that the answer is always the same.
fn parse(syntax: Syntax, text: &str) -> Option<Tree> {
    // Code takes about one call for 250 bytes; garbage in ambiguous grammars a hundred times more.
    let mut calls_left = 200 + text.len() / 20;
    // While the parser recovers from an error, a step may cost as much as everything that is still
    // open, at worst the whole text so far: broken brackets would make that quadratic.
    let mut recovery_left = (4 << 20) + 16 * text.len();
    let mut bounded = |state: &ParseState| {
        calls_left = calls_left.saturating_sub(1);
        if state.has_error() {
            recovery_left = recovery_left.saturating_sub(state.current_byte_offset());
        }
        if calls_left == 0 || recovery_left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let bytes = text.as_bytes();
    PARSER.with_borrow_mut(|parser| {
        // A grammar made for another version of the library is refused: then there is no syntax.
        parser.set_language(&syntax.grammar()).ok()?;
        let options = ParseOptions::new().progress_callback(&mut bounded);
        let tree =
            parser.parse_with_options(&mut |at, _| bytes.get(at..).unwrap_or_default(), None, Some(options));
        // A parse that was broken off would be taken up again.
        parser.reset();
        tree
    })
}
