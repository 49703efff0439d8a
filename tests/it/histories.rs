//! Random histories: whatever happens to repositories, configuration, services and the process,
//! the next clean run ends in the index that a build from nothing makes; no text is paid for
//! twice; no wanted file is ever without vectors; and then there is nothing left to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use reposync::apply::{Candidate, Engine, IN_FLIGHT_KIB, Options, Project, Prune, run};
use reposync::chunk::{SentenceChunker, SentenceSettings};
use reposync::embed::{CacheKey, EmbedQueue, Embedder as _, VectorCache};
use reposync::ledger::{Ledger, ProjectRow};
use reposync::model::{
    BranchRef, ByteSize, EventSink, Fingerprint, Outcome, PathMatcher, Report, SecretsMode,
};
use reposync::plan::{Guard, Selector};
use reposync::source::Selection;
use reposync::store::VectorStore;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::support::lab::{Fault, Lab, LabEmbedder, LabSource, LabStore, On, PROJECT, REFUSED, Repo, Tree};

const KEYS: [&str; 3] = ["k1", "k2", "k3"];
const PATHS: [&str; 6] = ["a.md", "b.md", "guide/a.md", "guide/b.md", "notes/a.md", "notes/b.md"];
/// Calls of the embedder that a kill may interrupt, times the texts of each.
const IN_FLIGHT: usize = 2 * 3;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Write {
        repo: usize,
        path: usize,
        text: usize,
    },
    Delete {
        repo: usize,
        path: usize,
    },
    Move {
        repo: usize,
        from: usize,
        to: usize,
    },
    Copy {
        from: usize,
        path: usize,
        to: usize,
    },
    /// The branch goes back to an older tree.
    Revert {
        repo: usize,
        back: usize,
    },
    /// The repository loses all its commits, or gets its tree back.
    Empty {
        repo: usize,
    },
    /// The repository leaves the listing, or comes back.
    Vanish {
        repo: usize,
    },
    Rename {
        repo: usize,
        name: usize,
    },
    Exclude(Option<usize>),
    ChunkSize(usize),
    Namespace(usize),
    Model(u8),
    Apply {
        fault: Option<Fault>,
        full: bool,
        prune: bool,
    },
    /// All is indexed, something is edited, the run fails on it, and the edit is taken back.
    Undone {
        edit: Box<Step>,
        fault: Fault,
    },
    /// The ledger is lost, and an undisturbed run follows.
    LoseLedger,
}

fn text(number: usize) -> String {
    match number {
        0 => "One short sentence.".into(),
        1 => "One short sentence. And another one that is longer than it.".into(),
        2 => "Something else that is said here. One short sentence. It goes on for a while.".into(),
        3 => "Same again. Same again. Same again. Same again. Same again.".into(),
        4 => format!("This is what some {REFUSED}. But not this."),
        5 => "\0binary".into(),
        6 => "   \n".into(),
        n => format!("Page number {n} says this. Page number {n} says that. And that is all of it."),
    }
}

fn faults() -> impl Strategy<Value = Fault> {
    let on = prop_oneof![Just(On::Upsert), Just(On::Delete), Just(On::Embed)];
    let kill =
        (on.clone(), 1..5usize, any::<bool>()).prop_map(|(on, nth, after)| Fault::Kill { on, nth, after });
    let fails = (on, 1..5usize, any::<bool>()).prop_map(|(on, nth, after)| Fault::Fails { on, nth, after });
    prop_oneof![
        4 => kill,
        2 => fails,
        1 => Just(Fault::RefusedTexts),
        1 => (1..4usize).prop_map(|nth| Fault::RefusedUpsert { nth }),
        1 => (0..PATHS.len()).prop_map(|path| Fault::BadFile { path: PATHS[path].into() }),
    ]
}

