//! Values as people read them.

use chrono::{DateTime, SecondsFormat, Utc};
use maud::{Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::app::UnitState;
use crate::model::{GitSha, MOST_COMMITS, Outcome, ProjectState, RepositoryState};

/// Characters that a part of an address may have as they are.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A text as a part of a path or a value of a query.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// A number with separators.
pub(super) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An amount of money, in the currency of the prices.
pub(super) fn money(amount: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative; saturates")]
    let (cents, whole) = ((amount * 100.0).round() as u64, amount.floor() as u64);
    match cents {
        0 if amount > 0.0 => "< 0.01".to_owned(),
        0 => "0".to_owned(),
        // Cents do not matter there.
        100_000.. => number(whole),
        _ => format!("{}.{:02}", cents / 100, cents % 100),
    }
}

/// A number of things.
pub(super) fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(n), if n == 1 { one } else { many })
}

/// A distance in time.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A duration.
pub(super) fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative; saturates")]
    let seconds = seconds as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A moment as its distance from now, with the UTC in the title.
pub(super) fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    let distance = (now - at).num_seconds();
    let text = span(distance.unsigned_abs());
    let text = if distance < 0 { format!("in {text}") } else { format!("{text} ago") };
    html! { time.nowrap datetime=(iso(at)) title=(utc(at)) { (text) } }
}

/// A moment, which the script shows in local time, with the UTC in the title.
pub(super) fn moment(at: DateTime<Utc>) -> Markup {
    html! { time datetime=(iso(at)) title=(utc(at)) data-local { (utc(at)) } }
}

fn iso(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn utc(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How far behind something is.
pub(super) fn behind(commits: Option<u64>, seconds: Option<u64>) -> String {
    let commits = match commits {
        Some(0) => return "nothing".to_owned(),
        None => "unknown".to_owned(),
        Some(MOST_COMMITS) => format!("{} commits or more", number(MOST_COMMITS)),
        Some(n) => count(n, "commit", "commits"),
    };
    match seconds {
        Some(0) | None => commits,
        Some(seconds) => format!("{commits}, {}", span(seconds)),
    }
}

/// The first digits of a commit.
pub(super) fn short(sha: Option<GitSha>) -> String {
    sha.map_or_else(|| "none".to_owned(), |sha| sha.to_string()[..10].to_owned())
}

/// A word in a colour.
pub(super) fn badge(text: &str, colour: &str) -> Markup {
    html! { span class={ "badge " (colour) } { (text) } }
}

/// The state of a project.
pub(super) fn project_badge(state: ProjectState) -> Markup {
    badge(state.as_str(), project_colour(state))
}

pub(super) fn project_colour(state: ProjectState) -> &'static str {
    match state {
        ProjectState::Current => "good",
        ProjectState::Running => "busy",
        ProjectState::Failed => "bad",
        ProjectState::Behind | ProjectState::Partial | ProjectState::Orphan => "warn",
        ProjectState::NeverRun | ProjectState::Disabled => "",
    }
}

/// The state of a repository.
pub(super) fn repository_badge(state: RepositoryState) -> Markup {
    let colour = match state {
        RepositoryState::Current => "good",
        RepositoryState::Failed => "bad",
        RepositoryState::Behind | RepositoryState::Partial | RepositoryState::Orphan => "warn",
    };
    badge(state.as_str(), colour)
}

/// The state of a unit.
pub(super) fn unit_badge(state: UnitState) -> Markup {
    badge(state.as_str(), unit_colour(state))
}

pub(super) fn unit_colour(state: UnitState) -> &'static str {
    match state {
        UnitState::Running => "busy",
        UnitState::Done => "good",
        UnitState::Dead => "bad",
        UnitState::Ready | UnitState::Dropped => "",
    }
}

/// How a run ended, or where it is.
pub(super) fn run_badge(status: &str, outcome: Option<Outcome>) -> Markup {
    match outcome {
        Some(Outcome::Done) => badge("done", "good"),
        Some(Outcome::Partial) => badge("partial", "warn"),
        Some(Outcome::Failed) => badge("failed", "bad"),
        Some(Outcome::Interrupted) => badge("interrupted", "warn"),
        None => badge(status, if status == "running" { "busy" } else { "" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_short() {
        for (n, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(n), expected);
        }
        assert_eq!([5.25, 59.9, 61.0, 7300.0].map(duration), ["5.2 s", "59 s", "1 min 1 s", "2 h 1 min"]);
        assert_eq!([0.0, 0.004, 0.5, 12.345, 1234.5].map(money), ["0", "< 0.01", "0.50", "12.35", "1,234"]);
        assert_eq!(behind(Some(0), Some(0)), "nothing");
        assert_eq!(behind(Some(1), Some(90)), "1 commit, 90 s");
        assert_eq!(behind(Some(MOST_COMMITS), None), "1,000 commits or more");
        assert_eq!(behind(None, None), "unknown");
        assert_eq!(encode("a b/ä"), "a%20b%2F%C3%A4");
    }
}
