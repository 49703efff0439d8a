//! A component behind the engine's chunker seam.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::super::{ChunkError, Chunker, WasmSettings};
use super::answer;
use super::bindings::reposync::chunker::types::{ChunkError as Refusal, Diagnostic, Document as Given};
use super::config_json::ConfigProblem;
use super::fault::Fault;
use super::info::ComponentInfo;
use super::instance::Instance;
use super::limits::Limits;
use super::matching::Matching;
use super::pool::Pool;
use super::replay;
use super::said::one_line;
use crate::model::{Chunk, Document};

/// Different documents in a row that may fail before the component is stopped for the run.
const MAX_STREAK: usize = 3;

/// A stage of kind `wasm`.
pub struct ComponentChunker {
    stage: String,
    path: PathBuf,
    label: String,
    identity: String,
    limits: Limits,
    pool: Arc<Pool>,
    matching: Matching,
    warnings: Vec<ConfigProblem>,
    streak: Mutex<Streak>,
}

/// The documents in a row on which the component came to grief.
#[derive(Default)]
struct Streak {
    /// Digest and path of each.
    documents: Vec<([u8; 32], String)>,
    /// Set once there were too many.
    stopped: Option<String>,
}

impl ComponentChunker {
    pub(super) fn new(
        stage: &str,
        settings: &WasmSettings,
        limits: Limits,
        pool: Arc<Pool>,
        matching: Matching,
        warnings: Vec<ConfigProblem>,
    ) -> Self {
        let info = &pool.compiled.info;
        Self {
            stage: stage.to_owned(),
            path: settings.component.clone(),
            label: info.label(),
            // Limits are left out: they do not change the chunks of a document that gets through.
            identity: format!("{} sha256:{} {}", info.label(), info.sha256, pool.config_json),
            limits,
            pool,
            matching,
            warnings,
            streak: Mutex::new(Streak::default()),
        }
    }

    /// What the component says of itself.
    pub fn info(&self) -> &ComponentInfo {
        &self.pool.compiled.info
    }

    /// The component's file.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// What it warned of when it was configured.
    pub fn warnings(&self) -> &[ConfigProblem] {
        &self.warnings
    }

    /// One document on an instance; the instance comes back only if it can be used again.
    fn split(
        &self,
        mut instance: Instance,
        document: &Document<'_>,
    ) -> Result<Result<Vec<Chunk>, ChunkError>, Fault> {
        let given = Given {
            path: document.path,
            text: document.text,
            media_type: media_type(document.path),
            language: document.language,
            attrs: &[],
        };
        let answer = instance.split(given, &self.limits, self.pool.host.watch())?;
        self.pool.put(instance, &self.limits);
        Ok(match answer {
            Ok(given) => answer::chunks(document.text, self.info().offset_unit, given).map_err(|fault| {
                self.failed(document.path, &fault, Some("this is a fault of the component; tell its author"))
            }),
            Err(Refusal::NotMine) => Err(ChunkError::NotMine),
            Err(Refusal::BadDocument(diagnostics)) => {
                let message = format!("it finds the document bad: {}", diagnosed(&diagnostics));
                Err(self.failed(document.path, &message, Some("mend the document")))
            }
            Err(Refusal::Failed(reason)) => Err(self.failed(document.path, &one_line(&reason), None)),
        })
    }

    fn failed(&self, path: &str, what: &str, hint: Option<&str>) -> ChunkError {
        ChunkError::Failed {
            message: format!("component `{}` failed on `{path}`: {what}", self.label),
            hint: hint.map(str::to_owned),
        }
    }

    /// On an idle instance, and if that fails, once on a fresh one: a fault that only old state
    /// brings about costs nothing but time.
    fn attempt(&self, document: &Document<'_>) -> Result<Result<Vec<Chunk>, ChunkError>, Fault> {
        if let Some(instance) = self.pool.take() {
            match self.split(instance, document) {
                Err(fault) => tracing::debug!(
                    component = self.label,
                    path = document.path,
                    fault = fault.what(),
                    "tried again on a fresh instance"
                ),
                answer => return answer,
            }
        }
        // It took this configuration when the stage was loaded.
        let (instance, _) = self.pool.start(&self.limits)?;
        self.split(instance, document)
    }

    /// Keeps the document for its author, counts it, and makes the message.
    fn came_to_grief(&self, document: &Document<'_>, fault: &Fault) -> ChunkError {
        let kept = replay::keep(
            &self.pool.host.failed,
            &self.label,
            document.path,
            document.text,
            &format!("component `{}` failed: {}", self.label, fault.details()),
        );
        let mut hint = fault.remedy(&self.stage);
        match kept {
            Ok(kept) => {
                let command = replay::command(&self.path, &kept, &self.pool.config_json);
                hint.push_str(&format!("; `{command}` replays it"));
            }
            Err(error) => tracing::debug!(%error, "a component's failed document is not kept"),
        }
        let what = fault.what();
        let mut streak = self.streak.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = digest(document);
        if streak.documents.iter().all(|(known, _)| *known != digest) {
            streak.documents.push((digest, document.path.to_owned()));
        }
        if streak.documents.len() >= MAX_STREAK && streak.stopped.is_none() {
            let paths: Vec<_> = streak.documents.iter().map(|(_, path)| format!("`{path}`")).collect();
            let message = format!(
                "component `{}` is stopped for this run: it failed on {MAX_STREAK} documents in a row ({}), \
                 the last time because {what}",
                self.label,
                paths.join(", ")
            );
            tracing::warn!(stage = self.stage, "{message}");
            streak.stopped = Some(message);
        }
        self.failed(document.path, &what, Some(&hint))
    }
}

impl Chunker for ComponentChunker {
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
        self.matching.matches(path)
    }

    fn may_decline(&self) -> bool {
        true
    }

    fn begin_run(&self) {
        *self.streak.lock().unwrap_or_else(PoisonError::into_inner) = Streak::default();
    }

    fn chunk(&self, document: &Document<'_>) -> Result<Vec<Chunk>, ChunkError> {
        if let Some(message) = &self.streak.lock().unwrap_or_else(PoisonError::into_inner).stopped {
            return Err(ChunkError::Stopped { message: message.clone() });
        }
        match self.attempt(document) {
            Ok(answer) => {
                self.streak.lock().unwrap_or_else(PoisonError::into_inner).documents.clear();
                answer
            }
            Err(fault) => Err(self.came_to_grief(document, &fault)),
        }
    }
}

fn digest(document: &Document<'_>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(document.path);
    hasher.update([0]);
    hasher.update(document.text);
    hasher.finalize().into()
}

fn diagnosed(diagnostics: &[Diagnostic]) -> String {
    const SHOWN: usize = 3;
    let mut parts: Vec<String> =
        diagnostics.iter().take(SHOWN).map(|diagnostic| one_line(&diagnostic.message)).collect();
    if diagnostics.len() > SHOWN {
        parts.push(format!("{} more", diagnostics.len() - SHOWN));
    }
    if parts.is_empty() { "it does not say why".to_owned() } else { parts.join("; ") }
}

/// The media type by extension, for what components are likely to be written for.
fn media_type(path: &str) -> &'static str {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    match extension.as_str() {
        "md" | "markdown" => "text/markdown",
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "csv" => "text/csv",
        "js" | "mjs" | "cjs" => "text/javascript",
        "json" => "application/json",
        "xml" => "application/xml",
        "yaml" | "yml" => "application/yaml",
        "toml" => "application/toml",
        _ => "text/plain",
    }
}
