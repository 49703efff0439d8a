//! The parts of a project that reading commands use: a search needs no source and no chunkers, a
//! check of the store not even the embedder.

use std::sync::Arc;

use super::setup::Project;
use crate::embed::Embedder;
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
