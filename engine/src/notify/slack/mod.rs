//! Slack: one attachment for each project's part of a run, to an incoming webhook.

mod config;
mod settings;

pub use settings::SlackSettings;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::model::{EventSink, Failure, Outcome, ProjectReport, Report, StageResult};

use super::post::{Post, PostNotifier};
use crate::net::one_line;

/// Slack takes about one message in a second.
const MESSAGES_PER_MINUTE: u32 = 60;
/// Errors that a message lists.
const MOST_FAILURES: usize = 5;
/// Notes that a message lists.
const MOST_NOTES: usize = 3;
/// Characters of one error or note: several fit into a message that Slack shows whole.
const LONGEST_LINE: usize = 200;

/// Posts to Slack. Nothing is sent before the first report.
pub fn slack_notifier(
    stage: impl Into<String>,
    settings: &SlackSettings,
    cancel: CancellationToken,
    events: EventSink,
) -> StageResult<PostNotifier> {
    let post = Post {
        url: &settings.webhook_url,
        secret: None,
        on: &settings.on,
        message,
        requests_per_minute: Some(MESSAGES_PER_MINUTE),
    };
    PostNotifier::new(stage, &post, cancel, events)
}

/// The message of one project.
fn message(report: &Report, project: &ProjectReport, page: Option<&str>) -> Value {
    let (color, title) = match project.outcome {
        Outcome::Done => ("good", "✅ RepoSync Update"),
        Outcome::Partial => ("warning", "⚠️ RepoSync Update: something is missing"),
        Outcome::Failed => ("danger", "❌ RepoSync Failed"),
        Outcome::Interrupted => ("warning", "⚠️ RepoSync Interrupted"),
    };
    let counts = &project.counts;
    let processed = counts.files_added + counts.files_changed + counts.files_moved;
    let field = |title: &str, value: String| json!({ "title": title, "value": value, "short": true });
    let name = escaped(&project.project);
    let mut attachment = json!({
        "color": color,
        "title": title,
        "fallback": format!("{title}: {name}"),
        "fields": [
            field("Duration", duration(report.seconds)),
            field("Repositories", counts.repositories.to_string()),
            field("Files Processed", format!("{processed}/{}", counts.files)),
            field("Embeddings", counts.texts_embedded.to_string()),
        ],
        "footer": format!("{name} · {} · run {}", escaped(&report.trigger), escaped(&report.run)),
        "ts": report.started_at.timestamp(),
        "mrkdwn_in": ["text"],
    });
    if let Some(page) = page {
        attachment["title_link"] = page.into();
    }
    let text = text(project);
    if !text.is_empty() {
        attachment["text"] = text.into();
    }
    json!({ "attachments": [attachment] })
}

/// The error that ended the project, the first of the others, and what a person should know.
fn text(project: &ProjectReport) -> String {
    let mut lines = Vec::new();
    if let Some(error) = &project.error {
        lines.push(failure(error));
        lines.extend(error.hint.as_deref().map(|hint| format!("_hint:_ {}", line(hint))));
    }
    lines.extend(project.failures.iter().take(MOST_FAILURES).map(failure));
    let failures = project.failures.len() as u64;
    let all = failures.max(project.counts.files_failed);
    let more = all - failures.min(MOST_FAILURES as u64);
    if more > 0 {
        lines.push(format!("… and {more} more"));
    }
    lines.extend(project.withheld.iter().map(|withheld| line(&withheld.message)));
    let quality = project.search_quality.iter().filter(|quality| quality.is_bad());
    lines.extend(quality.map(|quality| format!("_search quality:_ {}", line(&quality.message()))));
    lines.extend(project.notes.iter().take(MOST_NOTES).map(|note| format!("_note:_ {}", line(note))));
    lines.join("\n")
}

fn failure(failure: &Failure) -> String {
    let place: Vec<String> =
        [&failure.repository, &failure.path].into_iter().flatten().map(|part| line(part)).collect();
    if place.is_empty() {
        format!("• `{}`: {}", line(&failure.stage), line(&failure.error))
    } else {
        format!("• `{}`: {}", place.join(":"), line(&failure.error))
    }
}

/// A text of a repository or service as one line of mrkdwn, shortened and without any markup.
fn line(text: &str) -> String {
    escaped(&one_line(text, LONGEST_LINE))
}

