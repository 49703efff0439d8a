//! The open connections of a listener: how many may be open at once, and which one is closed to make
//! room for a newcomer.
//!
//! Connections fall into two classes. One is *authorized* once a request on it was; `[api]
//! max_connections` bounds these. All others are bounded per address and in total, and a newcomer
//! replaces one of them, so that clients that send half a request cannot shut out anybody else.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use crate::api::throttle::{Throttle, source};

/// Bounds of the connections without an authorized request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) per_address: usize,
    pub(super) in_all: usize,
}

/// The open connections of a listener.
#[derive(Clone)]
pub(super) struct Connections {
    limits: Limits,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    next: u64,
    /// By number: the oldest comes first.
    open: BTreeMap<u64, Entry>,
    throttle: Throttle,
}

struct Entry {
    source: IpAddr,
    authorized: bool,
    phase: Phase,
    close: CancellationToken,
}

/// What a connection does. The order is the one in which connections are closed for a newcomer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// A TLS handshake or the head of a request is awaited.
    Head,
    /// A request is read or answered.
    Exchange,
}

impl Connections {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, state: Arc::default() }
    }

    /// Registers a newcomer. Where a limit is reached, the oldest connection without a complete head
    /// is closed, or without such a one the oldest whose request is not authorized.
    pub(super) fn admit(&self, peer: IpAddr) -> Guest {
        let source = source(peer);
        let mut state = self.lock();
        if state.unauthorized(|entry| entry.source == source).count() >= self.limits.per_address {
            state.close_one(|entry| entry.source == source);
        }
        if state.unauthorized(|_| true).count() >= self.limits.in_all {
            state.close_one(|_| true);
        }
        let number = state.next;
        state.next += 1;
        let close = CancellationToken::new();
        let entry = Entry { source, authorized: false, phase: Phase::Head, close: close.clone() };
        state.open.insert(number, entry);
        Guest { caller: Caller { connections: self.clone(), number, address: peer.to_canonical() }, close }
    }

    /// Closes the connection that a newcomer would replace.
    pub(super) fn shed(&self) {
        self.lock().close_one(|_| true);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// The unauthorized connections that `of` holds for, the oldest first.
    fn unauthorized(&self, of: impl Fn(&Entry) -> bool) -> impl Iterator<Item = (u64, Phase)> {
        let all = self.open.iter().filter(move |(_, entry)| !entry.authorized && of(entry));
        all.map(|(number, entry)| (*number, entry.phase))
    }

    fn close_one(&mut self, of: impl Fn(&Entry) -> bool) {
        let oldest = self.unauthorized(of).min_by_key(|(number, phase)| (*phase, *number));
        if let Some((number, _)) = oldest {
            self.close(number);
        }
    }

    fn close(&mut self, number: u64) {
        if let Some(entry) = self.open.remove(&number) {
            entry.close.cancel();
            let noted = self.throttle.note("closed for a newcomer", entry.source);
            if noted.log {
                let (address, unlogged) = (entry.source, noted.unlogged);
                tracing::warn!(%address, unlogged, "closed a connection to make room for another");
            }
        }
    }
}

/// One open connection; dropping it ends its registration.
pub(super) struct Guest {
    caller: Caller,
    close: CancellationToken,
}

impl Guest {
    /// What requests on this connection know of it.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Resolves when the connection has to make room.
    pub(super) async fn closed(&self) {
        self.close.cancelled().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.caller.connections.lock().open.remove(&self.caller.number);
    }
}

/// The client of a request: an extension of every request.
#[derive(Clone)]
pub(in crate::api) struct Caller {
    connections: Connections,
    number: u64,
    address: IpAddr,
}

impl Caller {
    /// The peer's address: the reverse proxy's, if there is one.
    pub(in crate::api) fn address(&self) -> IpAddr {
        self.address
    }

