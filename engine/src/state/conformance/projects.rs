//! Projects, places and adoption.

use super::*;

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
    state.finish_project(fence, PROJECT, selected, at(1)).await.expect("recorded");
    let ended = ProjectEnd { selection: None, first_run_over: true };
    state.finish_project(fence, PROJECT, ended, at(2)).await.expect("recorded");
    writer.commit("n", vec![row("a.md", &["1", "2"]), row("b.md", &[])]).await;
    let expected =
        ProjectState { adopted: false, vectors: 2, first_run_over: true, selection: Some("s".into()) };
    assert_eq!(stands().await, expected);
    // Entering it again, with another declaration, keeps what is recorded of it.
    state.enter_project(fence, &project(PROJECT), &place("n"), at(3)).await.expect("entered");
    assert_eq!(stands().await, expected);

    writer.intend("c.md", &["3"]).await.expect("recorded");
    assert_eq!(state.projects().await.expect("read"), [RecordedProject { name: PROJECT.into(), vectors: 2 }]);
    assert_eq!(state.remove_project(fence, PROJECT).await.expect("removed"), 1);
    assert!(state.projects().await.expect("read").is_empty());
    assert!(state.ids(PROJECT, IdsOf::Project).await.expect("read").is_empty());
}

pub(crate) async fn what_is_believed_to_be_in_a_place(world: World<dyn State>) {
    let writer = world.writer().await;
    let (state, fence) = (&writer.state, writer.fence);
    writer.commit("n", vec![row("a.md", &["1"])]).await;
    writer.intend("b.md", &["2"]).await.expect("recorded");
    assert_eq!(state.believed(PROJECT, &place("n")).await.expect("read"), None, "not adopted");
    state.adopt(fence, PROJECT, &place("n"), Vec::new(), at(1)).await.expect("adopted");
    // Another project in the same place.
    state.enter_project(fence, &project("q"), &place("n"), at(1)).await.expect("entered");
    state.commit_files(fence, "q", &place("n"), vec![row("q.md", &["3"])], at(1)).await.expect("recorded");
    let believed = state.believed(PROJECT, &place("n")).await.expect("read").expect("adopted");
    assert_eq!(believed.recorded.into_iter().collect::<BTreeSet<_>>(), names(&["1", "3"]));
    assert_eq!(believed.open, ["2"]);
    assert_eq!(believed.files, [FileIds { file: file("a.md"), ids: vec!["1".into()] }]);
    assert_eq!(state.owners_of_place(&place("n")).await.expect("read"), ["p", "q"]);
    assert!(state.owners_of_place(&place("other")).await.expect("read").is_empty());
}
