//! A project whose service hangs does not starve the other projects of its run, and does not block them without limit.

use std::sync::Arc;
use std::time::Duration;

use reposync::chunk::sentence::{SentenceChunker, SentenceSettings};
use reposync::embed::{EmbedQueue, Embedder as _};
use reposync::model::{BranchRef, Event, EventSink, Outcome, PathMatcher, SecretsMode};
use reposync::plan::{Basis, Guard, Selector, SpendingGuard};
use reposync::source::Selection;
use reposync::state::sqlite::SqliteState;
use reposync::state::{Lease, ProjectRow, Term};
use reposync::sync::{Bounds, Candidate, Engine, Options, Project, StageWaits, run};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::lab::{Blob, Fault, Lab, LabEmbedder, LabSource, LabStore, On, Repo, Tree};

const MIB: usize = 1 << 20;

/// A project with `repositories` repositories of `files` files of this size each.
fn project(name: &str, lab: &Lab, repositories: usize, files: usize, bytes: usize) -> Candidate {
    for n in 0..repositories {
        let text = |file: usize| format!("{name} {n} {file} {}", "word ".repeat(bytes / 5));
        let tree: Tree = (0..files).map(|file| (format!("{file}.md"), Blob::file(text(file)))).collect();
        let repo = format!("{name}/{n}");
        let repo = Repo {
            key: repo.clone(),
            names: [repo.clone()].into(),
            name: repo.clone(),
            listed: true,
            commits: true,
            stamp: 0,
            branches: [tree.clone(), tree],
            default: 0,
            history: Vec::new(),
            unseen: false,
        };
        lab.lock().repos.insert(repo.key.clone(), repo);
    }
    let embedder = LabEmbedder::new(Some(lab.clone()), 0);
    let settings = SentenceSettings::default();
    let project = Project {
        row: ProjectRow {
            name: name.into(),
            organization: Some(name.into()),
            filter_keyword: None,
            namespace: name.into(),
            enabled: true,
            allowed_extensions: None,
            exclude_patterns: Vec::new(),
        },
        selection: Selection::Owner { owner: name.into(), keyword: None },
        branch: BranchRef::Default,
        selector: Selector {
            allowed_extensions: None,
            exclude: PathMatcher::new::<&str>(&[]).expect("no patterns"),
            max_file_bytes: 2 * MIB as u64,
        },
        secrets: SecretsMode::Off,
        scanner: reposync::chunk::secrets::Scanner::built_in(),
        max_cost: None,
        basis: Basis::default().with("embedder", &(name, embedder.identity().as_str())),
        source: Arc::new(LabSource(lab.clone())),
        chunkers: vec![Arc::new(SentenceChunker::new("prose", &settings, None).expect("a chunker"))],
        queue: Arc::new(EmbedQueue::new(
            Arc::new(embedder),
            None,
            CancellationToken::new(),
            EventSink::none(),
        )),
        store: Arc::new(LabStore::new(lab.clone())),
        notifiers: Vec::new(),
        is_local: true,
    };
    Candidate { name: name.into(), project: Ok(Arc::new(project)) }
}

/// A project whose embedder never answers.
fn hung(name: &str, repositories: usize, files: usize, bytes: usize) -> Candidate {
    let lab = Lab::default();
    let candidate = project(name, &lab, repositories, files, bytes);
    lab.begin(Some(Fault::Kill { on: On::Embed, nth: 1, after: false }), false);
    candidate
}

/// An engine over an empty state, and the ends of projects.
fn engine() -> (Arc<Engine>, mpsc::UnboundedReceiver<(String, Outcome)>) {
    let (ended, ends) = mpsc::unbounded_channel();
    let events = EventSink::new(move |event| {
        if let Event::ProjectFinished { project, outcome } = event {
            ended.send((project, outcome)).expect("the receiver is open");
        }
    });
    let engine = Engine {
        state: Arc::new(SqliteState::in_memory().expect("a ledger")),
        stores: Vec::new(),
        units: None,
        bounds: Bounds::default(),
        history: Duration::from_secs(3600),
        events,
        waits: StageWaits::default(),
        cancel: CancellationToken::new(),
    };
    (Arc::new(engine), ends)
}

fn options() -> Options {
    Options::new(
        Guard { max_delete_ratio: 0.5, allow_deletes: false },
        SpendingGuard { max_new_texts_ratio: 0.5, allow_cost: false },
        Vec::new(),
    )
}

#[tokio::test(start_paused = true)]
async fn hung_projects_leave_room_for_another() {
    // Each with more bytes than the budget holds.
    let candidates = (0..5).map(|n| hung(&format!("hung{n}"), 4, 8, MIB / 8)).collect();
    let (engine, mut ends) = engine();
    let lease = engine.state.lease(&[]).await.expect("asked").expect("free");
    let options = options();
    let hung = tokio::spawn({
        let (engine, options, lease) = (Arc::clone(&engine), options.clone(), lease.clone());
        async move { run(engine, lease, candidates, options, None, "test").await }
    });
    // Wait until they hold their whole share of the budget.
    tokio::time::sleep(Duration::from_secs(60)).await;

    let healthy = project("healthy", &Lab::default(), 6, 40, 4000);
    let report = tokio::time::timeout(
        Duration::from_secs(60),
        run(Arc::clone(&engine), lease, vec![healthy], options, None, "test"),
    );
    let report = report.await.expect("in time").expect("a ledger in order");
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
    assert_eq!(report.projects[0].counts.files_added, 240);
    assert_eq!(ends.try_recv().expect("one end"), ("healthy".to_owned(), Outcome::Done));
    assert!(ends.try_recv().is_err() && !hung.is_finished(), "the other projects still hang");
    hung.abort();
}

#[tokio::test(start_paused = true)]
async fn a_run_without_progress_ends_and_keeps_what_its_other_projects_have_done() {
    const STUCK: Duration = Duration::from_secs(1800);
    let (engine, mut ends) = engine();
    let held = engine.state.lease(&[]).await.expect("asked").expect("free");
    let term = Term::new(Instant::now() + STUCK * 100, Duration::from_secs(5), STUCK);
    let lease = Lease::new(held.fence(), Some(term), Arc::new(held));
    let candidates = vec![hung("hung", 1, 1, 100), project("healthy", &Lab::default(), 1, 3, 100)];
    let began = Instant::now();
    let report = run(engine, lease, candidates, options(), None, "test").await.expect("a ledger in order");
    let took = began.elapsed();
    assert!((STUCK..STUCK + Duration::from_secs(60)).contains(&took), "{took:?}");
    let [hung, healthy] = &report.projects[..] else { panic!("{report:?}") };
    let error = hung.error.as_ref().expect("an error");
    assert_eq!((hung.outcome, error.error.as_str()), (Outcome::Failed, "no progress within 30m"));
    assert_eq!((healthy.outcome, healthy.counts.files_added), (Outcome::Done, 3));
    assert_eq!(ends.try_recv().expect("one end"), ("healthy".to_owned(), Outcome::Done));
    assert_eq!(ends.try_recv().expect("another"), ("hung".to_owned(), Outcome::Failed));
}
