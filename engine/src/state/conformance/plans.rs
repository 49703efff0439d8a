//! Stored plans.

use serde_json::json;

use super::*;

const DAY: i64 = 24 * 60;

fn stored(id: &str, minutes: i64) -> StoredPlan {
    StoredPlan {
        id: id.into(),
        project: PROJECT.into(),
        created_at: at(minutes),
        created_by: "ci".into(),
        summary: json!({ "added": 1, "price": 0.5 }),
        status: PlanStatus::Open,
        decided_at: None,
        decided_by: None,
        run: None,
    }
}

fn content(id: &str) -> PlanContent {
    PlanContent { shown: vec![0, 255], saved: id.as_bytes().to_vec() }
}

async fn put(state: &dyn State, plan: &StoredPlan) {
    state.put_plan(plan, content(&plan.id)).await.expect("kept");
}

async fn ids(state: &dyn State, minutes: i64) -> Vec<String> {
    state.plans(at(minutes)).await.expect("read").into_iter().map(|plan| plan.id).collect()
}

pub(crate) async fn a_plan_is_decided_once_whoever_asks_and_without_a_lease(world: World<dyn State>) {
    // Another process has the lease.
    let _writer = world.writer().await;
    let (one, other) = (world.process(), world.process());
    put(&*one, &stored("1", 0)).await;
    put(&*one, &stored("2", 1)).await;
    assert_eq!(ids(&*other, 1).await, ["2", "1"]);
    assert_eq!(other.plan("1", at(1)).await.expect("read"), Some(stored("1", 0)));
    assert_eq!(other.plan_content("1").await.expect("read"), Some(content("1")));
    assert_eq!(other.plan("3", at(1)).await.expect("read"), None);
    assert_eq!(other.plan_content("3").await.expect("read"), None);

    let decision = |by: &str, run: Option<&str>| PlanDecision {
        status: if run.is_some() { PlanStatus::Approved } else { PlanStatus::Discarded },
        at: at(2),
        by: by.into(),
        run: run.map(str::to_owned),
    };
    let (first, second) = (decision("a", Some("r1")), decision("b", Some("r2")));
    let (a, b) = tokio::join!(
        one.decide_plan("1", PlanStatus::Open, &first),
        other.decide_plan("1", PlanStatus::Open, &second)
    );
    let (a, b) = (a.expect("asked"), b.expect("asked"));
    assert!(a != b, "one of the two: {a} {b}");
    let decided = one.plan("1", at(2)).await.expect("read").expect("kept");
    let winner = if a { first } else { second };
    assert_eq!((decided.status, decided.decided_at), (PlanStatus::Approved, Some(at(2))));
    assert_eq!((decided.decided_by, &decided.run), (Some(winner.by.clone()), &winner.run));
    assert!(!one.decide_plan("1", PlanStatus::Open, &decision("c", None)).await.expect("asked"));
    assert!(!one.decide_plan("3", PlanStatus::Open, &decision("c", None)).await.expect("asked"));
    assert!(one.decide_plan("2", PlanStatus::Open, &decision("c", None)).await.expect("asked"));
    // An approval whose run did not begin is taken back.
    let open = PlanDecision { status: PlanStatus::Open, run: None, ..winner };
    assert!(one.decide_plan("1", PlanStatus::Approved, &open).await.expect("asked"));
    assert_eq!(other.plan("1", at(2)).await.expect("read").map(|plan| plan.status), Some(PlanStatus::Open));
}

pub(crate) async fn old_plans_and_those_beyond_a_hundred_are_deleted(world: World<dyn State>) {
    let state = world.process();
    put(&*state, &stored("old", 0)).await;
    put(&*state, &stored("young", 3 * DAY)).await;
    assert_eq!(ids(&*state, 7 * DAY - 1).await, ["young", "old"]);
    assert_eq!(ids(&*state, 7 * DAY).await, ["young"]);
    assert_eq!(state.plan("old", at(7 * DAY)).await.expect("read"), None);
    put(&*state, &stored("new", 7 * DAY)).await;
    assert_eq!(state.plan_content("old").await.expect("read"), None);
    for n in 0..100 {
        put(&*state, &stored(&format!("{n:03}"), 8 * DAY)).await;
    }
    let left = ids(&*state, 8 * DAY).await;
    assert_eq!((left.len(), left[0].as_str(), left[99].as_str()), (100, "099", "000"));
    assert_eq!(state.plan_content("new").await.expect("read"), None);
}