    /// A request on this connection is authorized. False where `most` authorized connections are open
    /// and none of them is idle; an idle one is closed to make room.
    pub(in crate::api) fn authorize(&self, most: usize) -> bool {
        let mut state = self.connections.lock();
        if state.open.get(&self.number).is_none_or(|entry| entry.authorized) {
            return true;
        }
        let mut authorized = state.open.iter().filter(|(_, entry)| entry.authorized);
        if authorized.clone().count() >= most {
            let idle = authorized.find(|(_, entry)| entry.phase == Phase::Head).map(|(number, _)| *number);
            let Some(idle) = idle else { return false };
            state.close(idle);
        }
        if let Some(entry) = state.open.get_mut(&self.number) {
            entry.authorized = true;
        }
        true
    }

    /// The head of a request is complete; the exchange lasts until the guard is dropped.
    pub(super) fn exchange(&self) -> Exchange {
        self.set(Phase::Exchange);
        Exchange(self.clone())
    }

    fn set(&self, phase: Phase) {
        if let Some(entry) = self.connections.lock().open.get_mut(&self.number) {
            entry.phase = phase;
        }
    }
}

/// A request that is read or answered.
pub(super) struct Exchange(Caller);

impl Drop for Exchange {
    fn drop(&mut self) {
        self.0.set(Phase::Head);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn connections() -> Connections {
        Connections::new(Limits { per_address: 2, in_all: 4 })
    }

    fn from(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    fn closed(guests: &[&Guest]) -> Vec<bool> {
        guests.iter().map(|guest| guest.close.is_cancelled()).collect()
    }

    #[test]
    fn the_oldest_of_the_same_address_makes_room() {
        let all = connections();
        let other = all.admit(from(1));
        let (first, second, third) = (all.admit(from(2)), all.admit(from(2)), all.admit(from(2)));
        assert_eq!(closed(&[&other, &first, &second, &third]), [false, true, false, false]);
    }

    #[test]
    fn the_oldest_of_all_makes_room_when_many_addresses_come() {
        let all = connections();
        let guests: Vec<Guest> = (1..=5).map(|n| all.admit(from(n))).collect();
        assert_eq!(closed(&guests.iter().collect::<Vec<_>>()), [true, false, false, false, false]);
        drop(guests);
        assert!(all.lock().open.is_empty());
    }

    #[test]
    fn a_half_sent_head_goes_before_a_complete_one() {
        let all = connections();
        let (busy, half) = (all.admit(from(1)), all.admit(from(1)));
        let exchange = busy.caller().exchange();
        let third = all.admit(from(1));
        assert_eq!(closed(&[&busy, &half, &third]), [false, true, false]);
        // An idle connection waits for a head again.
        drop(exchange);
        let fourth = all.admit(from(1));
        assert_eq!(closed(&[&busy, &third, &fourth]), [true, false, false]);
        // Where every request is under way, the oldest of them goes.
        let (_one, _two) = (third.caller().exchange(), fourth.caller().exchange());
        let fifth = all.admit(from(1));
        assert_eq!(closed(&[&third, &fourth, &fifth]), [true, false, false]);
    }

    #[test]
    fn authorized_connections_are_never_closed_for_newcomers() {
        let all = connections();
        let stream = all.admit(from(1));
        let _events = stream.caller().exchange();
        assert!(stream.caller().authorize(1));
        let newcomers: Vec<Guest> = (0..9).map(|_| all.admit(from(1))).collect();
        assert!(!stream.close.is_cancelled());
        assert_eq!(newcomers.iter().filter(|guest| !guest.close.is_cancelled()).count(), 2);
    }

    #[test]
    fn beyond_their_bound_an_idle_authorized_connection_makes_room() {
        let all = connections();
        let (idle, busy, third) = (all.admit(from(1)), all.admit(from(2)), all.admit(from(3)));
        let _exchange = busy.caller().exchange();
        assert!(idle.caller().authorize(2) && busy.caller().authorize(2));
        assert!(third.caller().authorize(2));
        let _other = third.caller().exchange();
        assert_eq!(closed(&[&idle, &busy, &third]), [true, false, false]);
        let fourth = all.admit(from(4));
        assert!(!fourth.caller().authorize(2));
        // What is authorized stays so under a lower bound.
        assert!(busy.caller().authorize(1));
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        for (address, counted) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            let [address, counted] = [address, counted].map(|text| text.parse().expect("an address"));
            assert_eq!(source(address), counted);
        }
    }
}
