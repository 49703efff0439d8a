//! Projects that are searched together: one query for those that share a store and an embedder.

use std::sync::Arc;

use crate::embed::Embedder;
use crate::store::{SearchScope, VectorStore};
use crate::sync::ProjectSearch;

/// Projects in one store with vectors of one embedder, which embeds queries in one way.
pub(super) struct Group {
    pub(super) store: Arc<dyn VectorStore>,
    pub(super) embedder: Arc<dyn Embedder>,
    pub(super) scopes: Vec<SearchScope>,
}

/// Groups projects, in their order.
pub(super) fn groups(projects: &[ProjectSearch]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for ProjectSearch { place, embedder } in projects {
        let scope = SearchScope { namespace: place.namespace.clone(), project: place.project.clone() };
        let same = |group: &&mut Group| {
            Arc::ptr_eq(&group.store, &place.store)
                && group.embedder.identity() == embedder.identity()
                && group.embedder.query_input("") == embedder.query_input("")
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.scopes.push(scope),
            None => groups.push(Group {
                store: Arc::clone(&place.store),
                embedder: Arc::clone(embedder),
                scopes: vec![scope],
            }),
        }
    }
    groups
}
