//! Every service behind the same calls: whatever goes wrong with one, its stage waits, tries again or
//! ends in the same way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use reposync::embed::Embedder;
use reposync::embed::azure::{AzureSettings, azure_embedder};
use reposync::embed::openai::{OpenAiSettings, openai_embedder};
use reposync::model::{
    Allowances, Borrow, ErrorKind, Event, EventSink, Fingerprint, GitSha, Loan, Pause, Recorded, RepoRef,
    Secret, StageError, StageResult,
};
use reposync::net::{RetryPolicy, Timeouts};
use reposync::notify::Notifier;
use reposync::notify::slack::{SlackSettings, slack_notifier};
use reposync::notify::webhook::{WebhookSettings, webhook_notifier};
use reposync::source::Source;
use reposync::source::git_remote::{GitRemoteSettings, GitRemoteSource};
use reposync::source::github::GithubSource;
use reposync::store::VectorStore;
use reposync::store::pinecone::{PineconeSettings, PineconeStore};
use tokio_util::sync::CancellationToken;

use crate::notify::report;
use crate::source_github::{entry, owner};
use crate::support::git_host::GitHost;
use crate::support::git_repo::GitRepo;
use crate::support::github::FakeGithub;
use crate::support::http::{Fault, Response, Server};
use crate::support::openai::{FakeOpenAi, Options};
use crate::support::pinecone::Pinecone;
use crate::support::slack::{PATH, Slack};
use crate::support::sources::{Answers, fetch};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Slack,
    Webhook,
    Pinecone,
    OpenAi,
    Azure,
    Github,
    /// The token of a GitHub App's installation.
    AppToken,
    /// The host of GitHub's archives.
    Archive,
    /// A Git server, asked what it can do.
    Git,
    /// The same, asked for a pack.
    Pack,
}

const KINDS: [Kind; 10] = [
    Kind::Slack,
    Kind::Webhook,
    Kind::Pinecone,
    Kind::OpenAi,
    Kind::Azure,
    Kind::Github,
    Kind::AppToken,
    Kind::Archive,
    Kind::Git,
    Kind::Pack,
];

/// The fake of a service, and the stage that calls it.
enum Stage {
    Notifier(Slack, Box<dyn Notifier>),
    Store(Pinecone, PineconeStore),
    Embedder(FakeOpenAi, Box<dyn Embedder>),
    Listing(FakeGithub, GithubSource),
    Archive { github: FakeGithub, source: GithubSource, _repo: GitRepo, commit: GitSha },
    Git { host: GitHost, source: GitRemoteSource, repo: RepoRef, commit: GitSha, _clones: tempfile::TempDir },
}

struct Subject {
    kind: Kind,
    stage: Stage,
    cancel: CancellationToken,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Subject {
    fn start(kind: Kind, answer: Duration) -> Self {
        Self::sharing(kind, answer, None)
    }

    fn sharing(kind: Kind, answer: Duration, allowances: Option<&Arc<dyn Allowances>>) -> Self {
        let cancel = CancellationToken::new();
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        let sink = EventSink::new(move |event| seen.lock().expect("not poisoned").push(event));
        let pause = Duration::from_millis(1);
        let retry = RetryPolicy { tries: 2, first_pause: pause, longest_pause: pause };
        let stage = stage(kind, Timeouts { retry, answer }, cancel.clone(), sink, allowances);
        Self { kind, stage, cancel, events }
    }

    /// One thing that the stage does, by one request to the place of [`Subject::fail`].
    async fn call(&self) -> StageResult<()> {
        match &self.stage {
            Stage::Notifier(_, notifier) => {
                let report = report();
                notifier.send(&report, &report.projects[0], None).await
            }
            Stage::Store(_, store) => store.describe().await.map(drop),
            Stage::Embedder(_, embedder) => embedder.embed(&["one"], 1).await.map(drop),
            Stage::Listing(_, source) => {
                source.list(&owner("acme"), &Answers::default(), false).await.map(drop)
            }
            Stage::Archive { source, commit, .. } => {
                let repo = entry("acme/r").repo;
                let tree = source.tree(&repo, *commit).await?;
                let got = fetch(source, &repo, *commit, tree).await?;
                assert_eq!((got.contents.len(), got.errors.len()), (30, 0));
                Ok(())
            }
            Stage::Git { source, repo, commit, .. } => source.tree(repo, *commit).await.map(drop),
        }
    }

    fn server(&self) -> &Server {
        match &self.stage {
            Stage::Notifier(slack, _) => &slack.server,
            Stage::Store(pinecone, _) => &pinecone.server,
            Stage::Embedder(fake, _) => &fake.server,
            Stage::Listing(github, _) => github.api(),
            Stage::Archive { github, .. } => github.archives(),
            Stage::Git { host, .. } => &host.server,
        }
    }

    fn place(&self) -> &'static str {
        match self.kind {
            Kind::Slack | Kind::Webhook => PATH,
            Kind::Pinecone => "/describe_index_stats",
            Kind::OpenAi | Kind::Azure => "/embeddings",
            Kind::Github => "/orgs/",
            Kind::AppToken => "/access_tokens",
            Kind::Archive => "/archive/",
            Kind::Git => "/info/refs",
            Kind::Pack => "/git-upload-pack",
        }
    }

