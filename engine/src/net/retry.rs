//! When a failed call is tried again, and after which pause.

use std::time::{Duration, SystemTime};

use reqwest::header::HeaderMap;

use crate::model::{ErrorKind, StageError};

/// A service that asks for a longer wait than this ends the project with that cause; the daemon schedules
/// another run. (A real 429 said "retry after 86400 seconds".)
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Number of tries, and the pauses between them where the service does not ask for one.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Tries in all, the first included.
    pub tries: u32,
    /// The first pause; doubled each time, with full jitter on its upper half.
    pub first_pause: Duration,
    /// Upper bound of the doubled pauses.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    /// Six tries over about half a minute: outlasts a restart of a service, not an outage.
    fn default() -> Self {
        Self { tries: 6, first_pause: Duration::from_millis(500), longest_pause: Duration::from_secs(20) }
    }
}

impl RetryPolicy {
    /// The pause after the failed try number `tried` (the first is 1), or the error with which the call
    /// ends: it is of a kind that is not tried again, the service asks for too long a wait, or the tries
    /// are used up.
    pub fn pause_after(&self, tried: u32, error: StageError) -> Result<(Duration, StageError), StageError> {
        let ErrorKind::Transient { retry_after } = error.kind else {
            return Err(error);
        };
        let wait = retry_after.unwrap_or_else(|| self.back_off(tried - 1));
        if wait > LONGEST_WAIT {
            return Err(too_long(error, wait));
        }
        if tried >= self.tries {
            return Err(used_up(error, tried));
        }
        Ok((wait, error))
    }

    fn back_off(&self, attempt: u32) -> Duration {
        let full = self.first_pause.saturating_mul(1 << attempt.min(16)).min(self.longest_pause);
        full / 2 + full.mul_f64(jitter() / 2.0)
    }
}

/// A number in 0..1 that differs between callers and calls; enough to keep clients from retrying
/// in step. `RandomState` is seeded by the operating system.
pub(super) fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let bits = RandomState::new().hash_one(0u8) >> 11;
    bits as f64 / (1u64 << 53) as f64
}

fn too_long(mut error: StageError, wait: Duration) -> StageError {
    error.message = format!("{} (asked to wait {} s)", error.message, wait.as_secs());
    if error.hint.is_none() {
        error.hint = Some("run `reposync apply` again after that time; what was done is kept".into());
    }
    error
}

fn used_up(mut error: StageError, tries: u32) -> StageError {
    if error.hint.is_none() {
        let times = if tries == 1 { "once".to_owned() } else { format!("{tries} times") };
        error.hint = Some(format!(
            "it was tried {times}; run `reposync apply` again when the service answers: what was done is kept"
        ));
    }
    error
}

/// How long a service asked to wait: `retry-after-ms`, else `retry-after` in seconds or as a date.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(ms) = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok()) {
        return Duration::try_from_secs_f64(ms / 1000.0).ok();
    }
    let after = text("retry-after")?;
    if let Ok(seconds) = after.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    // On the server's clock, where it tells it: ours may be wrong.
    let now = text("date").and_then(|date| httpdate::parse_http_date(date).ok());
    let date = httpdate::parse_http_date(after).ok()?;
    Some(date.duration_since(now.unwrap_or_else(SystemTime::now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_soon_is_tried_again() {
        let policy = RetryPolicy::default();
        let busy = |retry_after| StageError::new("s", ErrorKind::Transient { retry_after }, "busy");
        let (wait, _) = policy.pause_after(1, busy(Some(LONGEST_WAIT))).expect("as told");
        assert_eq!(wait, LONGEST_WAIT);
        let (wait, _) = policy.pause_after(1, busy(None)).expect("its own pause");
        assert!((Duration::from_millis(250)..=Duration::from_millis(500)).contains(&wait), "{wait:?}");
        let (wait, _) = policy.pause_after(5, busy(None)).expect("a longer one");
        assert!((Duration::from_secs(4)..=Duration::from_secs(8)).contains(&wait), "{wait:?}");

        let error = policy.pause_after(1, busy(Some(Duration::from_secs(86_400)))).expect_err("a day");
        assert_eq!(error.message, "busy (asked to wait 86400 s)");
        let error = policy.pause_after(6, busy(None)).expect_err("used up");
        let hint = error.hint.expect("what to do");
        assert!(hint.starts_with("it was tried 6 times; run `reposync apply` again"), "{hint}");
        let error = policy.pause_after(1, StageError::refused("s", "no")).expect_err("refused");
        assert_eq!((error.message.as_str(), error.hint), ("no", None));
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        let read = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("date", "Thu, 01 Jan 1970 00:00:00 GMT".parse().expect("header"));
            headers.insert(name, value.parse().expect("header"));
            retry_after(&headers)
        };
        assert_eq!(read("retry-after-ms", "1500"), Some(Duration::from_millis(1500)));
        assert_eq!(read("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(read("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("retry-after", "Thu, 01 Jan 1970 00:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(read("retry-after", "soon"), None);
        assert_eq!(read("retry-after", "-1"), None);
        assert_eq!(read("retry-after", "1e300"), None);
    }
}
