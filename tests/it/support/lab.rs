//! A laboratory for the core: repositories, an embedder and a store in memory that count what they
//! are asked, watch that no file loses its vectors, and fail or "kill the process" where told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reposync::embed::{EmbedLimits, Embedder, Embeddings};
use reposync::model::{
    BranchRef, EntryMode, Fingerprint, GitSha, Match, Place, Record, RepoEntry, RepoRef, StageError,
    StageResult, TreeEntry, file_prefix,
};
use reposync::source::{AnswerCache, ChangedFile, ContentSink, Head, Listing, Selection, Source};
use reposync::store::{IdPage, MemoryStore, Query, StoreDescription, StoreLimits, StoredRecord, VectorStore};
use tokio_util::sync::CancellationToken;

/// The one project.
pub(crate) const PROJECT: &str = "p";
/// A text with this in it is refused where the fault says so.
pub(crate) const REFUSED: &str = "refuse";

/// A tree: texts by path.
pub(crate) type Tree = BTreeMap<String, String>;

/// Where a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Upsert,
    Delete,
    Embed,
}

/// What goes wrong in a run.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The process dies at the nth call, before or after it took effect.
    Kill { on: On, nth: usize, after: bool },
    /// The nth call fails for good, before or after it took effect.
    Fails { on: On, nth: usize, after: bool },
    /// Texts with a word are refused.
    RefusedTexts,
    /// The nth upsert is refused.
    RefusedUpsert { nth: usize },
    /// The file of this path cannot be read.
    BadFile { path: String },
}

/// A repository.
#[derive(Debug, Clone)]
pub(crate) struct Repo {
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) names: BTreeSet<String>,
    pub(crate) listed: bool,
    /// False: it has no commits.
    pub(crate) commits: bool,
    pub(crate) stamp: u64,
    pub(crate) tree: Tree,
    pub(crate) history: Vec<Tree>,
}

/// Everything outside the engine.
#[derive(Default)]
pub(crate) struct Outside {
    pub(crate) repos: BTreeMap<String, Repo>,
    /// Whether the project wants a path, now.
    pub(crate) excluded: Option<String>,
    trees: HashMap<GitSha, Tree>,
    /// Ids in the store, by namespace.
    held: BTreeMap<String, BTreeSet<String>>,
    /// How often each text was embedded, by identity.
    pub(crate) embedded: HashMap<(Fingerprint, String), usize>,
    /// How often it may have been: once, and once for each answer that was lost.
    pub(crate) allowed: HashMap<(Fingerprint, String), usize>,
    fault: Option<Fault>,
    /// Vanished repositories may go.
    pruning: bool,
    seen: HashMap<&'static str, usize>,
    /// Writes to the store and calls of the embedder in this run.
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

    /// A run begins with this fault; the token tells of its sudden death.
    pub(crate) fn begin(&self, fault: Option<Fault>, pruning: bool) -> CancellationToken {
        let mut outside = self.lock();
        outside.pruning = pruning;
        outside.fault = fault;
        outside.seen.clear();
        outside.writes = 0;
        let token = CancellationToken::new();
        *self.killed.lock().unwrap_or_else(PoisonError::into_inner) = token.clone();
        token
    }

    /// What happens to this call.
    fn turn(&self, on: On) -> Turn {
        let mut outside = self.lock();
        outside.writes += 1;
        let name = match on {
            On::Upsert => "upsert",
            On::Delete => "delete",
            On::Embed => "embed",
        };
        let count = outside.seen.entry(name).or_default();
        *count += 1;
        let count = *count;
        match outside.fault {
            Some(Fault::Kill { on: at, nth, after }) if at == on && nth == count => Turn::Kill { after },
            Some(Fault::Fails { on: at, nth, after }) if at == on && nth == count => Turn::Fail { after },
            Some(Fault::RefusedUpsert { nth }) if on == On::Upsert && nth == count => Turn::Refuse,
            _ => Turn::Go,
        }
    }

    async fn die<T>(&self) -> T {
        self.killed.lock().unwrap_or_else(PoisonError::into_inner).cancel();
        std::future::pending().await
    }
}

#[derive(Clone, Copy)]
enum Turn {
    Go,
    Kill { after: bool },
    Fail { after: bool },
    Refuse,
}

impl Outside {
    /// Files that are in the store, in any namespace, and that the project wants now.
    fn present(&self) -> BTreeSet<(String, String)> {
        let held: BTreeSet<&str> =
            self.held.values().flatten().filter_map(|id| id.split('-').next()).collect();
        let mut present = BTreeSet::new();
        for repo in self.repos.values().filter(|repo| !self.pruning || (repo.listed && repo.commits)) {
            for path in repo.tree.iter().filter(|(path, text)| self.wants(path, text)).map(|(path, _)| path) {
                if repo.names.iter().any(|name| held.contains(file_prefix(PROJECT, name, path).as_str())) {
                    present.insert((repo.key.clone(), path.clone()));
                }
            }
        }
        present
    }

