//! Recursive trees, also those that GitHub cuts short.

use serde::Deserialize;

use super::client::{Ask, Client};
use super::encode_name;
use crate::model::{EntryMode, GitSha, StageError, StageResult, TreeEntry};

#[derive(Deserialize)]
struct Tree {
    tree: Vec<Entry>,
    #[serde(default)]
    truncated: bool,
}

#[derive(Deserialize)]
struct Entry {
    path: String,
    mode: String,
    sha: String,
    size: Option<u64>,
}

impl Entry {
    /// The entry below a folder; none: it is a folder itself.
    fn read(&self, prefix: &str) -> Result<Option<TreeEntry>, <GitSha as std::str::FromStr>::Err> {
        let mode = match self.mode.as_str() {
            "040000" | "40000" => return Ok(None),
            "160000" => EntryMode::Submodule,
            "120000" => EntryMode::Symlink,
            _ => EntryMode::File,
        };
        let path = format!("{prefix}{}", self.path);
        Ok(Some(TreeEntry {
            // JSON cannot carry other bytes than UTF-8; they arrive as this character.
            path_is_utf8: !path.contains('\u{fffd}'),
            path,
            mode,
            sha: self.sha.parse()?,
            size: self.size.filter(|_| mode == EntryMode::File),
        }))
    }
}

/// The whole tree of a commit, by path. One request, unless GitHub cuts the answer short (above
/// 100,000 entries or 7 MB): then folder by folder, each whole where that fits.
pub(super) async fn whole_tree(client: &Client, repo: &str, commit: GitSha) -> StageResult<Vec<TreeEntry>> {
    let mut entries = Vec::new();
    let mut folders = vec![(String::new(), commit.to_string())];
    while let Some((prefix, sha)) = folders.pop() {
        let mut tree = request(client, repo, commit, &sha, true).await?;
        let recursive = !tree.truncated;
        if !recursive {
            tree = request(client, repo, commit, &sha, false).await?;
            if tree.truncated {
                let shown = if prefix.is_empty() { "the top folder" } else { prefix.as_str() };
                return Err(StageError::refused(
                    &client.stage,
                    format!("GitHub does not list {shown} of {repo} whole: it has too many entries"),
                ));
            }
        }
        for entry in tree.tree {
            match entry.read(&prefix) {
                Ok(Some(entry)) => entries.push(entry),
                Ok(None) if recursive => {}
                Ok(None) => folders.push((format!("{prefix}{}/", entry.path), entry.sha)),
                Err(_) => return Err(client.garbage("a tree with an entry that has no object id")),
            }
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

async fn request(
    client: &Client,
    repo: &str,
    commit: GitSha,
    sha: &str,
    recursive: bool,
) -> StageResult<Tree> {
    // Any value of `recursive` means recursive, even "0".
    let query = if recursive { "?recursive=1" } else { "" };
    let path = format!("/repos/{}/git/trees/{sha}{query}", encode_name(repo));
    client
        .ask(Ask::json("tree", &path), |answer| match answer.status.as_u16() {
            200 => client.parse(&answer),
            _ => Err(client.refusal(&format!("the tree of commit {commit} of {repo}"), &answer)),
        })
        .await
}

/// A fuzz target: a tree's entries.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(answer: &super::answer::Answer) {
    let Ok(tree) = serde_json::from_slice::<Tree>(&answer.body) else { return };
    for entry in tree.tree {
        if let Ok(Some(read)) = entry.read("docs/") {
            assert!(read.path.starts_with("docs/"));
        }
    }
}