/// What people do to repositories and to the file.
fn edits() -> impl Strategy<Value = Step> + Clone {
    let (repo, path) = (0..KEYS.len(), 0..PATHS.len());
    prop_oneof![
        8 => (repo.clone(), path.clone(), 0..12usize).prop_map(|(repo, path, text)| Step::Write { repo, path, text }),
        3 => (repo.clone(), path.clone()).prop_map(|(repo, path)| Step::Delete { repo, path }),
        3 => (repo.clone(), path.clone(), path.clone()).prop_map(|(repo, from, to)| Step::Move { repo, from, to }),
        2 => (repo.clone(), path, repo.clone()).prop_map(|(from, path, to)| Step::Copy { from, path, to }),
        3 => (repo.clone(), 1..4usize).prop_map(|(repo, back)| Step::Revert { repo, back }),
        1 => repo.clone().prop_map(|repo| Step::Empty { repo }),
        2 => repo.clone().prop_map(|repo| Step::Vanish { repo }),
        2 => (repo, 0..4usize).prop_map(|(repo, name)| Step::Rename { repo, name }),
        2 => prop::option::of(0..2usize).prop_map(Step::Exclude),
        1 => (0..2usize).prop_map(Step::ChunkSize),
        2 => (0..3usize).prop_map(Step::Namespace),
        1 => (0..2u8).prop_map(Step::Model),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        28 => edits(),
        9 => (prop::option::weighted(0.7, faults()), prop::bool::weighted(0.1), prop::bool::weighted(0.1))
            .prop_map(|(fault, full, prune)| Step::Apply { fault, full, prune }),
        4 => (edits(), faults()).prop_map(|(edit, fault)| Step::Undone { edit: Box::new(edit), fault }),
        1 => Just(Step::LoseLedger),
    ]
}

/// What the file says.
#[derive(Clone)]
struct Settings {
    excluded: Option<usize>,
    chunk_size: usize,
    namespace: usize,
    model: u8,
}

/// A ledger, a cache and a store, and what is outside.
struct History {
    lab: Lab,
    settings: Settings,
    ledger: Arc<Ledger>,
    cache: Arc<VectorCache>,
    store: Arc<LabStore>,
    _folder: tempfile::TempDir,
}

type Index = BTreeMap<String, BTreeMap<String, (Vec<f32>, Map<String, Value>)>>;

