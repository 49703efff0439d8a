//! Files: intents, moves, failures, batches.

use super::*;

pub(crate) async fn intents_stay_open_until_the_file_is_recorded(world: World<dyn State>) {
    let writer = world.writer().await;
    writer.see(REPOSITORY).await;
    writer.intend("a.md", &["1", "2"]).await.expect("recorded");
    assert_eq!(writer.known().await.unfinished, names(&["a.md"]));
    let held = writer.held("a.md").await;
    assert!(held.chunks.is_empty());
    assert_eq!(held.open, names(&["1", "2"]));
    assert!(writer.state.repositories(PROJECT).await.expect("read")[0].unsettled_files);

    writer.commit("n", vec![row("a.md", &["1", "2"])]).await;
    let known = writer.known().await;
    assert!(known.unfinished.is_empty());
    assert_eq!((known.files[0].vectors, known.files[0].in_place), (2, true));
    let held = writer.held("a.md").await;
    assert_eq!((held.chunks.len(), held.open.len()), (2, 0));
    assert!(!writer.state.repositories(PROJECT).await.expect("read")[0].unsettled_files);
}

pub(crate) async fn a_write_that_is_killed_after_any_step_is_finished_by_the_next_process(
    world: World<dyn State>,
) {
    for (step, path) in ["none.md", "intent.md", "commit.md"].into_iter().enumerate() {
        let killed = world.writer().await;
        killed.see(REPOSITORY).await;
        if step > 0 {
            killed.intend(path, &["1"]).await.expect("recorded");
        }
        if step > 1 {
            killed.commit("n", vec![row(path, &["1"])]).await;
        }
        drop(killed);

        let next = world.writer().await;
        let known = next.known().await;
        assert_eq!(known.unfinished.contains(path), step == 1, "{path}");
        assert_eq!(known.files.iter().any(|file| file.path == path), step == 2, "{path}");
        next.intend(path, &["1"]).await.expect("recorded again");
        next.commit("n", vec![row(path, &["1"])]).await;
        let known = next.known().await;
        assert!(known.unfinished.is_empty() && known.files.iter().any(|file| file.path == path));
    }
}

pub(crate) async fn a_file_that_moves_leaves_its_ids_behind_until_they_are_deleted(world: World<dyn State>) {
    let writer = world.writer().await;
    let left = |namespace: &str| vec![(namespace.to_owned(), "1".to_owned())];
    writer.commit("old", vec![row("a.md", &["1"])]).await;
    assert!(!writer.known().await.files[0].in_place);
    writer.commit("n", vec![row("a.md", &["1"])]).await;
    assert_eq!(writer.leftovers().await, left("old"));

    // Back before anything was deleted: nothing may be deleted then.
    writer.commit("old", vec![row("a.md", &["1"])]).await;
    assert_eq!(writer.leftovers().await, left("n"));
    // A file that will be written again may still need them.
    writer
        .state
        .record_failure(writer.fence, PROJECT, &place("n"), &file("a.md"), "refused")
        .await
        .expect("recorded");
    assert!(writer.leftovers().await.is_empty());
    writer.commit("old", vec![row("a.md", &["1"])]).await;
    let done = vec!["1".to_owned()];
    writer.state.close_leftovers(writer.fence, PROJECT, &place("n"), done).await.expect("closed");
    assert!(writer.leftovers().await.is_empty());
}

pub(crate) async fn a_failure_keeps_what_the_index_holds(world: World<dyn State>) {
    let writer = world.writer().await;
    writer.commit("n", vec![row("a.md", &["1"])]).await;
    for path in ["a.md", "b.md"] {
        let file = file(path);
        let place = place("n");
        let failed = writer.state.record_failure(writer.fence, PROJECT, &place, &file, "refused");
        failed.await.expect("recorded");
    }
    let known = writer.known().await.files;
    assert_eq!(known[0].blob_sha, Some(GitSha([2; 20])));
    assert_eq!((known[0].status, known[0].vectors), (FileStatus::Failed, 1));
    assert_eq!(known[0].detail.as_deref(), Some("refused"));
    assert_eq!((known[1].blob_sha, known[1].vectors), (None, 0));
}

pub(crate) async fn a_batch_over_several_repositories_is_one_change_of_each(world: World<dyn State>) {
    let writer = world.writer().await;
    let of = |repository: &str, path: &str| FileRow {
        file: FileKey::new(repository, path),
        ..row(path, &[&format!("{repository}{path}")])
    };
    let mut rows = Vec::new();
    for repository in ["r1", "r2", "r3"] {
        writer.see(repository).await;
        rows.extend((0..50).map(|n| of(repository, &format!("{n:02}.md"))));
    }
    let revisions = || async {
        let rows = writer.state.repositories(PROJECT).await.expect("read");
        rows.iter().map(|row| row.revision).collect::<Vec<_>>()
    };
    let before = revisions().await;
    rows.retain(|row| row.file.repository != "r3");
    writer.commit("n", rows.clone()).await;
    let after = revisions().await;
    let grown: Vec<bool> = before.iter().zip(&after).map(|(before, after)| after > before).collect();
    assert_eq!(grown, [true, true, false]);

    // Answers come in the order of the questions, also for files that are not known.
    let asked: Vec<FileKey> = ["r2", "none", "r1"].map(|repository| FileKey::new(repository, "07.md")).into();
    let held = writer.state.held_ids_many(PROJECT, &place("n"), asked).await.expect("read");
    let ids: Vec<Option<&String>> = held.iter().map(|held| held.chunks.keys().next()).collect();
    assert_eq!(ids, [Some(&"r207.md".to_owned()), None, Some(&"r107.md".to_owned())]);
    let all = writer.state.ids(PROJECT, IdsOf::Project).await.expect("read");
    assert_eq!(all.len(), 100);
    assert!(all.iter().all(|ids| ids.recorded && ids.ids.len() == 1 && *ids.place == place("n")));
}

