//! Trees, walked folder by folder within the bounds.

use std::collections::HashMap;

use gix::objs::tree::EntryKind;
use gix::objs::{CommitRefIter, Kind, TreeRefIter};
use tokio_util::sync::CancellationToken;

use super::cost::Cost;
use super::open::{Purpose, Reader};
use crate::model::{EntryMode, GitSha, StageError, StageResult, TreeEntry};
use crate::source::limits::{TreeTotals, entry, in_order, is_plain_name};

/// Bytes of trees that a walk keeps, and of the largest one that it keeps.
const KEPT: usize = 4 << 20;
const LARGEST_KEPT: usize = 16 << 10;
/// Number of sizes to read before the repository is reopened, for the reason given at [`Reader::reopened`].
const SIZES: usize = 8_192;

/// An entry of a tree that is still to be visited.
struct Pending {
    path: Vec<u8>,
    /// All names of the path are ones that Git checks out.
    plain: bool,
    /// Folders that it lies in.
    depth: usize,
    kind: EntryKind,
    id: gix::ObjectId,
}

/// Trees that were read and checked a moment ago. A repository that names the same few trees a million
/// times has each of them read once.
#[derive(Default)]
struct Recent {
    trees: HashMap<gix::ObjectId, Vec<u8>>,
    bytes: usize,
}

impl Recent {
    fn keep(&mut self, id: gix::ObjectId, data: &[u8]) {
        if data.len() > LARGEST_KEPT {
            return;
        }
        if self.bytes + data.len() > KEPT {
            *self = Self::default();
        }
        self.bytes += data.len();
        self.trees.insert(id, data.to_owned());
    }
}

impl Reader {
    /// The tree's entries without sizes. Ends soon after `stop`.
    pub(in crate::source) fn entries(
        &self,
        commit: GitSha,
        stop: &CancellationToken,
    ) -> StageResult<Vec<TreeEntry>> {
        let repo = self.repo.to_thread_local();
        let mut buffer = Vec::new();
        let root = self.root(&repo, commit, &mut buffer)?;
        let cost = Cost::of_objects();
        self.walk(root, stop, |id, buffer| {
            self.check_cost(&cost)?;
            let bytes = |read: &StageResult<&[u8]>| read.as_ref().map_or(0, |data| data.len());
            cost.count(bytes, || self.object(&repo, id, Kind::Tree, buffer))
        })
    }

