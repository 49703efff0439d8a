//! Reading one object within the bounds: commits, tags, trees, and contents of files.

use bytes::Bytes;
use gix::objs::{Find as _, Kind};

use super::open::Reader;
use crate::model::{GitSha, StageError, StageResult, TreeEntry};
use crate::source::limits::beyond;
use crate::source::verify::check_blob;

/// Tags that name tags, followed from a reference to its commit.
const MOST_TAGS: usize = 32;

impl Reader {
    /// Reads a commit, tag or tree into `buffer`. Its content is checked against its id, so that a
    /// pack with a wrong index cannot pass one object off as another.
    pub(in crate::source) fn object<'b>(
        &self,
        repo: &gix::Repository,
        id: &gix::oid,
        kind: Kind,
        buffer: &'b mut Vec<u8>,
    ) -> StageResult<&'b [u8]> {
        let most = self.access.limits.object_bytes;
        let too_large = || self.beyond(&format!("the {kind} {id} has more than {most}"), "object_bytes");
        let unreadable = || self.bad(format!("cannot read the {kind} {id} of `{}`", self.name));
        self.check_stored(repo, id)?;
        let found = match repo.objects.try_find(id, buffer) {
            Ok(Some(found)) => found,
            Ok(None) => return Err(self.missing(&format!("the {kind} {id}"))),
            Err(error) if error.is_resource_exhausted() => return Err(too_large()),
            Err(error) => {
                return Err(unreadable().caused_by(error).hint("see what `git fsck` says of the repository"));
            }
        };
        if found.kind != kind {
            return Err(unreadable().caused_by(anyhow::anyhow!("it is a {}", found.kind)));
        }
        if found.data.len() as u64 > most.0 {
            return Err(too_large());
        }
        let data = found.data;
        match gix::objs::compute_hash(id.kind(), kind, data) {
            Ok(actual) if *actual == *id => Ok(data),
            Ok(actual) => Err(unreadable()
                .caused_by(anyhow::anyhow!("its content is the {kind} {actual}"))
                .hint("see what `git fsck` says of the repository")),
            Err(error) => Err(unreadable().caused_by(error)),
        }
    }

    /// Refuses an object that would take far more work than others. Problems that its header does not show are
    /// found when it is read.
    fn check_stored(&self, repo: &gix::Repository, id: &gix::oid) -> StageResult<()> {
        match repo.try_find_header(id) {
            Ok(Some(header)) => self.check_chain(id, &header),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// The refusal of a repository that is beyond the bound `key`.
    pub(in crate::source) fn beyond(&self, what: &str, key: &str) -> StageError {
        beyond(&self.access.stage, &self.name, what, key)
    }

    /// The error for an object that is not in the repository.
    pub(in crate::source) fn missing(&self, what: &str) -> StageError {
        let error = self.bad(format!("{what} is not in `{}`", self.name));
        if self.is_partial() {
            let error = self.refused(format!("`{}` is a partial clone: {what} is not in it", self.name));
            return error.hint(self.complete_it());
        }
        error.hint("see what `git fsck` says of the repository; a shallow clone is completed by `git fetch --unshallow`")
    }

    /// The commit that an object is, or that a tag names.
    pub(in crate::source) fn commit_of(
        &self,
        repo: &gix::Repository,
        mut id: gix::ObjectId,
        name: &str,
    ) -> StageResult<gix::ObjectId> {
        let mut buffer = Vec::new();
        for _ in 0..MOST_TAGS {
            let header = repo.try_find_header(id).map_err(|error| {
                self.bad(format!("cannot read the object {id} of `{}`", self.name)).caused_by(error)
            })?;
            match header.map(|header| header.kind()) {
                Some(Kind::Commit) => return Ok(id),
                Some(Kind::Tag) => {
                    let tag = self.object(repo, &id, Kind::Tag, &mut buffer)?;
                    id = gix::objs::TagRefIter::from_bytes(tag, id.kind()).target_id().map_err(|error| {
                        self.bad(format!("cannot read the tag {id} of `{}`", self.name)).caused_by(error)
                    })?;
                }
                Some(kind @ (Kind::Tree | Kind::Blob)) => {
                    return Err(self
                        .refused(format!("{name} of `{}` names a {kind}, not a commit", self.name))
                        .hint("name a branch, or a tag of a commit, in `branch`"));
                }
                None => return Err(self.missing(&format!("the object {id}, which {name} names,"))),
            }
        }
        Err(self.refused(format!("{name} of `{}` names a chain of more than {MOST_TAGS} tags", self.name)))
    }

    /// A file's content, checked against its blob id.
    pub(in crate::source) fn content(&self, repo: &gix::Repository, entry: &TreeEntry) -> StageResult<Bytes> {
        let id = gix::ObjectId::Sha1(entry.sha.0);
        let unreadable = || self.bad(format!("cannot read object {id} of `{}`", entry.path));
        let fsck = "see what `git fsck` says of the repository";
        if entry.size.is_none() {
            // Else it was looked at when its size was asked for.
            self.check_stored(repo, &id)?;
        }
        let mut object = match repo.try_find_object(id) {
            Ok(Some(object)) => object,
            Ok(None) => return Err(self.missing(&format!("object {id} of `{}`", entry.path))),
            Err(error) if error.is_resource_exhausted() => {
                let hint = "raise `object_bytes` in [engine.limits], or repack the repository: `git repack -a -d -f`";
                return Err(unreadable()
                    .caused_by(anyhow::anyhow!("what it is stored as a difference to is too large"))
                    .hint(hint));
            }
            Err(error) => return Err(unreadable().caused_by(error).hint(fsck)),
        };
        check_blob(&object.data, entry.sha)
            .map_err(|why| unreadable().caused_by(anyhow::anyhow!(why)).hint(fsck))?;
        Ok(Bytes::from(std::mem::take(&mut object.data)))
    }

    /// An object's id as RepoSync keeps it.
    pub(in crate::source) fn sha(&self, id: gix::ObjectId) -> StageResult<GitSha> {
        match id.as_bytes().try_into() {
            Ok(bytes) => Ok(GitSha(bytes)),
            Err(_) => Err(self.refused(format!("`{}` uses another object format than SHA-1", self.name))),
        }
    }
}
