//! Leases, and the fence that every write passes.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;

use super::*;
use crate::model::{ErrorKind, Outcome, Report, StageError, StoredAnswer};

pub(crate) async fn one_process_has_the_lease_until_it_is_dropped(world: World<dyn State>) {
    let (one, other) = (world.process(), world.process());
    assert_eq!(one.holder().await.expect("read"), None);
    let lease = one.lease(&[]).await.expect("asked").expect("free");
    let held = other.lease(&[]).await.expect("asked").expect_err("held");
    let holder = held.0.clone().expect("the holder is known");
    assert_eq!(holder.process, std::process::id());
    assert_eq!(other.holder().await.expect("read"), Some(holder));
    let error = StageError::from(held);
    assert!(error.message.starts_with("another run is in progress (process "), "{}", error.message);
    drop(lease);
    assert!(other.lease(&[]).await.expect("asked").is_ok());
}

/// What the calls are given.
struct Given {
    here: Place,
    recipe: Fingerprint,
    entered: ProjectRow,
    listed: RepoEntry,
    key: FileKey,
    report: Report,
    begun: NewRun,
    answer: StoredAnswer,
}

impl Given {
    fn new() -> Self {
        Self {
            here: place("n"),
            recipe: recipe(),
            entered: super::project("new"),
            listed: entry("new"),
            key: file("a.md"),
            report: Report {
                run: "1".into(),
                trigger: "test".into(),
                started_at: at(0),
                seconds: 1.0,
                outcome: Outcome::Done,
                projects: Vec::new(),
            },
            begun: NewRun { id: "2".into(), request: "2".into(), project: None, trigger: "test".into() },
            answer: StoredAnswer { etag: "2".into(), body: Vec::new() },
        }
    }
}

type Write<'a> = (&'static str, BoxFuture<'a, StageResult<()>>);

/// Every call that takes a fence.
fn writes<'a>(state: &'a dyn State, fence: Fence, given: &'a Given) -> Vec<Write<'a>> {
    let (project, docs) = (PROJECT, REPOSITORY);
    let Given { here, recipe, entered, listed, key, report, begun, answer } = given;
    let end = ProjectEnd { selection: Some("other".into()), first_run_over: true };
    let adopted = AdoptedRecord {
        id: "9".into(),
        repository: docs.into(),
        path: "z.md".into(),
        fingerprint: Fingerprint::of(["9"]),
    };
    let found =
        BTreeMap::from([(docs.to_owned(), SelectedRepository { error: Some("gone".into()), empty: false })]);
    let sync =
        RepositorySync { entry: entry(docs), commit: GitSha([8; 20]), settled: true, basis: "b".into() };
    let unchanged = vec![UnchangedRepository { entry: entry(docs), head: GitSha([8; 20]) }];
    let intents = vec![FileIds { file: file("a.md"), ids: vec!["9".into()] }];
    let year = Duration::from_secs(365 * 24 * 3600);
    let removed = async move { state.remove_project(fence, project).await.map(drop) };
    let orphaned =
        async move { state.mark_orphans(fence, project, vec![docs.to_owned()], at(1)).await.map(drop) };
    vec![
        ("enter_project", state.enter_project(fence, entered, here, recipe, at(1))),
        ("finish_project", state.finish_project(fence, project, here, end, at(1))),
        ("remove_project", Box::pin(removed)),
        ("adopt", state.adopt(fence, project, here, vec![adopted], at(1))),
        ("record_listing", state.record_listing(fence, project, names(&["new"]), "s")),
        ("record_findings", state.record_findings(fence, project, found, true)),
        ("saw_head", state.saw_head(fence, project, listed, GitSha([8; 20]), at(1))),
        ("begin_repository", state.begin_repository(fence, project, docs)),
        ("finish_repository", state.finish_repository(fence, project, sync, at(1))),
        ("confirm_repositories", state.confirm_repositories(fence, project, unchanged, at(1))),
        ("mark_orphans", Box::pin(orphaned)),
        ("remove_repository", state.remove_repository(fence, project, docs)),
        ("open_intents", state.open_intents(fence, project, here, intents)),
        ("commit_files", state.commit_files(fence, project, here, vec![row("a.md", &["9"])], at(1))),
        ("record_failure", state.record_failure(fence, project, here, key, "refused")),
        ("mark_damaged", state.mark_damaged(fence, project, Damaged::All)),
        ("remove_files", state.remove_files(fence, project, vec![file("a.md")], Vec::new())),
        ("close_leftovers", state.close_leftovers(fence, project, here, vec!["1".into()])),
        ("record_recipes", state.record_recipes(fence, vec![(Fingerprint::of(["r"]), "{}".into())])),
        ("start_run", state.start_run(fence, begun, year, at(1))),
        ("finish_run", state.finish_run(fence, report, Vec::new(), at(1))),
        ("put_answer", state.put_answer(fence, "key", answer, at(1))),
    ]
}

/// Everything that can be read, as text.
async fn everything(state: &dyn State) -> String {
    let here = place("n");
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        state.project(PROJECT, &here).await,
        state.projects().await,
        state.repositories(PROJECT).await,
        state.known_files(PROJECT, REPOSITORY, &here).await,
        state.ids(PROJECT, IdsOf::Project).await,
        state.runs(&RunQuery::newest(9)).await,
        state.answer("key").await,
        state.recipes(vec![Fingerprint::of(["r"])]).await,
        state.status(&[], at(5)).await,
    )
}

pub(crate) async fn a_stale_epoch_changes_nothing_and_says_so(world: World<dyn State>) {
    let writer = world.writer().await;
    let (state, fence) = (&*writer.state, writer.fence);
    writer.see(REPOSITORY).await;
    writer.commit("old", vec![row("a.md", &["1"])]).await;
    writer.commit("n", vec![row("a.md", &["1"])]).await;
    state.record_listing(fence, PROJECT, names(&[REPOSITORY]), "s").await.expect("recorded");
    let before = everything(state).await;
    let given = Given::new();

    let stale = Fence { epoch: fence.epoch - 1 };
    for (call, write) in writes(state, stale, &given) {
        let error = write.await.expect_err(call);
        assert_eq!(error.kind, ErrorKind::Fenced, "{call}: {}", error.message);
    }
    assert_eq!(everything(state).await, before);

    // The same calls with the lease are allowed; those that undo the others come last.
    let last = ["remove_files", "remove_repository", "remove_project"];
    let (undoing, writing): (Vec<_>, Vec<_>) =
        writes(state, fence, &given).into_iter().partition(|(call, _)| last.contains(call));
    for (call, write) in writing.into_iter().chain(undoing.into_iter().rev()) {
        if let Err(error) = write.await {
            assert_eq!(call, "remove_files", "{}", error.message);
        }
    }
    assert_ne!(everything(state).await, before);
}
