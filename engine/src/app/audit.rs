//! Entries of the audit log for commands.

use chrono::Utc;

use super::App;
use crate::model::{Outcome, StageResult};
use crate::state::AuditEntry;

impl App {
    /// Appends to the audit log what a user's command did. `projects`: those that it named; empty: all of the file.
    pub async fn record_audit(
        &self,
        user: &str,
        what: &str,
        projects: &[String],
        outcome: Option<Outcome>,
    ) -> StageResult<()> {
        let entry = AuditEntry {
            at: Utc::now(),
            who: format!("user:{user}"),
            what: what.to_owned(),
            projects: if projects.is_empty() { self.config.project_names() } else { projects.to_vec() },
            outcome: outcome.map_or("refused", Outcome::as_str).to_owned(),
            address: None,
        };
        self.state.record_audit(&[entry], self.config.engine.history.0).await
    }
}
