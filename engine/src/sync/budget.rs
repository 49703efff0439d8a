//! Room for what is in flight, shared by projects so that none of them can take it all.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::blocking::Runtime;
use crate::embed::EmbedLimits;
use crate::model::ByteSize;

/// Bytes in flight of all projects: contents, chunks, texts and vectors of files under way. The minimum, for
/// embedders that take few texts at once.
const IN_FLIGHT: usize = 24 << 20;
/// Size of the budget in multiples of the texts in an embedder's calls: a project alone gets half of it, and
/// while one half of that is embedded, the other is written.
const TIMES_THE_CALLS: usize = 4;
/// Bytes of a text in flight besides its vector: the text, its input to the embedder, metadata.
const TEXT_BYTES: usize = 2 << 10;
/// See `[engine].memory`.
const MEMORY: ByteSize = ByteSize::mib(256);
/// Repositories of all projects whose contents are read at once.
const FETCHES: usize = 32;
/// The same where each project is allowed its first. Each may hold a blocking thread (an archive that is
/// being unpacked) while it waits for room in the byte budget; if those held all threads of the runtime
/// (192), nothing would free any.
const MAX_FETCHES: usize = 96;

/// Bounds that all projects of a process share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Bytes in flight.
    pub(crate) in_flight: Arc<Budget>,
    /// Repositories whose contents are read at once.
    pub(crate) fetches: Arc<Budget>,
    /// Blocking work.
    pub(crate) runtime: Runtime,
    /// The most bytes that may be in flight.
    memory: ByteSize,
}

impl Bounds {
    /// The same, with another limit of the bytes in flight.
    #[must_use]
    pub(crate) fn with_memory(self, memory: ByteSize) -> Self {
        Self { memory, ..self }
    }

    /// Makes room for the texts in an embedder's calls, and for as many that wait for their turn or are written.
    /// `dimensions`: components of a vector.
    pub(crate) fn make_room(&self, limits: EmbedLimits, dimensions: usize) {
        let texts = limits.calls.saturating_mul(limits.inputs_per_call);
        let wanted = texts.saturating_mul(TEXT_BYTES + 4 * dimensions).saturating_mul(TIMES_THE_CALLS);
        self.in_flight.grow(wanted, usize::try_from(self.memory.0).unwrap_or(usize::MAX));
    }
}

impl Default for Bounds {
    fn default() -> Self {
        // One file of each project gets through, whatever the others hold.
        let in_flight = Budget::new(IN_FLIGHT, usize::MAX);
        Self {
            in_flight,
            fetches: Budget::new(FETCHES, MAX_FETCHES),
            runtime: Runtime::default(),
            memory: MEMORY,
        }
    }
}

/// An amount of something (bytes of memory, repositories being read) for all projects of a process.
///
/// A project gets no more than it leaves to others: half of everything where it is alone, a third
/// where another one holds a third, and so on. So a project whose service hangs never holds what
/// the next one needs. One that holds nothing always gets what it asks for, within `most`: every
/// project moves on, if slowly.
#[derive(Debug)]
pub(crate) struct Budget {
    most: usize,
    state: Mutex<BudgetState>,
    freed: Notify,
    owners: AtomicU64,
}

#[derive(Debug, Default)]
struct BudgetState {
    capacity: usize,
    used: usize,
    by_owner: HashMap<u64, usize>,
}

impl Budget {
    /// Room for `capacity`; what hungry owners may take beyond it ends at `most`.
    pub(crate) fn new(capacity: usize, most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            state: Mutex::new(BudgetState { capacity, ..BudgetState::default() }),
            freed: Notify::new(),
            owners: AtomicU64::new(0),
        })
    }

    /// Grows to what one of the owners can use, within `limit`.
    fn grow(&self, wanted: usize, limit: usize) {
        let mut state = self.lock();
        state.capacity = state.capacity.max(wanted).min(limit);
    }

    /// The share of one more owner.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        let owner = self.owners.fetch_add(1, Ordering::Relaxed);
        Share { budget: Arc::clone(self), owner, turn: tokio::sync::Mutex::new(()) }
    }

    fn lock(&self) -> MutexGuard<'_, BudgetState> {
        self.state.lock()
    }

    /// False, and nothing is taken, where it is not the owner's turn.
    fn try_take(&self, owner: u64, amount: usize) -> bool {
        let mut state = self.lock();
        let own = state.by_owner.get(&owner).copied().unwrap_or(0);
        let used = state.used + amount;
        let fair = used <= state.capacity && own + amount <= state.capacity - used;
        if fair || (own == 0 && used <= self.most.max(amount)) {
            state.used = used;
            state.by_owner.insert(owner, own + amount);
            return true;
        }
        false
    }

    /// Changes what an owner holds, whether or not there is room.
    fn change(&self, owner: u64, from: usize, to: usize) {
        {
            let mut state = self.lock();
            state.used = state.used + to - from;
            let own = state.by_owner.get(&owner).copied().unwrap_or(0) + to - from;
            if own == 0 {
                state.by_owner.remove(&owner);
            } else {
                state.by_owner.insert(owner, own);
            }
        }
        if to < from {
            self.freed.notify_waiters();
        }
    }
}

