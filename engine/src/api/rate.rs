//! The rates of tokens: no minute has more requests than `requests_per_minute`.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// The requests of the last minute, by the name of their token.
#[derive(Default)]
pub(super) struct Rates(Mutex<HashMap<String, VecDeque<Instant>>>);

impl Rates {
    /// Counts a request, or returns how long to wait until one is allowed.
    pub(super) fn take(&self, token: &str, limit: u32) -> Result<(), Duration> {
        let now = Instant::now();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut tokens = self.0.lock();
        if !tokens.contains_key(token) {
            // Names of tokens that were edited away do not pile up.
            tokens.retain(|_, taken| taken.back().is_some_and(|at| now.duration_since(*at) < MINUTE));
        }
        let taken = tokens.entry(token.to_owned()).or_default();
        while taken.front().is_some_and(|at| now.duration_since(*at) >= MINUTE) {
            taken.pop_front();
        }
        // After the limit was lowered, more than one has to go.
        let over = (taken.len() + 1).saturating_sub(limit);
        if let Some(at) = over.checked_sub(1).and_then(|last| taken.get(last)) {
            return Err(MINUTE.saturating_sub(now.duration_since(*at)));
        }
        taken.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_minute_has_more_requests_than_the_limit() {
        let rates = Rates::default();
        let second = Duration::from_secs(1);
        for _ in 0..3 {
            assert_eq!(rates.take("ci", 3), Ok(()));
            tokio::time::advance(second).await;
        }
        assert_eq!(rates.take("ci", 3), Err(57 * second));
        assert_eq!(rates.take("other", 3), Ok(()));
        tokio::time::advance(57 * second).await;
        assert_eq!(rates.take("ci", 3), Ok(()));
        assert_eq!(rates.take("ci", 3), Err(second));
        // A lower limit applies at once.
        assert_eq!(rates.take("ci", 1), Err(60 * second));
        tokio::time::advance(MINUTE).await;
        assert_eq!(rates.take("third", 1), Ok(()));
        assert_eq!(rates.0.lock().len(), 1);
    }
}
