//! A history: the outside world, a ledger, a cache and a store, and the invariants checked on them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use reposync::chunk::Chunker;
use reposync::chunk::sentence::{SentenceChunker, SentenceSettings};
use reposync::config::StatePlace;
use reposync::embed::{EmbedQueue, Embedder as _};
use reposync::factory::open_for_service;
use reposync::model::{
    BranchRef, ByteSize, EventSink, Fingerprint, Outcome, PathMatcher, Report, SecretsMode, StageError,
    StageResult,
};
use reposync::plan::{Action, Basis, Guard, Plan, Prune, Selector, SpendingGuard};
use reposync::source::Selection;
use reposync::state::sqlite::{SqliteState, SqliteVectorCache};
use reposync::state::{CacheKey, ProjectRow, State, VectorCache};
use reposync::store::VectorStore;
use reposync::sync::{Bounds, Candidate, Engine, Options, Project, StageWaits, plan, run};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::steps::{CHUNK_SIZES, FILE_SIZES, FOLDERS, KEYS, PATHS, Step, text};
use crate::support::lab::{
    BRANCHES, Blob, Fault, Lab, LabComponent, LabEmbedder, LabSource, LabStore, On, PROJECT, Repo, Tree,
    Wanted,
};
use crate::support::postgres::Postgres;

/// Embedder calls in flight at a kill, times the texts per call.
const IN_FLIGHT: usize = 2 * 3;

/// The part of the configuration that does not select files.
#[derive(Clone)]
struct Settings {
    chunk_size: usize,
    component: Option<u8>,
    namespace: usize,
    model: u8,
}

/// Where ledgers are.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// In memory, with paused time.
    Memory,
    /// In databases of a server.
    Database(&'static Postgres),
}

impl Place {
    /// An empty ledger.
    fn ledger(self, lab: &Lab) -> Arc<dyn State> {
        match self {
            Self::Memory => lab.ledger(),
            Self::Database(server) => {
                let place = StatePlace::of_argument(&server.database(), false, None).expect("an address");
                self.runtime().block_on(open_for_service(&place)).expect("a new database").0
            }
        }
    }

    /// In memory the same steps happen in the same order, without real waiting.
    fn runtime(self) -> tokio::runtime::Runtime {
        match self {
            Self::Memory => runtime(),
            Self::Database(_) => {
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
            }
        }
    }

    /// Faults strike the ledger only in memory; elsewhere they strike the store instead.
    fn fault(self, fault: Fault) -> Fault {
        let on = |on| if on == On::Ledger { On::Upsert } else { on };
        match (self, fault) {
            (Self::Database(_), Fault::Kill { on: at, nth, after }) => Fault::Kill { on: on(at), nth, after },
            (Self::Database(_), Fault::Fails { on: at, nth, after }) => {
                Fault::Fails { on: on(at), nth, after }
            }
            (_, fault) => fault,
        }
    }
}

/// A ledger, a cache and a store, and the outside world.
struct History {
    lab: Lab,
    settings: Settings,
    place: Place,
    ledger: Arc<dyn State>,
    store: Arc<LabStore>,
    /// Whether embedding is free, so that nothing is cached.
    is_free: bool,
    /// Of the cache.
    folder: tempfile::TempDir,
}

type Index = BTreeMap<String, BTreeMap<String, (Vec<f32>, Map<String, Value>)>>;

impl History {
    fn new(place: Place, is_free: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let lab = Lab::default();
        for (n, key) in KEYS.iter().enumerate() {
            let file = |path: usize, n| (PATHS[path].to_owned(), Blob::file(text(n)));
            let main: Tree = [file(n, n), file(n + 2, 7 + n)].into();
            let dev: Tree = [file(n, n), file(n + 1, 8 + n)].into();
            let name = format!("acme/{n}");
            let repo = Repo {
                key: (*key).to_owned(),
                names: [name.clone()].into(),
                name,
                listed: n < 3,
                commits: true,
                stamp: 0,
                branches: [main, dev],
                default: 0,
                history: Vec::new(),
                unseen: false,
            };
            lab.lock().repos.insert((*key).to_owned(), repo);
        }
        Self {
            store: Arc::new(LabStore::new(lab.clone())),
            ledger: place.ledger(&lab),
            place,
            lab,
            settings: Settings { chunk_size: 0, component: None, namespace: 0, model: 0 },
            is_free,
            folder,
        }
    }

