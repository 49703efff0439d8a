//! What differs between what is declared and what is indexed. Pure: listing and known files in,
//! plan out; no I/O, no stage.

mod attributes;
mod basis;
mod binary;
mod decide;
mod diff;
mod guard;
mod recipe;
mod select;
mod shown;
mod task;

pub use attributes::Attributes;
pub use basis::Basis;
pub use binary::is_binary_by_name;
pub use decide::{
    Fate, GuardDecision, Missing, MissingReason, OrphanFate, Prune, Removal, apply_guard, orphan_fate,
};
pub use diff::{Desired, Reason, Recorded, RecordedState, RepoDiff, Write, diff};
pub use guard::{Budget, Exceeded, Guard, Spending, SpendingGuard};
pub use recipe::{RecipePart, RecipeParts};
pub use select::Selector;
pub use shown::{Action, Estimate, FilePlan, Plan, ProjectPlan, RepositoryPlan, SecretFound};
pub use task::{RepositoryTask, basis};
