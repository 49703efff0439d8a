//! The repositories that a project names: each is opened once, for all that a run without changes needs of it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::{BranchRef, RepoEntry, RepoRef, StageError};
use crate::source::objects::{Access, Purpose, Reader};
use crate::source::{Head, Listing};

/// How long the head that a listing saw is taken for the current one.
const FRESH: Duration = Duration::from_secs(5);

/// What the source remembers of a repository that it has opened.
#[derive(Debug)]
pub(super) struct Seen {
    /// Its page on the web, if it has one.
    pub(super) web_page: Option<String>,
    /// The head of its default branch, until it is asked for.
    head: Option<(Instant, Head)>,
}

impl Seen {
    pub(super) fn with_page(web_page: Option<String>) -> Self {
        Self { web_page, head: None }
    }

    fn of(reader: &Reader) -> Self {
        // What is wrong with the head is reported where it is asked for.
        let head = reader.head(&BranchRef::Default).ok();
        Self { web_page: reader.web_page(), head: head.map(|head| (Instant::now(), head)) }
    }

    /// The head that the listing saw, if that was a moment ago. Given only once, so that a second call reads the
    /// repository.
    pub(super) fn take_head(&mut self) -> Option<Head> {
        self.head.take().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, head)| head)
    }
}

/// Opens repositories. What was seen is given with the repository's key.
pub(super) fn list(access: &Arc<Access>, wanted: Vec<RepoRef>) -> (Listing, Vec<(String, Seen)>) {
    let mut listing = Listing::default();
    let mut seen = Vec::new();
    for repo in wanted {
        match Path::new(&repo.key).metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => listing.missing.push(repo),
            Err(error) => {
                let refused = StageError::refused(&access.stage, format!("cannot look into `{}`", repo.key))
                    .caused_by(error)
                    .hint("give the user that runs RepoSync read access to the folder");
                listing.refused.push((repo, refused));
            }
            Ok(_) => match Reader::open(access, &repo.key, Purpose::Walk) {
                Ok(reader) => {
                    seen.push((repo.key.clone(), Seen::of(&reader)));
                    listing.repositories.push(RepoEntry {
                        default_branch: reader.default_branch(),
                        repo,
                        pushed_at: None,
                        pushed_at_settled: false,
                    });
                }
                Err(error) => listing.refused.push((repo, error)),
            },
        }
    }
    (listing, seen)
}
