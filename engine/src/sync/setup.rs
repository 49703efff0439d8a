//! What a run works with: projects with their stages, and what all of them share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::budget::Bounds;
use super::options::SavedOptions;
use super::review::Review;
use super::stage_waits::StageWaits;
use crate::chunk::secrets::Scanner;
use crate::chunk::{Chunker, Limits, TokenCounter};
use crate::embed::{EmbedQueue, Embedder};
use crate::model::{BranchRef, EventSink, Fingerprint, Place, SecretsMode, StageResult, WorkerSettings};
use crate::notify::Notifier;
use crate::plan::{Basis, Guard, Prune, RecipePart, RecipeParts, Selector, SpendingGuard};
use crate::source::{Selection, Source};
use crate::state::{Generation, ProjectRow, State, UnitClaim};
use crate::store::VectorStore;

/// Bytes of metadata that are not the chunk's own: project, repository, path, ids, links. Paths
/// and links are bounded by what Git hosts allow (4,096 bytes), and each may occur twice.
const METADATA_RESERVE: usize = 6 * 1024;

/// A project, ready to run: its stages made, its selection resolved.
pub struct Project {
    /// Its row in the ledger.
    pub row: ProjectRow,
    /// Which repositories.
    pub selection: Selection,
    /// Which branch.
    pub branch: BranchRef,
    /// Which files, by name, mode and size.
    pub selector: Selector,
    /// What happens to secrets found in files.
    pub secrets: SecretsMode,
    /// Finds them.
    pub scanner: Scanner,
    /// What the embeddings of one run may cost, in the currency of `price_per_million_tokens`.
    pub max_cost: Option<f64>,
    /// What decides, except the trees, which files are indexed and how.
    pub basis: Basis,
    /// Where files come from.
    pub source: Arc<dyn Source>,
    /// The first one that matches and does not decline takes the file.
    pub chunkers: Vec<Arc<dyn Chunker>>,
    /// Makes vectors; shared by all projects on the stage.
    pub queue: Arc<EmbedQueue>,
    /// Where vectors go.
    pub store: Arc<dyn VectorStore>,
    /// Notifiers called after the run.
    pub notifiers: Vec<Arc<dyn Notifier>>,
    /// True if a stage works only on this machine, such as one on a folder.
    pub is_local: bool,
}

/// A project that is to run, or why its stages cannot be made.
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// With its stages.
    pub project: StageResult<Arc<Project>>,
}

/// What all projects of a run share.
#[derive(Clone)]
pub struct Engine {
    /// What is recorded of all projects.
    pub state: Arc<dyn State>,
    /// Every store that the file reaches, for cleaning places that projects have left.
    pub stores: Vec<Arc<dyn VectorStore>>,
    /// How units of work are handed to other processes; `None`: they are not.
    pub units: Option<Arc<Units>>,
    /// Bounds that all projects share.
    pub bounds: Bounds,
    /// How long runs are kept in the history.
    pub history: Duration,
    /// Where events go.
    pub events: EventSink,
    /// Until when stages wait for services.
    pub waits: StageWaits,
    /// Ends the run: the batch in hand is finished, nothing new is begun.
    pub cancel: CancellationToken,
}

/// How units of work are handed to other processes.
pub struct Units {
    /// How they are worked on.
    pub settings: WorkerSettings,
    /// What this process claims.
    pub claim: UnitClaim,
    /// Gives the configuration that workers get. Blocks.
    pub generation: Arc<dyn Fn() -> StageResult<Generation> + Send + Sync>,
}

