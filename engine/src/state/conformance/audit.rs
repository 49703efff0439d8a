//! The audit log.

use std::time::Duration;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn audited(minutes: i64, who: &str, projects: &[&str]) -> AuditEntry {
    AuditEntry {
        at: at(minutes),
        who: who.into(),
        what: "POST /sync".into(),
        projects: projects.iter().map(|name| (*name).to_owned()).collect(),
        outcome: "202".into(),
        address: Some("192.0.2.1".into()),
    }
}

async fn who(state: &dyn State, query: &AuditQuery) -> Vec<String> {
    state.audit(query).await.expect("read").into_iter().map(|row| row.entry.who).collect()
}

pub(crate) async fn entries_are_appended_without_a_lease_and_read_by_pages(world: World<dyn State>) {
    // Another process has the lease.
    let writer = world.writer().await;
    let other = world.process();
    for (minutes, name, projects) in
        [(0, "a", &["p"][..]), (1, "b", &[]), (1, "c", &["q", "p"]), (2, "d", &["pp"])]
    {
        other.record_audit(&[audited(minutes, name, projects)], 90 * DAY).await.expect("recorded");
    }
    let all = AuditQuery { limit: 9, ..AuditQuery::default() };
    let rows = writer.state.audit(&all).await.expect("read");
    assert_eq!(rows[3].entry, audited(0, "a", &["p"]));
    assert_eq!(who(&*other, &all).await, ["d", "c", "b", "a"]);
    let first = AuditQuery { limit: 2, ..AuditQuery::default() };
    assert_eq!(who(&*other, &first).await, ["d", "c"]);
    let next = AuditQuery { before: Some(rows[1].id), ..first };
    assert_eq!(who(&*other, &next).await, ["b", "a"]);
    let since = AuditQuery { since: Some(at(1)), ..all.clone() };
    assert_eq!(who(&*other, &since).await, ["d", "c", "b"]);
    let named = AuditQuery { projects: Some(vec!["p".into(), "x".into()]), ..all.clone() };
    assert_eq!(who(&*other, &named).await, ["c", "a"]);
    let none = AuditQuery { projects: Some(Vec::new()), ..all };
    assert!(who(&*other, &none).await.is_empty());
}

pub(crate) async fn old_audit_entries_are_deleted_but_the_new_one_stays(world: World<dyn State>) {
    let state = world.process();
    let day = 24 * 60;
    let entries = [(0, "a"), (day, "b"), (3 * day, "c"), (day, "set back")];
    let entries = entries.map(|(minutes, name)| audited(minutes, name, &[]));
    state.record_audit(&entries, 2 * DAY).await.expect("recorded");
    let all = AuditQuery { limit: 9, ..AuditQuery::default() };
    assert_eq!(who(&*state, &all).await, ["set back", "c", "b"]);
    let zero = Duration::ZERO;
    state.record_audit(&[audited(4 * day, "d", &[])], zero).await.expect("recorded");
    assert_eq!(who(&*state, &all).await, ["d"]);
}
