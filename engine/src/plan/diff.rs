//! Compares a repository's tree with the files recorded for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Fingerprint, GitSha, SkipReason, TreeEntry};

/// A file that the project wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// Its entry in the tree.
    pub entry: TreeEntry,
    /// The recipe it would be made by now.
    pub recipe: Fingerprint,
}

/// A file that the ledger knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The path.
    pub path: String,
    /// The blob that the index holds.
    pub blob_sha: Option<GitSha>,
    /// The recipe it was made by.
    pub recipe: Option<Fingerprint>,
    /// True when its vectors are where the project's vectors belong now.
    pub in_place: bool,
    /// How many vectors it has.
    pub vectors: u64,
    /// Whether what is known can be believed.
    pub state: RecordedState,
}

/// Whether what is known of a file can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordedState {
    /// It is as recorded.
    Settled,
    /// It is as recorded: not for the index, by its content.
    Skipped(SkipReason),
    /// The last try failed.
    Failed,
    /// A write began and was not recorded as finished.
    Unfinished,
    /// It was found in the store, and not compared yet.
    Adopted,
    /// The store was found to differ, or its removal began.
    Damaged,
}

/// The reason to write a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// The index does not hold it.
    New,
    /// Its content changed.
    Content,
    /// How it is made changed; the recipe it was made by.
    Recipe(Fingerprint),
    /// Its vectors belong elsewhere now.
    Place,
    /// See [`RecordedState`].
    State(RecordedState),
    /// `--full`.
    Full,
}

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// Which, and how.
    pub desired: Desired,
    /// Why.
    pub reason: Reason,
    /// Vectors that the index holds of it now.
    pub vectors_before: u64,
    /// True where the index holds nothing of it.
    pub is_new: bool,
    /// For a new file: the path that leaves the index with the same content.
    pub moved_from: Option<String>,
}

/// The changes to one repository's files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoDiff {
    /// Files to be written, by path.
    pub writes: Vec<Write>,
    /// Files to be removed, by path.
    pub removals: Vec<Recorded>,
    /// Files that are as recorded.
    pub unchanged: u64,
    /// Files that are, as recorded, not for the index.
    #[serde(skip)]
    pub skipped: Vec<(String, SkipReason)>,
}

/// Compares. `full`: believe nothing that is known.
pub fn diff(wanted: Vec<Desired>, known: Vec<Recorded>, full: bool) -> RepoDiff {
    let mut known: BTreeMap<String, Recorded> =
        known.into_iter().map(|file| (file.path.clone(), file)).collect();
    let mut diff = RepoDiff::default();
    for wanted in wanted {
        let before = known.remove(&wanted.entry.path);
        match reason(&wanted, before.as_ref(), full) {
            Some(reason) => {
                let vectors_before = before.map_or(0, |file| file.vectors);
                let is_new = vectors_before == 0;
                diff.writes.push(Write { desired: wanted, reason, vectors_before, is_new, moved_from: None });
            }
            None => match before.map(|file| file.state) {
                Some(RecordedState::Skipped(reason)) => diff.skipped.push((wanted.entry.path, reason)),
                _ => diff.unchanged += 1,
            },
        }
    }
    diff.removals = known.into_values().collect();
    diff.writes.sort_by(|a, b| a.desired.entry.path.cmp(&b.desired.entry.path));
    label_moves(&mut diff);
    diff
}

fn reason(wanted: &Desired, known: Option<&Recorded>, full: bool) -> Option<Reason> {
    let Some(known) = known else { return Some(Reason::New) };
    if full {
        return Some(Reason::Full);
    }
    if !matches!(known.state, RecordedState::Settled | RecordedState::Skipped(_)) {
        return Some(Reason::State(known.state));
    }
    if known.blob_sha != Some(wanted.entry.sha) {
        return Some(Reason::Content);
    }
    match &known.recipe {
        Some(recipe) if *recipe == wanted.recipe => {}
        Some(recipe) => return Some(Reason::Recipe(recipe.clone())),
        None => return Some(Reason::New),
    }
    (known.vectors > 0 && !known.in_place).then_some(Reason::Place)
}