/// The options of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Believe neither ledger nor ETags.
    pub full: bool,
    /// Remove orphans.
    pub prune: Prune,
    /// The deletion guard.
    pub guard: Guard,
    /// The spending guard.
    pub spending: SpendingGuard,
    /// Repositories that a push named, with the head before it: their heads are asked whatever the
    /// listing says.
    pub pushed: BTreeMap<String, Option<String>>,
    /// Names of all projects of the file; others in the ledger are orphans.
    pub declared: Vec<String>,
    /// Report and remove orphan projects; only a run over the whole file does.
    pub whole_file: bool,
    /// The run's id, where it was given out before; none: a new one.
    pub id: Option<String>,
    /// The id of the request that the run is part of; `None`: the run's own id.
    pub request: Option<String>,
    /// The origin of the console, for links; `None`: not known.
    pub public_url: Option<String>,
    /// Completes the results of the projects before the report is stored.
    pub review: Option<Review>,
}

impl Project {
    /// How its index is made, and of which repositories: a saved plan is refused where this differs.
    pub(crate) fn whole_basis(self: &Arc<Self>) -> Fingerprint {
        let recipes = Recipes::new(Arc::clone(self)).basis().fingerprint();
        Fingerprint::of([recipes.as_str(), selection_fingerprint(&self.selection).as_str()])
    }

    /// The project's name.
    pub fn name(&self) -> &str {
        &self.row.name
    }

    /// The embedder.
    pub fn embedder(&self) -> &Arc<dyn Embedder> {
        self.queue.embedder()
    }

    /// What a piece may measure: the embedder's and the store's limits.
    pub(crate) fn limits(&self) -> Limits {
        let embedder = Arc::clone(self.embedder());
        // Every input begins with the stage's prefix.
        let prefix = Some(embedder.input(None, "")).filter(|prefix| !prefix.is_empty());
        let prefix = prefix.map_or(0, |prefix| embedder.measure_tokens(&prefix));
        let input_tokens = embedder.limits().tokens_per_input.saturating_sub(prefix);
        let counter: TokenCounter = Arc::new(move |text: &str| embedder.measure_tokens(text));
        Limits { input_tokens, counter, metadata_bytes: self.metadata_bytes() }
    }

    fn metadata_bytes(&self) -> usize {
        self.store.limits().metadata_bytes.saturating_sub(METADATA_RESERVE)
    }

    /// The chunkers that may take a file of this path, in order, up to the first that takes all it
    /// is given.
    pub(crate) fn chain(&self, path: &str) -> Vec<usize> {
        let mut chain = Vec::new();
        for (index, chunker) in self.chunkers.iter().enumerate() {
            if chunker.matches(path) {
                chain.push(index);
                if !chunker.may_decline(path) {
                    break;
                }
            }
        }
        chain
    }
}

/// The recipes of a project's files. There are few different ones: each is made once and kept.
pub(crate) struct Recipes {
    project: Arc<Project>,
    made: Mutex<HashMap<Chain, Arc<Recipe>>>,
}

/// The chunkers that may take a file, in order: the index of each in the pipeline, and its identity
/// for files of that path.
type Chain = Vec<(usize, String)>;

/// A recipe with its parts.
pub(crate) struct Recipe {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) parts: RecipeParts,
}

impl Recipes {
    pub(crate) fn new(project: Arc<Project>) -> Self {
        Self { project, made: Mutex::default() }
    }

    /// The recipe of a file; none where no chunker takes it.
    pub(crate) fn of(&self, path: &str) -> Option<Arc<Recipe>> {
        let chain: Chain = self
            .project
            .chain(path)
            .into_iter()
            .map(|index| (index, self.project.chunkers[index].identity_of(path).to_owned()))
            .collect();
        if chain.is_empty() {
            return None;
        }
        let mut made = self.made.lock();
        let recipe = made.entry(chain).or_insert_with_key(|chain| Arc::new(self.make(chain)));
        Some(Arc::clone(recipe))
    }

    /// The recipes that were used, in any order.
    pub(crate) fn all(&self) -> Vec<Arc<Recipe>> {
        self.made.lock().values().cloned().collect()
    }

    /// The project's basis, with what every recipe is made of: a newer program's steps and other
    /// limits of the services concern files that did not change, too.
    pub(crate) fn basis(&self) -> Basis {
        self.project.basis.clone().with("the program's own steps", &self.make(&[]).fingerprint)
    }

