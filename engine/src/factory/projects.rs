//! Assembles projects from their stages.

use std::sync::Arc;

use super::cache::wrong_role;
use super::{StageFactory, chosen, stage};
use crate::chunk::secrets::Scanner;
use crate::config::{self, Config, Role};
use crate::embed::EmbedderConfig;
use crate::model::{BranchRef, PathMatcher, SecretsMode, StageError, StageResult};
use crate::plan::{Basis, Selector};
use crate::source::{Selection, Source, SourceConfig};
use crate::state::ProjectRow;
use crate::sync::{Candidate, Project, ProjectFiles, ProjectSearch, ProjectStore};

impl StageFactory {
    /// The projects of these names (none: all enabled ones), each with its stages or with what is
    /// wrong with them. Blocks, and must not be called on the executor: components are compiled,
    /// started and configured.
    pub fn candidates(&self, config: &Config, names: &[String]) -> Vec<Candidate> {
        chosen(config, names)
            .map(|project| Candidate {
                name: project.name.clone(),
                project: self.project(config, project).map(Arc::new),
            })
            .collect()
    }

    /// The projects of these names (none: all enabled ones), each with its store or with what is wrong
    /// with it. No other stage is built.
    pub fn stores(&self, config: &Config, names: &[String]) -> Vec<(String, StageResult<ProjectStore>)> {
        let chosen = chosen(config, names);
        chosen.map(|project| (project.name.clone(), self.project_store(config, project))).collect()
    }

    /// The projects of these names (none: all enabled ones), as a search wants them. No source and no
    /// chunkers are built.
    pub fn searches(&self, config: &Config, names: &[String]) -> StageResult<Vec<ProjectSearch>> {
        let search = |project: &config::Project| {
            let place = self.project_store(config, project)?;
            let queue = self.queue(config, stage(config, &project.embedder)?)?;
            Ok(ProjectSearch { place, embedder: Arc::clone(queue.embedder()) })
        };
        chosen(config, names).map(search).collect()
    }

    /// A project as far as it decides what becomes of a file by its name. Blocks while components are
    /// compiled.
    pub fn files(&self, config: &Config, project: &config::Project) -> StageResult<ProjectFiles> {
        let queue = self.queue(config, stage(config, &project.embedder)?)?;
        let chunker = |name: &String| self.chunker(config, stage(config, name)?, queue.embedder());
        Ok(ProjectFiles {
            exclude_patterns: project.exclude_patterns.clone(),
            selector: selector(config, project)?,
            chunkers: project.chunkers.iter().map(chunker).collect::<StageResult<_>>()?,
        })
    }

    /// The source of a project whose repositories are folders of this machine; `None` for any other.
    pub fn local_source(&self, config: &Config, project: &config::Project) -> Option<Arc<dyn Source>> {
        let stage = stage(config, &project.source).ok()?;
        if !stage.settings.source()?.is_local() {
            return None;
        }
        self.source(config, stage).ok()
    }

    fn project_store(&self, config: &Config, project: &config::Project) -> StageResult<ProjectStore> {
        Ok(ProjectStore {
            project: project.name.clone(),
            namespace: project.namespace.clone(),
            store: self.store(config, stage(config, &project.store)?)?,
        })
    }

    /// One project with its stages.
    pub fn project(&self, config: &Config, project: &config::Project) -> StageResult<Project> {
        let stage = |name: &str| stage(config, name);
        let queue = self.queue(config, stage(&project.embedder)?)?;
        let mut chunkers = Vec::new();
        let mut chunker_bases = Vec::new();
        for name in &project.chunkers {
            let stage = stage(name)?;
            let chunker = self.chunker(config, stage, queue.embedder())?;
            chunker_bases.push((chunker.identity().to_owned(), patterns(stage)));
            chunkers.push(chunker);
        }
        let store_stage = stage(&project.store)?;
        let scanner = Scanner::with(&config.secrets)
            .map_err(|error| StageError::misconfigured(&project.name, format!("`[secrets]`: {error}")))?;
        let secret_rules = (project.secrets != SecretsMode::Off).then(|| scanner.identity());
        let basis = Basis::default()
            .with("branch", &branch(project))
            .with("chunkers", &chunker_bases)
            .with("embedder", &queue.embedder().identity().as_str())
            .with("store", &place(store_stage, &project.namespace)?)
            .with("allowed_extensions", &project.allowed_extensions)
            .with("exclude_patterns", &project.exclude_patterns)
            .with("max_file_bytes", &config.engine.max_file_bytes.0)
            .with("secrets", &(project.secrets.as_str(), secret_rules));
        Ok(Project {
            row: row(project),
            selection: project.selection.clone(),
            branch: project.branch.clone(),
            selector: selector(config, project)?,
            secrets: project.secrets,
            scanner,
            max_cost: project.max_cost,
            basis,
            source: self.source(config, stage(&project.source)?)?,
            chunkers,
            queue,
            store: self.store(config, store_stage)?,
            notifiers: project
                .notifiers
                .iter()
                .map(|name| self.notifier(config, stage(name)?))
                .collect::<StageResult<_>>()?,
            is_local: is_bound(config, project),
        })
    }
}

/// Whether a stage of the project works only on this machine.
pub(super) fn is_bound(config: &Config, project: &config::Project) -> bool {
    let settings = |name: &str| config.stage(name).map(|stage| &stage.settings);
    settings(&project.source).and_then(|stage| stage.source()).is_some_and(SourceConfig::is_local)
        || settings(&project.embedder)
            .and_then(|stage| stage.embedder())
            .is_some_and(EmbedderConfig::is_local)
        || settings(&project.store)
            .and_then(|stage| stage.store())
            .is_some_and(|store| store.database().is_some())
}

/// The branch that the file names.
fn branch(project: &config::Project) -> Option<&str> {
    match &project.branch {
        BranchRef::Default => None,
        BranchRef::Named(branch) => Some(branch),
    }
}

/// What the file says of where a project's vectors belong.
fn place(stage: &config::Stage, namespace: &str) -> StageResult<Vec<String>> {
    let store = stage.settings.store().ok_or_else(|| wrong_role(stage, Role::Store))?;
    let kind = store.kind().to_owned();
    Ok([kind].into_iter().chain(store.place()).chain([namespace.to_owned()]).collect())
}

/// Which files a chunker stage takes is no part of its identity, but it decides who takes a file.
fn patterns(stage: &config::Stage) -> Option<Vec<String>> {
    stage.settings.chunker()?.patterns().map(<[String]>::to_vec)
}

fn selector(config: &Config, project: &config::Project) -> StageResult<Selector> {
    let exclude = PathMatcher::new(&project.exclude_patterns)
        .map_err(|error| StageError::misconfigured(&project.name, format!("`exclude_patterns`: {error}")))?;
    Ok(Selector {
        allowed_extensions: project.allowed_extensions.clone(),
        exclude,
        max_file_bytes: config.engine.max_file_bytes.0,
    })
}

fn row(project: &config::Project) -> ProjectRow {
    let (organization, filter_keyword) = match &project.selection {
        Selection::Owner { owner, keyword } => (Some(owner.clone()), keyword.clone()),
        Selection::Named(_) => (None, None),
    };
    ProjectRow {
        name: project.name.clone(),
        organization,
        filter_keyword,
        namespace: project.namespace.clone(),
        enabled: project.enabled,
        allowed_extensions: project.allowed_extensions.clone(),
        exclude_patterns: project.exclude_patterns.clone(),
    }
}
