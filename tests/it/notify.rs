//! Notifiers against a fake of Slack: what is sent, what is retried, and that the URL, which is the
//! secret, appears nowhere.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use reposync::model::{Counts, ErrorKind, EventSink, Outcome, ProjectReport, Report, Secret, StageError};
use reposync::net::{RetryPolicy, Timeouts};
use reposync::notify::slack::{SlackSettings, slack_notifier};
use reposync::notify::webhook::{WebhookSettings, webhook_notifier};
use reposync::notify::{Notifier, PostNotifier, When};
use sha2::Sha256;
use tokio_util::sync::CancellationToken;

use crate::support::http::{Fault, Response};
use crate::support::services::Services;
use crate::support::slack::{PATH, Slack};

pub(crate) fn report() -> Report {
    let project = |name: &str| ProjectReport {
        project: name.into(),
        outcome: Outcome::Partial,
        counts: Counts { files: 450, files_added: 12, ..Counts::default() },
        skipped: Vec::new(),
        failures: Vec::new(),
        error: None,
        retry_after: None,
        withheld: Vec::new(),
        notes: vec!["<!channel> & co".into()],
        search_quality: None,
    };
    Report {
        run: "run-1".into(),
        trigger: "apply".into(),
        started_at: chrono::DateTime::from_timestamp(1_700_000_000, 0).expect("a time"),
        seconds: 930.0,
        outcome: Outcome::Failed,
        projects: vec![project("one"), project("two")],
    }
}

fn quick() -> Timeouts {
    let (first_pause, longest_pause) = (Duration::from_millis(1), Duration::from_millis(2));
    Timeouts { retry: RetryPolicy { tries: 3, first_pause, longest_pause }, answer: Duration::from_secs(5) }
}

fn slack(url: &str) -> PostNotifier {
    let settings = SlackSettings { webhook_url: Secret::new(url), on: vec![When::Failure] };
    slack_notifier("team", &settings, CancellationToken::new(), EventSink::none())
        .expect("a notifier")
        .with_timeouts(quick())
}

fn webhook(url: &str) -> PostNotifier {
    let secret = Some(Secret::new("It's a Secret to Everybody"));
    let settings = WebhookSettings { url: Secret::new(url), secret, on: vec![When::Always] };
    webhook_notifier("hook", &settings, CancellationToken::new(), EventSink::none())
        .expect("a notifier")
        .with_timeouts(quick())
}

fn keeps_the_url(error: &StageError) {
    assert!(!format!("{error:?} {}", error.one_line()).contains(PATH), "{error:?}");
}

#[tokio::test]
async fn slack_gets_one_attachment_for_a_project() {
    let fake = Slack::start();
    let notifier = slack(&fake.url());
    assert_eq!((notifier.stage(), notifier.on()), ("team", &[When::Failure][..]));
    assert!(!format!("{notifier:?}").contains(PATH));
    let report = report();
    notifier.send(&report, &report.projects[1], None).await.expect("sent");
    let messages = fake.messages();
    assert_eq!(messages.len(), 1);
    let attachment = &messages[0]["attachments"][0];
    assert_eq!(attachment["color"], "warning");
    assert_eq!(attachment["fields"][2]["value"], "12/450");
    assert_eq!(attachment["text"], "_note:_ &lt;!channel&gt; &amp; co");
}

#[tokio::test]
async fn a_webhook_gets_the_report_with_its_project() {
    let fake = Slack::start();
    let report = report();
    webhook(&fake.url()).send(&report, &report.projects[0], None).await.expect("sent");
    let got: Report = serde_json::from_value(fake.messages().remove(0)).expect("a report");
    let request = fake.server.requests().remove(0);
    let mac = Hmac::<Sha256>::new_from_slice(b"It's a Secret to Everybody").expect("any key");
    let expected = hex::encode(mac.chain_update(&request.body).finalize().into_bytes());
    assert_eq!(request.header("x-reposync-signature-256"), Some(format!("sha256={expected}").as_str()));
    let part = Report { outcome: Outcome::Partial, projects: vec![report.projects[0].clone()], ..report };
    assert_eq!(got, part);
}

#[tokio::test]
async fn transient_errors_are_retried() {
    for fault in [
        Fault::status(429).with("retry-after", "0"),
        Fault::status(500),
        Fault::status(503).with("retry-after", "0"),
        Fault::status(408),
        Fault::Reset,
    ] {
        let fake = Slack::start();
        fake.server.fail(PATH, fault.clone());
        fake.server.fail(PATH, fault.clone());
        let report = report();
        let sent = webhook(&fake.url()).send(&report, &report.projects[0], None).await;
        assert!(sent.is_ok(), "{fault:?}: {sent:?}");
        assert_eq!(fake.messages().len(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn permanent_errors_are_not_retried() {
    for (status, said) in [
        (400, "invalid_payload"),
        (403, "action_prohibited"),
        (404, "no_service"),
        (410, "channel_is_archived"),
    ] {
        let fake = Slack::start();
        fake.server.fail(PATH, Fault::Answer(Response::text(status, said)));
        let report = report();
        let error = slack(&fake.url()).send(&report, &report.projects[0], None).await.expect_err(said);
        assert_eq!(error.kind, ErrorKind::Misconfigured);
        assert!(error.message.ends_with(&format!("answers {status}: {said}")), "{error}");
        keeps_the_url(&error);
        assert_eq!(fake.server.requests().len(), 1, "{said}");
    }
}

#[tokio::test]
async fn an_unreachable_webhook_is_an_error_without_its_url() {
    let fake = Slack::start();
    for _ in 0..3 {
        fake.server.fail(PATH, Fault::Reset);
    }
    let report = report();
    let error = webhook(&fake.url()).send(&report, &report.projects[0], None).await.expect_err("away");
    assert!(matches!(error.kind, ErrorKind::Transient { .. }), "{error:?}");
    keeps_the_url(&error);

    let redirect = Response::text(302, "").with("location", "https://elsewhere.example/");
    fake.server.fail(PATH, Fault::Answer(redirect));
    let error =
        webhook(&fake.url()).send(&report, &report.projects[0], None).await.expect_err("not followed");
    assert_eq!(error.kind, ErrorKind::Misconfigured);
}

#[test]
fn an_invalid_url_is_refused_without_being_shown() {
    let settings = SlackSettings { webhook_url: Secret::new("http://example.com/token"), on: Vec::new() };
    let error = slack_notifier("team", &settings, CancellationToken::new(), EventSink::none())
        .expect_err("plain http");
    assert_eq!(error.kind, ErrorKind::Misconfigured);
    assert!(!format!("{error:?}").contains("token"), "{error:?}");
}

#[test]
fn a_message_links_to_the_page_of_its_run() {
    let services = Services::start();
    let origin = "https://sync.example:8443";
    services.world.config(&format!("{}\n[api]\npublic_url = \"{origin}/\"\n", services.file()));
    services.with_pages("api", 2);
    let applied = services.apply(&[]).exits(0);
    let run = applied.report["run"].as_str().expect("an id");
    let messages = services.slack.messages();
    let link = &messages.first().expect("a message")["attachments"][0]["title_link"];
    assert_eq!(*link, format!("{origin}/console/runs/{run}"));
}
