//! What a project's index rests on, besides the trees of its repositories.

use serde::Serialize;

use super::cache::wrong_role;
use crate::config::{Role, Stage};
use crate::model::{Fingerprint, StageResult};

/// The version of [`Basis`]: raised where a part changes its meaning.
pub(super) const VERSION: u32 = 1;

/// What decides, besides the trees, which files a project indexes and how. Written as JSON, so that it does
/// not depend on how Rust prints values. What only queries use is not part of it.
#[derive(Serialize)]
pub(super) struct Basis<'a> {
    pub(super) version: u32,
    pub(super) branch: Option<&'a str>,
    pub(super) chunkers: Vec<ChunkerBasis>,
    pub(super) embedder: &'a str,
    pub(super) place: Vec<String>,
    pub(super) allowed_extensions: Option<&'a [String]>,
    pub(super) exclude_patterns: &'a [String],
    pub(super) max_file_bytes: u64,
    pub(super) secrets: &'a str,
    pub(super) secret_rules: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct ChunkerBasis {
    pub(super) identity: String,
    pub(super) patterns: Option<Vec<String>>,
}

impl Basis<'_> {
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of([serde_json::to_string(self).unwrap_or_default()])
    }
}

/// What the file says of where a project's vectors belong.
pub(super) fn place(stage: &Stage, namespace: &str) -> StageResult<Vec<String>> {
    let store = stage.settings.store().ok_or_else(|| wrong_role(stage, Role::Store))?;
    let kind = store.kind().to_owned();
    Ok([kind].into_iter().chain(store.place()).chain([namespace.to_owned()]).collect())
}