    fn wants(&self, path: &str, text: &str) -> bool {
        !text.contains('\0')
            && !text.trim().is_empty()
            && !self.excluded.as_ref().is_some_and(|folder| path.starts_with(folder.as_str()))
    }

    /// Changes what the store holds; no wanted file may go from some vectors to none.
    fn change(&mut self, what: &str, change: impl FnOnce(&mut BTreeMap<String, BTreeSet<String>>)) {
        let before = self.present();
        change(&mut self.held);
        let after = self.present();
        let lost: Vec<_> = before.difference(&after).collect();
        if !lost.is_empty() {
            self.violations.push(format!("{what} left {lost:?} without vectors"));
        }
    }

    pub(crate) fn commit(&mut self, key: &str) -> GitSha {
        let repo = &self.repos[key];
        let sha = sha_of(&format!("{key} {:?}", repo.tree));
        self.trees.insert(sha, repo.tree.clone());
        sha
    }
}

fn sha_of(text: &str) -> GitSha {
    let mut sha = [0; 20];
    sha.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..20]);
    GitSha(sha)
}

/// The source.
pub(crate) struct LabSource(pub(crate) Lab);

#[async_trait]
impl Source for LabSource {
    fn stage(&self) -> &'static str {
        "source"
    }

    async fn list(&self, _: &Selection, _: &dyn AnswerCache, _: bool) -> StageResult<Listing> {
        let outside = self.0.lock();
        let listed = outside.repos.values().filter(|repo| repo.listed);
        let repositories = listed
            .map(|repo| RepoEntry {
                repo: RepoRef { name: repo.name.clone(), key: repo.key.clone() },
                default_branch: "main".into(),
                pushed_at: Some(repo.stamp.to_string()),
                pushed_at_settled: true,
            })
            .collect();
        Ok(Listing { repositories, ..Listing::default() })
    }

    async fn head(&self, repo: &RepoEntry, _: &BranchRef, _: Option<GitSha>) -> StageResult<Head> {
        let mut outside = self.0.lock();
        Ok(match outside.repos.get(&repo.repo.key) {
            None => Head::Missing,
            Some(repo) if !repo.commits => Head::Empty,
            Some(_) => Head::Commit(outside.commit(&repo.repo.key)),
        })
    }

    async fn tree(&self, _: &RepoRef, commit: GitSha) -> StageResult<Vec<TreeEntry>> {
        let outside = self.0.lock();
        let entry = |(path, text): (&String, &String)| TreeEntry {
            path: path.clone(),
            path_is_utf8: true,
            mode: EntryMode::File,
            sha: sha_of(text),
            size: Some(text.len() as u64),
        };
        Ok(outside.trees[&commit].iter().map(entry).collect())
    }

    async fn fetch(
        &self,
        _: &RepoRef,
        commit: GitSha,
        wanted: Vec<TreeEntry>,
        sink: &mut dyn ContentSink,
    ) -> StageResult<()> {
        let (tree, bad) = {
            let outside = self.0.lock();
            let bad = match &outside.fault {
                Some(Fault::BadFile { path }) => Some(path.clone()),
                _ => None,
            };
            (outside.trees[&commit].clone(), bad)
        };
        for entry in wanted {
            let content = if bad.as_ref() == Some(&entry.path) {
                Err(StageError::refused("source", "an unreadable object"))
            } else {
                Ok(Bytes::from(tree[&entry.path].clone()))
            };
            sink.put(entry, content).await?;
        }
        Ok(())
    }

    async fn changes(&self, _: &RepoRef, _: GitSha, _: GitSha) -> StageResult<Vec<ChangedFile>> {
        Ok(Vec::new())
    }

    async fn commits_between(&self, _: &RepoRef, _: GitSha, _: GitSha) -> StageResult<Option<u64>> {
        Ok(None)
    }

    fn permalink(&self, _: &RepoRef, commit: GitSha, path: &str, _: (u32, u32)) -> String {
        format!("{commit}/{path}")
    }
}

/// The embedder; `lab` none: one that nobody watches, for the build from nothing.
pub(crate) struct LabEmbedder {
    lab: Option<Lab>,
    identity: Fingerprint,
}

impl LabEmbedder {
    pub(crate) fn new(lab: Option<Lab>, model: u8) -> Self {
        Self { lab, identity: Fingerprint::of([[model]]) }
    }

    /// A pure function of identity and text.
    fn vectors(&self, inputs: &[&str]) -> Embeddings {
        let vector = |text: &&str| {
            let hash = Fingerprint::of([self.identity.as_str(), text]);
            hash.as_str().bytes().take(4).map(f32::from).collect()
        };
        Embeddings { vectors: inputs.iter().map(vector).collect(), tokens: inputs.len() as u64 }
    }
}

