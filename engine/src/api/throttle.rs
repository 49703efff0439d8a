//! Counts what one address does within a minute, so that a flood is logged once a minute and not once
//! a request, and guessing gets slower.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// One log line in this time for each address and event.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are counted singly; others are counted as one.
const ADDRESSES: usize = 1024;

/// The counts, by event and address.
#[derive(Default)]
pub(super) struct Throttle(Mutex<HashMap<(&'static str, IpAddr), Window>>);

struct Window {
    since: Instant,
    count: u32,
}

/// What is known when an event has been counted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Noted {
    /// Events within this minute, this one included.
    pub(super) count: u32,
    /// True where it should be logged.
    pub(super) log: bool,
    /// Events of the minute before that were not logged.
    pub(super) unlogged: u32,
}

/// What limits count as one address: an IPv4 address, or the /64 network that an IPv6 host chooses
/// its addresses from.
pub(super) fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Throttle {
    /// Counts an event of an address.
    pub(super) fn note(&self, event: &'static str, address: IpAddr) -> Noted {
        let now = Instant::now();
        let is_past = |window: &Window| now.duration_since(window.since) >= WINDOW;
        let mut windows = self.0.lock();
        let mut key = (event, source(address));
        if windows.len() >= ADDRESSES && !windows.contains_key(&key) {
            windows.retain(|_, window| !is_past(window));
            if windows.len() >= ADDRESSES {
                key.1 = Ipv4Addr::UNSPECIFIED.into();
            }
        }
        let window = windows.entry(key).or_insert(Window { since: now, count: 0 });
        let mut unlogged = 0;
        if is_past(window) {
            unlogged = window.count.saturating_sub(1);
            *window = Window { since: now, count: 0 };
        }
        window.count = window.count.saturating_add(1);
        Noted { count: window.count, log: window.count == 1, unlogged }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_event_is_logged_once_a_minute_for_each_address() {
        let throttle = Throttle::default();
        let [one, other] = [1, 2].map(|last| Ipv4Addr::new(192, 0, 2, last).into());
        let first = Noted { count: 1, log: true, unlogged: 0 };
        assert_eq!(throttle.note("token", one), first);
        assert_eq!(throttle.note("token", one), Noted { count: 2, log: false, unlogged: 0 });
        assert_eq!(throttle.note("token", other), first);
        assert_eq!(throttle.note("busy", one), first);
        tokio::time::advance(WINDOW).await;
        assert_eq!(throttle.note("token", one), Noted { unlogged: 1, ..first });
    }

    #[tokio::test(start_paused = true)]
    async fn many_addresses_are_counted_as_one_and_take_no_more_memory() {
        let throttle = Throttle::default();
        let address = |n: u32| Ipv4Addr::from_bits(n).into();
        let known = u32::try_from(ADDRESSES).expect("a few");
        for n in 1..=known {
            assert!(throttle.note("token", address(n)).log);
        }
        assert!(throttle.note("token", address(known + 1)).log);
        assert!(!throttle.note("token", address(known + 2)).log);
        assert!(!throttle.note("token", address(1)).log);
        assert_eq!(throttle.0.lock().len(), ADDRESSES + 1);
        tokio::time::advance(WINDOW).await;
        assert!(throttle.note("token", address(known + 2)).log);
        assert_eq!(throttle.0.lock().len(), 1);
    }
}
