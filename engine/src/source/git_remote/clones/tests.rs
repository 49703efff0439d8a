use super::*;
use crate::model::GitSha;

fn clones(folder: &Path, most: u64) -> Clones {
    let folder = folder.join("clones");
    Clones::new("lab", folder, ByteSize(most), CancellationToken::new()).expect("a folder")
}

fn state(commit: u8) -> CloneState {
    CloneState { commits: vec![GitSha([commit; 20])], left_out: Some(10) }
}

/// Makes a clone with a pack of this many bytes.
async fn filled(clones: &Clones, name: &str, bytes: usize) {
    let writing = clones.write(name, "https://host/a").await.expect("a clone");
    std::fs::write(Path::new(writing.folder()).join("objects/pack/pack-1.pack"), vec![0; bytes])
        .expect("a file");
    drop(writing.record(state(1)).expect("recorded"));
}

#[tokio::test]
async fn what_was_recorded_is_believed_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let clones = clones(folder.path(), 1000);
    assert_eq!(clones.read("a").await.expect("empty").state, CloneState::default());
    filled(&clones, "a", 1).await;
    let held = clones.read("a").await.expect("read");
    assert_eq!(held.state, state(1));
    assert!(held.state.holds(GitSha([1; 20]), 9));
    assert!(!held.state.holds(GitSha([1; 20]), 10), "files of 10 bytes were left out");
    assert!(!held.state.holds(GitSha([2; 20]), 9));
    let file = folder.path().join("clones/a").join(STATE);
    for damaged in ["", "reposync clone 2\n", "reposync clone 1\nleft out from bytes: x\n", "\u{0}"] {
        std::fs::write(&file, damaged).expect("a file");
        assert_eq!(clones.read("a").await.expect("read").state, CloneState::default(), "{damaged:?}");
    }
    std::fs::write(&file, "reposync clone 1\nleft out from bytes: none\n1234\n").expect("a file");
    assert_eq!(clones.read("a").await.expect("read").state, CloneState::default(), "half an id");
}

#[test]
fn a_state_says_what_any_of_its_commits_lacks() {
    let mut state = CloneState::default();
    for (left_out, expected) in
        [(None, None), (Some(9), Some(9)), (Some(5), Some(5)), (None, Some(5)), (Some(7), Some(5))]
    {
        state.add(GitSha([1; 20]), left_out);
        assert_eq!(state, CloneState { commits: vec![GitSha([1; 20])], left_out: expected });
    }
    assert!(state.has_files_of(4) && !state.has_files_of(5));
}

#[tokio::test]
async fn the_least_recently_used_go_first_and_those_in_use_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let clones = clones(folder.path(), 2500);
    for name in ["a", "b", "c", "d"] {
        filled(&clones, name, 1000).await;
    }
    let age = |name: &str, seconds: u64| {
        let file = File::options().write(true).open(clones.lock_file(name, "use")).expect("a file");
        file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).expect("set");
    };
    let there = || ["a", "b", "c", "d"].map(|name| folder.path().join("clones").join(name).exists());
    let in_use = clones.read("a").await.expect("read");
    let writing = clones.write("b", "").await.expect("locked");
    for (name, seconds) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
        age(name, seconds);
    }
    clones.evict();
    assert_eq!(there(), [true, true, false, false], "a is being read, b written");
    drop((in_use, writing));
    clones.evict();
    assert_eq!(there(), [true, true, false, false], "they fit");
    filled(&clones, "c", 1000).await;
    for (name, seconds) in [("a", 2), ("b", 1), ("c", 3)] {
        age(name, seconds);
    }
    clones.evict();
    assert_eq!(there(), [true, false, true, false]);
}

#[tokio::test]
async fn one_writes_at_a_time_and_readers_do_not_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    let clones = clones(folder.path(), 1000);
    filled(&clones, "a", 1).await;
    let writing = clones.write("a", "").await.expect("locked");
    drop(clones.read("a").await.expect("readers do not wait"));
    let mut second = Box::pin(clones.write("a", ""));
    assert!(futures::poll!(&mut second).is_pending());
    drop(writing.unchanged());
    assert_eq!(second.await.expect("its turn").state(), &state(1));

    let waiting = clones.write("a", "").await.expect("locked");
    let stopped = Clones::new("lab", folder.path().join("clones"), ByteSize(1), CancellationToken::new());
    let stopped = stopped.expect("a folder");
    stopped.cancel.cancel();
    let error = stopped.write("a", "").await.expect_err("cancelled");
    assert_eq!(error.kind, crate::model::ErrorKind::Cancelled);
    drop(waiting);
}

#[tokio::test]
async fn clones_with_too_many_packs_and_discarded_ones_are_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let clones = clones(folder.path(), 1000);
    filled(&clones, "a", 1).await;
    let packs = folder.path().join("clones/a/objects/pack");
    for number in 0..MOST_PACKS {
        std::fs::write(packs.join(format!("pack-x{number}.pack")), "x").expect("a file");
    }
    let reading = clones.read("a").await.expect("read");
    drop(clones.write("a", "").await.expect("locked"));
    assert!(packs.join("pack-1.pack").exists(), "it is being read");
    drop(reading);
    assert_eq!(clones.write("a", "").await.expect("locked").state(), &CloneState::default());
    assert!(!packs.join("pack-1.pack").exists());

    filled(&clones, "a", 1).await;
    let reading = clones.read("a").await.expect("read");
    clones.discard("a").await.expect("discarded");
    assert!(packs.join("pack-1.pack").exists(), "it is being read");
    drop(reading);
    assert_eq!(clones.read("a").await.expect("read").state, CloneState::default());
    drop(clones.write("a", "").await.expect("locked"));
    assert!(!packs.join("pack-1.pack").exists());
    clones.discard("never seen").await.expect("nothing to do");
}

#[cfg(unix)]
#[tokio::test]
async fn clones_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let clones = clones(folder.path(), 1000);
    filled(&clones, "a", 1).await;
    let mode = folder.path().join("clones").metadata().expect("a folder").permissions().mode();
    assert_eq!(mode & 0o007, 0, "{mode:o}");
}