impl History {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let lab = Lab::default();
        for (n, key) in KEYS.iter().enumerate() {
            let tree: Tree = [(PATHS[n].to_owned(), text(n)), (PATHS[n + 2].to_owned(), text(7 + n))].into();
            let name = format!("acme/{n}");
            let repo = Repo {
                key: (*key).to_owned(),
                names: [name.clone()].into(),
                name,
                listed: true,
                commits: true,
                stamp: 0,
                history: vec![tree.clone()],
                tree,
            };
            lab.lock().repos.insert((*key).to_owned(), repo);
        }
        Self {
            store: Arc::new(LabStore::new(lab.clone())),
            lab,
            settings: Settings { excluded: None, chunk_size: 0, namespace: 0, model: 0 },
            ledger: Arc::new(Ledger::in_memory().expect("a ledger")),
            cache: Arc::new(VectorCache::open(folder.path(), ByteSize::mib(64))),
            _folder: folder,
        }
    }

    fn project(
        &self,
        store: Arc<dyn VectorStore>,
        embedder: LabEmbedder,
        cache: Option<Arc<VectorCache>>,
    ) -> Project {
        let settings = &self.settings;
        let size = [60, 30][settings.chunk_size];
        let prose =
            SentenceSettings { max_chunk_size: size, chunk_overlap: 0, ..SentenceSettings::default() };
        let patterns: Vec<String> =
            settings.excluded.map(|n| format!("{}**", ["guide/", "notes/"][n])).into_iter().collect();
        let namespace = format!("n{}", settings.namespace);
        let embedder = Arc::new(embedder);
        Project {
            row: ProjectRow {
                name: PROJECT.into(),
                organization: Some("acme".into()),
                filter_keyword: None,
                namespace: namespace.clone(),
                enabled: true,
                allowed_extensions: None,
                exclude_patterns: patterns.clone(),
            },
            selection: Selection::Owner { owner: "acme".into(), keyword: None },
            branch: BranchRef::Default,
            selector: Selector {
                allowed_extensions: None,
                exclude: PathMatcher::new(&patterns).expect("patterns"),
                max_file_bytes: 1000,
            },
            secrets: SecretsMode::Off,
            basis: Fingerprint::of([format!("{size} {patterns:?} {namespace} {}", embedder.identity())]),
            source: Arc::new(LabSource(self.lab.clone())),
            chunkers: vec![Arc::new(SentenceChunker::new("prose", &prose, None).expect("a chunker"))],
            queue: Arc::new(EmbedQueue::new(embedder, cache, CancellationToken::new(), EventSink::none())),
            store,
            notifiers: Vec::new(),
        }
    }

    /// One run to its end, or to its sudden death.
    fn apply(&self, fault: Option<Fault>, full: bool, prune: Prune) -> Option<Report> {
        let killed = self.lab.begin(fault, prune != Prune::No);
        let report = runtime().block_on(async {
            let embedder = LabEmbedder::new(Some(self.lab.clone()), self.settings.model);
            let project = self.project(self.store.clone(), embedder, Some(self.cache.clone()));
            tokio::select! {
                report = go(Arc::clone(&self.ledger), project, full, prune) => Some(report),
                () = killed.cancelled() => None,
            }
        });
        if report.is_none() {
            self.forgive();
        }
        report
    }

    /// What was in flight at a kill, or answered and not yet kept, may be paid for again.
    fn forgive(&self) {
        let mut outside = self.lab.lock();
        let embedded: Vec<(Fingerprint, String)> = outside.embedded.keys().cloned().collect();
        let keys: Vec<CacheKey> =
            embedded.iter().map(|(identity, text)| CacheKey::of(identity, text)).collect();
        let mut lost = 0;
        for (key, kept) in embedded.into_iter().zip(self.cache.contains_many(&keys)) {
            let paid = outside.embedded[&key];
            let allowed = outside.allowed.entry(key).or_default();
            if !kept && *allowed < paid {
                *allowed += 1;
                lost += 1;
            }
        }
        if lost > IN_FLIGHT {
            outside.violations.push(format!("{lost} answers were lost at a kill"));
        }
    }

    /// What a build from nothing holds.
    fn fresh(&self) -> Index {
        let lab = Lab::default();
        let store: Arc<dyn VectorStore> = Arc::new(LabStore::new(lab));
        runtime().block_on(async {
            let embedder = LabEmbedder::new(None, self.settings.model);
            let project = self.project(Arc::clone(&store), embedder, None);
            let report =
                go(Arc::new(Ledger::in_memory().expect("a ledger")), project, false, Prune::No).await;
            assert_eq!(report.outcome, Outcome::Done, "{report:?}");
            contents(&*store).await
        })
    }

    fn index(&self) -> Index {
        runtime().block_on(contents(&*self.store))
    }

    fn edit(&self, repo: usize, change: impl FnOnce(&mut Repo)) {
        let mut outside = self.lab.lock();
        let repo = outside.repos.get_mut(KEYS[repo]).expect("a repository");
        let before = (repo.tree.clone(), repo.commits);
        change(repo);
        if (&repo.tree, repo.commits) != (&before.0, before.1) {
            repo.stamp += 1;
            repo.history.push(before.0);
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Write { repo, path, text: n } => {
                self.edit(repo, |repo| drop(repo.tree.insert(PATHS[path].into(), text(n))));
            }
            Step::Delete { repo, path } => self.edit(repo, |repo| drop(repo.tree.remove(PATHS[path]))),
            Step::Move { repo, from, to } => self.edit(repo, |repo| {
                if let Some(text) = repo.tree.remove(PATHS[from]) {
                    repo.tree.insert(PATHS[to].into(), text);
                }
            }),
            Step::Copy { from, path, to } => {
                let text = self.lab.lock().repos[KEYS[from]].tree.get(PATHS[path]).cloned();
                if let Some(text) = text {
                    self.edit(to, |repo| drop(repo.tree.insert(PATHS[path].into(), text)));
                }
            }
            Step::Revert { repo, back } => self.edit(repo, |repo| {
                repo.tree = repo.history[repo.history.len().saturating_sub(back)].clone();
            }),
            Step::Empty { repo } => self.edit(repo, |repo| repo.commits = !repo.commits),
            // The first one is always there: an empty listing is never believed.
            Step::Vanish { repo } => self.edit(repo.max(1), |repo| repo.listed = !repo.listed),
            Step::Rename { repo, name } => {
                // A name that another repository had, taken over in the same moment, is left out:
                // its files' ids are the other's.
                let name = format!("acme/{repo}-{name}");
                let mut outside = self.lab.lock();
                if outside.repos.values().all(|repo| repo.name != name) {
                    let repo = outside.repos.get_mut(KEYS[repo]).expect("a repository");
                    repo.names.insert(name.clone());
                    repo.name = name;
                }
            }
            Step::Exclude(folder) => {
                self.settings.excluded = folder;
                self.lab.lock().excluded = folder.map(|n| ["guide/", "notes/"][n].to_owned());
            }
            Step::ChunkSize(size) => self.settings.chunk_size = size,
            Step::Namespace(namespace) => self.settings.namespace = namespace,
            Step::Model(model) => self.settings.model = model,
            Step::Apply { fault, full, prune } => {
                drop(self.apply(fault, full, if prune { Prune::Asked } else { Prune::No }));
            }
            Step::Undone { edit, fault } => {
                self.apply(None, false, Prune::No);
                let (settings, excluded) = (self.settings.clone(), self.lab.lock().excluded.clone());
                let repos = self.lab.lock().repos.clone();
                self.step(*edit)?;
                self.apply(Some(fault), false, Prune::No);
                self.settings = settings;
                self.lab.lock().excluded = excluded;
                for (n, key) in KEYS.iter().enumerate() {
                    let before = &repos[*key];
                    self.edit(n, |repo| (repo.tree, repo.commits) = (before.tree.clone(), before.commits));
                }
            }
            Step::LoseLedger => {
                // What is in other places is lost with it: only where there is nothing.
                let here = format!("n{}", self.settings.namespace);
                if self.index().keys().all(|namespace| *namespace == here) {
                    self.ledger = Arc::new(Ledger::in_memory().expect("a ledger"));
                    let report = self.apply(None, false, Prune::No).expect("no kill");
                    prop_assert_eq!(report.outcome, Outcome::Done, "{:?}", report);
                }
            }
        }
        self.check()
    }

    /// What holds at every moment.
    fn check(&self) -> Result<(), TestCaseError> {
        let outside = self.lab.lock();
        prop_assert!(outside.violations.is_empty(), "{:?}", outside.violations);
        for (key, times) in &outside.embedded {
            let allowed = 1 + outside.allowed.get(key).copied().unwrap_or(0);
            prop_assert!(*times <= allowed, "{:?} was embedded {} times, not {}", key.1, times, allowed);
        }
        Ok(())
    }
}

