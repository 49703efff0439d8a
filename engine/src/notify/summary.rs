//! What a chat message says about a project's part of a run, before a kind gives it its form.

use crate::model::{Failure, Outcome, ProjectReport, Report};
use crate::net::one_line;

/// Errors that a message lists.
const MOST_FAILURES: usize = 5;
/// Notes that a message lists.
const MOST_NOTES: usize = 3;
/// Characters of one error or note: several fit into a message that a chat shows whole.
const LONGEST_LINE: usize = 200;

/// A line below the numbers. Its texts are of repositories and services: one line each, shortened,
/// and with whatever the chat reads as markup.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// What failed: a file, a repository or a stage.
    Failure { place: String, error: String },
    /// What else a person should know.
    Text { label: Option<&'static str>, text: String },
}

pub(super) fn title(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "✅ RepoSync Update",
        Outcome::Partial => "⚠️ RepoSync Update: something is missing",
        Outcome::Failed => "❌ RepoSync Failed",
        Outcome::Interrupted => "⚠️ RepoSync Interrupted",
    }
}

/// Names and values.
pub(super) fn numbers(report: &Report, project: &ProjectReport) -> [(&'static str, String); 4] {
    let counts = &project.counts;
    let processed = counts.files_added + counts.files_changed + counts.files_moved;
    [
        ("Duration", duration(report.seconds)),
        ("Repositories", counts.repositories.to_string()),
        ("Files Processed", format!("{processed}/{}", counts.files)),
        ("Embeddings", counts.texts_embedded.to_string()),
    ]
}

/// The error that ended the project, the first of the others, and what a person should know.
pub(super) fn lines(project: &ProjectReport) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(error) = &project.error {
        lines.push(failure(error));
        lines.extend(error.hint.as_deref().map(|hint| text(Some("hint"), hint)));
    }
    lines.extend(project.failures.iter().take(MOST_FAILURES).map(failure));
    let failures = project.failures.len() as u64;
    let all = failures.max(project.counts.files_failed);
    let more = all - failures.min(MOST_FAILURES as u64);
    if more > 0 {
        lines.push(text(None, &format!("… and {more} more")));
    }
    lines.extend(project.withheld.iter().map(|withheld| text(None, &withheld.message)));
    let quality = project.search_quality.iter().filter(|quality| quality.is_bad());
    lines.extend(quality.map(|quality| text(Some("search quality"), &quality.message())));
    lines.extend(project.notes.iter().take(MOST_NOTES).map(|note| text(Some("note"), note)));
    lines
}

fn failure(failure: &Failure) -> Line {
    let place: Vec<String> =
        [&failure.repository, &failure.path].into_iter().flatten().map(|part| line(part)).collect();
    let place = if place.is_empty() { line(&failure.stage) } else { place.join(":") };
    Line::Failure { place, error: line(&failure.error) }
}

fn text(label: Option<&'static str>, text: &str) -> Line {
    Line::Text { label, text: line(text) }
}

fn line(text: &str) -> String {
    one_line(text, LONGEST_LINE)
}

/// `45s`, `15m30s`, `2h05m`.
fn duration(seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a run's length, made whole and positive"
    )]
    let seconds = seconds.max(0.0).round() as u64;
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest:02}s"),
        _ => format!("{hours}h{minutes:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_the_original() {
        for (seconds, text) in
            [(0.4, "0s"), (45.0, "45s"), (930.0, "15m30s"), (61.0, "1m01s"), (7500.0, "2h05m"), (-1.0, "0s")]
        {
            assert_eq!(duration(seconds), text);
        }
    }
}
