//! Implements the engine's [`Chunker`] trait with a component.

use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::super::{ChunkError, Chunker, Named, media_type_of};
use super::answer;
use super::bindings::reposync::chunker::types::{
    AttrValueParam, ChunkError as Refusal, Diagnostic, Document as Given,
};
use super::config_json::{ConfigProblem, canonical};
use super::fault::Fault;
use super::info::ComponentInfo;
use super::instance::Instance;
use super::matching::Matching;
use super::offsets::{OffsetUnit, position};
use super::replay;
use super::said::{self, one_line};
use super::settings::{OnError, WasmSettings};
use super::starter::Starter;
use crate::model::{Chunk, Document, Fingerprint, mask_secrets};

/// Number of different documents that may fail in a row before the component is disabled for the
/// run.
const MAX_STREAK: usize = 3;

/// A stage of kind `wasm`.
pub struct ComponentChunker {
    named: Named,
    path: PathBuf,
    /// The stage's `config` as JSON, in the form shown in messages (references unresolved).
    shown_config: String,
    starter: Starter,
    matching: Matching,
    on_error: Option<OnError>,
    warnings: Vec<ConfigProblem>,
    streak: Mutex<Streak>,
}

/// A validated result of a component.
pub(super) enum Answer {
    Chunks(Vec<Chunk>),
    NotMine,
    BadDocument(String),
    /// The component returned `chunk-error.failed`.
    Refused(String),
    /// The returned chunks violate the contract.
    Breach(String),
}

/// The documents on which the component failed in a row.
#[derive(Default)]
struct Streak {
    /// Digest and path of each document.
    documents: Vec<([u8; 32], String)>,
    /// The message with which the component was disabled; `None` while it is enabled.
    stopped: Option<String>,
}

impl ComponentChunker {
    pub(super) fn new(
        stage: &str,
        settings: &WasmSettings,
        file: &Path,
        starter: Starter,
        matching: Matching,
        warnings: Vec<ConfigProblem>,
    ) -> Self {
        let info = &starter.compiled.info;
        // The ledger stores identities, so resolved references go in only as a digest.
        let config = if *settings.shown_config() == settings.config {
            starter.config_json.clone()
        } else {
            Fingerprint::of(["config", &starter.config_json]).to_string()
        };
        // Limits are not part of the identity: they do not change the chunks of a document within
        // them.
        let mut identity = format!("{} sha256:{} {config}", info.label(), info.sha256);
        if let Some(on_error) = settings.on_error {
            identity.push_str(&format!(" on_error:{}", on_error.word()));
        }
        if info.asks_the_embedder() {
            identity.push_str(&format!(" {}", starter.tokens.identity()));
        }
        Self {
            named: Named { stage: stage.to_owned(), label: info.label(), identity, patterns: None },
            path: file.to_owned(),
            shown_config: canonical(settings.shown_config()),
            starter,
            matching,
            on_error: settings.on_error,
            warnings,
            streak: Mutex::new(Streak::default()),
        }
    }

    /// The component's description of itself.
    pub fn info(&self) -> &ComponentInfo {
        &self.starter.compiled.info
    }

    /// Path of the component's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Warnings that the component returned from `configure`.
    pub fn warnings(&self) -> &[ConfigProblem] {
        &self.warnings
    }

    /// Compile time; `None` if the compiled component came from the cache.
    pub fn compile_time(&self) -> Option<Duration> {
        self.starter.compiled.compile_time
    }

    pub(super) fn stage_name(&self) -> &str {
        &self.named.stage
    }

    /// A new, configured instance.
    pub(super) fn fresh(&self) -> Result<Instance, Fault> {
        self.starter.for_document()
    }