    fn fail(&self, times: usize, fault: &Fault) {
        self.server().fail_times(self.place(), times, fault.clone());
    }

    /// Requests at the place.
    fn requests(&self) -> usize {
        self.server().requests().iter().filter(|request| request.path.contains(self.place())).count()
    }

    /// The reported waits.
    fn waits(&self) -> usize {
        let events = self.events.lock().expect("not poisoned");
        events.iter().filter(|event| matches!(event, Event::Waiting { .. })).count()
    }

    /// The types of the calls' errors, as metrics count them.
    fn errors(&self) -> Vec<&'static str> {
        let events = self.events.lock().expect("not poisoned");
        let error = |event: &Event| match event {
            Event::Call { error, .. } => *error,
            _ => None,
        };
        events.iter().filter_map(error).collect()
    }

    fn is_notifier(&self) -> bool {
        matches!(self.stage, Stage::Notifier(..))
    }

    async fn fails(&self) -> StageError {
        self.call().await.err().unwrap_or_else(|| panic!("{:?} goes well", self.kind))
    }
}

fn stage(
    kind: Kind,
    timeouts: Timeouts,
    cancel: CancellationToken,
    events: EventSink,
    allowances: Option<&Arc<dyn Allowances>>,
) -> Stage {
    match kind {
        Kind::Slack => {
            let fake = Slack::start();
            let settings = SlackSettings { webhook_url: Secret::new(fake.url()), on: Vec::new() };
            let made = slack_notifier("team", &settings, cancel, events).expect("a notifier");
            Stage::Notifier(fake, Box::new(made.with_timeouts(timeouts).with_allowances(allowances)))
        }
        Kind::Webhook => {
            let fake = Slack::start();
            let settings = WebhookSettings { url: Secret::new(fake.url()), secret: None, on: Vec::new() };
            let made = webhook_notifier("hook", &settings, cancel, events).expect("a notifier");
            Stage::Notifier(fake, Box::new(made.with_timeouts(timeouts).with_allowances(allowances)))
        }
        Kind::Pinecone => {
            let fake = Pinecone::start(Some(3));
            let settings = PineconeSettings { host: Some(fake.host()), ..fake.settings() };
            let made = PineconeStore::new("vectors", &settings, 4, cancel, events).expect("a store");
            Stage::Store(fake, made.with_timeouts(timeouts).with_allowances(allowances))
        }
        Kind::OpenAi => {
            let fake = FakeOpenAi::start(Options { key: None, ..Options::default() });
            let settings = OpenAiSettings {
                base_url: fake.url(),
                model: "text-embedding-3-small".into(),
                api_key: None,
                dimensions: Some(64),
                batch_size: 100,
                max_input_tokens: 8191,
                requests_per_minute: None,
                tokens_per_minute: None,
                document_prefix: None,
                query_prefix: None,
                input_type: None,
                price_per_million_tokens: None,
            };
            let made = openai_embedder("mine", &settings, 8, cancel, events).expect("an embedder");
            Stage::Embedder(fake, Box::new(made.with_timeouts(timeouts).with_allowances(allowances)))
        }
        Kind::Azure => {
            let fake = FakeOpenAi::start(Options { key: Some("key-for-calls".into()), ..Options::default() });
            let settings = AzureSettings {
                endpoint: fake.url(),
                deployment: "text-embedding-3-small".into(),
                api_version: Some("2024-10-21".into()),
                api_key: Some(Secret::new("key-for-calls")),
                bearer_token: None,
                dimensions: None,
                batch_size: 100,
                requests_per_minute: None,
                tokens_per_minute: None,
                price_per_million_tokens: None,
            };
            let made = azure_embedder("ada", &settings, 8, cancel, events).expect("an embedder");
            Stage::Embedder(fake, Box::new(made.with_timeouts(timeouts).with_allowances(allowances)))
        }
        Kind::Github | Kind::AppToken | Kind::Archive => {
            let github = FakeGithub::start();
            let repo = GitRepo::init("r");
            for n in 0..30 {
                repo.write(&format!("{n}.md"), format!("What page {n} says.\n"));
            }
            let commit = repo.commit("all");
            github.repository("acme/r", Some(repo.path()));
            let settings = if kind == Kind::AppToken { github.app_settings() } else { github.settings() };
            let source = GithubSource::new("hub", &settings, 4, cancel, events).expect("a source");
            let source = source.with_timeouts(timeouts).with_allowances(allowances);
            match kind {
                Kind::Archive => Stage::Archive { github, source, _repo: repo, commit },
                _ => Stage::Listing(github, source),
            }
        }
        Kind::Git | Kind::Pack => {
            let host = GitHost::start();
            let commit = host.repo("group/app").write("a.md", "What page a says.\n").commit("all");
            host.demand("git", "token-for-calls");
            let settings = GitRemoteSettings {
                base_url: host.url(),
                token: Some(Secret::new("token-for-calls")),
                ..GitRemoteSettings::default()
            };
            let clones = tempfile::tempdir().expect("a folder");
            let folder = clones.path().to_owned();
            let source =
                GitRemoteSource::new("server", &settings, folder, 4, cancel, events).expect("a source");
            let source = source.with_timeouts(timeouts).with_allowances(allowances);
            let repo = settings.find("group/app", None).expect("an address");
            Stage::Git { host, source, repo, commit, _clones: clones }
        }
    }
}

