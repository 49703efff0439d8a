//! A component behind the engine's chunker seam.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::super::{ChunkError, Chunker, Named, WasmSettings, media_type_of};
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
    named: Named,
    path: PathBuf,
    limits: Limits,
    pool: Arc<Pool>,
    matching: Matching,
    warnings: Vec<ConfigProblem>,
    streak: Mutex<Streak>,
}

/// What a component answered, checked.
pub(super) enum Answer {
    Chunks(Vec<Chunk>),
    NotMine,
    BadDocument(String),
    /// It says that it failed.
    Refused(String),
    /// Chunks that break the contract.
    Breach(String),
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
            named: Named {
                stage: stage.to_owned(),
                label: info.label(),
                // Limits are left out: they do not change the chunks of a document that gets through.
                identity: format!("{} sha256:{} {}", info.label(), info.sha256, pool.config_json),
                patterns: None,
            },
            path: settings.component.clone(),
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

    /// How long the compiler took; none: the compiled component was kept from before.
    pub fn compile_time(&self) -> Option<Duration> {
        self.pool.compiled.compile_time
    }

    pub(super) fn stage_name(&self) -> &str {
        &self.named.stage
    }

    /// A new instance, configured. The component took this configuration when the stage was loaded.
    pub(super) fn fresh(&self) -> Result<Instance, Fault> {
        self.pool.start(&self.limits).map(|(instance, _)| instance)
    }

    /// One document on an instance; after a fault the instance must be dropped.
    pub(super) fn call(&self, instance: &mut Instance, document: &Document<'_>) -> Result<Answer, Fault> {
        let given = Given {
            path: document.path,
            text: document.text,
            media_type: &media_type_of(document.path),
            language: document.language,
            attrs: &[],
        };
        let answer = instance.split(given, &self.limits, self.pool.host.watch())?;
        Ok(match answer {
            Ok(given) => match answer::chunks(document.text, self.info().offset_unit, given) {
                Ok(chunks) => Answer::Chunks(chunks),
                Err(breach) => Answer::Breach(breach),
            },
            Err(Refusal::NotMine) => Answer::NotMine,
            Err(Refusal::BadDocument(diagnostics)) => Answer::BadDocument(diagnosed(&diagnostics)),
            Err(Refusal::Failed(reason)) => Answer::Refused(one_line(&reason)),
        })
    }

    /// An answer as the seam knows it.
    fn told(&self, path: &str, answer: Answer) -> Result<Vec<Chunk>, ChunkError> {
        match answer {
            Answer::Chunks(chunks) => Ok(chunks),
            Answer::NotMine => Err(ChunkError::NotMine),
            Answer::BadDocument(why) => Err(self.failed(
                path,
                &format!("it finds the document bad: {why}"),
                Some("mend the document"),
            )),
            Answer::Refused(reason) => Err(self.failed(path, &reason, None)),
            Answer::Breach(breach) => {
                Err(self.failed(path, &breach, Some("this is a fault of the component; tell its author")))
            }
        }
    }

    pub(super) fn failed(&self, path: &str, what: &str, hint: Option<&str>) -> ChunkError {
        ChunkError::Failed {
            message: format!("component `{}` failed on `{path}`: {what}", self.named.label),
            hint: hint.map(str::to_owned),
        }
    }

    /// On an idle instance, and if that fails, once on a fresh one: a fault that only old state
    /// brings about costs nothing but time.
    fn attempt(&self, document: &Document<'_>) -> Result<Answer, Fault> {
        if let Some(mut instance) = self.pool.take() {
            match self.call(&mut instance, document) {
                Ok(answer) => {
                    self.pool.put(instance, &self.limits);
                    return Ok(answer);
                }
                Err(fault) => tracing::debug!(
                    component = self.named.label,
                    path = document.path,
                    fault = fault.what(),
                    "tried again on a fresh instance"
                ),
            }
        }
        let mut instance = self.fresh()?;
        let answer = self.call(&mut instance, document)?;
        self.pool.put(instance, &self.limits);
        Ok(answer)
    }

    /// Keeps the document for its author, counts it, and makes the message.
    fn came_to_grief(&self, document: &Document<'_>, fault: &Fault) -> ChunkError {
        let kept = replay::keep(
            &self.pool.host.failed,
            &self.named.label,
            document.path,
            document.text,
            &format!("component `{}` failed: {}", self.named.label, fault.details()),
        );
        let mut hint = fault.remedy(&self.named.stage);
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
                self.named.label,
                paths.join(", ")
            );
            tracing::warn!(stage = self.named.stage, "{message}");
            streak.stopped = Some(message);
        }
        self.failed(document.path, &what, Some(&hint))
    }
}

impl Chunker for ComponentChunker {
    fn named(&self) -> &Named {
        &self.named
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
                self.told(document.path, answer)
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
