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

/// A queue whose items are taken in groups of a limited size.
pub(super) struct Groups<T> {
    queue: Receiver<Arrival<T>>,
    /// Came, and had no room in the last group.
    carried: Option<T>,
}

impl<T> Groups<T> {
    pub(super) fn of(queue: Receiver<Arrival<T>>) -> Self {
        Self { queue, carried: None }
    }

    /// The next group: at least one, and more until `limit` is reached, nothing came for a moment, or nothing else may
    /// come. Its size is above the limit only where that of its only item is. `None`: the queue has ended.
    pub(super) async fn next(
        &mut self,
        upstream: &Upstream,
        limit: usize,
        size: impl Fn(&T) -> usize,
    ) -> Option<Vec<T>> {
        let first = match self.carried.take() {
            Some(carried) => carried,
            None => self.queue.recv().await?.take(),
        };
        let mut taken = size(&first);
        let mut group = vec![first];
        while taken < limit {
            let next = tokio::select! {
                biased;
                next = self.queue.recv() => next,
                () = upstream.dry() => None,
                () = tokio::time::sleep(LINGER) => None,
            };
            let Some(next) = next.map(Arrival::take) else { break };
            taken += size(&next);
            if taken > limit {
                self.carried = Some(next);
            } else {
                group.push(next);
            }
        }
        Some(group)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_group_waits_only_for_what_may_come() {
        let upstream = Upstream::default();
        let (sender, queue) = mpsc::channel(8);
        let mut groups = Groups::of(queue);
        let send = |item: u32| sender.try_send(Arrival::new(item, upstream.expect())).expect("room");
        let begun = Instant::now();

        (0..5).for_each(send);
        assert_eq!(groups.next(&upstream, 3, |_| 1).await, Some(vec![0, 1, 2]), "full");
        assert_eq!(groups.next(&upstream, 3, |_| 1).await, Some(vec![3, 4]), "nothing else may come");
        assert_eq!(begun.elapsed(), Duration::ZERO);

        let expected = upstream.expect();
        send(5);
        assert_eq!(groups.next(&upstream, 3, |_| 1).await, Some(vec![5]));
        assert_eq!(begun.elapsed(), LINGER, "what may come did not");

        send(6);
        let later = async {
            tokio::time::sleep(LINGER / 4).await;
            drop(expected);
        };
        let (group, ()) = tokio::join!(groups.next(&upstream, 3, |_| 1), later);
        assert_eq!(
            (group, begun.elapsed()),
            (Some(vec![6]), LINGER + LINGER / 4),
            "it will not come any more"
        );

        (1..4).for_each(send);
        let by_value = |item: &u32| *item as usize;
        assert_eq!(groups.next(&upstream, 4, by_value).await, Some(vec![1, 2]), "the next one exceeds it");
        assert_eq!(groups.next(&upstream, 4, by_value).await, Some(vec![3]), "nor is that one lost");
        send(9);
        assert_eq!(groups.next(&upstream, 4, by_value).await, Some(vec![9]), "larger than any group");

        drop(sender);
        assert_eq!(groups.next(&upstream, 3, |_| 1).await, None);
    }
}
