//! A small world for random histories: a source, an embedder, a chunker and a store in memory that
//! count calls, check that no file loses its vectors, and fail or "kill the process" at chosen calls.

mod chunker;
mod embedder;
mod repo;
mod source;
mod store;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reposync::model::{Fingerprint, GitSha, StageError, StageResult, file_prefix};
use reposync::state::State;
use reposync::state::sqlite::{Moment, SqliteState};
use tokio_util::sync::CancellationToken;

pub(crate) use chunker::LabComponent;
pub(crate) use embedder::LabEmbedder;
pub(crate) use repo::{BRANCHES, Blob, Mode, Repo, Tree};
pub(crate) use source::LabSource;
pub(crate) use store::LabStore;

/// The only project.
pub(crate) const PROJECT: &str = "p";
/// A text that contains this word is refused while the fault says so.
pub(crate) const REFUSED: &str = "refuse";

/// The calls at which a fault can strike: calls of the stages, and writes to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum On {
    List,
    Head,
    Tree,
    Fetch,
    Embed,
    Upsert,
    Delete,
    Ledger,
}

/// The fault of a run.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The process dies at the nth call, before or after it took effect.
    Kill { on: On, nth: usize, after: bool },
    /// The nth call fails permanently, before or after it took effect.
    Fails { on: On, nth: usize, after: bool },
    /// The nth call is refused: its repository, or the records it writes.
    Refused { on: On, nth: usize },
    /// Texts with a word are refused.
    RefusedTexts,
    /// The file at this path cannot be read.
    BadFile { path: String },
    /// The listing is empty.
    NothingListed,
}

/// Which files the project selects, apart from those excluded by their content.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// An excluded folder.
    pub(crate) excluded: Option<String>,
    /// The only extension to index; `None`: all.
    pub(crate) extension: Option<String>,
    pub(crate) max_file_bytes: usize,
    /// The branch; `None`: each repository's default.
    pub(crate) branch: Option<usize>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { excluded: None, extension: None, max_file_bytes: 1000, branch: None }
    }
}

impl Wanted {
    fn wants(&self, path: &str, blob: &Blob) -> bool {
        let Blob { text, mode } = blob;
        matches!(mode, Mode::File | Mode::Executable)
            && text.len() <= self.max_file_bytes
            && !text.contains('\0')
            && !text.trim().is_empty()
            && !self.excluded.as_ref().is_some_and(|folder| path.starts_with(folder.as_str()))
            && self.extension.as_ref().is_none_or(|extension| path.ends_with(extension.as_str()))
    }
}

/// Everything outside the engine.
#[derive(Default)]
pub(crate) struct Outside {
    pub(crate) repos: BTreeMap<String, Repo>,
    pub(crate) wanted: Wanted,
    trees: HashMap<GitSha, Tree>,
    /// Ids in the store, by namespace.
    held: BTreeMap<String, BTreeSet<String>>,
    /// How often each text was embedded, by embedder identity.
    pub(crate) embedded: HashMap<(Fingerprint, String), usize>,
    /// How often it may be embedded in addition: once for each answer that was lost.
    pub(crate) allowed: HashMap<(Fingerprint, String), usize>,
    fault: Option<Fault>,
    /// The process is dead: nothing takes effect any more.
    dead: bool,
    /// Missing repositories may be removed.
    pruning: bool,
    seen: HashMap<On, usize>,
    /// Store writes and embedder calls in this run.
    pub(crate) writes: usize,
    pub(crate) violations: Vec<String>,
}

/// Shared by all fakes.
#[derive(Clone, Default)]
pub(crate) struct Lab {
    outside: Arc<Mutex<Outside>>,
    killed: Arc<Mutex<CancellationToken>>,
}

impl Lab {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Outside> {
        self.outside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a run with this fault; the token is cancelled when the process is killed.
    pub(crate) fn begin(&self, fault: Option<Fault>, pruning: bool) -> CancellationToken {
        let mut outside = self.lock();
        outside.pruning = pruning;
        outside.fault = fault;
        outside.dead = false;
        outside.seen.clear();
        outside.writes = 0;
        let token = CancellationToken::new();
        *self.killed.lock().unwrap_or_else(PoisonError::into_inner) = token.clone();
        token
    }

