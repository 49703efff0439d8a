//! What differs between two trees, blob by blob: the exact answer that needs no compare API. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::model::{EntryMode, GitSha, TreeEntry};

use super::ChangedFile;

/// Compares two trees by path, mode and blob. A file that left one path and appeared at another
/// with the same blob is a rename; the files come by path.
pub(super) fn changed_files(before: &[TreeEntry], after: &[TreeEntry]) -> Vec<ChangedFile> {
    let old: BTreeMap<&str, &TreeEntry> = files(before);
    let new: BTreeMap<&str, &TreeEntry> = files(after);
    let mut left: HashMap<(GitSha, EntryMode), Vec<&str>> = HashMap::new();
    // From the end, so that `pop` gives the first path first.
    for (path, entry) in old.iter().rev() {
        if !new.contains_key(path) {
            left.entry((entry.sha, entry.mode)).or_default().push(path);
        }
    }
    let mut changes = Vec::new();
    for (path, entry) in &new {
        let (status, previous) = match old.get(path) {
            Some(was) if was.sha == entry.sha && was.mode == entry.mode => continue,
            Some(was) if was.sha == entry.sha => ("changed", None),
            Some(_) => ("modified", None),
            None => match left.get_mut(&(entry.sha, entry.mode)).and_then(Vec::pop) {
                Some(previous) => ("renamed", Some(previous.to_owned())),
                None => ("added", None),
            },
        };
        changes.push(ChangedFile {
            path: (*path).to_owned(),
            status: status.to_owned(),
            previous_path: previous,
            blob_sha: Some(entry.sha),
        });
    }
    changes.extend(left.into_values().flatten().map(|path| ChangedFile {
        path: path.to_owned(),
        status: "removed".to_owned(),
        previous_path: None,
        blob_sha: None,
    }));
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes
}

fn files(tree: &[TreeEntry]) -> BTreeMap<&str, &TreeEntry> {
    tree.iter()
        .filter(|entry| entry.mode != EntryMode::Submodule)
        .map(|entry| (entry.path.as_str(), entry))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, blob: u8, mode: EntryMode) -> TreeEntry {
        TreeEntry { path: path.into(), path_is_utf8: true, mode, sha: GitSha([blob; 20]), size: None }
    }

    #[test]
    fn every_kind_of_change_is_named() {
        use EntryMode::{File, Submodule, Symlink};
        let before = [
            entry("same", 1, File),
            entry("edited", 2, File),
            entry("gone", 3, File),
            entry("old/name", 4, File),
            entry("to-link", 5, File),
            entry("module", 6, Submodule),
        ];
        let after = [
            entry("same", 1, File),
            entry("edited", 12, File),
            entry("new/name", 4, File),
            entry("new/copy", 4, File),
            entry("to-link", 5, Symlink),
            entry("module", 16, Submodule),
        ];
        let shown: Vec<String> = changed_files(&before, &after)
            .iter()
            .map(|c| {
                format!(
                    "{} {}{}",
                    c.status,
                    c.path,
                    c.previous_path.as_deref().map_or(String::new(), |p| { format!(" from {p}") })
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "modified edited",
                "removed gone",
                "renamed new/copy from old/name",
                "added new/name",
                "changed to-link"
            ]
        );
        assert!(changed_files(&after, &after).is_empty());
    }
}
