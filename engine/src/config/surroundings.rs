//! What the check of the file knows beside its text: where references get their values, and the secrets
//! found so far.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use super::env::Env;
use super::secret_files::SecretFolders;

/// Where the values of references come from.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// Environment variables.
    pub(super) env: &'a Env,
    /// The folder of the file.
    pub(super) folder: &'a Path,
    /// What `${file:…}` may read.
    pub(super) secrets: &'a SecretFolders,
    /// False: references are checked for their form and left as they are.
    pub(super) resolve: bool,
    /// Whether secrets that are too short are problems.
    pub(super) strict: bool,
    /// Takes the secrets that the file holds or refers to.
    pub(super) found: &'a Found,
}

/// The secrets of the file, found while its tables are read.
#[derive(Clone, Default)]
pub(super) struct Found(Rc<RefCell<Vec<String>>>);

impl Found {
    pub(super) fn add(&self, values: impl IntoIterator<Item = String>) {
        self.0.borrow_mut().extend(values);
    }

    /// All of them.
    pub(super) fn take(&self) -> Vec<String> {
        self.0.take()
    }
}