/// Allowances that limit nothing and record their borrowers.
#[derive(Debug, Default)]
struct Book(Mutex<Vec<Fingerprint>>);

#[async_trait]
impl Allowances for Book {
    async fn borrow(&self, key: &Fingerprint, borrow: &Borrow) -> StageResult<Loan> {
        self.0.lock().expect("not poisoned").push(key.clone());
        Ok(borrow.decide(&mut Recorded::default()))
    }

    async fn report(&self, _: &Fingerprint, _: &str, _: usize) -> StageResult<()> {
        Ok(())
    }

    async fn pause(&self, _: &Fingerprint, _: &Pause) -> StageResult<()> {
        Ok(())
    }
}

/// Longer than any test waits.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_short_pause_is_told_and_waited_for() {
    for kind in KINDS {
        let subject = Subject::start(kind, LONG);
        subject.fail(1, &Fault::status(429).with("retry-after-ms", "20"));
        subject.call().await.unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
        assert_eq!((subject.requests(), subject.waits()), (2, 1), "{kind:?}");
        let counted = if subject.is_notifier() { "webhook" } else { "rate_limit" };
        assert_eq!(subject.errors(), [counted], "{kind:?}");
    }
}

#[tokio::test]
async fn a_long_pause_is_an_end_with_its_cause_and_blocks_nobody() {
    for status in [429, 503] {
        for kind in KINDS {
            let subject = Subject::start(kind, LONG);
            subject.fail(1, &Fault::status(status).with("retry-after", "86400"));
            let error = subject.fails().await;
            let retry_after = Some(Duration::from_secs(86_400));
            assert_eq!(error.kind, ErrorKind::Transient { retry_after }, "{kind:?}");
            assert!(error.message.contains(&status.to_string()), "{kind:?}: {error}");
            assert!(error.message.ends_with("(asked to wait 86400 s)"), "{kind:?}: {error}");
            assert!(error.hint.is_some_and(|hint| hint.contains("after that time")), "{kind:?}");
            assert_eq!((subject.requests(), subject.waits()), (1, 0), "{kind:?}");
            // The next call sends a request instead of waiting for a day.
            let next = tokio::time::timeout(LONG, subject.call()).await;
            next.expect("not held").unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
        }
    }
}

#[tokio::test]
async fn a_server_in_trouble_is_tried_as_often_as_configured() {
    for kind in KINDS {
        let subject = Subject::start(kind, LONG);
        subject.fail(usize::MAX, &Fault::status(503));
        let error = subject.fails().await;
        assert_eq!(error.kind, ErrorKind::Transient { retry_after: None }, "{kind:?}");
        assert!(error.message.contains("503") && error.message.contains("127.0.0.1"), "{kind:?}: {error}");
        assert!(error.hint.is_some_and(|hint| hint.starts_with("it was tried 2 times")), "{kind:?}");
        assert_eq!((subject.requests(), subject.waits()), (2, 1), "{kind:?}");
    }
}

#[tokio::test]
async fn silence_ends_with_the_time_out() {
    let silence = async |kind| {
        let subject = Subject::start(kind, Duration::from_secs(2));
        subject.fail(usize::MAX, &Fault::Hang);
        let error = subject.fails().await;
        assert_eq!(error.kind, ErrorKind::Transient { retry_after: None }, "{kind:?}");
        assert!(error.message.starts_with("no answer in time from 127.0.0.1"), "{kind:?}: {error}");
        assert_eq!(subject.requests(), 2, "{kind:?}");
    };
    join_all(KINDS.map(silence)).await;
}

