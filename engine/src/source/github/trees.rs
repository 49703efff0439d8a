//! Recursive trees, also those that GitHub cuts short.

use std::borrow::Cow;

use serde::Deserialize;

use super::client::{Ask, Client};
use super::names::encode_name;
use crate::model::{EntryMode, GitSha, StageError, StageResult, TreeEntry};
use crate::source::limits::{TreeTotals, entry, in_order, is_plain_name};

#[derive(Deserialize)]
struct Tree<'a> {
    #[serde(borrow)]
    tree: Vec<Entry<'a>>,
    #[serde(default)]
    truncated: bool,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
    #[serde(borrow)]
    mode: Cow<'a, str>,
    #[serde(borrow)]
    sha: Cow<'a, str>,
    size: Option<u64>,
}

/// A folder that is still to be listed.
struct Folder {
    path: String,
    /// Folders that lead to it, itself included.
    depth: usize,
    sha: String,
}

/// What one answer lists.
#[derive(Default)]
struct Listed {
    entries: Vec<TreeEntry>,
    /// Folders, also those whose entries are in the answer.
    folders: Vec<Folder>,
    truncated: bool,
}

/// Why an answer was not taken.
enum Refused {
    /// An entry has no object id.
    NoId,
    /// It is beyond a bound.
    Beyond(StageError),
}

impl Tree<'_> {
    /// Reads the entries below a folder; they are counted before they are kept. Those of an answer
    /// that was cut short come again, and are left out.
    fn read(self, below: &Folder, tally: &mut TreeTotals<'_>) -> Result<Listed, Refused> {
        let mut listed = Listed { truncated: self.truncated, ..Listed::default() };
        if self.truncated {
            return Ok(listed);
        }
        for found in self.tree {
            let path = match below.path.as_str() {
                "" => found.path.into_owned(),
                folder => format!("{folder}/{}", found.path),
            };
            let depth = below.depth + 1 + found_slashes(&path, &below.path);
            let mode = match found.mode.as_ref() {
                "040000" | "40000" => {
                    tally
                        .folder(path.as_bytes())
                        .and_then(|()| tally.depth(depth))
                        .map_err(Refused::Beyond)?;
                    listed.folders.push(Folder { path, depth, sha: found.sha.into_owned() });
                    continue;
                }
                "160000" => EntryMode::Submodule,
                "120000" => EntryMode::Symlink,
                _ => EntryMode::File,
            };
            tally.file(path.as_bytes()).and_then(|()| tally.depth(depth - 1)).map_err(Refused::Beyond)?;
            let sha = found.sha.parse().map_err(|_| Refused::NoId)?;
            // JSON cannot carry other bytes than UTF-8; they arrive as this character.
            let plain =
                !path.contains('\u{fffd}') && path.split('/').all(|name| is_plain_name(name.as_bytes()));
            let size = found.size.filter(|_| mode == EntryMode::File);
            listed.entries.push(TreeEntry { size, ..entry(path.into_bytes(), plain, mode, sha) });
        }
        Ok(listed)
    }
}

/// Slashes of a path behind those of the folder that it lies in.
fn found_slashes(path: &str, folder: &str) -> usize {
    let inside = if folder.is_empty() { path } else { &path[folder.len() + 1..] };
    inside.matches('/').count()
}

/// The whole tree of a commit, by path. One request, unless GitHub cuts the answer short (above
/// 100,000 entries or 7 MB): then folder by folder, each whole where that fits.
pub(super) async fn whole_tree(client: &Client, repo: &str, commit: GitSha) -> StageResult<Vec<TreeEntry>> {
    let mut entries = Vec::new();
    let mut tally = TreeTotals::new(&client.limits, &client.stage, repo);
    let mut folders = vec![Folder { path: String::new(), depth: 0, sha: commit.to_string() }];
    let mut asked = 0;
    while let Some(folder) = folders.pop() {
        let listed = request(client, repo, commit, &folder, true, &mut asked, &mut tally).await?;
        entries.extend(listed.entries);
        if !listed.truncated {
            continue;
        }
        let listed = request(client, repo, commit, &folder, false, &mut asked, &mut tally).await?;
        if listed.truncated {
            let shown = if folder.path.is_empty() { "the top folder" } else { folder.path.as_str() };
            return Err(StageError::refused(
                &client.stage,
                format!("GitHub does not list {shown} of {repo} whole: it has too many entries"),
            ));
        }
        entries.extend(listed.entries);
        folders.extend(listed.folders);
    }
    Ok(in_order(entries, repo))
}

