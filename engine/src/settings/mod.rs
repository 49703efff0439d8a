//! Reads one table of the file into typed settings: positions, references, problems, checks of
//! values, secrets. Knows neither the kinds of stages nor projects.

mod checker;
mod env;
mod explain;
mod json;
mod mask;
mod objection;
mod paths;
mod problem;
mod secret_files;
mod secret_values;
mod shape;
mod substitute;
mod surroundings;
mod table;
mod values;

pub(crate) use checker::Checker;
pub use env::Env;
pub(crate) use explain::{choice, did_you_mean};
#[cfg(test)]
pub(crate) use mask::looks_secret;
pub(crate) use mask::mask;
pub(crate) use objection::Objection;
pub(crate) use paths::{NOT_EXPANDED, absolute, begins_at_home, lossy};
pub use problem::Problem;
pub(crate) use secret_files::SecretFolders;
pub(crate) use shape::{Shape, list, quoted};
pub(crate) use surroundings::{Found, Surroundings};
pub(crate) use table::Table;
pub(crate) use values::check_globs;
