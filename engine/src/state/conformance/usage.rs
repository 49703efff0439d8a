//! What each project did on each day.

use std::time::Duration;

use super::*;
use crate::model::{Counts, Failure, Outcome, ProjectReport, Report};

fn amount(day: i64, project: &str, measure: Measure, amount: i64) -> UsageAmount {
    UsageAmount { day, project: project.into(), measure, amount }
}

fn all(over: SumOver) -> UsageQuery {
    UsageQuery { since: 0, until: i64::MAX, projects: None, measure: None, over }
}

pub(crate) async fn amounts_add_up_by_day_and_project(world: World<dyn State>) {
    // Another process has the lease.
    let _writer = world.writer().await;
    let (state, now) = (world.process(), at(0));
    let day = day_of(now);
    let first = vec![
        amount(day, "b", Measure::Texts, 2),
        amount(day, "a", Measure::Texts, 1),
        amount(day, "a", Measure::Behind(3), 1),
    ];
    let second = vec![amount(day, "a", Measure::Texts, 4), amount(day + 1, "a", Measure::Texts, 8)];
    for amounts in [first, second] {
        state.add_usage(amounts, now).await.expect("recorded");
    }
    let sums = async |query: UsageQuery| state.usage(&query).await.expect("read");
    assert_eq!(
        sums(all(SumOver::Projects)).await,
        [
            amount(day, "", Measure::Behind(3), 1),
            amount(day, "", Measure::Texts, 7),
            amount(day + 1, "", Measure::Texts, 8),
        ]
    );
    let texts = UsageQuery { measure: Some(Measure::Texts), ..all(SumOver::Days) };
    assert_eq!(
        sums(texts.clone()).await,
        [amount(0, "a", Measure::Texts, 13), amount(0, "b", Measure::Texts, 2)]
    );
    let today = UsageQuery { since: day, until: day, ..texts.clone() };
    assert_eq!(sums(today).await, [amount(day, "a", Measure::Texts, 5), amount(day, "b", Measure::Texts, 2)]);
    let own = UsageQuery { projects: Some(vec!["b".into(), "c".into()]), ..texts.clone() };
    assert_eq!(sums(own).await, [amount(0, "b", Measure::Texts, 2)]);
    assert_eq!(sums(UsageQuery { projects: Some(Vec::new()), ..texts }).await, []);
}

pub(crate) async fn a_run_that_ends_is_counted_once(world: World<dyn State>) {
    let Writer { state, fence, _lease } = world.writer().await;
    let run = NewRun { id: "1".into(), request: "1".into(), project: Some("p".into()), trigger: "t".into() };
    state.start_run(fence, &run, Duration::from_secs(3600), at(0)).await.expect("recorded");
    let failure = Failure {
        stage: "model".into(),
        repository: None,
        path: None,
        error: "it answers 500".into(),
        hint: None,
    };
    let part = ProjectReport {
        project: "p".into(),
        outcome: Outcome::Failed,
        counts: Counts { texts_embedded: 3, tokens: 70, price: 0.25, ..Counts::default() },
        skipped: Vec::new(),
        failures: vec![failure.clone()],
        error: Some(failure),
        retry_after: None,
        withheld: Vec::new(),
        notes: Vec::new(),
        search_quality: None,
    };
    let report = Report {
        run: "1".into(),
        trigger: "t".into(),
        started_at: at(0),
        seconds: 2.0,
        outcome: Outcome::Failed,
        projects: vec![part],
    };
    for _ in 0..2 {
        state.finish_run(fence, &report, Vec::new(), at(1)).await.expect("recorded");
    }
    let day = day_of(at(1));
    let expected = [
        amount(day, "p", Measure::Duration(bucket(2.0)), 1),
        amount(day, "p", Measure::Errors("model".into()), 2),
        amount(day, "p", Measure::Price, 250_000),
        amount(day, "p", Measure::Runs(Outcome::Failed), 1),
        amount(day, "p", Measure::Texts, 3),
        amount(day, "p", Measure::Tokens, 70),
    ];
    let query = UsageQuery { since: day, ..all(SumOver::Days) };
    assert_eq!(state.usage(&query).await.expect("read"), expected);
}

pub(crate) async fn what_is_older_than_its_time_is_deleted(world: World<dyn State>) {
    let state = world.process();
    let day = day_of(at(0));
    state.add_usage(vec![amount(day, "p", Measure::Texts, 1)], at(0)).await.expect("recorded");
    let later = |days: i64| at(days * 24 * 60);
    state.add_usage(Vec::new(), later(USAGE_DAYS)).await.expect("recorded");
    assert_eq!(state.usage(&all(SumOver::Days)).await.expect("read").len(), 1);
    state.add_usage(Vec::new(), later(USAGE_DAYS + 1)).await.expect("recorded");
    assert_eq!(state.usage(&all(SumOver::Days)).await.expect("read"), []);
}
