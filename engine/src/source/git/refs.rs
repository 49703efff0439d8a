//! From a branch, a tag or a full reference to its commit.

use gix::prelude::ReferenceExt as _;

use crate::model::{BranchRef, StageError, StageResult};
use crate::source::Head;
use crate::source::branch::{NamedRef, not_found, wanted};
use crate::source::objects::Reader;

impl Reader {
    /// The branch that `HEAD` names, whether or not it has commits; empty where it names none.
    pub(super) fn default_branch(&self) -> String {
        if self.check_references().is_err() {
            // Asking for the head says so.
            return String::new();
        }
        let repo = self.repo.to_thread_local();
        let name = repo.head_name().ok().flatten();
        name.map_or_else(String::new, |name| name.shorten().to_string())
    }

    /// What the branch points at.
    pub(super) fn head(&self, branch: &BranchRef) -> StageResult<Head> {
        self.check_references()?;
        let repo = self.repo.to_thread_local();
        let head = repo.head().map_err(|error| self.unreadable("HEAD", error))?;
        match branch {
            BranchRef::Named(name) => self.named(&repo, name),
            BranchRef::Default => match head.kind {
                gix::head::Kind::Symbolic(reference) => {
                    self.commit_at(&repo, reference.attach(&repo), "HEAD").map(Head::Commit)
                }
                gix::head::Kind::Detached { target, .. } => {
                    self.sha(self.commit_of(&repo, target, "HEAD")?).map(Head::Commit)
                }
                gix::head::Kind::Unborn(_) => self.without_branch(&repo),
            },
        }
    }

    fn named(&self, repo: &gix::Repository, name: &str) -> StageResult<Head> {
        let candidates = match wanted(name) {
            NamedRef::Reference(full) => vec![full.to_owned()],
            NamedRef::BranchOrTag(name) => vec![format!("refs/heads/{name}"), format!("refs/tags/{name}")],
        };
        for full in &candidates {
            if let Some(reference) = self.reference(repo, full)? {
                return self.commit_at(repo, reference, &format!("`{name}`")).map(Head::Commit);
            }
        }
        let tracking = format!("refs/remotes/{name}");
        if self.reference(repo, &tracking)?.is_some() {
            let message =
                format!("`{name}` is a remote-tracking branch of `{}`, not a branch of its own", self.path);
            return Err(self.refused(message).hint(format!(
                "write branch = \"{tracking}\", or make a branch of it: `git -C {} branch NAME {name}`",
                self.path
            )));
        }
        match self.without_branch(repo)? {
            Head::NoBranch => not_found(&self.access.stage, name),
            empty => Ok(empty),
        }
    }

    /// A reference by its full name; none where there is none, or Git would not accept the name.
    fn reference<'r>(
        &self,
        repo: &'r gix::Repository,
        full: &str,
    ) -> StageResult<Option<gix::Reference<'r>>> {
        let Ok(full_name) = gix::refs::FullName::try_from(full) else { return Ok(None) };
        match repo.try_find_reference(full_name.as_ref()) {
            Ok(found) => Ok(found.filter(|reference| reference.name().as_bstr() == full)),
            Err(error) => Err(self.unreadable(&format!("the reference `{full}`"), error)),
        }
    }

    fn commit_at(
        &self,
        repo: &gix::Repository,
        mut reference: gix::Reference<'_>,
        name: &str,
    ) -> StageResult<crate::model::GitSha> {
        let id = reference.follow_to_object().map_err(|error| self.unreadable(name, error))?;
        self.sha(self.commit_of(repo, id.detach(), name)?)
    }

    /// The branch is not there: is nothing there? Not being able to tell is not emptiness.
    fn without_branch(&self, repo: &gix::Repository) -> StageResult<Head> {
        let some =
            || -> Result<bool, gix::Error> { Ok(repo.references()?.local_branches()?.next().is_some()) };
        let some = some().map_err(|error| self.unreadable("the branches", error))?;
        Ok(if some { Head::NoBranch } else { Head::Empty })
    }

    fn unreadable(&self, what: &str, error: gix::Error) -> StageError {
        self.bad(format!("cannot read {what} of `{}`", self.path)).caused_by(error)
    }
}
