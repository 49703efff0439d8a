//! Makes plans and carries them out, from the listing to the last recorded file. Knows the stages by their
//! traits alone.

mod adopt;
mod behind;
mod bill;
mod budget;
mod count;
mod decide;
mod estimate;
mod execute;
mod file;
mod findings;
mod inspect;
pub mod operations;
mod options;
mod orphans;
mod parts;
mod planning;
mod prepare;
mod preview;
mod probe;
mod project;
mod project_run;
mod remove;
mod resume;
mod run;
mod sample;
mod saved;
mod selected;
mod setup;
mod spending;
mod stats;
mod survey;
mod verify;
mod writer;

pub use behind::count_behind;
pub use budget::Bounds;
pub use orphans::orphans;
pub use parts::{ProjectFiles, ProjectSearch, ProjectStore};
pub use planning::plan;
pub use probe::{Probe, probe};
pub use run::{run, run_id};
pub use saved::{PlanWriter, SavedPlan};
pub use setup::{Candidate, Engine, Options, Project};
pub use verify::{Finding, check, mend};
