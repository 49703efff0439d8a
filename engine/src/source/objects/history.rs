//! The commits before a commit, with the files that each of them changed.

use gix::objs::{CommitRefIter, Kind};
use tokio_util::sync::CancellationToken;

use super::open::Reader;
use crate::model::{GitSha, StageResult, TreeEntry};
use crate::source::PastCommit;
use crate::source::diff::changed_files;

/// Bytes of a subject that are kept.
const LONGEST_SUBJECT: usize = 500;

impl Reader {
    /// Follows first parents from `head`, newest first, for at most `most` commits. Merges are followed
    /// but left out.
    pub(in crate::source) fn history(
        &self,
        head: GitSha,
        most: usize,
        stop: &CancellationToken,
    ) -> StageResult<Vec<PastCommit>> {
        let repo = self.repo.to_thread_local();
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        let mut commit = head;
        let mut files: Vec<TreeEntry> = self.entries(head, stop)?;
        for _ in 0..most {
            self.check(stop)?;
            let id = gix::ObjectId::Sha1(commit.0);
            let data = self.object(&repo, &id, Kind::Commit, &mut buffer)?;
            let parents: Vec<gix::ObjectId> =
                CommitRefIter::from_bytes(data, id.kind()).parent_ids().take(2).collect();
            let message = CommitRefIter::from_bytes(data, id.kind()).message().unwrap_or_default();
            let subject = String::from_utf8_lossy(message).lines().next().unwrap_or_default().to_owned();
            let Some(gix::ObjectId::Sha1(parent)) = parents.first().copied() else { break };
            let parent = GitSha(parent);
            // The boundary of a shallow clone ends the history.
            let Ok(before) = self.entries(parent, stop) else { break };
            if parents.len() == 1 {
                let subject = subject[..subject.floor_char_boundary(LONGEST_SUBJECT)].to_owned();
                found.push(PastCommit { parent, subject, files: changed_files(&before, &files) });
            }
            (commit, files) = (parent, before);
        }
        Ok(found)
    }
}
