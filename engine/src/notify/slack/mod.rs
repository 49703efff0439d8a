//! Slack: one attachment for each project's part of a run, to an incoming webhook.

mod config;
mod settings;

pub use settings::SlackSettings;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::model::{EventSink, Outcome, ProjectReport, Report, StageResult};

use super::post::{Post, PostNotifier};
use super::summary::{Line, lines, numbers, title};

/// Slack takes about one message in a second.
const MESSAGES_PER_MINUTE: u32 = 60;

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
    let color = match project.outcome {
        Outcome::Done => "good",
        Outcome::Partial | Outcome::Interrupted => "warning",
        Outcome::Failed => "danger",
    };
    let title = title(project.outcome);
    let field = |(title, value): (&str, String)| json!({ "title": title, "value": value, "short": true });
    let fields = numbers(report, project).map(field);
    let name = escaped(&project.project);
    let mut attachment = json!({
        "color": color,
        "title": title,
        "fallback": format!("{title}: {name}"),
        "fields": fields,
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

/// The errors and notes, as mrkdwn.
fn text(project: &ProjectReport) -> String {
    let line = |line: Line| match line {
        Line::Failure { place, error } => format!("• `{}`: {}", escaped(&place), escaped(&error)),
        Line::Text { label: Some(label), text } => format!("_{label}:_ {}", escaped(&text)),
        Line::Text { label: None, text } => escaped(&text),
    };
    lines(project).into_iter().map(line).collect::<Vec<_>>().join("\n")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Counts, Failure};

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
}
