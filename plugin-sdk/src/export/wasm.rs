//! The only module that uses the generated bindings.

use crate::{Diagnostic, Level, Severity};
use bindings::generated::exports::reposync::chunker::chunker as exported;
use bindings::generated::reposync::chunker::{host, log as imported, types};

/// Items that the macro [`export_chunker!`](crate::export_chunker) names.
pub mod bindings {
    #[expect(missing_docs, reason = "generated; documented in wit/chunker.wit")]
    pub mod generated {
        wit_bindgen::generate!({
            path: "../wit",
            // Only the imports that a chunker uses end up in its component.
            world: "chunker-plugin-with-host",
            pub_export_macro: true,
            export_macro_name: "export_component",
            // `export_chunker!` exports it.
            skip: ["split"],
        });
    }

    pub use generated::export_component;
    pub use generated::exports::reposync::chunker::chunker::{Guest, PluginInfo};
}

/// Functions that the macro's expansion calls; not public API.
pub mod __private {
    use std::cell::{OnceCell, RefCell};

    use super::{exported, types};
    use crate::export::answer::Answer;
    pub use crate::export::handed::{Handed, HandedAttr, HandedText};
    use crate::{ChunkError, Chunker, Document, Level, configure as from_json, log};

    thread_local! {
        /// The result that the host has not read yet.
        static ANSWER: RefCell<Answer> = const { RefCell::new(Answer::new()) };
    }

    /// Installs a hook that logs panics. This target has no standard error, so a panic would
    /// otherwise be a trap without a message. `describe` or `configure` runs before every `split`,
    /// so `split` need not install the hook.
    fn log_panics() {
        std::panic::set_hook(Box::new(|panic| {
            let message = panic.payload_as_str().unwrap_or("a value that is no text");
            // RepoSync parses file, line and message from this format.
            match panic.location() {
                Some(place) => log(Level::Error, &format!("panicked at {place}: {message}")),
                None => log(Level::Error, message),
            }
        }));
    }

    /// Result of `configure`.
    pub type Configured = Result<Vec<types::Diagnostic>, Vec<types::Diagnostic>>;

    /// Implements the export `describe`.
    pub fn describe<C: Chunker>() -> exported::PluginInfo {
        log_panics();
        let info = C::INFO;
        exported::PluginInfo {
            name: info.name.to_owned(),
            version: info.version.to_owned(),
            summary: info.summary.to_owned(),
            offset_unit: exported::OffsetUnit::Utf8Bytes,
            extensions: info.extensions.iter().map(|&it| it.to_owned()).collect(),
            config_schema: from_json::schema::<C>(),
        }
    }

    /// Implements the export `configure`: initializes the instance's cell.
    pub fn configure<C: Chunker>(cell: &OnceCell<C>, json: &str) -> Configured {
        log_panics();
        let chunker = from_json::configure::<C>(json).map_err(super::all)?;
        let warnings = super::all(chunker.warnings());
        match cell.set(chunker) {
            Ok(()) => Ok(warnings),
            Err(_) => Err(super::all(vec![crate::Diagnostic::error(
                "configured-twice",
                "an instance is configured once",
            )])),
        }
    }

    /// Implements the export `split` with the chunker in the instance's cell; the result is valid
    /// until [`after_split`].
    pub fn split<C: Chunker>(cell: &OnceCell<C>, document: &Document) -> *const u32 {
        let answer = match cell.get() {
            Some(chunker) => chunker.split(document),
            None => Err(ChunkError::Failed("asked to split before it was configured".into())),
        };
        ANSWER.with_borrow_mut(|place| place.set(answer))
    }

    /// Frees the result after the host has read it.
    pub fn after_split() {
        ANSWER.with_borrow_mut(Answer::clear);
    }
}

pub(crate) fn write_log(level: Level, message: &str) {
    let level = match level {
        Level::Trace => imported::Level::Trace,
        Level::Debug => imported::Level::Debug,
        Level::Info => imported::Level::Info,
        Level::Warn => imported::Level::Warn,
        Level::Error => imported::Level::Error,
    };
    imported::write(level, message);
}

pub(crate) fn count_tokens(text: &str) -> u32 {
    host::count_tokens(text)
}

pub(crate) fn max_tokens() -> Option<u32> {
    host::max_tokens()
}

fn all(diagnostics: Vec<Diagnostic>) -> Vec<types::Diagnostic> {
    diagnostics.into_iter().map(Into::into).collect()
}

fn offset(bytes: usize) -> u32 {
    // Component memory has 32-bit addresses, so every offset fits.
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn span(range: std::ops::Range<usize>) -> types::Span {
    types::Span { start: offset(range.start), end: offset(range.end) }
}

impl From<Diagnostic> for types::Diagnostic {
    fn from(diagnostic: Diagnostic) -> Self {
        Self {
            severity: match diagnostic.severity {
                Severity::Error => types::Severity::Error,
                Severity::Warning => types::Severity::Warning,
                Severity::Note => types::Severity::Note,
            },
            code: diagnostic.code,
            message: diagnostic.message,
            pointer: diagnostic.pointer,
            at: diagnostic.at.map(span),
        }
    }
}