/// A new file whose content leaves the index under another path is a move. Each removed path
/// serves one new path.
fn label_moves(diff: &mut RepoDiff) {
    let mut leaving: BTreeMap<GitSha, Vec<&str>> = BTreeMap::new();
    for file in diff.removals.iter().rev() {
        if let (Some(sha), true) = (file.blob_sha, file.vectors > 0) {
            leaving.entry(sha).or_default().push(&file.path);
        }
    }
    for write in &mut diff.writes {
        // Also one that failed before: what it is to replace stays until it is in.
        if write.is_new {
            write.moved_from =
                leaving.get_mut(&write.desired.entry.sha).and_then(Vec::pop).map(str::to_owned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EntryMode;

    fn wanted(path: &str, sha: u8, recipe: &str) -> Desired {
        let entry = TreeEntry {
            path: path.into(),
            path_is_utf8: true,
            mode: EntryMode::File,
            sha: GitSha([sha; 20]),
            size: Some(1),
        };
        Desired { entry, recipe: Fingerprint::of([recipe]) }
    }

    fn known(path: &str, sha: u8, recipe: &str) -> Recorded {
        Recorded {
            path: path.into(),
            blob_sha: Some(GitSha([sha; 20])),
            recipe: Some(Fingerprint::of([recipe])),
            in_place: true,
            vectors: 3,
            state: RecordedState::Settled,
        }
    }

    fn reasons(wanted_files: Vec<Desired>, known_files: Vec<Recorded>, full: bool) -> Vec<Reason> {
        diff(wanted_files, known_files, full).writes.into_iter().map(|write| write.reason).collect()
    }

    #[test]
    fn each_difference_has_its_reason() {
        let one = || vec![wanted("a", 1, "r")];
        assert_eq!(reasons(one(), vec![], false), [Reason::New]);
        assert_eq!(reasons(one(), vec![known("a", 2, "r")], false), [Reason::Content]);
        let old = Fingerprint::of(["old"]);
        assert_eq!(reasons(one(), vec![known("a", 1, "old")], false), [Reason::Recipe(old)]);
        let elsewhere = Recorded { in_place: false, ..known("a", 1, "r") };
        assert_eq!(reasons(one(), vec![elsewhere.clone()], false), [Reason::Place]);
        assert_eq!(reasons(one(), vec![known("a", 1, "r")], true), [Reason::Full]);
        assert_eq!(reasons(one(), vec![known("a", 1, "r")], false), []);
        for state in
            [RecordedState::Failed, RecordedState::Unfinished, RecordedState::Adopted, RecordedState::Damaged]
        {
            let file = Recorded { state, ..known("a", 1, "r") };
            assert_eq!(reasons(one(), vec![file], false), [Reason::State(state)]);
        }
        let skipped = Recorded { vectors: 0, state: RecordedState::Skipped(SkipReason::Binary), ..elsewhere };
        let diff = diff(one(), vec![skipped], false);
        assert_eq!((diff.writes.len(), diff.skipped), (0, vec![("a".to_owned(), SkipReason::Binary)]));
    }

    #[test]
    fn what_is_not_wanted_leaves_and_equal_content_is_a_move() {
        let diff = diff(
            vec![wanted("new/a", 1, "r"), wanted("new/b", 1, "r"), wanted("kept", 5, "r")],
            vec![known("old/a", 1, "r"), known("gone", 9, "r"), known("kept", 5, "r")],
            false,
        );
        assert_eq!(diff.unchanged, 1);
        let moves: Vec<_> =
            diff.writes.iter().map(|w| (w.desired.entry.path.as_str(), w.moved_from.as_deref())).collect();
        assert_eq!(moves, [("new/a", Some("old/a")), ("new/b", None)]);
        let removals: Vec<_> = diff.removals.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(removals, ["gone", "old/a"]);
    }

    /// The origin of a move stays until the move is done, so every attempt must find it again.
    #[test]
    fn a_move_that_failed_before_is_still_a_move() {
        let failed =
            Recorded { vectors: 0, blob_sha: None, state: RecordedState::Failed, ..known("new", 1, "r") };
        let diff = diff(vec![wanted("new", 1, "r")], vec![failed, known("old", 1, "r")], false);
        assert_eq!(diff.writes[0].moved_from.as_deref(), Some("old"));
    }
}