    /// Splits one document on an instance. After a fault the instance must be dropped.
    pub(super) fn call(&self, instance: &mut Instance, document: &Document<'_>) -> Result<Answer, Fault> {
        let given = Given {
            path: document.path,
            text: document.text,
            media_type: &media_type_of(document.path),
            language: document.language,
            attrs: &attrs(document, self.starter.tokens.most),
        };
        let answer = instance.split(given, &self.starter.limits, self.starter.runtime.watch());
        said::trace(&self.named.label, Some(document.path), || instance.said());
        Ok(match answer? {
            Ok(given) => match answer::chunks(document.text, self.info().offset_unit, given) {
                Ok(chunks) => Answer::Chunks(chunks),
                Err(breach) => Answer::Breach(breach),
            },
            Err(Refusal::NotMine) => Answer::NotMine,
            Err(Refusal::BadDocument(diagnostics)) => {
                Answer::BadDocument(diagnosed(document, self.info().offset_unit, &diagnostics))
            }
            Err(Refusal::Failed(reason)) => Answer::Refused(one_line(&reason)),
        })
    }

    /// Converts an answer to the result of [`Chunker::chunk`].
    fn result_of(&self, path: &str, answer: Answer) -> Result<Vec<Chunk>, ChunkError> {
        match answer {
            Answer::Chunks(chunks) => Ok(chunks),
            Answer::NotMine => Err(ChunkError::NotMine),
            Answer::BadDocument(why) => {
                let what = format!("it rejected the document: {why}");
                Err(self.unusable(path, &what, Some("fix the document"), OnError::Next))
            }
            Answer::Refused(reason) => Err(self.unusable(path, &reason, None, OnError::Fail)),
            Answer::Breach(breach) => {
                let hint = "this is a bug in the component; report it to its author";
                Err(self.unusable(path, &breach, Some(hint), OnError::Fail))
            }
        }
    }

    /// The error for a document without chunks; `usual` applies if the stage does not set
    /// `on_error`.
    fn unusable(&self, path: &str, what: &str, hint: Option<&str>, usual: OnError) -> ChunkError {
        match self.on_error.unwrap_or(usual) {
            OnError::Next => {
                ChunkError::Left { why: format!("component `{}`: {}", self.named.label, mask_secrets(what)) }
            }
            OnError::Fail => self.failed(path, what, hint),
        }
    }

    pub(super) fn failed(&self, path: &str, what: &str, hint: Option<&str>) -> ChunkError {
        // Output of a component may repeat secrets that it was given.
        ChunkError::Failed {
            message: format!("component `{}` failed on `{path}`: {}", self.named.label, mask_secrets(what)),
            hint: hint.map(|hint| mask_secrets(hint).into_owned()),
        }
    }

    /// Splits one document on a fresh instance. A fault is not retried, because components are
    /// deterministic.
    fn attempt(&self, document: &Document<'_>) -> Result<Answer, Fault> {
        self.call(&mut self.fresh()?, document)
    }

    /// Saves the document for replay, updates the failure streak, and builds the error.
    fn record_fault(&self, document: &Document<'_>, fault: &Fault) -> ChunkError {
        let kept = replay::keep(
            self.starter.runtime.failed(),
            &self.named.label,
            document.path,
            document.text,
            &format!("component `{}` failed: {}", self.named.label, mask_secrets(&fault.details())),
        );
        let mut hint = fault.remedy(&self.named.stage);
        match kept {
            Ok(kept) => {
                let command = replay::command(&self.path, &kept, &self.shown_config);
                hint.push_str(&format!("; `{command}` replays it"));
            }
            Err(error) => tracing::debug!(%error, "cannot save a component's failed document for replay"),
        }
        let what = mask_secrets(&fault.what()).into_owned();
        let mut streak = self.streak.lock();
        let digest = digest(document);
        if streak.documents.iter().all(|(known, _)| *known != digest) {
            streak.documents.push((digest, document.path.to_owned()));
        }
        if streak.documents.len() >= MAX_STREAK && streak.stopped.is_none() {
            let paths: Vec<_> = streak.documents.iter().map(|(_, path)| format!("`{path}`")).collect();
            let message = format!(
                "component `{}` is stopped for this run: it failed on {MAX_STREAK} documents in a row ({}), \
                 the last time because {what}",
                self.named.label,
                paths.join(", ")
            );
            tracing::warn!(stage = self.named.stage, "{message}");
            streak.stopped = Some(message);
        }
        // Missing a deadline depends on the machine, and the content of the index must not.
        if fault.kind.depends_on_the_machine() {
            return self.failed(document.path, &what, Some(&hint));
        }
        self.unusable(document.path, &what, Some(&hint), OnError::Fail)
    }
}

