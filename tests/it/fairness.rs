//! A project whose service hangs does not starve the other projects of its run.

use std::sync::Arc;
use std::time::Duration;

use reposync::chunk::sentence::{SentenceChunker, SentenceSettings};
use reposync::embed::{EmbedQueue, Embedder as _};
use reposync::model::{BranchRef, Event, EventSink, Outcome, PathMatcher, SecretsMode};
use reposync::plan::{Basis, Guard, Selector, SpendingGuard};
use reposync::source::Selection;
use reposync::state::ProjectRow;
use reposync::state::sqlite::SqliteState;
use reposync::sync::{Bounds, Candidate, Engine, Options, Project, StageWaits, run};
use tokio::sync::mpsc;
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

#[tokio::test(start_paused = true)]
async fn hung_projects_leave_room_for_another() {
    // Five projects whose embedder never answers, each with more bytes than the budget holds.
    let mut candidates = Vec::new();
    for n in 0..5 {
        let lab = Lab::default();
        candidates.push(project(&format!("hung{n}"), &lab, 4, 8, MIB / 8));
        lab.begin(Some(Fault::Kill { on: On::Embed, nth: 1, after: false }), false);
    }
    let (ended, mut ends) = mpsc::unbounded_channel();
    let events = EventSink::new(move |event| {
        if let Event::ProjectFinished { project, outcome } = event {
            ended.send((project, outcome)).expect("the receiver is open");
        }
    });
    let engine = Arc::new(Engine {
        state: Arc::new(SqliteState::in_memory().expect("a ledger")),
        stores: Vec::new(),
        units: None,
        bounds: Bounds::default(),
        history: Duration::from_secs(3600),
        events,
        waits: StageWaits::default(),
        cancel: CancellationToken::new(),
    });
    let lease = engine.state.lease(&[]).await.expect("asked").expect("free");
    let options = Options::new(
        Guard { max_delete_ratio: 0.5, allow_deletes: false },
        SpendingGuard { max_new_texts_ratio: 0.5, allow_cost: false },
        Vec::new(),
    );
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
