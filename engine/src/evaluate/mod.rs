//! Measures how well questions find their files: `reposync eval`.

mod history;
mod measure;
mod questions;
mod run;

pub use history::{HistoryIndex, Past, build_history_index};
pub use measure::{Figures, Measured};
pub use questions::{Question, parse_questions};
pub use run::{Comparison, EvaluationReport, QuestionResult, compare, evaluate, mean_reciprocal_rank};
