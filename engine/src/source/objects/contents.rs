//! Contents of many files, read on several threads.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::cost::Cost;
use super::open::{Purpose, Reader};
use super::reading::{blocking, broken};
use crate::model::{EntryMode, StageResult, TreeEntry};
use crate::source::ContentSink;

/// Reader tasks per fetch. Inflation is CPU-bound; more threads do not help.
const READERS: usize = 2;
/// Files that a reader takes at a time: neighbours in the tree are neighbours in the pack.
const BLOCK: usize = 32;
/// Contents read, or being read, ahead of the sink.
const READ_AHEAD: usize = 16;
/// Files of a block that are read per `spawn_blocking` call, which never waits for the sink.
const TURN: usize = READ_AHEAD / 2;
/// Bytes that a task reads before it reopens the repository. This limits how much of a large pack is mapped at a time.
const WINDOW: usize = 16 << 20;

impl Reader {
    /// Refuses a partial clone that lacks wanted files: one failure instead of one per file.
    fn check_complete(&self, wanted: &[TreeEntry]) -> StageResult<()> {
        let mut absent =
            wanted.iter().filter(|entry| entry.mode == EntryMode::File && entry.size.is_none()).peekable();
        let Some(first) = absent.peek().map(|entry| entry.path.clone()) else { return Ok(()) };
        if !self.is_partial() {
            return Ok(());
        }
        let message = format!(
            "`{}` is a partial clone: {} of the {} files to read are not in it, `{first}` among them",
            self.name,
            absent.count(),
            wanted.len()
        );
        Err(self.refused(message).hint(self.complete_it()))
    }

    /// Reads the contents of `wanted` into `sink`, several at a time.
    pub(in crate::source) async fn contents(
        self,
        wanted: Vec<TreeEntry>,
        sink: &mut dyn ContentSink,
    ) -> StageResult<()> {
        self.check_complete(&wanted)?;
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let readers = READERS.min(cores).min(wanted.len().div_ceil(BLOCK));
        let (wanted, next) = (Arc::new(wanted), Arc::new(AtomicUsize::new(0)));
        let (access, cost) = (Arc::clone(&self.access), Arc::new(Cost::of_objects()));
        let (sender, mut contents) = mpsc::channel(READ_AHEAD);
        let mut tasks = JoinSet::new();
        for _ in 0..readers {
            let (reader, wanted, next, sender) =
                (self.clone(), Arc::clone(&wanted), Arc::clone(&next), sender.clone());
            tasks.spawn(reader.read(wanted, next, Arc::clone(&cost), sender));
        }
        drop((self, sender));
        // An error of the sink drops the channel, which ends the readers.
        while let Some((entry, content)) = contents.recv().await {
            sink.put(entry, content).await?;
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|error| broken(&access.stage, error))??;
        }
        Ok(())
    }

    /// Reads blocks of files until none is left or the receiver is gone.
    async fn read(
        mut self,
        wanted: Arc<Vec<TreeEntry>>,
        next: Arc<AtomicUsize>,
        cost: Arc<Cost>,
        contents: mpsc::Sender<(TreeEntry, StageResult<Bytes>)>,
    ) -> StageResult<()> {
        // It goes from turn to turn, because its caches help with the files that come next.
        let (mut repo, mut bytes) = (self.repo.to_thread_local(), 0);
        loop {
            let start = next.fetch_add(BLOCK, Ordering::Relaxed);
            if start >= wanted.len() {
                return Ok(());
            }
            let end = wanted.len().min(start + BLOCK);
            for start in (start..end).step_by(TURN) {
                let turn = start..end.min(start + TURN);
                // Reserve first: a reader that waits for the sink holds no thread.
                let Ok(room) = contents.reserve_many(turn.len()).await else { return Ok(()) };
                let (access, files, cost) =
                    (Arc::clone(&self.access), Arc::clone(&wanted), Arc::clone(&cost));
                let work = move || {
                    let (mut reader, mut repo, mut bytes) = (self, repo, bytes);
                    if bytes > WINDOW {
                        reader = reader.reopened(Purpose::Contents)?;
                        (repo, bytes) = (reader.repo.to_thread_local(), 0);
                    }
                    let length = |read: &StageResult<Bytes>| read.as_ref().map_or(0, Bytes::len);
                    let content = |entry: &TreeEntry| {
                        reader.check_cost(&cost)?;
                        let content = cost.count(length, || reader.content(&repo, entry));
                        bytes += length(&content);
                        Ok((entry.clone(), content))
                    };
                    let read = files[turn].iter().map(content).collect::<StageResult<Vec<_>>>()?;
                    Ok((reader, repo, bytes, read))
                };
                let read;
                (self, repo, bytes, read) = blocking(&access, work).await?;
                for (room, content) in room.zip(read) {
                    room.send(content);
                }
            }
        }
    }
}
