//! Values of options.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::model::HumanDuration;

/// A positive integer.
pub(super) fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(n) => Ok(n),
        Err(error) => Err(format!("not a count: {error}")),
    }
}

/// A moment: a date, RFC 3339, or a time span before now.
pub(super) fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(chrono::NaiveTime::MIN).and_utc());
    }
    let span: Result<HumanDuration, _> = text.parse();
    let before = span.ok().and_then(|span| Utc::now().checked_sub_signed(TimeDelta::from_std(span.0).ok()?));
    before.ok_or_else(|| "write a date such as 2026-01-31, or a time span before now such as `7d`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_a_time_or_a_span() {
        assert_eq!(moment("2026-01-31").map(|at| at.to_rfc3339()), Ok("2026-01-31T00:00:00+00:00".into()));
        assert_eq!(
            moment("2026-01-31T08:00:00+01:00").map(|at| at.to_rfc3339()),
            Ok("2026-01-31T07:00:00+00:00".into())
        );
        let before = Utc::now() - TimeDelta::days(7);
        let week = moment("7d").expect("a span");
        assert!(before <= week && week <= Utc::now() - TimeDelta::days(7));
        assert!(moment("yesterday").is_err() && moment("").is_err());
    }
}