#[tokio::test]
async fn a_body_that_is_too_long_is_not_read() {
    for kind in KINDS {
        let subject = Subject::start(kind, LONG);
        subject.fail(usize::MAX, &Fault::Terabyte);
        if subject.is_notifier() {
            subject.call().await.expect("a webhook's answer is its status");
            continue;
        }
        let error = subject.fails().await;
        // What a repository's server says first is as long the next time.
        let is_lasting = kind == Kind::Git;
        let transient = ErrorKind::Transient { retry_after: None };
        assert_eq!(error.kind, if is_lasting { ErrorKind::Refused } else { transient }, "{kind:?}");
        // Archives and packs are read piece by piece, as far as it makes sense.
        let expected = if matches!(kind, Kind::Archive | Kind::Pack) { "broken" } else { "sent more than" };
        assert!(error.message.contains(expected), "{kind:?}: {error}");
        assert_eq!(subject.requests(), if is_lasting { 1 } else { 2 }, "{kind:?}");
    }
}

#[tokio::test]
async fn a_page_in_place_of_an_answer_is_no_answer() {
    for kind in KINDS {
        let subject = Subject::start(kind, LONG);
        subject.fail(usize::MAX, &Fault::html());
        if subject.is_notifier() {
            subject.call().await.expect("a webhook's answer is its status");
            continue;
        }
        let error = subject.fails().await;
        assert!(error.hint.is_some(), "{kind:?}: {error:?}");
        let expected = match kind {
            // A page that is no token is no answer of the API either.
            Kind::AppToken => ErrorKind::Misconfigured,
            // A page for people at the repository's address.
            Kind::Git | Kind::Pack => ErrorKind::Refused,
            _ => ErrorKind::Transient { retry_after: None },
        };
        assert_eq!(error.kind, expected, "{kind:?}: {error:?}");
        let is_transient = matches!(expected, ErrorKind::Transient { .. });
        assert_eq!(subject.requests(), if is_transient { 2 } else { 1 }, "{kind:?}");
    }
}

#[tokio::test]
async fn credentials_follow_no_redirect() {
    let other = Server::start(|_| Response::json(200, &serde_json::json!([])));
    for kind in KINDS {
        for status in [301, 302, 307, 308] {
            let subject = Subject::start(kind, LONG);
            let moved = Response::text(status, "").with("location", format!("{}/elsewhere", other.url()));
            subject.fail(1, &Fault::Answer(moved));
            if kind == Kind::Archive {
                // Archives lie on other hosts; there is nothing of ours in the request.
                subject.call().await.expect("the second try");
                let requests = other.take_requests();
                assert_eq!(requests.len(), 1);
                assert_eq!(requests[0].header("authorization"), None);
                continue;
            }
            let error = subject.fails().await;
            // A Git server says it of one repository.
            let is_of_one = matches!(kind, Kind::Git | Kind::Pack);
            let expected = if is_of_one { ErrorKind::Refused } else { ErrorKind::Misconfigured };
            assert_eq!(error.kind, expected, "{kind:?} {status}: {error:?}");
            assert!(error.hint.is_some(), "{kind:?}");
            assert_eq!((subject.requests(), other.requests().len()), (1, 0), "{kind:?} {status}");
        }
    }
}

#[tokio::test]
async fn an_interrupt_ends_a_call() {
    let interrupted = async |kind| {
        // An embedding is paid: it is waited for, as long as the time-out allows.
        let subject = Subject::start(kind, Duration::from_secs(2));
        subject.fail(usize::MAX, &Fault::Hang);
        let (result, ()) = tokio::join!(subject.call(), async {
            while subject.requests() == 0 {
                tokio::task::yield_now().await;
            }
            subject.cancel.cancel();
        });
        let error = result.err().unwrap_or_else(|| panic!("{kind:?} goes well"));
        assert_eq!(error.kind, ErrorKind::Cancelled, "{kind:?}: {error:?}");
        assert_eq!(subject.requests(), 1, "{kind:?}");
    };
    join_all(KINDS.map(interrupted)).await;
}

#[tokio::test]
async fn what_a_service_allows_is_shared_by_all_with_the_same_credentials() {
    for kind in KINDS {
        let book = Arc::new(Book::default());
        let allowances = Arc::clone(&book) as Arc<dyn Allowances>;
        let subject = Subject::sharing(kind, LONG, Some(&allowances));
        subject.call().await.unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
        let asked = book.0.lock().expect("not poisoned").clone();
        // A local server without a key belongs to one machine.
        assert_eq!(asked.is_empty(), kind == Kind::OpenAi, "{kind:?}");
        assert!(asked.iter().all(|key| *key == asked[0]), "{kind:?}: {asked:?}");
    }
}
