//! Runs a plan: from the listing to the last recorded file. Knows the stages by their traits alone.

mod adopt;
mod file;
mod look;
mod orphans;
mod prepare;
mod project_run;
mod remove;
mod run;
mod search;
mod setup;
mod survey;
mod tally;
mod writer;

pub use run::run;
pub use search::search;
pub use setup::{Candidate, Engine, IN_FLIGHT_KIB, Options, Project, Prune};
