//! The context of a check of the file: how references are resolved, and the secrets found during it.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use super::env::Env;
use super::secret_files::SecretFolders;

/// How references are resolved.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// Environment variables.
    pub(crate) env: &'a Env,
    /// The folder of the file.
    pub(crate) folder: &'a Path,
    /// The folders that `${file:…}` may read from.
    pub(crate) secrets: &'a SecretFolders,
    /// False: references are only checked for their syntax and left unresolved.
    pub(crate) resolve: bool,
    /// True if secrets that are too short are problems.
    pub(crate) strict: bool,
    /// Collects the secrets that the file contains or refers to.
    pub(crate) found: &'a Found,
}

/// Secrets found while the tables of the file are read.
#[derive(Clone, Default)]
pub(crate) struct Found(Rc<RefCell<Vec<String>>>);

impl Found {
    pub(crate) fn add(&self, values: impl IntoIterator<Item = String>) {
        self.0.borrow_mut().extend(values);
    }

    pub(crate) fn take(&self) -> Vec<String> {
        self.0.take()
    }
}
