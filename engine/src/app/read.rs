//! Reads files from the index: the cleaned text at the commit that was indexed.

use std::collections::BTreeSet;

use super::{App, AppError, AppResult};
use crate::model::{FileFacts, StageError, StageResult};
use crate::search::{FileText, file_chunks};

/// Names that a message lists.
const LISTED: usize = 20;
/// Paths that a message suggests.
const SUGGESTED: usize = 5;

/// A file as the index has it.
#[derive(Debug, Clone)]
pub struct IndexedFile {
    /// The project.
    pub project: String,
    /// The repository.
    pub repository: String,
    /// The path.
    pub path: String,
    /// The language; empty if unknown.
    pub language: String,
    /// The commit at which it was written.
    pub commit: String,
    /// A permalink to its first chunk; empty if there is none.
    pub url: String,
    /// The text.
    pub text: FileText,
}

impl App {
    /// Reads a file of these projects (all enabled ones if empty) from the index, not from the source. `repository`
    /// may be the part of the name after the owner.
    pub async fn read(&self, names: &[String], repository: &str, path: &str) -> AppResult<IndexedFile> {
        self.check_names(names)?;
        let known = self.repository_names(names).await?;
        let mut repositories = matching(&known, repository);
        repositories.retain(|name| self.access.has_repository(name));
        let mut failed: Option<StageError> = None;
        for (project, place) in self.stores(names) {
            let place = match place {
                Ok(place) => place,
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            };
            for repository in &repositories {
                let chunks = file_chunks(&place, repository, path).await?;
                let Some(first) = chunks.first() else { continue };
                return Ok(IndexedFile {
                    project,
                    repository: repository.clone(),
                    path: path.to_owned(),
                    language: first.language.clone(),
                    commit: first.commit.clone(),
                    url: first.url.clone(),
                    text: FileText::of(&chunks),
                });
            }
        }
        if let Some(error) = failed {
            return Err(error.into());
        }
        Err(self.absent(names, &known, (repository, &repositories), path).await?)
    }

    /// The repositories that the state has of these projects.
    async fn repository_names(&self, names: &[String]) -> StageResult<BTreeSet<String>> {
        let mut known = BTreeSet::new();
        for project in self.declared(names) {
            known.extend(self.state.repositories(&project).await?.into_iter().map(|row| row.name));
        }
        known.retain(|name| self.access.has_repository(name));
        Ok(known)
    }

    /// The projects of these names, or all of the file.
    fn declared(&self, names: &[String]) -> Vec<String> {
        let mut names = if names.is_empty() { self.config.project_names() } else { names.to_vec() };
        names.retain(|name| self.access.has_project(name));
        names
    }

    /// Why a file cannot be read, and what to do.
    async fn absent(
        &self,
        names: &[String],
        known: &BTreeSet<String>,
        (asked, repositories): (&str, &[String]),
        path: &str,
    ) -> StageResult<AppError> {
        if known.is_empty() {
            let projects = self.declared(names).join(", ");
            let message = format!(
                "nothing is indexed yet of {projects}: a person has to run `reposync apply`, or start the daemon"
            );
            return Ok(AppError::Absent(message));
        }
        if !repositories.iter().any(|repository| known.contains(repository)) {
            let message = format!("no repository `{asked}` is indexed; there are: {}", listed(known));
            return Ok(AppError::Absent(message));
        }
        let mut near: Vec<String> = Vec::new();
        for project in self.declared(names) {
            for repository in repositories {
                if let Some(facts) = self.state.explain_file(&project, Some(repository), path).await?.first()
                {
                    return Ok(AppError::Absent(not_indexed(path, facts)));
                }
                near.extend(self.near(&project, repository, path).await?);
            }
        }
        near.sort_unstable();
        near.dedup();
        near.truncate(SUGGESTED);
        let hint = if near.is_empty() {
            "search finds paths; explain says why a file is not indexed".to_owned()
        } else {
            format!("did you mean: {}", near.join(", "))
        };
        Ok(AppError::Absent(format!("`{}` has no indexed file `{path}`; {hint}", repositories.join("`, `"))))
    }

    /// Recorded paths with the same file name, or that end with the path.
    async fn near(&self, project: &str, repository: &str, path: &str) -> StageResult<Vec<String>> {
        let own = self.stores(&[project.to_owned()]).into_iter().next();
        let Some((_, Ok(own))) = own else { return Ok(Vec::new()) };
        let place = own.store.place(&own.namespace).await?;
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_lowercase();
        let wanted = name(path);
        let files = self.state.known_files(project, repository, &place).await?.files;
        let near = files.into_iter().filter(|file| file.vectors > 0 && name(&file.path) == wanted);
        Ok(near.map(|file| file.path).take(SUGGESTED).collect())
    }
}

/// The repositories that a name may mean: the one of this name, else those of this name after the owner. A name that
/// the state does not know is taken as it is.
fn matching(known: &BTreeSet<String>, name: &str) -> Vec<String> {
    if !known.contains(name) {
        let last =
            |known: &&String| known.rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case(name));
        let same = |known: &&String| known.eq_ignore_ascii_case(name);
        for fits in
            [known.iter().find(same).into_iter().collect(), known.iter().filter(last).collect::<Vec<_>>()]
        {
            if !fits.is_empty() {
                return fits.into_iter().cloned().collect();
            }
        }
    }
    vec![name.to_owned()]
}

fn listed(names: &BTreeSet<String>) -> String {
    let shown: Vec<&str> = names.iter().take(LISTED).map(String::as_str).collect();
    let more = names.len().saturating_sub(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

fn not_indexed(path: &str, facts: &FileFacts) -> String {
    let detail = facts.detail.as_deref().map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("`{path}` of `{}` has no text in the index; it is `{}`{detail}", facts.repository, facts.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_may_be_named_without_its_owner() {
        let known = ["acme/api", "acme/docs", "other/api", "solo"].map(str::to_owned).into();
        for (name, expected) in [
            ("acme/api", &["acme/api"][..]),
            ("api", &["acme/api", "other/api"]),
            ("ACME/Docs", &["acme/docs"]),
            ("solo", &["solo"]),
            ("unknown", &["unknown"]),
        ] {
            assert_eq!(matching(&known, name), expected, "{name}");
        }
    }
}
