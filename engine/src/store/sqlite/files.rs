//! Numbers of files. Each vector is stored with the number of its file, so that a scan can measure
//! files and leave some of them out without reading records.

use std::collections::HashMap;

use rusqlite::{OptionalExtension as _, Transaction, params};
use serde_json::{Map, Value};

use crate::store::{Filter, SearchScope, Selector};

use super::failed::Failed;
use super::namespaces::known_namespace;

/// The numbers of the files that a transaction touches, with the change of their chunk counts.
#[derive(Default)]
pub(super) struct Files {
    known: HashMap<(i64, [String; 3]), i64>,
    changes: HashMap<i64, i64>,
}

impl Files {
    /// The number of a file, which gets `chunks` more. A new file gets the next number.
    pub(super) fn add(
        &mut self,
        transaction: &Transaction<'_>,
        namespace: i64,
        file: [&str; 3],
        chunks: i64,
    ) -> Result<i64, Failed> {
        let key = (namespace, file.map(str::to_owned));
        let number = if let Some(number) = self.known.get(&key) {
            *number
        } else {
            let number = find_or_add(transaction, namespace, file)?;
            self.known.insert(key, number);
            number
        };
        *self.changes.entry(number).or_default() += chunks;
        Ok(number)
    }

    /// Takes one chunk from a file.
    pub(super) fn take(&mut self, number: i64) {
        *self.changes.entry(number).or_default() -= 1;
    }

    /// Writes the counts; files without a chunk are removed.
    pub(super) fn finish(self, transaction: &Transaction<'_>) -> Result<(), Failed> {
        let mut update =
            transaction.prepare_cached("UPDATE files SET chunks = chunks + ?2 WHERE number = ?1")?;
        let mut remove = transaction.prepare_cached("DELETE FROM files WHERE number = ?1 AND chunks <= 0")?;
        for (number, change) in self.changes {
            if change != 0 {
                update.execute([number, change])?;
            }
            if change <= 0 {
                remove.execute([number])?;
            }
        }
        Ok(())
    }
}

fn find_or_add(transaction: &Transaction<'_>, namespace: i64, file: [&str; 3]) -> Result<i64, Failed> {
    let [project, repository, path] = file;
    let known = transaction
        .prepare_cached(
            "SELECT number FROM files
             WHERE namespace = ?1 AND project = ?2 AND repository = ?3 AND path = ?4",
        )?
        .query_row(params![namespace, project, repository, path], |row| row.get(0))
        .optional()?;
    if let Some(number) = known {
        return Ok(number);
    }
    transaction
        .prepare_cached(
            "INSERT INTO files (namespace, project, repository, path, chunks) VALUES (?1, ?2, ?3, ?4, 0)",
        )?
        .execute(params![namespace, project, repository, path])?;
    Ok(transaction.last_insert_rowid())
}

/// What the filters say of a file's chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passes {
    None,
    All,
    /// It depends on the chunk.
    Some,
}

/// The files that a search considers.
pub(super) struct Considered {
    /// By file number; shorter than the numbers of files that do not pass.
    files: Vec<Passes>,
    /// The namespaces that are searched.
    pub(super) namespaces: Vec<i64>,
}

impl Considered {
    /// The files of the scopes that pass the filters.
    pub(super) fn new(
        transaction: &Transaction<'_>,
        scopes: &[SearchScope],
        selector: &Selector,
        filter: &Filter,
    ) -> Result<Self, Failed> {
        let mut considered = Self { files: Vec::new(), namespaces: Vec::new() };
        for scope in scopes {
            let Some(namespace) = known_namespace(transaction, &scope.namespace)? else { continue };
            if !considered.namespaces.contains(&namespace) {
                considered.namespaces.push(namespace);
            }
            considered.add(transaction, namespace, &scope.project, selector, filter)?;
        }
        Ok(considered)
    }

    /// All files, of an index without numbers of files.
    pub(super) fn unnumbered(transaction: &Transaction<'_>, scopes: &[SearchScope]) -> Result<Self, Failed> {
        let mut namespaces = Vec::new();
        for scope in scopes {
            if let Some(number) = known_namespace(transaction, &scope.namespace)?
                && !namespaces.contains(&number)
            {
                namespaces.push(number);
            }
        }
        Ok(Self { files: vec![Passes::Some], namespaces })
    }

    /// All files of a namespace, whatever their project; filters are left to the chunks.
    pub(super) fn whole(
        transaction: &Transaction<'_>,
        namespace: i64,
        numbered: bool,
    ) -> Result<Self, Failed> {
        let end: Option<usize> = if numbered {
            transaction
                .prepare_cached("SELECT max(number) FROM files WHERE namespace = ?1")?
                .query_row([namespace], |row| row.get(0))?
        } else {
            None
        };
        Ok(Self { files: vec![Passes::Some; end.unwrap_or(0) + 1], namespaces: vec![namespace] })
    }

    fn add(
        &mut self,
        transaction: &Transaction<'_>,
        namespace: i64,
        project: &str,
        selector: &Selector,
        filter: &Filter,
    ) -> Result<(), Failed> {
        let mut select = transaction.prepare_cached(
            "SELECT number, repository, path FROM files WHERE namespace = ?1 AND project = ?2",
        )?;
        let mut rows = select.query(params![namespace, project])?;
        let mut known = Map::new();
        known.insert("project".into(), project.into());
        while let Some(row) = rows.next()? {
            let number: usize = row.get(0)?;
            let text = |at| row.get_ref(at)?.as_str().map_err(rusqlite::Error::from);
            let (repository, path) = (text(1)?, text(2)?);
            let passes = if !selector.passes_file(repository, path) {
                Passes::None
            } else if filter.is_empty() {
                if selector.only_files() { Passes::All } else { Passes::Some }
            } else {
                known.insert("repository".into(), Value::from(repository));
                known.insert("file_path".into(), Value::from(path));
                match filter.decide(&known) {
                    Some(false) => Passes::None,
                    Some(true) if selector.only_files() => Passes::All,
                    _ => Passes::Some,
                }
            };
            if passes != Passes::None {
                if self.files.len() <= number {
                    self.files.resize(number + 1, Passes::None);
                }
                self.files[number] = passes;
            }
        }
        Ok(())
    }

    /// What the filters say of a file.
    pub(super) fn passes(&self, file: u32) -> Passes {
        self.files.get(file as usize).copied().unwrap_or(Passes::None)
    }

    /// One more than the highest number of a file that passes.
    pub(super) fn end(&self) -> usize {
        self.files.len()
    }
}