    /// The cache, as a new process opens it.
    fn cache(&self) -> Arc<dyn VectorCache> {
        Arc::new(SqliteVectorCache::open(self.folder.path(), ByteSize::mib(64)))
    }

    fn embedder(&self, lab: Option<Lab>) -> LabEmbedder {
        LabEmbedder::new(lab, self.settings.model).free(self.is_free)
    }

    fn chunkers(&self) -> Vec<Arc<dyn Chunker>> {
        let size = CHUNK_SIZES[self.settings.chunk_size];
        let prose =
            SentenceSettings { max_chunk_size: size, chunk_overlap: 0, ..SentenceSettings::default() };
        let prose: Arc<dyn Chunker> =
            Arc::new(SentenceChunker::new("prose", &prose, None).expect("a chunker"));
        let component = self
            .settings
            .component
            .map(|version| -> Arc<dyn Chunker> { Arc::new(LabComponent::new(version)) });
        component.into_iter().chain([prose]).collect()
    }

    fn project(
        &self,
        store: Arc<dyn VectorStore>,
        embedder: LabEmbedder,
        cache: Option<Arc<dyn VectorCache>>,
    ) -> Project {
        let wanted = self.lab.lock().wanted.clone();
        let exclude_patterns: Vec<String> =
            wanted.excluded.iter().map(|folder| format!("{folder}**")).collect();
        let allowed_extensions = wanted.extension.clone().map(|extension| vec![extension]);
        let namespace = format!("n{}", self.settings.namespace);
        let chunkers = self.chunkers();
        let chunker_identities: Vec<&str> = chunkers.iter().map(|chunker| chunker.identity()).collect();
        let basis = Basis::default()
            .with("chunkers", &chunker_identities)
            .with("selection", &format!("{wanted:?} {namespace}"))
            .with("embedder", &embedder.identity().as_str());
        Project {
            row: ProjectRow {
                name: PROJECT.into(),
                organization: Some("acme".into()),
                filter_keyword: None,
                namespace,
                enabled: true,
                allowed_extensions: allowed_extensions.clone(),
                exclude_patterns: exclude_patterns.clone(),
            },
            selection: Selection::Owner { owner: "acme".into(), keyword: None },
            branch: wanted
                .branch
                .map_or(BranchRef::Default, |branch| BranchRef::Named(BRANCHES[branch].into())),
            selector: Selector {
                allowed_extensions,
                exclude: PathMatcher::new(&exclude_patterns).expect("patterns"),
                max_file_bytes: wanted.max_file_bytes as u64,
            },
            secrets: SecretsMode::Off,
            scanner: reposync::chunk::secrets::Scanner::built_in(),
            max_cost: None,
            basis,
            source: Arc::new(LabSource(self.lab.clone())),
            chunkers,
            queue: Arc::new(EmbedQueue::new(
                Arc::new(embedder),
                cache,
                CancellationToken::new(),
                EventSink::none(),
            )),
            store,
            notifiers: Vec::new(),
            is_local: true,
        }
    }

    /// Runs until the end or a kill. `None` if the run was killed or the ledger failed at once.
    fn apply(&self, fault: Option<Fault>, full: bool, prune: Prune) -> Option<Report> {
        let fault = fault.map(|fault| self.place.fault(fault));
        let killed = self.lab.begin(fault, prune != Prune::No);
        let report = self.place.runtime().block_on(async {
            let embedder = self.embedder(Some(self.lab.clone()));
            let project = self.project(self.store.clone(), embedder, Some(self.cache()));
            tokio::select! {
                biased;
                () = killed.cancelled() => None,
                report = go(Arc::clone(&self.ledger), project, full, prune) => report.ok(),
            }
        });
        // If the ledger's thread dies, the run may report an error before the kill is seen.
        let report = report.filter(|_| !killed.is_cancelled());
        if killed.is_cancelled() {
            self.forgive();
        }
        report
    }