/// What one owner may take of a [`Budget`].
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    owner: u64,
    /// Serializes waiters, so that small amounts cannot starve a large one.
    turn: tokio::sync::Mutex<()>,
}

impl Share {
    /// Waits until there is room.
    pub(crate) async fn take(&self, amount: usize) -> Taken {
        let _turn = self.turn.lock().await;
        loop {
            let freed = self.budget.freed.notified();
            tokio::pin!(freed);
            // From here on nothing freed is missed.
            freed.as_mut().enable();
            if self.budget.try_take(self.owner, amount) {
                return Taken { budget: Arc::clone(&self.budget), owner: self.owner, amount };
            }
            freed.await;
        }
    }
}

/// What was taken, until it is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    budget: Arc<Budget>,
    owner: u64,
    amount: usize,
}

impl Taken {
    /// It turned out to be another amount. Where that is more, others wait the longer.
    pub(crate) fn resize(&mut self, amount: usize) {
        self.budget.change(self.owner, self.amount, amount);
        self.amount = amount;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.budget.change(self.owner, self.amount, 0);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn now(share: &Share, amount: usize) -> Option<Taken> {
        share.take(amount).now_or_never()
    }

    #[test]
    fn nobody_takes_what_others_need() {
        let budget = Budget::new(12, usize::MAX);
        let (hung, other, third) = (budget.share(), budget.share(), budget.share());
        let mut held: Vec<Taken> = (0..12).map_while(|_| now(&hung, 1)).collect();
        assert_eq!(held.len(), 6, "alone: half");
        let others: Vec<Taken> = (0..12).map_while(|_| now(&other, 1)).collect();
        assert_eq!(others.len(), 3, "half of what is left");
        assert!(now(&third, 100).is_some(), "whoever holds nothing moves on, whatever it asks for");
        drop(others);
        assert!(now(&hung, 1).is_none());
        held.pop();
        assert!(now(&hung, 1).is_some());
    }

    #[test]
    fn there_is_room_for_what_an_embedder_takes_at_once_within_the_limit() {
        let limits = |calls| EmbedLimits {
            inputs_per_call: 100,
            tokens_per_input: 8191,
            tokens_per_call: 300_000,
            calls,
        };
        let bounds = Bounds::default();
        let capacity = || bounds.in_flight.lock().capacity >> 20;
        bounds.make_room(limits(1), 256);
        assert_eq!(capacity(), 24);
        bounds.make_room(limits(32), 1536);
        assert_eq!(capacity(), 100);
        bounds.make_room(limits(8), 1536);
        assert_eq!(capacity(), 100, "another project may be at work with it");
        bounds.make_room(limits(64), 3072);
        assert_eq!(capacity(), 256);
        bounds.clone().with_memory(ByteSize::mib(8)).make_room(limits(8), 1536);
        assert_eq!(capacity(), 8);
        // A file that is larger than everything is taken alone.
        assert!(now(&bounds.in_flight.share(), 100 << 20).is_some());
    }

    #[test]
    fn the_hungry_go_on_up_to_the_most() {
        let budget = Budget::new(2, 3);
        let shares: Vec<Share> = (0..4).map(|_| budget.share()).collect();
        let held: Vec<Option<Taken>> = shares.iter().map(|share| now(share, 1)).collect();
        assert_eq!(held.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, true, false]);
    }

    #[test]
    fn amounts_are_corrected_and_given_back() {
        let budget = Budget::new(10, usize::MAX);
        let share = budget.share();
        let mut taken = now(&share, 1).expect("room");
        taken.resize(8);
        assert!(now(&share, 1).is_none());
        taken.resize(2);
        drop(now(&share, 3).expect("room again"));
        drop(taken);
        assert!(budget.lock().by_owner.is_empty());
        assert_eq!(budget.lock().used, 0);
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let budget = Budget::new(2, 2);
        let share = Arc::new(budget.share());
        let held = share.take(1).await;
        let waiting = {
            let share = Arc::clone(&share);
            tokio::spawn(async move { share.take(1).await })
        };
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        waiting.await.expect("taken");
    }
}
