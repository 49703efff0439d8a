//! Formats numbers, plurals, durations and times.

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::{Failure, GitSha, SkipCount};

use super::super::output::{Style, escape};

/// `1,234,567`
pub(super) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 file`, `2 files`, `0 repositories`.
pub(super) fn count(n: u64, noun: &str) -> String {
    format!("{} {}", number(n), noun_for(n, noun))
}

/// The noun alone, in singular or plural.
pub(super) fn noun_for(n: u64, noun: &str) -> String {
    if n == 1 {
        return noun.to_owned();
    }
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if noun.ends_with('x') || noun.ends_with("sh") => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

/// A line of a project's block, such as `  files       1,250 added`; empty if the value is.
pub(super) fn field(label: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("  {label:<14}{value}\n") }
}

/// The column in which the values of [`field`] start.
pub(super) const VALUE_COLUMN: usize = 16;

/// Seconds since the start of a run, for the live view: `0:04`, `1:02:30`.
pub(super) fn clock(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let whole = seconds as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// The non-zero parts, in order: `12 added, 3 changed`.
pub(super) fn parts(parts: &[(u64, &str)]) -> String {
    let shown: Vec<_> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", number(*n))).collect();
    shown.join(", ")
}

/// A duration in seconds: `0.34 s`, `12.4 s`, `15m30s`, `2h05m`.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".to_owned();
    }
    if seconds < 9.995 {
        return format!("{seconds:.2} s");
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "finite, positive, whole")]
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}

/// How long ago something was: `just now`, `5 minutes ago`, `3 days ago`.
pub(super) fn ago(now: DateTime<Utc>, then: DateTime<Utc>) -> String {
    let passed = now - then;
    if passed < TimeDelta::seconds(5) {
        return "just now".to_owned();
    }
    format!("{} ago", span(passed))
}

/// A time span in its largest unit: `40 seconds`, `5 minutes`, `3 days`.
pub(super) fn span(span: TimeDelta) -> String {
    let seconds = span.num_seconds().unsigned_abs();
    let (n, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    count(n, unit)
}

/// A time: `2026-01-31 08:00:00 UTC`.
pub(super) fn moment(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// The first ten digits of a commit id.
pub(super) fn short(commit: GitSha) -> String {
    let mut id = commit.to_string();
    id.truncate(10);
    id
}

/// A price in the currency of the configuration. Small ones have four decimals.
pub(super) fn price(price: f64) -> String {
    if price > 0.0 && price < 0.0001 {
        "under 0.0001".to_owned()
    } else if price < 1.0 {
        format!("{price:.4}")
    } else {
        format!("{price:.2}")
    }
}

/// The location of a failure: `acme/api:docs/a.md`, `acme/api`, or the stage.
pub(super) fn place_of(failure: &Failure) -> String {
    let place = match (&failure.repository, &failure.path) {
        (Some(repository), Some(path)) => format!("{repository}:{path}"),
        (Some(repository), None) => repository.clone(),
        (None, Some(path)) => path.clone(),
        (None, None) => return format!("stage `{}`", escape(&failure.stage)),
    };
    format!("`{}`: stage `{}`", escape(&place), escape(&failure.stage))
}

/// The hints of several failures without duplicates, in order.
pub(super) fn hints<'a>(failures: impl Iterator<Item = &'a Failure>) -> Vec<&'a str> {
    let mut hints: Vec<&str> = Vec::new();
    for hint in failures.filter_map(|failure| failure.hint.as_deref()) {
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    }
    hints
}

/// Hints, one per line. The texts are escaped already.
pub(super) fn render_hints(advice: &[String], style: &Style) -> String {
    let label = style.advice("hint:");
    let lines: Vec<_> = advice.iter().map(|hint| format!("{label} {hint}\n")).collect();
    lines.concat()
}

/// Skipped files by reason, most frequent first: `14: 9 binary, 5 too large`.
pub(super) fn skipped(skipped: &[SkipCount]) -> String {
    let total: u64 = skipped.iter().map(|skip| skip.files).sum();
    let mut by_count: Vec<_> = skipped.iter().collect();
    by_count.sort_by_key(|skip| (std::cmp::Reverse(skip.files), skip.reason));
    let reasons: Vec<_> =
        by_count.iter().map(|skip| format!("{} {}", number(skip.files), skip.reason.label())).collect();
    match reasons.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        many => format!("{}: {}", number(total), many.join(", ")),
    }
}

/// Examples of skipped files, one line per reason.
pub(super) fn skip_examples(skipped: &[SkipCount], style: &Style) -> String {
    let mut text = String::new();
    for skip in skipped.iter().filter(|skip| !skip.examples.is_empty()) {
        let examples: Vec<_> = skip.examples.iter().map(|path| format!("`{}`", escape(path))).collect();
        let more = if skip.files > skip.examples.len() as u64 { ", …" } else { "" };
        let line = format!("{}: {}{more}", skip.reason.label(), examples.join(", "));
        text.push_str(&format!("{:VALUE_COLUMN$}{}\n", "", style.dim(&line)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (n, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(n), expected);
        }
    }

    #[test]
    fn nouns_agree_with_their_number() {
        for (n, noun, expected) in [
            (1, "file", "1 file"),
            (0, "file", "0 files"),
            (2, "repository", "2 repositories"),
            (1, "repository", "1 repository"),
            (3, "day", "3 days"),
            (2, "index", "2 indexes"),
        ] {
            assert_eq!(count(n, noun), expected);
        }
    }

    #[test]
    fn durations_keep_what_matters() {
        for (seconds, expected) in [
            (0.0, "0.00 s"),
            (0.344, "0.34 s"),
            (9.996, "10.0 s"),
            (12.44, "12.4 s"),
            (59.96, "1m00s"),
            (930.0, "15m30s"),
            (7_530.0, "2h05m"),
            (f64::NAN, "?"),
            (-1.0, "?"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
    }

    #[test]
    fn ages_are_told_in_their_largest_unit() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1000);
        for (seconds, expected) in [
            (0, "just now"),
            (-30, "just now"),
            (59, "59 seconds ago"),
            (60, "1 minute ago"),
            (7200, "2 hours ago"),
            (172_799, "47 hours ago"),
            (172_800, "2 days ago"),
        ] {
            assert_eq!(ago(now, now - TimeDelta::seconds(seconds)), expected);
        }
    }

    #[test]
    fn prices_show_small_amounts() {
        for (value, expected) in [
            (0.0, "0.0000"),
            (0.000_01, "under 0.0001"),
            (0.0009, "0.0009"),
            (0.5, "0.5000"),
            (12.345, "12.35"),
        ] {
            assert_eq!(price(value), expected);
        }
    }
}