    /// Texts in flight at a kill, or answered but not yet cached, may be paid for again.
    fn forgive(&self) {
        if self.is_free {
            return;
        }
        let mut outside = self.lab.lock();
        let embedded: Vec<(Fingerprint, String)> = outside.embedded.keys().cloned().collect();
        let keys: Vec<CacheKey> =
            embedded.iter().map(|(identity, text)| CacheKey::of(identity, text)).collect();
        let mut lost = 0;
        let cached = runtime().block_on(self.cache().contains_many(keys));
        for (key, kept) in embedded.into_iter().zip(cached) {
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

    /// The index of a fresh build.
    fn fresh(&self) -> Index {
        self.lab.begin(None, false);
        let lab = Lab::default();
        let store: Arc<dyn VectorStore> = Arc::new(LabStore::new(lab));
        runtime().block_on(async {
            let embedder = self.embedder(None);
            let project = self.project(Arc::clone(&store), embedder, None);
            let ledger = Arc::new(SqliteState::in_memory().expect("a ledger"));
            let report = go(ledger, project, false, Prune::No).await.expect("a ledger in order");
            assert_eq!(report.outcome, Outcome::Done, "{report:?}");
            contents(&*store).await
        })
    }

    fn index(&self) -> Index {
        runtime().block_on(contents(&*self.store))
    }

    /// Changes a repository as a push does.
    fn push(&self, repo: usize, change: impl FnOnce(&mut Repo, Option<usize>)) {
        let mut outside = self.lab.lock();
        let branch = outside.wanted.branch;
        let repo = outside.repos.get_mut(KEYS[repo]).expect("a repository");
        let before = (repo.branches.clone(), repo.commits);
        change(repo, branch);
        if (&repo.branches, repo.commits) != (&before.0, before.1) {
            repo.stamp += 1;
            repo.history.extend(before.0);
        }
    }

    fn edit(&self, repo: usize, change: impl FnOnce(&mut Tree)) {
        self.push(repo, |repo, branch| change(repo.tree_mut(branch)));
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Write { repo, path, text: n } => {
                self.edit(repo, |tree| drop(tree.insert(PATHS[path].into(), Blob::file(text(n)))));
            }
            Step::Delete { repo, path } => self.edit(repo, |tree| drop(tree.remove(PATHS[path]))),
            Step::Move { repo, from, to } => self.edit(repo, |tree| {
                if let Some(blob) = tree.remove(PATHS[from]) {
                    tree.insert(PATHS[to].into(), blob);
                }
            }),
            Step::Copy { from, path, to } => {
                let blob = self.tree_of(from).get(PATHS[path]).cloned();
                if let Some(blob) = blob {
                    self.edit(to, |tree| drop(tree.insert(PATHS[path].into(), blob)));
                }
            }
            Step::ChangeMode { repo, path, mode } => self.edit(repo, |tree| {
                if let Some(blob) = tree.get_mut(PATHS[path]) {
                    blob.mode = mode;
                }
            }),
            Step::Revert { repo, back } => self.push(repo, |repo, branch| {
                if let Some(at) = repo.history.len().checked_sub(back) {
                    *repo.tree_mut(branch) = repo.history[at].clone();
                }
            }),
            Step::ForcePush { repo, from } => {
                let other = self.tree_of(from);
                self.edit(repo, |tree| *tree = other);
                self.lab.lock().forget_commits();
                self.repo(repo, |repo| repo.history.clear());
            }
            Step::SwitchDefault { repo } => self.repo(repo, |repo| repo.default = 1 - repo.default),
            Step::Empty { repo } => self.push(repo, |repo, _| repo.commits = !repo.commits),
            // The first repository stays listed, because an empty listing is treated as an error.
            Step::Vanish { repo } => self.repo(repo.max(1), |repo| repo.listed = !repo.listed),
            Step::Rename { repo, name } => {
                // Two cases are excluded: a name taken over from another repository at the same moment,
                // since its files have the other repository's ids; and a name that the ledger never saw
                // with this key, since it does not know the records under it.
                let name = format!("acme/{repo}-{name}");
                self.repo(repo, |repo| {
                    if !repo.unseen {
                        repo.names.insert(name.clone());
                        repo.name = name;
                    }
                });
            }
            Step::Recreate { repo } => self.repo(repo, |repo| {
                repo.key.push('+');
                repo.forget();
                repo.stamp += 1;
                repo.history.clear();
            }),
            Step::Exclude(folder) => self.want(|wanted| wanted.excluded = folder.map(|n| FOLDERS[n].into())),
            Step::Extension(only) => self.want(|wanted| wanted.extension = only.then(|| ".md".into())),
            Step::FileSize(size) => self.want(|wanted| wanted.max_file_bytes = FILE_SIZES[size]),
            Step::Branch(branch) => self.want(|wanted| wanted.branch = branch),
            Step::ChunkSize(size) => self.settings.chunk_size = size,
            Step::Component(version) => self.settings.component = version,
            Step::Namespace(namespace) => self.settings.namespace = namespace,
            Step::Model(model) => self.settings.model = model,
            Step::Apply { fault: None, full, prune } => self.undisturbed(full, prune)?,
            Step::Apply { fault, full, prune } => {
                drop(self.apply(fault, full, if prune { Prune::Asked } else { Prune::No }));
            }
            Step::Undone { edit, fault } => {
                self.undisturbed(false, false)?;
                let (settings, wanted) = (self.settings.clone(), self.lab.lock().wanted.clone());
                let repos = self.lab.lock().repos.clone();
                self.step(*edit)?;
                self.apply(Some(fault), false, Prune::No);
                self.settings = settings;
                self.want(|now| *now = wanted);
                for (n, key) in KEYS.iter().enumerate() {
                    let before = &repos[*key];
                    self.push(n, |repo, _| {
                        (repo.branches, repo.commits) = (before.branches.clone(), before.commits);
                    });
                }
            }
            Step::LoseLedger => {
                // Records in other namespaces would be lost with the ledger: only if there are none.
                let here = format!("n{}", self.settings.namespace);
                if self.index().keys().all(|namespace| *namespace == here) {
                    self.ledger = self.place.ledger(&self.lab);
                    self.lab.lock().repos.values_mut().for_each(Repo::forget);
                    self.undisturbed(false, false)?;
                }
            }
        }
        self.check()
    }

    fn tree_of(&self, repo: usize) -> Tree {
        let outside = self.lab.lock();
        outside.repos[KEYS[repo]].tree(outside.wanted.branch).clone()
    }

    fn repo(&self, repo: usize, change: impl FnOnce(&mut Repo)) {
        change(self.lab.lock().repos.get_mut(KEYS[repo]).expect("a repository"));
    }

    fn want(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut self.lab.lock().wanted);
    }