#[async_trait]
impl Embedder for LabEmbedder {
    fn stage(&self) -> &'static str {
        "embedder"
    }

    fn identity(&self) -> &Fingerprint {
        &self.identity
    }

    fn label(&self) -> &'static str {
        "lab"
    }

    fn limits(&self) -> EmbedLimits {
        EmbedLimits { inputs_per_call: 3, tokens_per_input: 1000, tokens_per_call: 10_000, calls: 2 }
    }

    fn price_per_million_tokens(&self) -> f64 {
        0.0
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.len()
    }

    fn linger(&self) -> Duration {
        Duration::ZERO
    }

    async fn dimensions(&self) -> StageResult<usize> {
        Ok(4)
    }

    async fn embed(&self, inputs: &[&str], _: u64) -> StageResult<Embeddings> {
        let Some(lab) = &self.lab else { return Ok(self.vectors(inputs)) };
        let refuses = matches!(lab.lock().fault, Some(Fault::RefusedTexts));
        if refuses && inputs.iter().any(|text| text.contains(REFUSED)) {
            return Err(StageError::refused("embedder", "a text is refused"));
        }
        let turn = lab.turn(On::Embed);
        match turn {
            Turn::Kill { after: false } => return lab.die().await,
            Turn::Fail { after: false } => return Err(StageError::transient("embedder", "no answer")),
            _ => {}
        }
        let lost = !matches!(turn, Turn::Go);
        {
            let mut outside = lab.lock();
            for text in inputs {
                let key = (self.identity.clone(), (*text).to_owned());
                *outside.embedded.entry(key.clone()).or_default() += 1;
                if lost {
                    *outside.allowed.entry(key).or_default() += 1;
                }
            }
        }
        match turn {
            Turn::Kill { .. } => lab.die().await,
            Turn::Fail { .. } => Err(StageError::transient("embedder", "the answer is lost")),
            _ => Ok(self.vectors(inputs)),
        }
    }
}

/// The store: records in memory, watched.
pub(crate) struct LabStore {
    lab: Lab,
    inner: MemoryStore,
}

impl LabStore {
    pub(crate) fn new(lab: Lab) -> Self {
        Self { lab, inner: MemoryStore::new("store") }
    }

    async fn write(
        &self,
        on: On,
        work: impl AsyncFnOnce(&MemoryStore) -> StageResult<()>,
        change: impl FnOnce(&mut BTreeMap<String, BTreeSet<String>>),
    ) -> StageResult<()> {
        let turn = self.lab.turn(on);
        match turn {
            Turn::Kill { after: false } => return self.lab.die().await,
            Turn::Fail { after: false } => return Err(StageError::transient("store", "no answer")),
            Turn::Refuse => return Err(StageError::refused("store", "a record is refused")),
            _ => {}
        }
        work(&self.inner).await?;
        self.lab.lock().change(&format!("{on:?}"), change);
        match turn {
            Turn::Kill { .. } => self.lab.die().await,
            Turn::Fail { .. } => Err(StageError::transient("store", "the answer is lost")),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl VectorStore for LabStore {
    fn stage(&self) -> &'static str {
        "store"
    }

    /// Small, so that a few files make several calls.
    fn limits(&self) -> StoreLimits {
        StoreLimits { records_per_upsert: 4, ids_per_delete: 3, ..self.inner.limits() }
    }

    async fn check(&self, dimensions: usize) -> StageResult<()> {
        self.inner.check(dimensions).await
    }

    async fn place(&self, namespace: &str) -> StageResult<Place> {
        self.inner.place(namespace).await
    }

    async fn upsert(&self, namespace: &str, records: &[Record]) -> StageResult<()> {
        let ids: Vec<String> = records.iter().map(|record| record.id.clone()).collect();
        let work = async |store: &MemoryStore| store.upsert(namespace, records).await;
        let name = namespace.to_owned();
        self.write(On::Upsert, work, move |held| held.entry(name).or_default().extend(ids)).await
    }

    async fn delete(&self, namespace: &str, ids: &[String]) -> StageResult<()> {
        let work = async |store: &MemoryStore| store.delete(namespace, ids).await;
        let change = |held: &mut BTreeMap<String, BTreeSet<String>>| {
            held.entry(namespace.to_owned()).or_default().retain(|id| !ids.contains(id));
        };
        self.write(On::Delete, work, change).await
    }

    async fn list(&self, namespace: &str, prefix: &str, after: Option<String>) -> StageResult<IdPage> {
        self.inner.list(namespace, prefix, after).await
    }

    async fn fetch(&self, namespace: &str, ids: &[String]) -> StageResult<Vec<StoredRecord>> {
        self.inner.fetch(namespace, ids).await
    }

    async fn query(&self, namespace: &str, query: &Query) -> StageResult<Vec<Match>> {
        self.inner.query(namespace, query).await
    }

    async fn describe(&self) -> StageResult<StoreDescription> {
        self.inner.describe().await
    }
}
