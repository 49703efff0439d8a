//! Trees, walked folder by folder within the bounds.

use gix::objs::tree::EntryKind;
use gix::objs::{CommitRefIter, Kind, TreeRefIter};
use tokio_util::sync::CancellationToken;

use super::open::Reader;
use crate::model::{EntryMode, GitSha, StageError, StageResult, TreeEntry};
use crate::source::limits::{Tally, entry, in_order, is_plain_name};

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

impl Reader {
    /// The tree's entries without sizes. Ends soon after `stop`.
    pub(super) fn entries(&self, commit: GitSha, stop: &CancellationToken) -> StageResult<Vec<TreeEntry>> {
        let repo = self.repo.to_thread_local();
        let mut tally = Tally::new(&self.access.limits, &self.access.stage, &self.path);
        let mut buffer = Vec::new();
        let mut entries = Vec::new();
        // Entries wait in reverse, so that they come in the order of their paths.
        let mut pending = vec![Pending {
            path: Vec::new(),
            plain: true,
            depth: 0,
            kind: EntryKind::Tree,
            id: self.root(&repo, commit, &mut buffer)?,
        }];
        while let Some(Pending { path, plain, depth, kind, id }) = pending.pop() {
            let mode = match kind {
                EntryKind::Tree => {
                    self.check(stop)?;
                    tally.depth(depth)?;
                    let folder = Pending { path, plain, depth, kind, id };
                    self.open_folder(&repo, &folder, &mut tally, &mut buffer, &mut pending)?;
                    continue;
                }
                EntryKind::Blob | EntryKind::BlobExecutable => EntryMode::File,
                EntryKind::Link => EntryMode::Symlink,
                EntryKind::Commit => EntryMode::Submodule,
            };
            entries.push(entry(path, plain, mode, self.sha(id)?));
        }
        Ok(in_order(entries, &self.path))
    }

    /// Reads one folder's entries onto the end of `pending`. They are counted before they are kept.
    fn open_folder(
        &self,
        repo: &gix::Repository,
        folder: &Pending,
        tally: &mut Tally<'_>,
        buffer: &mut Vec<u8>,
        pending: &mut Vec<Pending>,
    ) -> StageResult<()> {
        let data = self.object(repo, &folder.id, Kind::Tree, buffer)?;
        let first = pending.len();
        for found in TreeRefIter::from_bytes(data, folder.id.kind()) {
            let found = found.map_err(|error| {
                self.bad(format!("cannot read the tree {} of `{}`", folder.id, self.path)).caused_by(error)
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
            self.bad(format!("cannot read the commit {commit} of `{}`", self.path)).caused_by(error)
        })
    }

    /// The tree's entries, files with their sizes. A blob that is not there has none; reading it
    /// will say so.
    pub(super) fn tree(&self, commit: GitSha, stop: &CancellationToken) -> StageResult<Vec<TreeEntry>> {
        let mut entries = self.entries(commit, stop)?;
        let mut repo = self.repo.to_thread_local();
        // In a partial clone each absent blob would otherwise look for new packs.
        repo.objects.refresh_never();
        for entry in entries.iter_mut().filter(|entry| entry.mode == EntryMode::File) {
            // A pack may make each size a long chain of differences.
            self.check(stop)?;
            entry.size = repo.find_header(gix::ObjectId::Sha1(entry.sha.0)).ok().map(|header| header.size());
        }
        Ok(entries)
    }

    /// An error when the work is not wanted any more.
    pub(super) fn check(&self, stop: &CancellationToken) -> StageResult<()> {
        if stop.is_cancelled() { Err(StageError::cancelled(&self.access.stage)) } else { Ok(()) }
    }
}
