//! Repositories: listings, heads, orphans, commits behind; and stored answers.

use std::collections::BTreeMap;

use super::*;
use crate::model::{DeclaredProject, StoredAnswer};

pub(crate) async fn a_listing_is_kept_with_what_was_found_out(world: World<dyn State>) {
    let writer = world.writer().await;
    let (state, fence) = (&writer.state, writer.fence);
    let shown = || async {
        let declared = [DeclaredProject { name: PROJECT.into(), enabled: true, repositories: Vec::new() }];
        let status = state.status(&declared, at(9)).await.expect("read");
        let rows = status.projects.into_iter().flat_map(|project| project.repositories);
        rows.map(|row| (row.repository, (row.error, row.empty))).collect::<BTreeMap<_, _>>()
    };
    state.record_listing(fence, PROJECT, names(&["a", "b", "c"]), "first").await.expect("recorded");
    let refused = SelectedRepository { error: Some("refused".into()), empty: false };
    let empty = SelectedRepository { error: None, empty: true };
    let found = BTreeMap::from([("a".to_owned(), refused), ("b".to_owned(), empty)]);
    state.record_findings(fence, PROJECT, found, true).await.expect("recorded");
    let fine = (None, false);
    let expected = [("a", (Some("refused".to_owned()), false)), ("b", (None, true)), ("c", fine.clone())];
    assert_eq!(shown().await, expected.map(|(name, known)| (name.to_owned(), known)).into());

    // A repository that stays is known as before; the selection of the first listing is kept.
    state.record_listing(fence, PROJECT, names(&["a", "d"]), "second").await.expect("recorded");
    // A run that ended early says nothing of those that it did not reach.
    state.record_findings(fence, PROJECT, BTreeMap::new(), false).await.expect("recorded");
    let expected = [("a", (Some("refused".to_owned()), false)), ("d", fine.clone())];
    assert_eq!(shown().await, expected.map(|(name, known)| (name.to_owned(), known)).into());
    state.record_findings(fence, PROJECT, BTreeMap::new(), true).await.expect("recorded");
    assert_eq!(shown().await["a"], fine);
    let stands = state.project(PROJECT, &place("n")).await.expect("read").expect("entered");
    assert_eq!(stands.selection.as_deref(), Some("first"));
}

pub(crate) async fn a_head_makes_an_orphan_a_repository_again(world: World<dyn State>) {
    let writer = world.writer().await;
    let (state, fence) = (&writer.state, writer.fence);
    writer.see("gone").await;
    let mark =
        |minutes| state.mark_orphans(fence, PROJECT, vec!["gone".into(), "unknown".into()], at(minutes));
    let first = mark(1).await.expect("marked");
    assert_eq!(first, BTreeMap::from([("gone".to_owned(), at(1)), ("unknown".to_owned(), at(1))]));
    assert_eq!(mark(9).await.expect("marked")["gone"], at(1), "since the first time");
    let row = || async { state.repositories(PROJECT).await.expect("read").remove(0) };
    assert_eq!(row().await.orphan_since, Some(at(1)));
    writer.see("gone").await;
    let row = row().await;
    assert_eq!((row.orphan_since, row.head, row.head_asked_at), (None, Some(GitSha([1; 20])), Some(at(0))));

    let revision = row.revision;
    mark(10).await.expect("marked");
    let unchanged = vec![
        UnchangedRepository { entry: entry("gone"), head: GitSha([2; 20]) },
        UnchangedRepository { entry: entry("never entered"), head: GitSha([2; 20]) },
    ];
    state.confirm_repositories(fence, PROJECT, unchanged, at(11)).await.expect("recorded");
    let rows = state.repositories(PROJECT).await.expect("read");
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((row.orphan_since, row.head, row.head_asked_at), (None, Some(GitSha([2; 20])), Some(at(11))));
    assert_eq!((row.entry.as_ref(), row.revision), (Some(&entry("gone")), revision));

    state.remove_repository(fence, PROJECT, "gone").await.expect("removed");
    assert!(state.repositories(PROJECT).await.expect("read").is_empty());
}

pub(crate) async fn commits_are_counted_only_for_what_is_still_so(world: World<dyn State>) {
    let writer = world.writer().await;
    let (state, fence) = (&writer.state, writer.fence);
    writer.see("r").await;
    let sync =
        RepositorySync { entry: entry("r"), commit: GitSha([1; 20]), settled: true, basis: "basis".into() };
    state.begin_repository(fence, PROJECT, "r").await.expect("recorded");
    state.finish_repository(fence, PROJECT, sync, at(2)).await.expect("recorded");
    let row = || async { state.repositories(PROJECT).await.expect("read").remove(0) };
    let finished = row().await;
    assert_eq!((finished.settled, finished.basis.as_deref()), (true, Some("basis")));
    assert_eq!(finished.entry, Some(entry("r")));
    assert!(state.uncounted(PROJECT, 9).await.expect("read").is_empty(), "it is at its head");

    let see = async |head: u8| {
        state.saw_head(fence, PROJECT, &entry("r"), GitSha([head; 20]), at(3)).await.expect("recorded");
    };
    see(7).await;
    let uncounted = state.uncounted(PROJECT, 9).await.expect("read");
    assert_eq!((uncounted[0].indexed, uncounted[0].head), (GitSha([1; 20]), GitSha([7; 20])));
    see(8).await;
    state.count_commits(PROJECT, &uncounted[0], Some(4)).await.expect("without effect");
    assert_eq!(row().await.commits_behind, None);
    let uncounted = state.uncounted(PROJECT, 9).await.expect("read").remove(0);
    state.count_commits(PROJECT, &uncounted, Some(5)).await.expect("recorded");
    assert_eq!(row().await.commits_behind, Some(5));
    assert!(state.uncounted(PROJECT, 9).await.expect("read").is_empty());
    state.begin_repository(fence, PROJECT, "r").await.expect("recorded");
    assert!(!row().await.settled);
}

pub(crate) async fn answers_are_kept_by_key(world: World<dyn State>) {
    let writer = world.writer().await;
    let answer = |etag: &str| StoredAnswer { etag: etag.into(), body: vec![0, 255] };
    for (key, etag, minutes) in [("a", "1", 0), ("b", "2", 40 * 24 * 60), ("a", "3", 40 * 24 * 60)] {
        let put = answer(etag);
        writer.state.put_answer(writer.fence, key, &put, at(minutes)).await.expect("stored");
        if key == "b" {
            assert_eq!(
                writer.state.answer("a").await.expect("read").map(|old| old.etag),
                None,
                "a month old"
            );
        }
    }
    let other = world.process();
    assert_eq!(
        other.answer("a").await.expect("read").map(|kept| (kept.etag, kept.body)),
        Some(("3".into(), vec![0, 255]))
    );
    assert!(other.answer("c").await.expect("read").is_none());
}
