//! A pool of buffers for the bodies of large requests and answers.
//!
//! The allocator returns blocks of a megabyte to the system when they are freed. Allocating one per call
//! causes page faults that cost a quarter of a first run's CPU time.

use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use parking_lot::Mutex;

/// Spare buffers kept besides those in use: at most about 8 MB in an idle process. Upserts come in bursts;
/// with two spare buffers, half of a burst's buffers were allocated again.
const SPARE: usize = 4;
/// Those of this process.
static POOL: Pool = Pool::new();

#[derive(Debug)]
struct Pool(Mutex<PoolState>);

#[derive(Debug)]
struct PoolState {
    in_use: usize,
    kept: Vec<Vec<u8>>,
}

/// Bytes whose memory serves again once they are dropped.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    pool: &'static Pool,
}

impl Buffer {
    /// No longer one is kept: an upsert has 2 MB, an answer of 100 vectors of 3,072 numbers 1.6.
    pub const LONGEST: usize = 4 << 20;

    /// An empty one, with room where one was kept.
    pub fn take() -> Self {
        POOL.take()
    }
}

impl Pool {
    const fn new() -> Self {
        Self(Mutex::new(PoolState { in_use: 0, kept: Vec::new() }))
    }

    fn take(&'static self) -> Buffer {
        let mut state = self.0.lock();
        state.in_use += 1;
        // The one used last: its pages are the likeliest to be in a cache.
        Buffer { bytes: state.kept.pop().unwrap_or_default(), pool: self }
    }

    /// Keeps no more than are in use, and some: where there was much to do, and no longer is, memory
    /// goes back.
    fn give_back(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        let mut state = self.0.lock();
        state.in_use -= 1;
        if (1..=Buffer::LONGEST).contains(&bytes.capacity()) {
            state.kept.push(bytes);
        }
        let most = state.kept.len().min(state.in_use + SPARE);
        let beyond = state.kept.split_off(most);
        drop(state);
        drop(beyond); // unmapped while nobody waits for the lock
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.bytes));
    }
}

impl From<Buffer> for Bytes {
    /// The buffer is free again when the last handle on its bytes goes.
    fn from(buffer: Buffer) -> Self {
        Self::from_owner(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_serves_again_and_little_is_kept() {
        static POOL: Pool = Pool::new();
        let kept = || POOL.0.lock().kept.len();
        let mut buffers: Vec<Buffer> = (0..6).map(|_| POOL.take()).collect();
        for buffer in &mut buffers {
            buffer.extend_from_slice(&[7; 1000]);
        }
        let last: Bytes = buffers.pop().expect("six").into();
        let place = last.as_ptr();
        let second = last.clone();
        drop(last);
        assert_eq!((kept(), second[0]), (0, 7), "it is still in use");
        drop(second);
        assert_eq!(kept(), 1);
        let again = POOL.take();
        assert!(again.is_empty() && again.capacity() >= 1000);
        assert_eq!(again.as_ptr(), place);
        drop(again);
        drop(buffers);
        assert_eq!(kept(), SPARE);
        let mut long = POOL.take();
        long.reserve(Buffer::LONGEST + 1);
        drop(long);
        assert_eq!(kept(), SPARE - 1, "what is too long is not kept");
    }
}
