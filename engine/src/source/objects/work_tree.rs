//! How many files of a work tree differ from a commit, without running Git.

use std::collections::HashMap;
use std::path::Path;

use gix::bstr::{BStr, ByteSlice as _};
use gix::index::entry::{Flags, Mode, Stat};
use gix::index::{Entry, fs::Metadata};
use gix::objs::{CommitRefIter, Kind};
use tokio_util::sync::CancellationToken;

use super::open::Reader;
use crate::model::{GitSha, StageResult};

/// Bytes of Git's index file that are read: some 400,000 files.
const LONGEST_INDEX: u64 = 64 << 20;

/// A time: seconds and nanoseconds.
type Time = (i64, u32);

impl Reader {
    /// Counts the tracked files whose content in the work tree is not that of the commit: edited, staged or deleted.
    /// Untracked files do not count, nor do those that are too large to be indexed. `None`: there is no work tree, or
    /// no index file that can be read.
    ///
    /// As Git does, a file whose size and time are those of the index file is taken for unchanged. Unlike Git, times
    /// are compared to the nanosecond where they are recorded: otherwise all files of a new clone would be read,
    /// because they are as old as the index file.
    pub(in crate::source) fn differing_files(
        &self,
        commit: GitSha,
        stop: &CancellationToken,
    ) -> StageResult<Option<u64>> {
        let repo = self.repo.to_thread_local();
        let Some(folder) = repo.workdir() else { return Ok(None) };
        let path = repo.index_path();
        if !path.metadata().is_ok_and(|file| file.is_file() && file.len() <= LONGEST_INDEX) {
            return Ok(None);
        }
        let Ok(index) = repo.open_index() else { return Ok(None) };
        let mut buffer = Vec::new();
        let id = gix::ObjectId::Sha1(commit.0);
        let data = self.object(&repo, &id, Kind::Commit, &mut buffer)?;
        let root = CommitRefIter::from_bytes(data, id.kind()).tree_id().ok();
        let is_of_commit =
            index.tree().is_some_and(|tree| tree.num_entries.is_some() && Some(tree.id) == root);
        let mut committed: HashMap<Vec<u8>, GitSha> = HashMap::new();
        if !is_of_commit {
            let files = self.entries(commit, stop)?;
            committed.extend(files.into_iter().map(|file| (file.path.into_bytes(), file.sha)));
        }
        let written = (index.timestamp().unix_seconds(), index.timestamp().nanoseconds());
        let mut count = 0;
        for entry in index.entries() {
            self.check(stop)?;
            let path = entry.path(&index);
            let in_commit = committed.remove(path.as_bytes());
            if !self.is_compared(entry) {
                continue;
            }
            let is_staged =
                !is_of_commit && in_commit.is_none_or(|sha| gix::ObjectId::Sha1(sha.0) != entry.id);
            if is_staged || self.is_edited(folder, path, entry, written) {
                count += 1;
            }
        }
        // What the index file does not have is deleted.
        Ok(Some(count + committed.len() as u64))
    }

    fn is_compared(&self, entry: &Entry) -> bool {
        let left_out = Flags::SKIP_WORKTREE | Flags::ASSUME_VALID;
        let is_file = [Mode::FILE, Mode::FILE_EXECUTABLE].contains(&entry.mode);
        is_file
            && !entry.flags.intersects(left_out)
            && u64::from(entry.stat.size) <= self.access.max_file_bytes
    }

    fn is_edited(&self, folder: &Path, path: &BStr, entry: &Entry, written: Time) -> bool {
        let Ok(path) = path.to_path() else { return false };
        let path = folder.join(path);
        let Ok(file) = Metadata::from_path_no_follow(&path) else { return true };
        let Ok(stat) = Stat::from_fs(&file) else { return false };
        if !file.is_file() || file.len() > self.access.max_file_bytes {
            return true;
        }
        // Git sets the size to 0 if it does not know whether the file is unchanged.
        let known = entry.stat.size != 0;
        if known && is_untouched(&entry.stat, &stat, written) {
            return false;
        }
        if known && stat.size != entry.stat.size {
            return true;
        }
        std::fs::read(&path).map_or(true, |content| !is_blob(&content, &entry.id))
    }
}

/// True if a file has not changed since it was recorded in an index file that was written later. The identity of the
/// file on disk is left out: a repository may be mounted or copied.
fn is_untouched(recorded: &Stat, now: &Stat, written: Time) -> bool {
    // Some file systems and programs know only seconds.
    let exact = recorded.mtime.nsecs != 0 && now.mtime.nsecs != 0;
    let time = |stat: &Stat| (i64::from(stat.mtime.secs), if exact { stat.mtime.nsecs } else { 0 });
    let written = if exact { written } else { (written.0, 0) };
    recorded.size == now.size && time(recorded) == time(now) && time(recorded) < written
}

/// True if a content is that of the blob, as it is or with the line ends that Git stores.
fn is_blob(content: &[u8], id: &gix::oid) -> bool {
    let same = |content: &[u8]| {
        gix::objs::compute_hash(id.kind(), Kind::Blob, content).is_ok_and(|actual| *actual == *id)
    };
    same(content) || (content.find(b"\r\n").is_some() && same(&content.replace(b"\r\n", b"\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(secs: u32, nsecs: u32, size: u32) -> Stat {
        let mut stat = Stat { size, ..Stat::default() };
        (stat.mtime.secs, stat.mtime.nsecs) = (secs, nsecs);
        stat
    }

    #[test]
    fn a_file_is_untouched_if_its_recorded_time_is_older_than_the_index() {
        let recorded = stat(10, 500, 3);
        assert!(is_untouched(&recorded, &stat(10, 500, 3), (10, 501)), "in the same second, but before");
        assert!(!is_untouched(&recorded, &stat(10, 500, 3), (10, 500)), "as old as the index");
        assert!(!is_untouched(&recorded, &stat(10, 900, 3), (10, 800)), "edited in the same second");
        assert!(!is_untouched(&recorded, &stat(10, 500, 4), (11, 0)), "another size");
        assert!(is_untouched(&recorded, &stat(10, 0, 3), (11, 0)), "a copy that keeps only seconds");
        assert!(!is_untouched(&recorded, &stat(10, 0, 3), (10, 900)), "by seconds, as old as the index");
        assert!(!is_untouched(&stat(10, 0, 3), &stat(11, 0, 3), (12, 0)), "edited later");
    }
}
