//! Renders entries of the audit log as a table.

use crate::state::AuditRow;

use super::super::output::escape;
use super::table::Table;

/// The entries as text, in the given order.
pub(crate) fn render(rows: &[AuditRow], width: usize) -> String {
    if rows.is_empty() {
        return "No entry.\n".to_owned();
    }
    let mut table = Table::new(&["when (UTC)", "who", "what", "outcome", "projects", "address"]);
    for AuditRow { entry, .. } in rows {
        let projects = entry.projects.join(", ");
        table.row(vec![
            entry.at.format("%Y-%m-%d %H:%M:%S").to_string(),
            escape(&entry.who).into_owned(),
            escape(&entry.what).into_owned(),
            escape(&entry.outcome).into_owned(),
            escape(&projects).into_owned(),
            entry.address.as_deref().map(|address| escape(address).into_owned()).unwrap_or_default(),
        ]);
    }
    table.render(0, width)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::state::AuditEntry;

    #[test]
    fn entries_stand_in_columns() {
        let row = |who: &str, what: &str, projects: &[&str], address: Option<&str>| AuditRow {
            id: 1,
            entry: AuditEntry {
                at: DateTime::UNIX_EPOCH + TimeDelta::days(20_000),
                who: who.into(),
                what: what.into(),
                projects: projects.iter().map(|name| (*name).to_owned()).collect(),
                outcome: "202".into(),
                address: address.map(str::to_owned),
            },
        };
        let rows = [
            row("ci", "POST /sync", &["handbook"], Some("192.0.2.1")),
            row("user:ada", "apply", &["handbook", "code"], None),
        ];
        insta::assert_snapshot!(render(&rows, 100));
        assert_eq!(render(&[], 100), "No entry.\n");
    }
}
