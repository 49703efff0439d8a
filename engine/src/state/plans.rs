//! Stored plans: saved plans that wait until somebody approves or discards them.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::model::StageResult;

/// How long a plan is kept.
pub const PLAN_LIFE: TimeDelta = TimeDelta::days(7);
/// Maximum number of plans kept.
pub(super) const KEPT_PLANS: i64 = 100;

/// Stored plans. The calls need no lease: a plan may be made, approved and discarded while another process has it.
#[async_trait]
pub trait Plans {
    /// Keeps a plan. Deletes plans older than [`PLAN_LIFE`], and those beyond the newest 100.
    async fn put_plan(&self, plan: &StoredPlan, content: PlanContent) -> StageResult<()>;

    /// The plans that are kept, newest first, without those older than [`PLAN_LIFE`].
    async fn plans(&self, now: DateTime<Utc>) -> StageResult<Vec<StoredPlan>>;

    /// A plan; `None`: there is none of this id, or it is older than [`PLAN_LIFE`].
    async fn plan(&self, id: &str, now: DateTime<Utc>) -> StageResult<Option<StoredPlan>>;

    /// What a plan consists of; `None`: it was deleted.
    async fn plan_content(&self, id: &str) -> StageResult<Option<PlanContent>>;

    /// Gives a plan another status, if it still has the status `from`. False: it has not, and nothing is changed.
    async fn decide_plan(&self, id: &str, from: PlanStatus, decision: &PlanDecision) -> StageResult<bool>;
}

/// A stored plan without its content.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPlan {
    /// Its id, unique in the state; later ids are greater.
    pub id: String,
    /// The project.
    pub project: String,
    /// When it was made (UTC).
    pub created_at: DateTime<Utc>,
    /// Who made it: the name of an API token.
    pub created_by: String,
    /// How many files it changes, what it costs: an object, which the state does not read.
    pub summary: Value,
    /// What became of it.
    pub status: PlanStatus,
    /// When that was decided (UTC).
    pub decided_at: Option<DateTime<Utc>>,
    /// Who decided it.
    pub decided_by: Option<String>,
    /// The run that carries it out.
    pub run: Option<String>,
}

/// What a stored plan consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanContent {
    /// The plan as it is shown.
    pub shown: Vec<u8>,
    /// The saved plan, which a run carries out.
    pub saved: Vec<u8>,
}

/// What became of a stored plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanStatus {
    /// It is neither approved nor discarded.
    Open,
    /// A run carries it out, or has done so.
    Approved,
    /// It is not carried out.
    Discarded,
}

impl PlanStatus {
    /// The word in the state and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Discarded => "discarded",
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        match text {
            "open" => Self::Open,
            "approved" => Self::Approved,
            // A plan with an unknown word must not be carried out.
            _ => Self::Discarded,
        }
    }
}

/// A decision about a stored plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanDecision {
    /// The new status.
    pub status: PlanStatus,
    /// When (UTC).
    pub at: DateTime<Utc>,
    /// Who decided it: the name of an API token.
    pub by: String,
    /// The run that carries it out.
    pub run: Option<String>,
}
