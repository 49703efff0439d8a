//! Gathers what comes to a queue into groups.

use std::time::Duration;

use tokio::sync::mpsc::Receiver;

use crate::upstream::{Expected, Upstream};

/// How long a group that is not full waits for something that may come.
const LINGER: Duration = Duration::from_millis(20);

/// Something announced that has come. What announced it is dropped when the queue gives it out, so that no group
/// ends before it.
pub(super) struct Arrival<T> {
    item: T,
    expected: Expected,
}

impl<T> Arrival<T> {
    pub(super) fn new(item: T, expected: Expected) -> Self {
        Self { item, expected }
    }

    fn take(self) -> T {
        drop(self.expected);
        self.item
    }
}

/// The next group: at least one, and more until it is full, nothing came for a moment, or nothing else may come.
/// `None`: the queue has ended.
pub(super) async fn gather<T>(
    queue: &mut Receiver<Arrival<T>>,
    upstream: &Upstream,
    is_full: impl Fn(&[T]) -> bool,
) -> Option<Vec<T>> {
    let mut group = vec![queue.recv().await?.take()];
    while !is_full(&group) {
        let next = tokio::select! {
            biased;
            next = queue.recv() => next,
            () = upstream.dry() => None,
            () = tokio::time::sleep(LINGER) => None,
        };
        let Some(next) = next else { break };
        group.push(next.take());
    }
    Some(group)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_group_waits_only_for_what_may_come() {
        let upstream = Upstream::default();
        let (sender, mut queue) = mpsc::channel(8);
        let send = |item: u32| sender.try_send(Arrival::new(item, upstream.expect())).expect("room");
        let is_full = |group: &[u32]| group.len() == 3;
        let begun = Instant::now();

        (0..5).for_each(send);
        assert_eq!(gather(&mut queue, &upstream, is_full).await, Some(vec![0, 1, 2]), "full");
        assert_eq!(gather(&mut queue, &upstream, is_full).await, Some(vec![3, 4]), "nothing else may come");
        assert_eq!(begun.elapsed(), Duration::ZERO);

        let expected = upstream.expect();
        send(5);
        assert_eq!(gather(&mut queue, &upstream, is_full).await, Some(vec![5]));
        assert_eq!(begun.elapsed(), LINGER, "what may come did not");

        send(6);
        let later = async {
            tokio::time::sleep(LINGER / 4).await;
            drop(expected);
        };
        let (group, ()) = tokio::join!(gather(&mut queue, &upstream, is_full), later);
        assert_eq!(
            (group, begun.elapsed()),
            (Some(vec![6]), LINGER + LINGER / 4),
            "it will not come any more"
        );

        drop(sender);
        assert_eq!(gather(&mut queue, &upstream, is_full).await, None);
    }
}
