//! How many commits one commit is ahead of another, within a bounded walk.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};

use gix::objs::{CommitRefIter, Kind};
use tokio_util::sync::CancellationToken;

use super::open::Reader;
use crate::model::{GitSha, MOST_COMMITS, StageResult};

/// Maximum number of commits read before the count is given up as unknown.
const MOST_WALKED: usize = 100_000;

/// Reachable from the head.
const HEAD: u8 = 1;
/// Reachable from the base.
const BASE: u8 = 2;

impl Reader {
    /// Counts the commits that are reachable from `head` and not from `base`, to [`MOST_COMMITS`];
    /// none where `head` does not descend from `base`, or where too many commits lie between.
    ///
    /// Commits are taken by their date, the newest first, until all that are left are reachable
    /// from the base. Where dates are wrong the count may be, too; it is for people to see.
    pub(in crate::source) fn commits_between(
        &self,
        base: GitSha,
        head: GitSha,
        stop: &CancellationToken,
    ) -> StageResult<Option<u64>> {
        let repo = self.repo.to_thread_local();
        let [base, head] = [base, head].map(|sha| gix::ObjectId::Sha1(sha.0));
        let mut walk = Walk::default();
        let mut buffer = Vec::new();
        for (id, flags) in [(head, HEAD), (base, BASE)] {
            walk.reach(id, flags, || self.commit(&repo, id, &mut buffer))?;
        }
        while walk.ahead > 0 {
            self.check(stop)?;
            if walk.seen.len() > MOST_WALKED {
                return Ok(None);
            }
            let Some((flags, parents)) = walk.next() else { break };
            for parent in parents {
                // Commits beyond the boundary of a shallow clone are not counted.
                drop(walk.reach(parent, flags, || self.commit(&repo, parent, &mut buffer)));
            }
        }
        let descends = walk.seen.get(&base).is_some_and(|seen| seen.flags & HEAD != 0);
        let count = walk.seen.values().filter(|seen| seen.flags == HEAD).count() as u64;
        Ok(descends.then_some(count.min(MOST_COMMITS)))
    }

    /// A commit's date and parents.
    fn commit(
        &self,
        repo: &gix::Repository,
        id: gix::ObjectId,
        buffer: &mut Vec<u8>,
    ) -> StageResult<(i64, Vec<gix::ObjectId>)> {
        let data = self.object(repo, &id, Kind::Commit, buffer)?;
        let commit = || CommitRefIter::from_bytes(data, id.kind());
        let date = commit().committer().map_or(0, |committer| committer.seconds());
        Ok((date, commit().parent_ids().take(MOST_WALKED).collect()))
    }
}

/// A commit that was reached.
struct Seen {
    flags: u8,
    date: i64,
    parents: Vec<gix::ObjectId>,
    /// Its flags have not been propagated to its parents yet.
    queued: bool,
}

/// The commits reached by the walk.
#[derive(Default)]
struct Walk {
    seen: HashMap<gix::ObjectId, Seen>,
    /// By date, the newest first; of one date in the order in which they were reached, so that
    /// children come before their parents.
    queue: BinaryHeap<(i64, Reverse<usize>, gix::ObjectId)>,
    /// How often a commit was queued.
    queued: usize,
    /// Commits in the queue that are not known to be reachable from the base.
    ahead: usize,
}

impl Walk {
    /// Adds flags to a commit, which is read when it is reached first, and queues it when they are new.
    fn reach(
        &mut self,
        id: gix::ObjectId,
        flags: u8,
        read: impl FnOnce() -> StageResult<(i64, Vec<gix::ObjectId>)>,
    ) -> StageResult<()> {
        let seen = match self.seen.entry(id) {
            Entry::Occupied(seen) => seen.into_mut(),
            Entry::Vacant(place) => {
                let (date, parents) = read()?;
                place.insert(Seen { flags: 0, date, parents, queued: false })
            }
        };
        if seen.flags | flags == seen.flags {
            return Ok(());
        }
        self.ahead -= usize::from(seen.queued && seen.flags == HEAD);
        seen.flags |= flags;
        self.ahead += usize::from(seen.flags == HEAD);
        if !seen.queued {
            seen.queued = true;
            self.queue.push((seen.date, Reverse(self.queued), id));
            self.queued += 1;
        }
        Ok(())
    }

    /// The newest commit of the queue: its flags and parents.
    fn next(&mut self) -> Option<(u8, Vec<gix::ObjectId>)> {
        let (_, _, id) = self.queue.pop()?;
        let seen = self.seen.get_mut(&id)?;
        seen.queued = false;
        self.ahead -= usize::from(seen.flags == HEAD);
        Some((seen.flags, seen.parents.clone()))
    }
}
