//! What a run finds out about the repositories that its project selects.

use std::collections::BTreeMap;

use crate::model::StageError;
use crate::state::SelectedRepository;
use parking_lot::Mutex;

/// The findings of one run, by repository.
#[derive(Debug, Default)]
pub(crate) struct Findings(Mutex<BTreeMap<String, SelectedRepository>>);

impl Findings {
    /// A repository could not be indexed.
    pub(crate) fn failed(&self, repository: &str, error: &StageError) {
        self.put(repository, SelectedRepository { error: Some(error.one_line()), empty: false });
    }

    /// A repository has no commits.
    pub(crate) fn empty(&self, repository: &str) {
        self.put(repository, SelectedRepository { error: None, empty: true });
    }

    fn put(&self, repository: &str, found: SelectedRepository) {
        self.0.lock().insert(repository.to_owned(), found);
    }

    /// All of them; empties the list.
    pub(crate) fn take(&self) -> BTreeMap<String, SelectedRepository> {
        std::mem::take(&mut *self.0.lock())
    }
}
