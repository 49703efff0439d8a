//! The parts of a project that reading commands use: a search needs no source and no chunkers, a
//! check of the store not even the embedder.

use std::sync::Arc;

use super::setup::Project;
use crate::chunk::Chunker;
use crate::embed::Embedder;
use crate::model::{PathMatcher, SkipReason, TreeEntry};
use crate::plan::{Attributes, Selector};
use crate::store::VectorStore;

/// A project and the store that holds its vectors.
#[derive(Clone)]
pub struct ProjectStore {
    /// The project's name.
    pub project: String,
    /// Its namespace in the store.
    pub namespace: String,
    /// Where its vectors are.
    pub store: Arc<dyn VectorStore>,
}

/// A project that can be searched.
#[derive(Clone)]
pub struct ProjectSearch {
    /// Where its vectors are.
    pub place: ProjectStore,
    /// Makes the vector of a query.
    pub embedder: Arc<dyn Embedder>,
}

/// A project as far as it decides what becomes of a file by its name.
#[derive(Clone)]
pub struct ProjectFiles {
    /// The patterns of files that it leaves out.
    pub exclude_patterns: Vec<String>,
    /// Which files it wants.
    pub selector: Selector,
    /// The first one that matches and does not decline takes the file.
    pub chunkers: Vec<Arc<dyn Chunker>>,
}

impl ProjectFiles {
    /// Why no file of this path is indexed, whatever its content; `None`: its content decides.
    pub fn left_out(&self, path: &str) -> Option<String> {
        let entry = TreeEntry::of_path(path);
        let attributes = Attributes::new(std::iter::empty());
        match self.selector.skip(&entry, &attributes) {
            Some(SkipReason::Excluded) => {
                let excludes = |pattern: &&String| {
                    PathMatcher::new(std::slice::from_ref(*pattern)).is_ok_and(|one| one.matches(path))
                };
                let pattern = self.exclude_patterns.iter().find(excludes);
                Some(pattern.map_or_else(
                    || SkipReason::Excluded.label().to_owned(),
                    |pattern| format!("excluded by `{pattern}` in `exclude_patterns`"),
                ))
            }
            Some(SkipReason::OtherExtension) => {
                Some("its extension is not among `allowed_extensions`".to_owned())
            }
            Some(reason) => Some(reason.label().to_owned()),
            None if self.chain(path).is_empty() => Some("no chunker of the pipeline takes it".to_owned()),
            None => None,
        }
    }

    /// The chunkers that may take a file of this path, in order: stage and label.
    pub fn chain(&self, path: &str) -> Vec<String> {
        let mut chain = Vec::new();
        for chunker in self.chunkers.iter().filter(|chunker| chunker.matches(path)) {
            chain.push(format!("{} ({})", chunker.stage(), chunker.label()));
            if !chunker.may_decline(path) {
                break;
            }
        }
        chain
    }
}

impl From<&Project> for ProjectStore {
    fn from(project: &Project) -> Self {
        Self {
            project: project.name().to_owned(),
            namespace: project.row.namespace.clone(),
            store: Arc::clone(&project.store),
        }
    }
}

impl From<&Project> for ProjectSearch {
    fn from(project: &Project) -> Self {
        Self { place: project.into(), embedder: Arc::clone(project.embedder()) }
    }
}
