//! What reading a repository may cost. A pack of a few hundred kilobytes can store each of its files
//! as a long chain of differences: it is refused before it has taken hours of processor time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::open::Reader;
use crate::cpu_time::thread_time;
use crate::model::{StageError, StageResult};

/// Differences in one chain. Git itself writes no longer ones, whatever `pack.depth` says.
const LONGEST_CHAIN: u32 = 4095;
/// Processor time for any repository, and for each mebibyte: several times what slow machines take.
const FOR_ALL: Duration = Duration::from_secs(10);
const FOR_A_MEBIBYTE: Duration = Duration::from_millis(50);
/// Processor time for the size of a file, and for an object that is read.
const FOR_A_SIZE: Duration = Duration::from_micros(100);
const FOR_AN_OBJECT: Duration = Duration::from_millis(1);

/// The processor time that was taken by all readers of a repository, and the time that they may take.
#[derive(Debug)]
pub(in crate::source) struct Cost {
    for_each: Duration,
    taken: AtomicU64,
    allowed: AtomicU64,
}

impl Cost {
    /// The cost of reading sizes only.
    pub(in crate::source) fn of_sizes() -> Self {
        Self::of(FOR_A_SIZE)
    }

    /// Of reading objects.
    pub(in crate::source) fn of_objects() -> Self {
        Self::of(FOR_AN_OBJECT)
    }

    fn of(for_each: Duration) -> Self {
        Self { for_each, taken: AtomicU64::new(0), allowed: AtomicU64::new(nanoseconds(FOR_ALL)) }
    }

    /// Does a piece of work on one object. `bytes` says how many it brought.
    pub(in crate::source) fn count<T>(&self, bytes: impl FnOnce(&T) -> usize, work: impl FnOnce() -> T) -> T {
        self.count_by(&thread_time, bytes, work)
    }

    fn count_by<T>(
        &self,
        time: &dyn Fn() -> Duration,
        bytes: impl FnOnce(&T) -> usize,
        work: impl FnOnce() -> T,
    ) -> T {
        let begun = time();
        let done = work();
        self.taken.fetch_add(nanoseconds(time().saturating_sub(begun)), Ordering::Relaxed);
        let for_bytes = nanoseconds(FOR_A_MEBIBYTE).saturating_mul(bytes(&done) as u64) >> 20;
        self.allowed.fetch_add(nanoseconds(self.for_each) + for_bytes, Ordering::Relaxed);
        done
    }

    /// Seconds that were taken, where they are more than may be taken.
    fn beyond(&self) -> Option<u64> {
        let taken = self.taken.load(Ordering::Relaxed);
        (taken > self.allowed.load(Ordering::Relaxed)).then(|| Duration::from_nanos(taken).as_secs())
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Reader {
    /// Refuses a repository that has taken more processor time than it may.
    pub(in crate::source) fn check_cost(&self, cost: &Cost) -> StageResult<()> {
        match cost.beyond() {
            Some(seconds) => Err(self.costly(&format!(
                "reading it took {seconds} s of processor time and has not come far: its packs are stored to be slow"
            ))),
            None => Ok(()),
        }
    }

    /// Refuses an object that is stored as a longer chain of differences than Git writes.
    pub(in crate::source) fn check_chain(
        &self,
        id: &gix::oid,
        header: &gix::odb::find::Header,
    ) -> StageResult<()> {
        match header.num_deltas() {
            Some(chain) if chain > LONGEST_CHAIN => Err(self.costly(&format!(
                "the {} {id} is stored as a chain of {chain} differences, more than {LONGEST_CHAIN}",
                header.kind()
            ))),
            _ => Ok(()),
        }
    }

    fn costly(&self, what: &str) -> StageError {
        let repack =
            format!("repack it: `git -C {} repack -a -d -f`; or leave the repository out", self.path);
        self.refused(format!("`{}` is refused: {what}", self.name)).hint(repack)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn time_is_allowed_for_objects_and_for_bytes() {
        let clock = Cell::new(Duration::ZERO);
        let work = |cost: &Cost, time: Duration, bytes: usize| {
            cost.count_by(&|| clock.get(), |()| bytes, || clock.set(clock.get() + time));
            cost.beyond()
        };
        let cost = Cost::of_objects();
        assert_eq!(work(&cost, FOR_ALL + FOR_AN_OBJECT, 0), None);
        assert_eq!(work(&cost, FOR_AN_OBJECT, 0), None);
        assert_eq!(work(&cost, FOR_AN_OBJECT + FOR_A_MEBIBYTE * 3, 3 << 20), None);
        assert_eq!(work(&cost, FOR_AN_OBJECT * 2, 0), Some(10));
        let cost = Cost::of_sizes();
        assert_eq!(work(&cost, FOR_ALL, 0), None);
        assert_eq!(work(&cost, FOR_A_SIZE * 3, 0), Some(10));
    }
}