pub(crate) async fn damaged_files_are_not_believed(world: World<dyn State>) {
    use FileStatus::{Damaged as Bad, Synced};

    let writer = world.writer().await;
    writer.see(REPOSITORY).await;
    writer.commit("n", vec![row("a.md", &["1"]), row("b.md", &["2"]), row("c.md", &["3"])]).await;
    let some = Damaged::Files(vec![file("b.md")]);
    writer.state.mark_damaged(writer.fence, PROJECT, some).await.expect("marked");
    let statuses = |known: KnownFiles| known.files.iter().map(|file| file.status).collect::<Vec<_>>();
    assert_eq!(statuses(writer.known().await), [Synced, Bad, Synced]);
    // The id stays known, to be replaced or deleted; its metadata is written again.
    let held = writer.held("b.md").await;
    assert_ne!(held.chunks["2"], Fingerprint::of(["2"]));
    writer.state.mark_damaged(writer.fence, PROJECT, Damaged::All).await.expect("marked");
    assert_eq!(statuses(writer.known().await), [Bad, Bad, Bad]);
    assert!(writer.state.repositories(PROJECT).await.expect("read")[0].unsettled_files);
}

pub(crate) async fn removed_files_leave_what_could_not_be_reached(world: World<dyn State>) {
    let writer = world.writer().await;
    writer.see(REPOSITORY).await;
    writer.commit("n", vec![row("a.md", &["1"]), row("b.md", &["2"])]).await;
    let ids = writer.state.ids(PROJECT, IdsOf::Files(vec![file("a.md")])).await.expect("read");
    assert_eq!(ids.iter().map(|ids| ids.ids.clone()).collect::<Vec<_>>(), [["1"]]);
    let both = vec![file("a.md"), file("b.md")];
    writer.state.remove_files(writer.fence, PROJECT, both, ids).await.expect("removed");
    assert_eq!(writer.known().await, KnownFiles::default());
    assert_eq!(writer.leftovers().await, [("n".to_owned(), "1".to_owned())]);
    let all = writer.state.ids(PROJECT, IdsOf::Project).await.expect("read");
    assert!(all.len() == 1 && !all[0].recorded);
}

/// Each batch gives ten files one recipe; another process never sees two recipes at once.
pub(crate) async fn readers_see_each_batch_whole(world: World<dyn State>) {
    const BATCHES: usize = 40;
    let writer = world.writer().await;
    let reader = world.process();
    let batch = |n: usize| -> Vec<FileRow> {
        let recipe = Fingerprint::of([n.to_string()]);
        (0..10).map(|file| FileRow { recipe: recipe.clone(), ..row(&format!("{file}.md"), &["x"]) }).collect()
    };
    writer.commit("n", batch(0)).await;
    let reading = async {
        let mut seen = BTreeSet::new();
        while seen.len() < BATCHES
            && !seen.contains(&Fingerprint::of([(BATCHES - 1).to_string()]).to_string())
        {
            let known = reader.known_files(PROJECT, REPOSITORY, &place("n")).await.expect("read").files;
            let recipes: BTreeSet<String> =
                known.iter().filter_map(|file| Some(file.recipe.as_ref()?.to_string())).collect();
            assert_eq!((known.len(), recipes.len()), (10, 1));
            seen.extend(recipes);
            tokio::task::yield_now().await;
        }
    };
    let writing = async {
        for n in 1..BATCHES {
            writer.commit("n", batch(n)).await;
        }
    };
    tokio::join!(reading, writing);
}

pub(crate) async fn contents_and_recipes_are_found_again(world: World<dyn State>) {
    let writer = world.writer().await;
    let (blob, other) = (GitSha([2; 20]), GitSha([9; 20]));
    let skipped = FileRow { status: FileStatus::Skipped, ..row("empty.md", &[]) };
    writer.commit("n", vec![row("a.md", &["1"]), skipped]).await;
    let found = writer.state.files_of_blobs(PROJECT, vec![other, blob]).await.expect("read");
    let recipe = Fingerprint::of(["recipe"]);
    assert_eq!(found, [BlobFile { blob, recipe: Some(recipe.clone()), file: file("a.md") }]);

    let parts = vec![(recipe.clone(), r#"{"a":1}"#.to_owned())];
    writer.state.record_recipes(writer.fence, parts).await.expect("recorded");
    let asked = vec![recipe.clone(), Fingerprint::of(["unknown"])];
    let recipes = writer.state.recipes(asked).await.expect("read");
    assert_eq!(recipes.into_iter().collect::<Vec<_>>(), [(recipe, r#"{"a":1}"#.to_owned())]);

    let facts = writer.state.explain_file(PROJECT, None, "a.md").await.expect("read");
    assert_eq!(facts.iter().map(|facts| (facts.status, facts.chunks)).collect::<Vec<_>>(), [("synced", 1)]);
    let elsewhere = writer.state.explain_file(PROJECT, Some("other"), "a.md").await.expect("read");
    assert!(elsewhere.is_empty());
}