async fn request<'a>(
    client: &'a Client,
    repo: &str,
    commit: GitSha,
    folder: &Folder,
    recursive: bool,
    asked: &mut usize,
    tally: &mut TreeTotals<'a>,
) -> StageResult<Listed> {
    *asked += 1;
    let most = client.limits.tree_requests;
    if *asked > most {
        return Err(tally.beyond(format!("its tree takes more than {most} requests"), "tree_requests"));
    }
    // Any value of `recursive` means recursive, even "0".
    let query = if recursive { "?recursive=1" } else { "" };
    let path = format!("/repos/{}/git/trees/{}{query}", encode_name(repo), folder.sha);
    let ask = Ask { longest: client.limits.object_bytes.0, ..Ask::json("tree", &path) };
    let before = tally.clone();
    let (listed, counted) = client
        .ask(ask, |answer| match answer.status.as_u16() {
            200 => {
                let tree: Tree<'_> = client.parse(&answer)?;
                let mut tally = before.clone();
                match tree.read(folder, &mut tally) {
                    Ok(listed) => Ok((listed, tally)),
                    Err(Refused::NoId) => Err(client.garbage("a tree with an entry that has no object id")),
                    Err(Refused::Beyond(error)) => Err(error),
                }
            }
            _ => Err(client.refusal(&format!("the tree of commit {commit} of {repo}"), &answer)),
        })
        .await?;
    *tally = counted;
    Ok(listed)
}

/// A fuzz target: a tree's entries.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(answer: &super::answer::ApiAnswer) {
    let limits = crate::source::Limits { files: 50, path_bytes: 60, depth: 4, ..Default::default() };
    let Ok(tree) = serde_json::from_slice::<Tree<'_>>(&answer.body) else { return };
    let docs = Folder { path: "docs".into(), depth: 1, sha: String::new() };
    let mut tally = TreeTotals::new(&limits, "hub", "acme/docs");
    let Ok(listed) = tree.read(&docs, &mut tally) else { return };
    assert!(listed.entries.len() <= limits.files && listed.folders.len() <= limits.files);
    for entry in in_order(listed.entries, "acme/docs") {
        assert!(entry.path.starts_with("docs/") && entry.path.len() <= limits.path_bytes);
        let hostile = entry.path.split('/').any(|name| matches!(name, "" | "." | ".."));
        assert!(!hostile || !entry.path_is_utf8, "{} is taken for a path", entry.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Limits;

    const ID: &str = "ce013625030ba8dba906f756967f9e9ca394464a";

    fn read(json: &str, below: &str, limits: &Limits) -> Result<Listed, Refused> {
        let tree: Tree<'_> = serde_json::from_str(json).expect("a tree");
        let depth = usize::from(!below.is_empty());
        let below = Folder { path: below.into(), depth, sha: ID.into() };
        tree.read(&below, &mut TreeTotals::new(limits, "hub", "acme/docs"))
    }

    fn tree(paths: &[(&str, &str)]) -> String {
        let entry =
            |(mode, path): &(&str, &str)| format!(r#"{{"path":"{path}","mode":"{mode}","sha":"{ID}"}}"#);
        format!(r#"{{"tree":[{}]}}"#, paths.iter().map(entry).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn depth_is_counted_from_the_top() {
        let limits = Limits { depth: 3, ..Limits::default() };
        let deep = [("040000", "a/b"), ("100644", "a/b/file"), ("100644", "a/b/c/file")];
        assert!(read(&tree(&deep), "", &limits).is_ok());
        let refused = read(&tree(&deep), "docs", &limits);
        let Err(Refused::Beyond(error)) = refused else { panic!("docs/a/b/c is one folder too deep") };
        assert_eq!(error.message, "`acme/docs` is refused: it has more than 3 nested folders");
        assert!(read(&tree(&deep[..2]), "docs", &limits).is_ok());
    }

    #[test]
    fn paths_that_lead_elsewhere_are_no_paths() {
        let odd =
            ["../up", "a/../b", "/root", "a//b", ".git/config", "x\u{fffd}"].map(|path| ("100644", path));
        let listed = read(&tree(&odd), "", &Limits::default()).unwrap_or_default();
        assert_eq!(listed.entries.len(), odd.len());
        assert!(listed.entries.iter().all(|entry| !entry.path_is_utf8));
    }
}
