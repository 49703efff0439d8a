//! Projects, places and adoption.

use super::*;
use crate::model::{DeclaredProject, TargetState};

fn adopted(id: &str, path: &str) -> AdoptedRecord {
    AdoptedRecord {
        id: id.into(),
        repository: REPOSITORY.into(),
        path: path.into(),
        fingerprint: Fingerprint::of([id]),
    }
}

pub(crate) async fn adoption_is_whole_and_recorded(world: World<dyn State>) {
    let writer = world.writer().await;
    let stands = async |namespace: &str| {
        writer.state.project(PROJECT, &place(namespace)).await.expect("read").expect("entered")
    };
    assert!(!stands("n").await.adopted);
    writer.commit("old", vec![row("b.md", &["2"])]).await;
    let found = vec![adopted("1", "a.md"), adopted("2", "b.md")];
    writer.state.adopt(writer.fence, PROJECT, &place("n"), found, at(1)).await.expect("adopted");
    let here = stands("n").await;
    assert_eq!((here.adopted, here.vectors), (true, 2));
    assert!(!stands("other").await.adopted);
    let known = writer.known().await.files;
    assert_eq!((known[0].status, known[0].vectors), (FileStatus::Adopted, 1));
    // A file that is known in another place keeps its row; the ids here are of unknown state.
    assert_eq!((known[1].status, known[1].in_place), (FileStatus::Synced, false));
    assert_eq!(writer.held("b.md").await.open, names(&["2"]));
    assert!(writer.state.repositories(PROJECT).await.expect("read").iter().any(|row| row.unsettled_files));
}

pub(crate) async fn a_project_begins_ends_and_is_removed(world: World<dyn State>) {
    let empty = world.process();
    assert_eq!(empty.project(PROJECT, &place("n")).await.expect("read"), None);
    assert!(empty.known_files(PROJECT, REPOSITORY, &place("n")).await.expect("read").files.is_empty());
    let writer = world.writer().await;
    let (state, fence) = (&writer.state, writer.fence);
    let stands = || async { state.project(PROJECT, &place("n")).await.expect("read").expect("entered") };
    assert_eq!(stands().await, ProjectState::default());

    let selected = ProjectEnd { selection: Some("s".into()), first_run_over: false };
    state.finish_project(fence, PROJECT, &place("n"), selected, at(1)).await.expect("recorded");
    let ended = ProjectEnd { selection: None, first_run_over: true };
    state.finish_project(fence, PROJECT, &place("n"), ended, at(2)).await.expect("recorded");
    writer.commit("n", vec![row("a.md", &["1", "2"]), row("b.md", &[])]).await;
    let expected =
        ProjectState { adopted: false, vectors: 2, first_run_over: true, selection: Some("s".into()) };
    assert_eq!(stands().await, expected);
    // Entering it again, with another declaration, keeps what is recorded of it.
    state.enter_project(fence, &project(PROJECT), &place("n"), &recipe(), at(3)).await.expect("entered");
    assert_eq!(stands().await, expected);

    writer.intend("c.md", &["3"]).await.expect("recorded");
    assert_eq!(state.projects().await.expect("read"), [RecordedProject { name: PROJECT.into(), vectors: 2 }]);
    assert_eq!(state.remove_project(fence, PROJECT).await.expect("removed"), 1);
    assert!(state.projects().await.expect("read").is_empty());
    assert!(state.ids(PROJECT, IdsOf::Project).await.expect("read").is_empty());
}

pub(crate) async fn a_target_is_built_goes_live_and_is_retired(world: World<dyn State>) {
    use TargetState::{Building, Live};
    let writer = world.writer().await;
    let (state, fence) = (&writer.state, writer.fence);
    let targets = async || {
        let declared = DeclaredProject { name: PROJECT.into(), enabled: true, repositories: Vec::new() };
        let status = state.status(&[declared], at(9)).await.expect("read").projects.remove(0);
        status.targets.into_iter().map(|target| (target.place, target.state)).collect::<Vec<_>>()
    };
    let target = |namespace: &str, state| (place(namespace).to_string(), state);
    let end = |selection: Option<&str>| ProjectEnd {
        selection: selection.map(str::to_owned),
        first_run_over: true,
    };
    let enter = async |namespace: &str| {
        let (project, place) = (project(PROJECT), place(namespace));
        state.enter_project(fence, &project, &place, &recipe(), at(1)).await.expect("entered");
    };
    let finish = async |namespace: &str, selection| {
        state
            .finish_project(fence, PROJECT, &place(namespace), end(selection), at(2))
            .await
            .expect("recorded");
    };
    assert_eq!(targets().await, [target("n", Building)]);
    finish("n", None).await;
    assert_eq!(targets().await, [target("n", Building)], "not everything is there yet");
    finish("n", Some("s")).await;
    assert_eq!(targets().await, [target("n", Live)]);

    // The place changes: the former one stays the live one until everything has moved.
    writer.commit("n", vec![row("a.md", &["1"]), row("b.md", &["2"])]).await;
    enter("m").await;
    writer.commit("m", vec![row("a.md", &["1"])]).await;
    assert_eq!(targets().await, [target("n", Live), target("m", Building)]);
    finish("m", Some("s")).await;
    assert_eq!(targets().await, [target("m", Live)]);

    // And back again.
    enter("n").await;
    assert_eq!(targets().await, [target("m", Live), target("n", Building)]);
}

pub(crate) async fn what_is_believed_to_be_in_a_place(world: World<dyn State>) {
    let writer = world.writer().await;
    let (state, fence) = (&writer.state, writer.fence);
    writer.commit("n", vec![row("a.md", &["1"])]).await;
    writer.intend("b.md", &["2"]).await.expect("recorded");
    assert_eq!(state.believed(PROJECT, &place("n")).await.expect("read"), None, "not adopted");
    state.adopt(fence, PROJECT, &place("n"), Vec::new(), at(1)).await.expect("adopted");
    // Another project in the same place.
    state.enter_project(fence, &project("q"), &place("n"), &recipe(), at(1)).await.expect("entered");
    state.commit_files(fence, "q", &place("n"), vec![row("q.md", &["3"])], at(1)).await.expect("recorded");
    let believed = state.believed(PROJECT, &place("n")).await.expect("read").expect("adopted");
    assert_eq!(believed.recorded.into_iter().collect::<BTreeSet<_>>(), names(&["1", "3"]));
    assert_eq!(believed.open, ["2"]);
    assert_eq!(believed.files, [FileIds { file: file("a.md"), ids: vec!["1".into()] }]);
    assert_eq!(state.owners_of_place(&place("n")).await.expect("read"), ["p", "q"]);
    assert!(state.owners_of_place(&place("other")).await.expect("read").is_empty());
}