    /// The entries below a tree. `read` reads a tree into the buffer.
    fn walk(
        &self,
        root: gix::ObjectId,
        stop: &CancellationToken,
        mut read: impl for<'b> FnMut(&gix::oid, &'b mut Vec<u8>) -> StageResult<&'b [u8]>,
    ) -> StageResult<Vec<TreeEntry>> {
        let mut tally = TreeTotals::new(&self.access.limits, &self.access.stage, &self.name);
        let (mut buffer, mut recent) = (Vec::new(), Recent::default());
        let mut entries = Vec::new();
        // Entries wait in reverse, so that they come in the order of their paths.
        let mut pending =
            vec![Pending { path: Vec::new(), plain: true, depth: 0, kind: EntryKind::Tree, id: root }];
        while let Some(Pending { path, plain, depth, kind, id }) = pending.pop() {
            let mode = match kind {
                EntryKind::Tree => {
                    self.check(stop)?;
                    tally.depth(depth)?;
                    let folder = Pending { path, plain, depth, kind, id };
                    if let Some(data) = recent.trees.get(&id) {
                        self.open_folder(&folder, data, &mut tally, &mut pending)?;
                    } else {
                        let data = read(&id, &mut buffer)?;
                        self.open_folder(&folder, data, &mut tally, &mut pending)?;
                        recent.keep(id, data);
                    }
                    continue;
                }
                EntryKind::Blob | EntryKind::BlobExecutable => EntryMode::File,
                EntryKind::Link => EntryMode::Symlink,
                EntryKind::Commit => EntryMode::Submodule,
            };
            entries.push(entry(path, plain, mode, self.sha(id)?));
        }
        Ok(in_order(entries, &self.name))
    }

    /// Reads one folder's entries onto the end of `pending`. They are counted before they are kept.
    fn open_folder(
        &self,
        folder: &Pending,
        data: &[u8],
        tally: &mut TreeTotals<'_>,
        pending: &mut Vec<Pending>,
    ) -> StageResult<()> {
        let first = pending.len();
        for found in TreeRefIter::from_bytes(data, folder.id.kind()) {
            let found = found.map_err(|error| {
                self.bad(format!("cannot read the tree {} of `{}`", folder.id, self.name)).caused_by(error)
            })?;
            let mut path = Vec::with_capacity(folder.path.len() + 1 + found.filename.len());
            if !folder.path.is_empty() || folder.depth > 0 {
                path.extend_from_slice(&folder.path);
                path.push(b'/');
            }
            path.extend_from_slice(found.filename);
            let kind = found.mode.kind();
            match kind {
                EntryKind::Tree => tally.folder(&path)?,
                _ => tally.file(&path)?,
            }
            pending.push(Pending {
                path,
                plain: folder.plain && is_plain_name(found.filename),
                depth: folder.depth + 1,
                kind,
                id: found.oid.to_owned(),
            });
        }
        pending[first..].reverse();
        Ok(())
    }

    /// The root tree of a commit.
    fn root(
        &self,
        repo: &gix::Repository,
        commit: GitSha,
        buffer: &mut Vec<u8>,
    ) -> StageResult<gix::ObjectId> {
        let id = gix::ObjectId::Sha1(commit.0);
        let data = self.object(repo, &id, Kind::Commit, buffer)?;
        CommitRefIter::from_bytes(data, id.kind()).tree_id().map_err(|error| {
            self.bad(format!("cannot read the commit {commit} of `{}`", self.name)).caused_by(error)
        })
    }

    /// The tree's entries, files with their sizes. A blob that is not there has none; reading it
    /// will say so.
    pub(in crate::source) fn tree(
        &self,
        commit: GitSha,
        stop: &CancellationToken,
    ) -> StageResult<Vec<TreeEntry>> {
        let mut entries = self.entries(commit, stop)?;
        let opened = |reader: &Self| {
            let mut repo = reader.repo.to_thread_local();
            // In a partial clone each absent blob would otherwise look for new packs.
            repo.objects.refresh_never();
            repo
        };
        let mut repo = opened(self);
        let cost = Cost::of_sizes();
        let files = entries.iter_mut().filter(|entry| entry.mode == EntryMode::File);
        for (n, entry) in files.enumerate() {
            if n > 0 && n % SIZES == 0 {
                repo = opened(&self.reopened(Purpose::Walk)?);
            }
            // A pack may make each size a long chain of differences.
            self.check(stop)?;
            self.check_cost(&cost)?;
            let id = gix::ObjectId::Sha1(entry.sha.0);
            let header = cost.count(|_| 0, || repo.find_header(id).ok());
            if let Some(header) = header {
                self.check_chain(&id, &header)?;
                entry.size = Some(header.size());
            }
        }
        Ok(entries)
    }

    /// An error when the work is not wanted any more.
    pub(in crate::source) fn check(&self, stop: &CancellationToken) -> StageResult<()> {
        if stop.is_cancelled() { Err(StageError::cancelled(&self.access.stage)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::blocking::Runtime;
    use crate::source::Limits;
    use crate::source::objects::open::{Access, Purpose};

    /// A reader of a repository without objects.
    fn reader(folder: &std::path::Path, limits: Limits) -> Reader {
        for name in ["objects", "refs"] {
            std::fs::create_dir(folder.join(name)).expect("a folder");
        }
        std::fs::write(folder.join("HEAD"), "ref: refs/heads/main\n").expect("a file");
        let access = Access {
            stage: "git".into(),
            limits,
            max_file_bytes: 1 << 20,
            alternates: Vec::new(),
            runtime: Runtime::default(),
        };
        Reader::open(&Arc::new(access), folder.to_str().expect("UTF-8"), Purpose::Walk).expect("opened")
    }

    /// The trees of a repository with 10^10 paths in ten levels, each of which holds the one below it
    /// ten times; and the id of the top.
    fn bomb() -> (HashMap<gix::ObjectId, Vec<u8>>, gix::ObjectId) {
        let id = |level: u8| gix::ObjectId::Sha1([level; 20]);
        let line = |mode: &str, name: &str, level: u8| {
            [mode.as_bytes(), b" ", name.as_bytes(), b"\0", &[level; 20]].concat()
        };
        let mut trees = HashMap::from([(id(0), line("100644", "file.md", 99))]);
        for level in 1..=10 {
            let folder = |n: u8| line("40000", &n.to_string(), level - 1);
            trees.insert(id(level), (0..10).flat_map(folder).collect());
        }
        (trees, id(10))
    }

    #[test]
    fn trees_that_are_named_again_and_again_are_read_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let reader = reader(folder.path(), Limits { files: 50_000, ..Limits::default() });
        let (trees, top) = bomb();
        let mut reads = 0;
        let walked = reader.walk(top, &CancellationToken::new(), |id, buffer| {
            reads += 1;
            trees[id].clone_into(buffer);
            Ok(buffer)
        });
        let error = walked.expect_err("refused");
        assert!(error.message.ends_with("it has more than 50000 folders"), "{}", error.message);
        assert_eq!(reads, trees.len());
    }

    #[test]
    fn trees_are_kept_within_a_bound() {
        let mut recent = Recent::default();
        let most = KEPT / LARGEST_KEPT;
        let ids: Vec<gix::ObjectId> = (0..=most)
            .map(|n| gix::ObjectId::Sha1(std::array::from_fn(|place| n.to_le_bytes()[place % 8])))
            .collect();
        recent.keep(ids[0], &vec![0; LARGEST_KEPT + 1]);
        assert!(recent.trees.is_empty(), "too large to keep");
        for (n, id) in ids.iter().enumerate() {
            recent.keep(*id, &vec![0; LARGEST_KEPT]);
            // The one that has no room is kept in place of all others.
            assert_eq!(recent.trees.len(), n % most + 1);
            assert!(recent.trees.contains_key(id));
        }
    }
}