/// Paused time: nothing waits, and the same steps happen in the same order.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime")
}

async fn go(ledger: Arc<Ledger>, project: Project, full: bool, prune: Prune) -> Report {
    let guard = Guard { max_delete_ratio: 0.5, allow_deletes: true };
    let options = Options { full, prune, ..Options::new(guard, vec![PROJECT.into()]) };
    let engine = Engine {
        ledger,
        stores: vec![Arc::clone(&project.store)],
        in_flight: Arc::new(Semaphore::new(IN_FLIGHT_KIB)),
        events: EventSink::none(),
        cancel: CancellationToken::new(),
    };
    let candidate = Candidate { name: PROJECT.into(), project: Ok(Arc::new(project)) };
    run(Arc::new(engine), vec![candidate], options, "test").await.expect("a ledger in order")
}

/// Everything a store holds, without what tells only when it was written.
async fn contents(store: &dyn VectorStore) -> Index {
    let mut index = Index::new();
    for namespace in store.describe().await.expect("described").namespaces.into_keys() {
        let mut after = None;
        loop {
            let page = store.list(&namespace, "", after).await.expect("listed");
            for mut record in store.fetch(&namespace, &page.ids).await.expect("fetched") {
                record.metadata.retain(|key, _| !matches!(key.as_str(), "commit_sha" | "url"));
                let held = index.entry(namespace.clone()).or_default();
                held.insert(record.id, (record.vector.to_vec(), record.metadata));
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    index
}

fn check_history(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut history = History::new();
    for step in steps {
        history.step(step)?;
    }
    let report = history.apply(None, false, Prune::Asked).expect("no kill");
    prop_assert_eq!(report.outcome, Outcome::Done, "{:?}", report);
    history.check()?;
    let (index, fresh) = (history.index(), history.fresh());
    for (namespace, records) in &index {
        for (id, record) in records {
            let wanted = fresh.get(namespace).and_then(|records| records.get(id));
            prop_assert_eq!(Some(record), wanted, "{} in {} is an orphan, or differs", id, namespace);
        }
    }
    prop_assert_eq!(index, fresh, "there are holes");
    history.apply(None, false, Prune::No);
    prop_assert_eq!(history.lab.lock().writes, 0, "the second run has nothing to do");
    Ok(())
}

/// The same histories each time, so that a change is judged by what it changes; others, and more
/// of them, with `PROPTEST_CASES` set.
fn config() -> ProptestConfig {
    let from_environment = ProptestConfig::default();
    let rng_seed = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => from_environment.rng_seed,
        None => RngSeed::Fixed(20_261_123),
    };
    ProptestConfig { failure_persistence: None, max_shrink_iters: 3000, rng_seed, ..from_environment }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_history_ends_in_the_index_of_a_build_from_nothing(steps in prop::collection::vec(steps(), 1..25)) {
        check_history(steps)?;
    }
}

/// A run killed on other chunk sizes, which are then taken back.
#[test]
fn an_edit_of_the_chunk_size_killed_and_undone() {
    let kill = Fault::Kill { on: On::Delete, nth: 1, after: true };
    let steps = vec![
        Step::Apply {
            fault: Some(Fault::Kill { on: On::Upsert, nth: 2, after: false }),
            full: false,
            prune: false,
        },
        Step::Undone { edit: Box::new(Step::ChunkSize(1)), fault: kill },
        Step::Apply { fault: None, full: false, prune: false },
    ];
    for _ in 0..200 {
        check_history(steps.clone()).expect("the index of a build from nothing");
    }
}