impl Chunker for ComponentChunker {
    fn named(&self) -> &Named {
        &self.named
    }

    fn matches(&self, path: &str) -> bool {
        self.matching.matches(path)
    }

    fn may_decline(&self, _path: &str) -> bool {
        true
    }

    fn reads_encoded(&self) -> bool {
        true
    }

    fn component(&self) -> Option<&ComponentInfo> {
        Some(self.info())
    }

    fn begin_run(&self) {
        *self.streak.lock() = Streak::default();
    }

    fn chunk(&self, document: &Document<'_>) -> Result<Vec<Chunk>, ChunkError> {
        if let Some(message) = &self.streak.lock().stopped {
            return Err(ChunkError::Stopped { message: message.clone() });
        }
        match self.attempt(document) {
            Ok(answer) => {
                self.streak.lock().documents.clear();
                self.result_of(document.path, answer)
            }
            Err(fault) => Err(self.record_fault(document, &fault)),
        }
    }
}

/// What else a component gets to know. All of it is part of the recipe or of the records' ids.
fn attrs<'a>(document: &Document<'a>, most: Option<u32>) -> Vec<(&'a str, AttrValueParam<'a>)> {
    let mut attrs = Vec::new();
    if let Some(repository) = document.repository {
        attrs.push(("repository", AttrValueParam::Text(repository)));
    }
    if let Some(most) = most {
        attrs.push(("max-tokens", AttrValueParam::Number(most.into())));
    }
    attrs
}

fn digest(document: &Document<'_>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(document.path);
    hasher.update([0]);
    hasher.update(document.text);
    hasher.finalize().into()
}

/// Diagnostics in one line, each prefixed with `path:line:column` if it has a location.
fn diagnosed(document: &Document<'_>, unit: OffsetUnit, diagnostics: &[Diagnostic]) -> String {
    const SHOWN: usize = 3;
    let shown = |diagnostic: &Diagnostic| {
        let message = one_line(&diagnostic.message);
        match &diagnostic.at {
            None => message,
            Some(span) => {
                let (line, column) = position(document.text, unit, span.start);
                format!("{}:{line}:{column}: {message}", one_line(document.path))
            }
        }
    };
    let mut parts: Vec<String> = diagnostics.iter().take(SHOWN).map(shown).collect();
    if diagnostics.len() > SHOWN {
        parts.push(format!("{} more", diagnostics.len() - SHOWN));
    }
    if parts.is_empty() { "it gave no reason".to_owned() } else { parts.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::super::bindings::reposync::chunker::types::{Severity, Span};
    use super::*;

    #[test]
    fn diagnostics_show_their_place() {
        let document =
            Document { path: "docs/a.ipynb", text: "ü\n{\"a\" 1}", language: None, ..Document::default() };
        let diagnostic = |message: &str, at: Option<u32>| Diagnostic {
            severity: Severity::Error,
            code: "syntax".into(),
            message: message.into(),
            pointer: None,
            at: at.map(|start| Span { start, end: start }),
        };
        let shown = |diagnostics: &[Diagnostic]| diagnosed(&document, OffsetUnit::CodePoints, diagnostics);
        assert_eq!(shown(&[]), "it gave no reason");
        let all = [diagnostic("expected `:`", Some(7)), diagnostic("not\nJSON", None)];
        assert_eq!(shown(&all), "docs/a.ipynb:2:6: expected `:`; not JSON");
        let many: Vec<_> = (0..5).map(|n| diagnostic("x", Some(n))).collect();
        assert!(shown(&many).ends_with("docs/a.ipynb:2:1: x; 2 more"), "{}", shown(&many));
    }
}
