//! Checks of values beyond their types, for the settings of stages.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use url::Url;

use super::json::{check_json, write_back};
use super::paths::{NOT_EXPANDED, absolute, begins_at_home};
use super::problem::Problem;
use super::table::Table;
use super::values::{check_globs, check_url};
use crate::model::Secret;

/// A stage's table while its settings are checked. Problems are reported at the position of a key's
/// value, at most one for each.
pub struct Checker<'a> {
    table: &'a Table<'a>,
    folder: &'a Path,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(table: &'a Table<'a>, folder: &'a Path, problems: &'a mut Vec<Problem>) -> Self {
        Self { table, folder, problems }
    }

    /// True if the file has this key, even with an invalid value.
    pub fn has(&self, key: &str) -> bool {
        self.table.has(key)
    }

    /// True if no problem is known for these keys.
    pub fn sound(&self, keys: &[&str]) -> bool {
        self.table.sound(keys)
    }

    /// Reports a problem of a key's value.
    pub fn flag(&mut self, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        self.table.flag(self.problems, key, message, hint);
    }

    /// Reports a problem of a text in a key's inline table, unless `good` accepts it.
    pub fn inner(&mut self, [key, inner]: [&str; 2], good: impl Fn(&str) -> bool, message: &str, hint: &str) {
        if let Some(value) = self.table.inner(key, inner)
            && value.get_ref().as_str().is_some_and(|text| !good(text))
        {
            self.table.flag_at(self.problems, key, value.span(), message, hint);
        }
    }

    /// Reports a problem of the table as a whole, such as one of two keys that is missing.
    pub fn flag_table(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        let header = self.table.header.clone();
        self.problems.push(Problem::at(&self.table.path, header, message).hint(hint));
    }

    /// A list of globs.
    pub fn globs(&mut self, key: &str) {
        check_globs(self.table, key, self.problems);
    }

    /// The URL of a service. Problems do not repeat the value, since it may contain a secret.
    pub fn url(&mut self, key: &str, text: &str) -> Option<Url> {
        check_url(self.table, key, text, self.problems)
    }

    /// A number, size or duration that must not be zero.
    pub fn positive<N: Default + PartialEq>(&mut self, key: &str, value: &N) {
        if *value == N::default() {
            self.flag(key, "must be more than zero", "leave it out for the default");
        }
    }

    /// A value that must not be empty.
    pub fn not_empty(&mut self, key: &str, empty: bool) {
        if empty {
            self.flag(key, "must not be empty", "fill it in, or leave it out where it has a default");
        }
    }

    /// A secret that must not be empty if it is given.
    pub fn secret(&mut self, key: &str, secret: Option<&Secret>) {
        self.not_empty(key, secret.is_some_and(|secret| secret.expose().trim().is_empty()));
    }

    /// Reports a path that starts with `~`, which only shells expand.
    pub fn home(&mut self, key: &str, path: &Path) {
        if begins_at_home(path) {
            self.flag(key, NOT_EXPANDED.0, NOT_EXPANDED.1);
        }
    }

    /// A path that is relative to the folder of the file.
    pub fn absolute(&self, path: &Path) -> PathBuf {
        absolute(self.folder, path)
    }

    /// A value that is passed on as JSON.
    pub fn json(&mut self, key: &str) {
        check_json(self.table, key, self.problems);
    }

    /// Restores the references in a key's table as written in the file, for display.
    pub fn as_written(&self, key: &str, shown: &mut Map<String, Value>) {
        write_back(self.table, key, shown);
    }
}
