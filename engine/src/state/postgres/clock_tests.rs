//! Clocks of processes that differ from the server's.

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};

use super::PostgresState;
use super::tests::migrated;
use crate::model::StoredAnswer;
use crate::state::{
    AuditEntry, AuditQuery, Measure, NewRun, PlanContent, PlanStatus, RunQuery, SignIn, SignInKind, State,
    StoredPlan, SumOver, UsageAmount, UsageQuery, day_of,
};

/// Each of what is kept for a while only is recorded twice: now, and by a process whose clock is years ahead.
#[tokio::test]
async fn a_process_whose_clock_is_ahead_deletes_nothing_too_early() {
    let Some(url) = migrated().await else { return };
    let state: Arc<dyn State> = Arc::new(PostgresState::over(&url, 2).expect("a pool"));
    let lease = state.lease(&[]).await.expect("asked").expect("free");
    let keep = Duration::from_secs(90 * 24 * 3600);
    let now = Utc::now();
    for (name, at) in [("now", now), ("ahead", now + TimeDelta::days(5000))] {
        let name = name.to_owned();
        let run = NewRun { id: name.clone(), request: name.clone(), project: None, trigger: "test".into() };
        state.start_run(lease.fence(), &run, keep, at).await.expect("recorded");
        let entry = AuditEntry {
            at,
            who: name.clone(),
            what: "GET /audit".into(),
            projects: Vec::new(),
            outcome: "200".into(),
            address: None,
        };
        state.record_audit(&[entry], keep).await.expect("recorded");
        let used = UsageAmount { day: day_of(at), project: name.clone(), measure: Measure::Texts, amount: 1 };
        state.add_usage(vec![used], at).await.expect("recorded");
        let answer = StoredAnswer { etag: name.clone(), body: Vec::new() };
        state.put_answer(lease.fence(), &name, &answer, at).await.expect("stored");
        let plan = StoredPlan {
            id: name.clone(),
            project: "p".into(),
            created_at: at,
            created_by: "ci".into(),
            summary: serde_json::Value::Null,
            status: PlanStatus::Open,
            decided_at: None,
            decided_by: None,
            run: None,
        };
        let content = PlanContent { shown: Vec::new(), saved: Vec::new() };
        state.put_plan(&plan, content).await.expect("kept");
        let expires_at = at + TimeDelta::hours(12);
        let session = SignIn { kind: SignInKind::Session, id: name.clone(), proof: name, expires_at };
        state.put_sign_in(&session, at).await.expect("kept");
    }
    let runs = state.runs(&RunQuery::newest(9)).await.expect("read").expect("a page");
    assert_eq!(runs.len(), 2);
    let audited = AuditQuery { limit: 9, ..AuditQuery::default() };
    assert_eq!(state.audit(&audited).await.expect("read").len(), 2);
    let today = day_of(now);
    let used =
        UsageQuery { since: today, until: today, projects: None, measure: None, over: SumOver::Projects };
    assert_eq!(state.usage(&used).await.expect("read").len(), 1);
    assert!(state.answer("now").await.expect("read").is_some());
    assert!(state.plan("now", now).await.expect("read").is_some());
    assert!(state.sign_in(SignInKind::Session, "now", now).await.expect("read").is_some());
}
