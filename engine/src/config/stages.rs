//! Reads the tables under `[stages]` into settings, by kind.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::check::{check_files, check_stage};
use super::explain::{choice, did_you_mean};
use super::kinds::{KINDS, Role};
use super::problem::Problem;
use super::surroundings::Surroundings;
use super::table::Table;
use super::{Stage, StageKind};

/// A stage, as far as it could be read.
pub(super) struct Declared<'i> {
    pub(super) name: String,
    pub(super) table: Table<'i>,
    /// `None` if the kind is missing or unknown.
    pub(super) role: Option<Role>,
    /// `None` if the settings could not be read. If they have problems, invalid values are replaced
    /// by placeholders.
    pub(super) kind: Option<StageKind>,
}

pub(super) struct Stages<'i>(Vec<Declared<'i>>);

impl<'i> Stages<'i> {
    pub(super) fn read(
        tables: Vec<(String, std::ops::Range<usize>, DeTable<'i>)>,
        around: Surroundings<'_>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let read = |(name, header, table): (String, _, _)| {
            let path = format!("stages.{}", super::shape::quoted(&name));
            let mut table = Table::new(path, header, table, around, problems);
            let found = kind_of(&mut table, problems);
            let mut kind = found.and_then(|kind| (kind.read)(&mut table, &(kind.shape)(), problems));
            if let Some(kind) = &mut kind {
                check_stage(kind, &table, around.folder, problems);
            }
            Declared { name, table, role: found.map(|kind| kind.role), kind }
        };
        Self(tables.into_iter().map(read).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Declared<'i>> {
        self.0.iter().find(|stage| stage.name == name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|stage| stage.name.as_str())
    }

    pub(super) fn of_role(&self, role: Role) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |stage| stage.role == Some(role)).map(|stage| stage.name.as_str())
    }

    /// The settings of a stage without unresolved references.
    pub(super) fn resolved(&self, name: &str) -> Option<&StageKind> {
        self.get(name).filter(|stage| stage.table.unresolved.is_empty() && !stage.table.left)?.kind.as_ref()
    }

    /// Reports variables and files that the stages in use lack.
    pub(super) fn check_in_use(&self, in_use: &dyn Fn(&str) -> bool, problems: &mut Vec<Problem>) {
        for stage in self.0.iter().filter(|stage| in_use(&stage.name)) {
            problems.extend(stage.table.unresolved.iter().cloned());
            if let Some(kind) = &stage.kind {
                check_files(kind, &stage.table, problems);
            }
        }
    }

    /// The wanted stages, and every store, since one may hold a place that no project uses any
    /// more. Stages that lack a variable or file are left out.
    pub(super) fn into_ready(self, wanted: &dyn Fn(&str) -> bool) -> Vec<Stage> {
        let ready = |stage: Declared<'_>| {
            let mut missing = stage.table.unresolved.clone();
            let kind = stage.kind?;
            check_files(&kind, &stage.table, &mut missing);
            (missing.is_empty() && !stage.table.left).then_some(Stage { name: stage.name, kind })
        };
        let is_store = |stage: &Stage| stage.kind.role() == Role::Store;
        let stages = self.0.into_iter().map(|stage| (wanted(&stage.name), ready(stage)));
        stages.filter_map(|(wanted, stage)| stage.filter(|stage| wanted || is_store(stage))).collect()
    }

    /// Reports stores that use the file of the ledger or of the vector cache.
    pub(super) fn check_files_apart(&self, state: &Path, cache: &Path, problems: &mut Vec<Problem>) {
        for stage in &self.0 {
            if let Some(StageKind::Sqlite(settings)) = &stage.kind
                && (settings.path == state || settings.path == cache.join("cache.db"))
            {
                let hint = "give the store a file of its own, such as \".reposync/index.db\"";
                stage.table.flag(problems, "path", "the ledger or the vector cache uses this file", hint);
            }
        }
    }
}

fn kind_of(table: &mut Table<'_>, problems: &mut Vec<Problem>) -> Option<&'static super::kinds::Kind> {
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    let every = format!("the kinds are {}", choice(&names).replace(" or ", " and "));
    let path = format!("{}.kind", table.path);
    let unresolved = !table.sound(&["kind"]);
    let Some(value) = table.take("kind") else {
        problems.push(Problem::at(&table.path, table.header.clone(), "`kind` is missing").hint(every));
        return None;
    };
    let span = Spanned::span(&value);
    let DeValue::String(name) = value.get_ref() else {
        problems.push(Problem::at(path, span, "expected text in quotes").hint(every));
        return None;
    };
    let found = KINDS.iter().find(|kind| kind.name == name);
    if found.is_none() && !unresolved {
        let hint = did_you_mean(name, names).unwrap_or(every);
        problems.push(Problem::at(path, span, "unknown kind").hint(hint));
    }
    found
}
