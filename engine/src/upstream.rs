//! Whether anything may still come: a queue that gathers small things into large ones waits only that long.

use tokio::sync::watch;

/// Counts what may still come to a queue. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Upstream(watch::Sender<usize>);

/// Something that may still come. Dropped once it has come, or will not.
#[derive(Debug)]
pub(crate) struct Expected(watch::Sender<usize>);

impl Upstream {
    /// Announces one more.
    pub(crate) fn expect(&self) -> Expected {
        // No one waits for more to come.
        self.0.send_if_modified(|count| {
            *count += 1;
            false
        });
        Expected(self.0.clone())
    }

    /// True if nothing may come.
    pub(crate) fn is_dry(&self) -> bool {
        *self.0.borrow() == 0
    }

    /// Waits until nothing may come.
    pub(crate) async fn dry(&self) {
        let mut counts = self.0.subscribe();
        // An error would mean that the channel is closed; `self` holds a sender.
        let _is_dry = counts.wait_for(|count| *count == 0).await;
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        // Only the last one ends a wait.
        self.0.send_if_modified(|count| {
            *count -= 1;
            *count == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn it_is_dry_once_the_last_has_come() {
        let upstream = Upstream::default();
        assert!(upstream.is_dry());
        let (first, second) = (upstream.expect(), upstream.clone().expect());
        let mut waiting = Box::pin(upstream.dry());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(second);
        assert!(!upstream.is_dry() && waiting.as_mut().now_or_never().is_none());
        drop(first);
        waiting.await;
        assert!(upstream.is_dry());
    }
}
