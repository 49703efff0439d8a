//! The history of runs.

use std::time::Duration;

use super::*;
use crate::model::{Counts, Outcome, ProjectReport, Report};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Runs that are kept of one project.
const KEPT_RUNS: i64 = 1000;

async fn start(writer: &Writer, id: &str, request: &str, project: Option<&str>, minutes: i64) {
    let run = NewRun {
        id: id.into(),
        request: request.into(),
        project: project.map(str::to_owned),
        trigger: "test".into(),
    };
    writer.state.start_run(writer.fence, &run, 90 * DAY, at(minutes)).await.expect("started");
}

async fn ids(writer: &Writer, query: &RunQuery) -> Vec<String> {
    let rows = writer.state.runs(query).await.expect("read").expect("a page");
    rows.into_iter().map(|row| row.id).collect()
}

pub(crate) async fn a_busy_project_does_not_push_others_out_of_the_history(world: World<dyn State>) {
    let writer = world.writer().await;
    start(&writer, "quiet", "quiet", Some("quiet"), 0).await;
    for n in 0..KEPT_RUNS + 5 {
        start(&writer, &format!("busy-{n:04}"), "r", Some("busy"), n).await;
    }
    let all = ids(&writer, &RunQuery::newest(usize::MAX)).await;
    assert_eq!(all.len(), usize::try_from(KEPT_RUNS).expect("small") + 1);
    assert!(all.contains(&"quiet".to_owned()) && !all.contains(&"busy-0004".to_owned()));
}

pub(crate) async fn runs_are_found_by_trigger_start_and_status(world: World<dyn State>) {
    let writer = world.writer().await;
    for (n, (id, outcome)) in [
        ("a", Some(Outcome::Done)),
        ("b", Some(Outcome::Failed)),
        ("c", Some(Outcome::Interrupted)),
        ("d", None),
        ("e", None),
    ]
    .into_iter()
    .enumerate()
    {
        let n = i64::try_from(n).expect("small");
        start(&writer, id, id, Some("p"), n).await;
        let Some(outcome) = outcome else { continue };
        let report = Report {
            run: id.into(),
            trigger: "test".into(),
            started_at: at(n),
            seconds: 1.0,
            outcome,
            projects: Vec::new(),
        };
        writer.state.finish_run(writer.fence, &report, Vec::new(), at(n)).await.expect("ended");
    }
    let with = |change: fn(&mut RunQuery)| {
        let mut query = RunQuery { active: vec!["d".into()], ..RunQuery::newest(9) };
        change(&mut query);
        query
    };
    for (query, expected) in [
        (with(|query| query.status = Some(RunStatus::Done)), vec!["a"]),
        (with(|query| query.status = Some(RunStatus::Failed)), vec!["b"]),
        (with(|query| query.status = Some(RunStatus::Partial)), vec![]),
        (with(|query| query.status = Some(RunStatus::Running)), vec!["d"]),
        (with(|query| query.status = Some(RunStatus::Queued)), vec![]),
        (with(|query| query.status = Some(RunStatus::Interrupted)), vec!["e", "c"]),
        (with(|query| query.since = Some(at(3))), vec!["e", "d"]),
        (with(|query| query.trigger = Some("test".into())), vec!["e", "d", "c", "b", "a"]),
        (with(|query| query.trigger = Some("push".into())), vec![]),
    ] {
        assert_eq!(ids(&writer, &query).await, expected, "{query:?}");
    }
}

pub(crate) async fn runs_go_by_age_but_the_newest_of_each_project_stays(world: World<dyn State>) {
    let writer = world.writer().await;
    let day = 24 * 60;
    for (id, project, days) in
        [("1", Some("a"), 0), ("2", Some("a"), 1), ("3", Some("b"), 1), ("4", None, 1), ("5", None, 2)]
    {
        start(&writer, id, id, project, days * day).await;
    }
    start(&writer, "6", "6", Some("c"), 100 * day).await;
    assert_eq!(ids(&writer, &RunQuery::newest(9)).await, ["6", "5", "3", "2"]);
}

pub(crate) async fn pages_follow_each_other_without_a_gap(world: World<dyn State>) {
    let writer = world.writer().await;
    // Two runs of the same moment: the id decides.
    for (id, minutes) in [("a", 0), ("b", 1), ("c", 1), ("d", 2), ("e", 3)] {
        start(&writer, id, id, Some("p"), minutes).await;
    }
    let mut query = RunQuery::newest(2);
    let mut seen = Vec::new();
    loop {
        let page = ids(&writer, &query).await;
        let Some(last) = page.last() else { break };
        query.before = Some(last.clone());
        seen.extend(page);
    }
    assert_eq!(seen, ["e", "d", "c", "b", "a"]);
    let unknown = RunQuery { before: Some("x".into()), ..RunQuery::newest(2) };
    assert!(writer.state.runs(&unknown).await.expect("read").is_none());
}

pub(crate) async fn a_projects_history_holds_runs_over_several_projects(world: World<dyn State>) {
    let writer = world.writer().await;
    start(&writer, "1", "1", None, 0).await;
    start(&writer, "2", "2", Some("a"), 1).await;
    start(&writer, "3", "3", None, 2).await;
    let part = |name: &str| ProjectReport {
        project: name.into(),
        outcome: Outcome::Done,
        counts: Counts::default(),
        skipped: Vec::new(),
        failures: Vec::new(),
        error: None,
        retry_after: None,
        withheld: Vec::new(),
        notes: Vec::new(),
        search_quality: None,
    };
    let report = Report {
        run: "1".into(),
        trigger: "test".into(),
        started_at: at(0),
        seconds: 1.0,
        outcome: Outcome::Done,
        projects: vec![part("a"), part("b")],
    };
    writer.state.finish_run(writer.fence, &report, Vec::new(), at(1)).await.expect("recorded");
    for (project, expected) in [("a", &["2", "1"][..]), ("b", &["1"]), ("c", &[])] {
        let query = RunQuery { project: Some(project.into()), ..RunQuery::newest(9) };
        assert_eq!(ids(&writer, &query).await, expected, "{project}");
    }
    let finished = writer.state.runs_of(vec!["1".into()]).await.expect("read").remove(0);
    assert_eq!((finished.outcome.as_deref(), finished.report), (Some("done"), Some(report)));
}

pub(crate) async fn an_id_stands_for_its_run_or_for_the_runs_of_its_request(world: World<dyn State>) {
    let writer = world.writer().await;
    start(&writer, "20.a", "20", Some("a"), 0).await;
    start(&writer, "20.b", "20", Some("b"), 0).await;
    // The string begins alike; the request is another one.
    start(&writer, "20.a.b", "21", Some("c"), 0).await;
    for (asked, expected) in [
        (&["20"][..], &["20.a", "20.b"][..]),
        (&["20.a"], &["20.a"]),
        (&["21", "20.b"], &["20.a.b", "20.b"]),
        (&["2"], &[]),
    ] {
        let asked_for = asked.iter().map(|id| (*id).to_owned()).collect();
        let rows = writer.state.runs_of(asked_for).await.expect("read");
        assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), expected, "{asked:?}");
    }
    for (prefix, expected) in
        [("20.b", Some("20.b")), ("20.a", Some("20.a")), ("20.a.", Some("20.a.b")), ("3", None)]
    {
        let found = writer.state.run_like(prefix).await.expect("read").map(|row| row.id);
        assert_eq!(found.as_deref(), expected, "{prefix}");
    }
}
