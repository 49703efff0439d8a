//! What commands ask of the engine, in one place: each function is the engine's work for one
//! command, and knows nothing of arguments or of how its answer is shown.

use std::path::Path;

use anyhow::bail;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::model::{EventSink, Report, VerifyReport};
use crate::plan::Plan;

use super::render::history::PastRun;
use super::render::query::Answer;
use super::render::status::StatusView;

/// What to plan.
#[derive(Debug, Clone, Default)]
pub(super) struct PlanRequest {
    /// These projects; none: all enabled ones.
    pub(super) projects: Vec<String>,
    /// Fetch and chunk the contents to count chunks, texts and tokens.
    pub(super) exact: bool,
}

/// What to apply.
#[derive(Debug, Clone, Default)]
pub(super) struct ApplyRequest {
    /// These projects; none: all enabled ones.
    pub(super) projects: Vec<String>,
    /// A saved plan: refused when it is not what would be planned now.
    pub(super) saved: Option<Plan>,
    /// Believe neither ledger nor stored answers.
    pub(super) full: bool,
    /// Remove orphans.
    pub(super) prune: bool,
    /// Let the deletion guard pass everything.
    pub(super) allow_deletes: bool,
    /// Refuse components that differ from `reposync.lock`.
    pub(super) locked: bool,
    /// Wait for another run to end.
    pub(super) wait: bool,
}

/// What to look for.
#[derive(Debug, Clone)]
pub(super) struct QueryRequest {
    /// The question.
    pub(super) text: String,
    /// In these projects; none: all enabled ones.
    pub(super) projects: Vec<String>,
    /// How many matches.
    pub(super) top_k: usize,
}

/// Problems of the file, until `config` brings its own.
pub(super) struct Problems;

impl Problems {
    /// As text.
    pub(super) fn render(&self, _color: bool, _width: usize) -> String {
        String::new()
    }
}

/// Reads the file; the projects named are those whose variables are needed.
pub(super) fn load(_path: &Path, _projects: &[String]) -> Result<Config, Problems> {
    Err(Problems)
}

/// Says what differs.
pub(super) async fn plan(
    _config: &Config,
    _request: &PlanRequest,
    _events: EventSink,
    _cancel: CancellationToken,
) -> anyhow::Result<Plan> {
    bail!("planning is not part of this build")
}

/// Makes it so.
pub(super) async fn apply(
    _config: &Config,
    _request: ApplyRequest,
    _events: EventSink,
    _cancel: CancellationToken,
) -> anyhow::Result<Report> {
    bail!("applying is not part of this build")
}

/// Runs until it is told to stop.
pub(super) async fn daemon(_config: Config, _cancel: CancellationToken) -> anyhow::Result<()> {
    bail!("the daemon is not part of this build")
}

/// Has the daemon of this file take it up; returns what it says.
pub(super) async fn reload(_config: &Path) -> anyhow::Result<String> {
    bail!("the daemon is not part of this build")
}

/// How current each project is.
pub(super) async fn status(_config: &Config) -> anyhow::Result<StatusView> {
    bail!("the ledger is not part of this build")
}

/// Past runs, the newest first.
pub(super) async fn history(_config: &Config, _limit: usize) -> anyhow::Result<Vec<PastRun>> {
    bail!("the ledger is not part of this build")
}

/// One past run, by its id or the beginning of it; none: there is no such run.
pub(super) async fn past_run(_config: &Config, _run: &str) -> anyhow::Result<Option<PastRun>> {
    bail!("the ledger is not part of this build")
}

/// Searches.
pub(super) async fn query(_config: &Config, _request: QueryRequest) -> anyhow::Result<Answer> {
    bail!("querying is not part of this build")
}

/// Compares ledger and stores, and mends what differs with `repair`.
pub(super) async fn verify(
    _config: &Config,
    _projects: &[String],
    _repair: bool,
    _events: EventSink,
    _cancel: CancellationToken,
) -> anyhow::Result<VerifyReport> {
    bail!("verifying is not part of this build")
}
