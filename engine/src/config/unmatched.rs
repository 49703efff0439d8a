//! Globs of API tokens that match nothing of the file.

use super::Config;
use crate::model::Access;
use crate::settings::{Problem, did_you_mean, quoted};
use crate::source::Selection;

/// Globs of tokens that match nothing of the file: most likely a spelling error. No error, since a project or
/// repository may come later.
pub fn unmatched_globs(config: &Config) -> Vec<Problem> {
    let projects = config.project_names();
    let named: Vec<&str> = config
        .projects
        .iter()
        .filter_map(|project| match &project.selection {
            Selection::Named(repositories) => Some(repositories),
            Selection::Owner { .. } => None,
        })
        .flatten()
        .map(|repository| repository.name.as_str())
        .collect();
    // The repositories of an organization are known to its server alone.
    let listed = config.projects.iter().all(|project| matches!(project.selection, Selection::Named(_)));
    let mut warnings = Vec::new();
    for token in &config.api.tokens {
        let mut check = |key: &str, globs: &Option<Vec<String>>, names: &[&str], what: &str| {
            for glob in globs.iter().flatten() {
                let access = Access::new(Some(std::slice::from_ref(glob)), None).unwrap_or_default();
                if !names.iter().any(|name| access.has_project(name)) {
                    let path = format!("api.tokens.{}.{key}", quoted(&token.name));
                    let hint = did_you_mean(glob, names.iter().copied())
                        .unwrap_or_else(|| format!("`validate` found no {what} of this name in the file"));
                    warnings.push(Problem::new(path, format!("`{glob}` matches no {what}")).hint(hint));
                }
            }
        };
        let projects: Vec<&str> = projects.iter().map(String::as_str).collect();
        check("projects", &token.projects, &projects, "project");
        if listed {
            check("repositories", &token.repositories, &named, "repository");
        }
    }
    warnings
}
