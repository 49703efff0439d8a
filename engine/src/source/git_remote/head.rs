//! From a branch, a tag or a full reference to the commit that a server has for it.

use super::advertisement::Reference;
use super::remote::{Remote, Repository};
use crate::model::{BranchRef, StageResult};
use crate::source::Head;
use crate::source::branch::{NamedRef, not_found, wanted};

/// Branches.
const BRANCHES: &str = "refs/heads/";

/// What a branch points at.
pub(super) async fn head(remote: &Remote, repository: &Repository, branch: &BranchRef) -> StageResult<Head> {
    let names = candidates(branch);
    let mut prefixes = names.clone();
    if !prefixes.iter().any(|name| name == "HEAD") {
        // Tells an empty repository from one without this branch.
        prefixes.push("HEAD".to_owned());
    }
    let Some(found) = remote.references(repository, &prefixes).await? else { return Ok(Head::Missing) };
    if let Some(commit) = names.iter().find_map(|name| find(&found, name)) {
        return Ok(Head::Commit(commit));
    }
    let any =
        |found: &[Reference]| found.iter().any(|one| one.name == "HEAD" || one.name.starts_with(BRANCHES));
    if !any(&found) {
        // `HEAD` may name a missing branch although other branches exist.
        match remote.references(repository, &[BRANCHES.to_owned()]).await? {
            None => return Ok(Head::Missing),
            Some(found) if !any(&found) => return Ok(Head::Empty),
            Some(_) => {}
        }
    }
    match branch {
        BranchRef::Default => Ok(Head::NoBranch),
        BranchRef::Named(name) => not_found(remote.stage(), name),
    }
}

/// The full names that a branch may have, the first that is there counts.
fn candidates(branch: &BranchRef) -> Vec<String> {
    match branch {
        BranchRef::Default => vec!["HEAD".to_owned()],
        BranchRef::Named(name) => match wanted(name) {
            NamedRef::Reference(full) => vec![full.to_owned()],
            NamedRef::BranchOrTag(name) => vec![format!("{BRANCHES}{name}"), format!("refs/tags/{name}")],
        },
    }
}

fn find(found: &[Reference], name: &str) -> Option<crate::model::GitSha> {
    found.iter().find(|one| one.name == name).map(|one| one.id)
}
