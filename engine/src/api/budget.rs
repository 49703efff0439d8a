//! Memory for request bodies: one bound over all bodies of a kind, and a time-out for bodies that do
//! not arrive.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use futures::StreamExt as _;
use tokio::time::timeout;

/// A body of which nothing arrives for this long is given up.
const PROGRESS: Duration = Duration::from_secs(10);
/// The first bytes that a body takes of its budget.
const FIRST: usize = 16 << 10;

/// Bytes that all bodies of a kind may hold together.
#[derive(Clone)]
pub(super) struct Budget(Arc<AtomicUsize>);

/// Why a body was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is larger than the route takes.
    TooLarge,
    /// The budget is used up by other bodies.
    Busy,
    /// Nothing arrived for [`PROGRESS`].
    Stalled,
    /// The client sent something else than it announced, or left.
    Broken(String),
}

/// A body in memory; dropping it gives its bytes back to the budget.
pub(super) struct Held {
    budget: Budget,
    /// Bytes taken of the budget: the capacity of `bytes`.
    taken: usize,
    bytes: Vec<u8>,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    /// Reads a body of at most `most` bytes; `seen` gets each part as it arrives.
    pub(super) async fn read(
        &self,
        body: Body,
        most: usize,
        mut seen: impl FnMut(&[u8]),
    ) -> Result<Held, Unread> {
        if body.size_hint().lower() > most as u64 {
            return Err(Unread::TooLarge);
        }
        let mut held = Held { budget: self.clone(), taken: 0, bytes: Vec::new() };
        let mut parts = body.into_data_stream();
        while let Some(part) = timeout(PROGRESS, parts.next()).await.map_err(|_| Unread::Stalled)? {
            let part = part.map_err(|error| Unread::Broken(error.to_string()))?;
            seen(&part);
            held.push(&part, most)?;
        }
        Ok(held)
    }

    fn take(&self, bytes: usize) -> bool {
        let taken = |left: usize| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }
}

impl Held {
    /// Copies the part: the connection's own buffers are larger than what is used of them, which a
    /// client could exploit by sending single bytes.
    fn push(&mut self, part: &[u8], most: usize) -> Result<(), Unread> {
        let length = self.bytes.len() + part.len();
        if length > most {
            return Err(Unread::TooLarge);
        }
        if length > self.taken {
            let doubled = (self.taken * 2).max(FIRST).min(most).max(length);
            let wanted = [doubled, length].into_iter().find(|wanted| self.budget.take(wanted - self.taken));
            self.taken = wanted.ok_or(Unread::Busy)?;
            self.bytes.reserve_exact(self.taken - self.bytes.len());
        }
        self.bytes.extend_from_slice(part);
        Ok(())
    }
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Bytes;
    use futures::stream::{self, Stream};
    use tokio::time::Instant;

    use super::*;

    fn body(parts: impl Stream<Item = Vec<u8>> + Send + 'static) -> Body {
        Body::from_stream(parts.map(|part| Ok::<_, Infallible>(Bytes::from(part))))
    }

    fn left(budget: &Budget) -> usize {
        budget.0.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn a_body_is_read_whole_and_gives_its_bytes_back() {
        let budget = Budget::new(1 << 20);
        let parts: Vec<Vec<u8>> = (0..100).map(|n| vec![n; 999]).collect();
        let mut seen = Vec::new();
        let sent = body(stream::iter(parts.clone()));
        let held = budget.read(sent, 100_000, |part| seen.extend_from_slice(part)).await.expect("read");
        assert_eq!((&*held, &seen), (parts.concat().as_slice(), &parts.concat()));
        assert!(left(&budget) < (1 << 20) - held.len());
        drop(held);
        assert_eq!(left(&budget), 1 << 20);
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_given_up_as_soon_as_that_is_known() {
        let budget = Budget::new(1 << 20);
        let announced = budget.read(Body::from(vec![0; 11]), 10, |_| panic!("not read")).await;
        assert_eq!(announced.err(), Some(Unread::TooLarge));
        let endless = body(stream::repeat(vec![0; 7]));
        assert_eq!(budget.read(endless, 100, |_| ()).await.err(), Some(Unread::TooLarge));
        assert_eq!(left(&budget), 1 << 20);
    }

    #[tokio::test]
    async fn bodies_together_stay_within_the_budget() {
        let budget = Budget::new(100_000);
        let first = budget.read(Body::from(vec![0; 60_000]), 1 << 20, |_| ()).await.expect("fits");
        let second = budget.read(Body::from(vec![0; 60_000]), 1 << 20, |_| ()).await;
        assert_eq!(second.err(), Some(Unread::Busy));
        drop(first);
        budget.read(Body::from(vec![0; 100_000]), 1 << 20, |_| ()).await.expect("fits again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_is_given_up_and_one_that_drips_is_not() {
        let budget = Budget::new(1 << 20);
        let drip = stream::iter(0..9u8).then(async |n| {
            tokio::time::sleep(Duration::from_secs(9)).await;
            vec![n]
        });
        assert_eq!(budget.read(body(drip), 100, |_| ()).await.expect("read").len(), 9);
        let began = Instant::now();
        let stops = body(stream::iter([vec![1]]).chain(stream::pending()));
        assert_eq!(budget.read(stops, 100, |_| ()).await.err(), Some(Unread::Stalled));
        assert_eq!(began.elapsed(), PROGRESS);
        assert_eq!(left(&budget), 1 << 20);
    }
}
