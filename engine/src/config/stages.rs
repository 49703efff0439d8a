//! Reads the tables under `[stages]` into settings, by kind.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Stage;
use crate::registry::{KINDS, Kind, StageSettings};
use crate::settings::{Checker, Problem, Surroundings, Table, choice, did_you_mean, quoted};
use crate::stage::Role;

/// A stage, as far as it could be read.
pub(super) struct Declared<'i> {
    pub(super) name: String,
    pub(super) table: Table<'i>,
    /// `None` if the kind is missing or unknown.
    pub(super) role: Option<Role>,
    /// `None` if the settings could not be read. If they have problems, invalid values are replaced
    /// by placeholders.
    pub(super) settings: Option<StageSettings>,
}

pub(super) struct Stages<'i>(Vec<Declared<'i>>);

impl<'i> Stages<'i> {
    pub(super) fn read(
        tables: Vec<(String, std::ops::Range<usize>, DeTable<'i>)>,
        around: Surroundings<'_>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let read = |(name, header, table): (String, _, _)| {
            let path = format!("stages.{}", quoted(&name));
            let mut table = Table::new(path, header, table, around, problems);
            let found = kind_of(&mut table, problems);
            let settings = found.and_then(|kind| kind.read(&mut table, around.folder, problems));
            Declared { name, table, role: found.map(|kind| kind.role), settings }
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
    pub(super) fn resolved(&self, name: &str) -> Option<&StageSettings> {
        let whole = |stage: &&Declared<'_>| stage.table.unresolved.is_empty() && !stage.table.left;
        self.get(name).filter(whole)?.settings.as_ref()
    }

    /// Reports variables and files that the stages in use lack.
    pub(super) fn check_in_use(
        &self,
        in_use: &dyn Fn(&str) -> bool,
        folder: &Path,
        problems: &mut Vec<Problem>,
    ) {
        for stage in self.0.iter().filter(|stage| in_use(&stage.name)) {
            problems.extend(stage.table.unresolved.iter().cloned());
            if let Some(settings) = &stage.settings {
                settings.any().files_exist(&mut Checker::new(&stage.table, folder, problems));
            }
        }
    }

    /// The wanted stages, and every store, since one may hold a place that no project uses any
    /// more. Stages that lack a variable or file are left out.
    pub(super) fn into_ready(self, wanted: &dyn Fn(&str) -> bool, folder: &Path) -> Vec<Stage> {
        let ready = |stage: Declared<'_>| {
            let mut missing = stage.table.unresolved.clone();
            let settings = stage.settings?;
            settings.any().files_exist(&mut Checker::new(&stage.table, folder, &mut missing));
            let whole = missing.is_empty() && !stage.table.left;
            whole.then_some(Stage { name: stage.name, settings })
        };
        let is_store = |stage: &Stage| stage.settings.role() == Role::Store;
        let stages = self.0.into_iter().map(|stage| (wanted(&stage.name), ready(stage)));
        stages.filter_map(|(wanted, stage)| stage.filter(|stage| wanted || is_store(stage))).collect()
    }

    /// Reports stores that use the file of the ledger or of the vector cache.
    pub(super) fn check_files_apart(&self, state: Option<&Path>, cache: &Path, problems: &mut Vec<Problem>) {
        for stage in &self.0 {
            let store = stage.settings.as_ref().and_then(StageSettings::store);
            if let Some((key, path)) = store.and_then(|store| store.database())
                && (Some(path) == state || path == cache.join("cache.db"))
            {
                let hint = "give the store a file of its own, such as \".reposync/index.db\"";
                stage.table.flag(problems, key, "the ledger or the vector cache uses this file", hint);
            }
        }
    }
}

fn kind_of(table: &mut Table<'_>, problems: &mut Vec<Problem>) -> Option<&'static Kind> {
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
