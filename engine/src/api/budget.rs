//! Memory for request bodies: one bound over all bodies of a kind, and a time-out for bodies that do
//! not arrive.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use futures::StreamExt as _;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::timeout;

use super::throttle::source;

/// A body of which nothing arrives for this long is given up.
const PROGRESS: Duration = Duration::from_secs(10);
/// The first bytes that a body takes of its budget.
const FIRST: usize = 16 << 10;

/// Bytes that all bodies of a kind may hold together.
#[derive(Clone)]
pub(super) struct Budget {
    pool: Arc<Mutex<Pool>>,
    /// Whom bodies are counted for.
    source: IpAddr,
}

struct Pool {
    left: usize,
    /// Bytes that the bodies of one source may hold together. One body alone may hold more.
    share: usize,
    /// Bytes by source; sources that hold none are not in it.
    held: HashMap<IpAddr, usize>,
}

/// Why a body was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is larger than the route takes.
    TooLarge,
    /// The budget, or the share of the client's address, is used up by other bodies.
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
    /// A budget that the bodies of any one address may use up.
    pub(super) fn new(bytes: usize) -> Self {
        Self::shared(bytes, bytes)
    }

    /// A budget of which one address gets no more than `share`, but for a single body that is larger.
    pub(super) fn shared(bytes: usize, share: usize) -> Self {
        let pool = Pool { left: bytes, share, held: HashMap::new() };
        Self { pool: Arc::new(Mutex::new(pool)), source: Ipv4Addr::UNSPECIFIED.into() }
    }

    /// The same budget for the bodies of a client. An IPv6 /64 network counts as one address.
    pub(super) fn of(&self, client: IpAddr) -> Self {
        Self { pool: Arc::clone(&self.pool), source: source(client) }
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

    /// Takes bytes for a body that holds `own` already; false where there are not as many.
    fn take(&self, own: usize, bytes: usize) -> bool {
        let pool = &mut *self.lock();
        let held = pool.held.get(&self.source).copied().unwrap_or(0);
        let is_alone = held == own;
        if bytes > pool.left || (held + bytes > pool.share && !is_alone) {
            return false;
        }
        pool.left -= bytes;
        pool.held.insert(self.source, held + bytes);
        true
    }

    fn give_back(&self, bytes: usize) {
        let pool = &mut *self.lock();
        pool.left += bytes;
        if let Some(held) = pool.held.get_mut(&self.source) {
            *held -= bytes;
            if *held == 0 {
                pool.held.remove(&self.source);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock()
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
            let take = |wanted: &usize| self.budget.take(self.taken, wanted - self.taken);
            let wanted = [doubled, length].into_iter().find(take);
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
        self.budget.give_back(self.taken);
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
        budget.lock().left
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

    #[tokio::test]
    async fn one_address_leaves_the_rest_to_others() {
        let budget = Budget::shared(400_000, 100_000);
        let of = |text: &str| budget.of(text.parse().expect("an address"));
        let read =
            async |from: &str, bytes: usize| of(from).read(Body::from(vec![0; bytes]), 1 << 20, |_| ()).await;
        let first = read("2001:db8::1", 60_000).await.expect("fits");
        assert_eq!(read("2001:db8::2", 60_000).await.err(), Some(Unread::Busy), "the same network");
        let second = read("2001:db8::3", 30_000).await.expect("within the share");
        let other = read("2001:db8:0:1::1", 90_000).await.expect("another network");
        drop((first, second));
        // One body may be larger than the share, while there is no other of the address.
        let large = read("2001:db8::1", 200_000).await.expect("fits alone");
        assert_eq!(read("2001:db8::1", 1).await.err(), Some(Unread::Busy));
        assert_eq!(read("192.0.2.1", 200_000).await.err(), Some(Unread::Busy), "the budget is the bound");
        let _third = read("192.0.2.1", 90_000).await.expect("what is left");
        drop((large, other));
        read("2001:db8::1", 90_000).await.expect("all given back");
        assert_eq!(budget.lock().held.len(), 1, "those who hold nothing take no memory");
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