    fn make(&self, chain: &[(usize, String)]) -> Recipe {
        let project = &self.project;
        let chunkers = chain
            .iter()
            .map(|(index, identity)| {
                let chunker = &project.chunkers[*index];
                RecipePart {
                    stage: chunker.stage().to_owned(),
                    label: chunker.label().to_owned(),
                    identity: identity.clone(),
                }
            })
            .collect();
        let embedder = project.embedder();
        let embedder_part = RecipePart {
            stage: embedder.stage().to_owned(),
            label: embedder.label().to_owned(),
            identity: embedder.identity().to_string(),
        };
        let limits = (embedder.limits().tokens_per_input, project.metadata_bytes());
        // What counts as a secret is part of what a secret's file becomes.
        let secrets = match project.secrets {
            SecretsMode::Off => SecretsMode::Off.as_str().to_owned(),
            mode => format!("{} {}", mode.as_str(), project.scanner.identity()),
        };
        let parts = RecipeParts::new(chunkers, embedder_part, &secrets, limits);
        Recipe { fingerprint: parts.fingerprint(), parts }
    }
}

impl Engine {
    /// The store that reaches a place, if any does.
    pub(crate) async fn store_of(&self, place: &Place) -> Option<Arc<dyn VectorStore>> {
        for store in &self.stores {
            // A store that cannot tell its place now reaches nothing now.
            if store.place(&place.namespace).await.is_ok_and(|own| own == *place) {
                return Some(Arc::clone(store));
            }
        }
        None
    }
}

impl Options {
    /// What a saved plan keeps of them.
    pub(crate) fn saved(&self) -> SavedOptions {
        SavedOptions {
            full: self.full,
            prune: self.prune,
            allow_deletes: self.guard.allow_deletes,
            allow_cost: self.spending.allow_cost,
            whole_file: self.whole_file,
        }
    }

    /// The same with those of a saved plan.
    #[must_use]
    pub fn with_saved(self, saved: SavedOptions) -> Self {
        let SavedOptions { full, prune, allow_deletes, allow_cost, whole_file } = saved;
        Self {
            full,
            prune,
            guard: Guard { allow_deletes, ..self.guard },
            spending: SpendingGuard { allow_cost, ..self.spending },
            whole_file,
            ..self
        }
    }

    /// The address of a run's page in the console.
    pub(crate) fn page(&self, run: &str) -> Option<String> {
        Some(format!("{}/console/runs/{run}", self.public_url.as_ref()?))
    }

    /// An ordinary run.
    pub fn new(guard: Guard, spending: SpendingGuard, declared: Vec<String>) -> Self {
        Self {
            full: false,
            prune: Prune::No,
            guard,
            spending,
            pushed: BTreeMap::new(),
            declared,
            whole_file: false,
            id: None,
            request: None,
            public_url: None,
            review: None,
        }
    }
}

/// The repositories named by a selection; none where an owner's listing decides.
pub(crate) fn named(selection: &Selection) -> Option<BTreeSet<&str>> {
    match selection {
        Selection::Named(repos) => Some(repos.iter().map(|repo| repo.name.as_str()).collect()),
        Selection::Owner { .. } => None,
    }
}

/// A selection as a fingerprint: which repositories were asked for.
pub(crate) fn selection_fingerprint(selection: &Selection) -> Fingerprint {
    match selection {
        Selection::Owner { owner, keyword } => {
            Fingerprint::of(["owner", owner, keyword.as_deref().unwrap_or_default()])
        }
        Selection::Named(repos) => {
            let mut names: Vec<&str> = repos.iter().map(|repo| repo.name.as_str()).collect();
            names.sort_unstable();
            Fingerprint::of(std::iter::once("named").chain(names))
        }
    }
}

/// What was asked of a stage, or an item's error to be recorded.
pub(crate) fn item_or_fatal<T>(result: StageResult<T>) -> StageResult<Result<T, crate::model::StageError>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if error.kind.is_item() => Ok(Err(error)),
        Err(error) => Err(error),
    }
}