    /// A run without a fault: the index equals that of a fresh build, except for files of repositories
    /// that are missing.
    fn undisturbed(&self, full: bool, prune: bool) -> Result<(), TestCaseError> {
        let prune_option = if prune { Prune::Asked } else { Prune::No };
        let planned = self.plan(full, prune_option);
        let report = self.apply(None, full, prune_option).expect("no kill");
        as_planned(&planned, &report)?;
        prop_assert_eq!(report.outcome, Outcome::Done, "{:?}", report);
        self.lab
            .lock()
            .repos
            .values_mut()
            .filter(|repo| repo.is_there())
            .for_each(|repo| repo.unseen = false);
        self.check()?;
        let (index, fresh) = (self.index(), self.fresh());
        let there: BTreeSet<String> = {
            let outside = self.lab.lock();
            let there = outside.repos.values().filter(|repo| repo.is_there());
            there.flat_map(|repo| repo.names.iter().cloned()).collect()
        };
        for (namespace, records) in &index {
            for (id, record) in records {
                if fresh.get(namespace).and_then(|records| records.get(id)) != Some(record) {
                    let repository = record.1["repository"].as_str().unwrap_or_default();
                    let orphan = !prune && !there.contains(repository);
                    prop_assert!(orphan, "{} in {} is no orphan, and differs: {:?}", id, namespace, record);
                }
            }
        }
        for (namespace, records) in &fresh {
            for id in records.keys() {
                let held = index.get(namespace).is_some_and(|held| held.contains_key(id));
                prop_assert!(held, "{} is not in {}", id, namespace);
            }
        }
        Ok(())
    }

    /// An exact plan of what a run would do now.
    fn plan(&self, full: bool, prune: Prune) -> Plan {
        self.lab.begin(None, prune != Prune::No);
        self.place.runtime().block_on(async {
            let embedder = self.embedder(Some(self.lab.clone()));
            let project = self.project(self.store.clone(), embedder, Some(self.cache()));
            let (engine, candidates, options) = setup(Arc::clone(&self.ledger), project, full, prune);
            plan(engine, candidates, options, true, None).await.expect("a plan")
        })
    }