/// What Slack would read as markup: `<!channel>`, links and mentions, and the code marks that a
/// path stands between. A backtick has no escape, so it becomes an apostrophe.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '`' => out.push('\''),
            c => out.push(c),
        }
    }
    out
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
    use crate::model::Counts;

    fn report(seconds: f64, project: ProjectReport) -> Report {
        Report {
            run: "01-a".into(),
            trigger: "schedule".into(),
            started_at: chrono::DateTime::from_timestamp(1_700_000_000, 0).expect("a time"),
            seconds,
            outcome: project.outcome,
            projects: vec![project],
        }
    }

    fn project(outcome: Outcome) -> ProjectReport {
        ProjectReport {
            project: "handbook".into(),
            outcome,
            counts: Counts {
                repositories: 3,
                files: 450,
                files_added: 7,
                files_changed: 4,
                files_moved: 1,
                texts_embedded: 87,
                ..Counts::default()
            },
            skipped: Vec::new(),
            failures: Vec::new(),
            error: None,
            retry_after: None,
            withheld: Vec::new(),
            notes: Vec::new(),
            search_quality: None,
        }
    }

    fn failed(repository: &str, path: &str, error: &str) -> Failure {
        let place = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Failure {
            stage: "ada".into(),
            repository: place(repository),
            path: place(path),
            error: error.into(),
            hint: Some("check the stage's `api_key`".into()),
        }
    }

    fn shown(project: ProjectReport) -> String {
        let report = report(930.0, project);
        serde_json::to_string_pretty(&message(&report, &report.projects[0], None)).expect("JSON")
    }

    #[test]
    fn a_good_run_is_the_original_message() {
        insta::assert_snapshot!(shown(project(Outcome::Done)), @r#"
        {
          "attachments": [
            {
              "color": "good",
              "title": "✅ RepoSync Update",
              "fallback": "✅ RepoSync Update: handbook",
              "fields": [
                {
                  "title": "Duration",
                  "value": "15m30s",
                  "short": true
                },
                {
                  "title": "Repositories",
                  "value": "3",
                  "short": true
                },
                {
                  "title": "Files Processed",
                  "value": "12/450",
                  "short": true
                },
                {
                  "title": "Embeddings",
                  "value": "87",
                  "short": true
                }
              ],
              "footer": "handbook · schedule · run 01-a",
              "ts": 1700000000,
              "mrkdwn_in": [
                "text"
              ]
            }
          ]
        }
        "#);
    }

    #[test]
    fn a_partial_run_lists_its_first_failures_escaped() {
        let mut project = project(Outcome::Partial);
        project.counts.files_failed = 12;
        project.failures = (0..8)
            .map(|n| failed("acme/docs", &format!("<!channel> `{n}`&.md"), "refused\nby\u{1b}[0m <@U1>"))
            .collect();
        project.notes = vec!["`old` & gone".into()];
        let report = report(1.0, project);
        let message = message(&report, &report.projects[0], None);
        insta::assert_snapshot!(message["attachments"][0]["text"].as_str().expect("text"), @"
        • `acme/docs:&lt;!channel&gt; '0'&amp;.md`: refused by [0m &lt;@U1&gt;
        • `acme/docs:&lt;!channel&gt; '1'&amp;.md`: refused by [0m &lt;@U1&gt;
        • `acme/docs:&lt;!channel&gt; '2'&amp;.md`: refused by [0m &lt;@U1&gt;
        • `acme/docs:&lt;!channel&gt; '3'&amp;.md`: refused by [0m &lt;@U1&gt;
        • `acme/docs:&lt;!channel&gt; '4'&amp;.md`: refused by [0m &lt;@U1&gt;
        … and 7 more
        _note:_ 'old' &amp; gone
        ");
        assert_eq!(message["attachments"][0]["color"], "warning");
    }

    #[test]
    fn a_failed_run_says_why_and_what_to_do() {
        let mut project = project(Outcome::Failed);
        project.error = Some(failed("", "", &"401 ".repeat(200)));
        let report = report(1.0, project);
        let message = message(&report, &report.projects[0], None);
        let attachment = &message["attachments"][0];
        assert_eq!(
            (&attachment["color"], &attachment["title"]),
            (&json!("danger"), &json!("❌ RepoSync Failed"))
        );
        let text = attachment["text"].as_str().expect("text");
        assert!(text.starts_with("• `ada`: 401 401") && text.contains("…\n_hint:_ check"), "{text}");
    }

    #[test]
    fn a_message_never_outgrows_slack() {
        let mut project = project(Outcome::Failed);
        project.error = Some(failed("", "", &"<".repeat(5000)));
        project.failures =
            (0..100).map(|_| failed(&"&".repeat(5000), &">".repeat(5000), &"<".repeat(5000))).collect();
        project.notes = vec!["<".repeat(5000); 50];
        let length = message(&report(1.0, project.clone()), &project, None).to_string().chars().count();
        assert!(length < 40_000, "{length}");
    }

    #[test]
    fn durations_read_like_the_original() {
        for (seconds, text) in
            [(0.4, "0s"), (45.0, "45s"), (930.0, "15m30s"), (61.0, "1m01s"), (7500.0, "2h05m"), (-1.0, "0s")]
        {
            assert_eq!(duration(seconds), text);
        }
    }
}
