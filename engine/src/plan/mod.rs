//! What differs between what is declared and what is indexed. Pure: listing and known files in,
//! plan out; no I/O, no stage.

mod attributes;
mod shown;

pub use attributes::Attributes;
pub use shown::{Action, Estimate, FilePlan, Plan, ProjectPlan, RepositoryPlan};