    /// Invariants that hold at every moment.
    fn check(&self) -> Result<(), TestCaseError> {
        let outside = self.lab.lock();
        prop_assert!(outside.violations.is_empty(), "{:?}", outside.violations);
        if self.is_free {
            let cached = self.folder.path().join("cache.db").exists();
            prop_assert!(!cached, "vectors of an embedder that is free are cached");
            return Ok(());
        }
        for (key, times) in &outside.embedded {
            let allowed = 1 + outside.allowed.get(key).copied().unwrap_or(0);
            prop_assert!(*times <= allowed, "{:?} was embedded {} times, not {}", key.1, times, allowed);
        }
        Ok(())
    }
}

/// Paused time: no real waiting, and the same steps happen in the same order.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime")
}

/// An engine over one project, and the options of a run.
fn setup(
    state: Arc<dyn State>,
    project: Project,
    full: bool,
    prune: Prune,
) -> (Arc<Engine>, Vec<Candidate>, Options) {
    let guard = Guard { max_delete_ratio: 0.5, allow_deletes: true };
    let spending = SpendingGuard { max_new_texts_ratio: 0.5, allow_cost: false };
    let options = Options { full, prune, ..Options::new(guard, spending, vec![PROJECT.into()]) };
    let engine = Engine {
        state,
        stores: vec![Arc::clone(&project.store)],
        units: None,
        bounds: Bounds::default(),
        history: Duration::from_secs(3600),
        events: EventSink::none(),
        waits: StageWaits::default(),
        cancel: CancellationToken::new(),
    };
    let candidate = Candidate { name: PROJECT.into(), project: Ok(Arc::new(project)) };
    (Arc::new(engine), vec![candidate], options)
}

async fn go(state: Arc<dyn State>, project: Project, full: bool, prune: Prune) -> StageResult<Report> {
    let lease = state.lease(&[]).await?.map_err(StageError::from)?;
    let (engine, candidates, options) = setup(state, project, full, prune);
    run(engine, lease.clone(), candidates, options, None, "test").await
}

/// An undisturbed run does exactly what was planned.
fn as_planned(planned: &Plan, report: &Report) -> Result<(), TestCaseError> {
    let (planned, counts) = (&planned.projects[0], &report.projects[0].counts);
    let estimate = &planned.estimate;
    let files = |action: Action| {
        let files = planned.repositories.iter().flat_map(|repository| &repository.files);
        files.filter(|file| file.action == action).count() as u64
    };
    prop_assert_eq!(files(Action::Add), counts.files_added, "added: {:?}", planned);
    prop_assert_eq!(files(Action::Change), counts.files_changed, "changed: {:?}", planned);
    prop_assert_eq!(files(Action::Move), counts.files_moved, "moved: {:?}", planned);
    // A file that its new content excludes is removed without being counted as removed.
    prop_assert!(files(Action::Remove) >= counts.files_removed, "removed: {:?}", planned);
    prop_assert_eq!(estimate.vectors_written, counts.vectors_written, "written: {:?}", planned);
    prop_assert_eq!(estimate.vectors_deleted, counts.vectors_deleted, "deleted: {:?}", planned);
    prop_assert_eq!(estimate.texts, counts.texts_embedded, "texts: {:?}", planned);
    Ok(())
}

/// Everything in a store, without the metadata that depends on the time of the write.
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

/// Replays a history, then runs to the end, prunes, and compares with a fresh build.
pub(super) fn check_history(steps: Vec<Step>) -> Result<(), TestCaseError> {
    replay(History::new(Place::Memory, false), steps)
}

/// The same with ledgers elsewhere.
pub(super) fn check_history_in(place: Place, steps: Vec<Step>) -> Result<(), TestCaseError> {
    replay(History::new(place, false), steps)
}

/// The same with an embedder that is free.
pub(super) fn check_history_of_free(steps: Vec<Step>) -> Result<(), TestCaseError> {
    replay(History::new(Place::Memory, true), steps)
}

fn replay(mut history: History, steps: Vec<Step>) -> Result<(), TestCaseError> {
    for step in steps {
        history.step(step)?;
    }
    history.undisturbed(false, true)?;
    history.apply(None, false, Prune::No);
    prop_assert_eq!(history.lab.lock().writes, 0, "the second run has nothing to do");
    Ok(())
}