    /// A ledger in memory whose writes the faults strike.
    pub(crate) fn ledger(&self) -> Arc<dyn State> {
        let lab = self.clone();
        let striking = Mutex::new(Turn::Go);
        let ledger = SqliteState::in_memory().expect("a ledger");
        ledger.watch(move |_, moment| {
            let mut turn = striking.lock().unwrap_or_else(PoisonError::into_inner);
            if moment == Moment::Before {
                *turn = lab.turn(On::Ledger);
            }
            match *turn {
                Turn::Dead => false,
                Turn::Kill { after } if after == (moment == Moment::After) => {
                    lab.dies();
                    false
                }
                Turn::Fail { after } if after == (moment == Moment::After) => false,
                Turn::Go | Turn::Refuse | Turn::Kill { .. } | Turn::Fail { .. } => true,
            }
        });
        Arc::new(ledger)
    }

    /// Decides what happens to this call.
    fn turn(&self, on: On) -> Turn {
        let mut outside = self.lock();
        if outside.dead {
            return Turn::Dead;
        }
        if matches!(on, On::Embed | On::Upsert | On::Delete) {
            outside.writes += 1;
        }
        let count = outside.seen.entry(on).or_default();
        *count += 1;
        let count = *count;
        match outside.fault {
            Some(Fault::Kill { on: at, nth, after }) if at == on && nth == count => Turn::Kill { after },
            Some(Fault::Fails { on: at, nth, after }) if at == on && nth == count => Turn::Fail { after },
            Some(Fault::Refused { on: at, nth }) if at == on && nth == count => Turn::Refuse,
            _ => Turn::Go,
        }
    }

    fn dies(&self) {
        self.lock().dead = true;
        self.killed.lock().unwrap_or_else(PoisonError::into_inner).cancel();
    }

    async fn die<T>(&self) -> T {
        self.dies();
        std::future::pending().await
    }

    /// A call of a stage, with the fault applied if it is the chosen call.
    async fn call<T>(
        &self,
        on: On,
        stage: &str,
        work: impl AsyncFnOnce() -> StageResult<T>,
    ) -> StageResult<T> {
        let turn = self.turn(on);
        match turn {
            Turn::Dead => std::future::pending().await,
            Turn::Kill { after: false } => return self.die().await,
            Turn::Fail { after: false } => return Err(StageError::transient(stage, "no answer")),
            Turn::Refuse => return Err(StageError::refused(stage, "refused")),
            _ => {}
        }
        let answer = work().await;
        match turn {
            Turn::Kill { .. } => self.die().await,
            Turn::Fail { .. } => Err(StageError::transient(stage, "the answer is lost")),
            _ => answer,
        }
    }
}

#[derive(Clone, Copy)]
enum Turn {
    Go,
    Kill {
        after: bool,
    },
    Fail {
        after: bool,
    },
    Refuse,
    /// The call comes from a killed process.
    Dead,
}

impl Outside {
    /// Files that are in the store, in any namespace, and that the project selects now.
    fn present(&self) -> BTreeSet<(String, String)> {
        let held: BTreeSet<&str> =
            self.held.values().flatten().filter_map(|id| id.split('-').next()).collect();
        let mut present = BTreeSet::new();
        for (key, repo) in self.repos.iter().filter(|(_, repo)| !self.pruning || repo.is_there()) {
            let tree = repo.tree(self.wanted.branch);
            for path in tree.iter().filter(|(path, blob)| self.wanted.wants(path, blob)).map(|(path, _)| path)
            {
                if repo.names.iter().any(|name| held.contains(file_prefix(PROJECT, name, path).as_str())) {
                    present.insert((key.clone(), path.clone()));
                }
            }
        }
        present
    }

    /// Changes the content of the store; no selected file may lose all its vectors.
    fn change(&mut self, what: &str, change: impl FnOnce(&mut BTreeMap<String, BTreeSet<String>>)) {
        let before = self.present();
        change(&mut self.held);
        let after = self.present();
        let lost: Vec<_> = before.difference(&after).collect();
        if !lost.is_empty() {
            self.violations.push(format!("{what} left {lost:?} without vectors"));
        }
    }
}
