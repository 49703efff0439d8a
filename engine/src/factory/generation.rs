//! The configuration as workers of other machines get it.

use sha2::{Digest as _, Sha256};

use super::StageFactory;
use super::components::used_components;
use super::projects::is_bound;
use crate::config::Config;
use crate::model::{Fingerprint, StageError, StageResult};
use crate::state::{ComponentFile, Generation};

impl StageFactory {
    /// The text of the file, and the components that enabled projects use: those of files with their content, others
    /// with the digest by which they are fetched. Blocks.
    pub fn generation(&self, config: &Config) -> StageResult<Generation> {
        let mut components = Vec::new();
        for (stage, location) in used_components(config) {
            let chunker = self.component(config, stage, None)?;
            let Some(info) = chunker.component() else { continue };
            let bytes = match location.file() {
                Some(path) => Some(std::fs::read(path).map_err(|error| {
                    let message = format!("cannot read component `{}`", path.display());
                    StageError::local(&stage.name, message).caused_by(error)
                })?),
                None => None,
            };
            if bytes.as_ref().is_some_and(|bytes| hex::encode(Sha256::digest(bytes)) != info.sha256) {
                let message = format!("component `{location}` was replaced while it was being read");
                return Err(StageError::local(&stage.name, message).hint("run it again"));
            }
            components.push(ComponentFile {
                stage: stage.name.clone(),
                digest: info.sha256.clone(),
                is_file: bytes.is_some(),
                bytes: bytes.unwrap_or_default(),
            });
        }
        let (version, text) = (env!("CARGO_PKG_VERSION").to_owned(), config.text.as_str().to_owned());
        let digests = components.iter().map(|component| component.digest.clone());
        let parts = [version.clone(), text.clone()].into_iter().chain(digests);
        let digest = Fingerprint::of(parts).to_string();
        let enabled = config.projects.iter().filter(|project| project.enabled && !is_bound(config, project));
        let projects = enabled.map(|project| project.name.clone()).collect();
        Ok(Generation { digest, version, text, projects, components })
    }
}
