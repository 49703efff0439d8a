//! Shared by tests of sources: a sink that keeps everything, an in-memory cache of answers, and the
//! contract that every source keeps.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use reposync::model::StoredAnswer;
use reposync::model::{GitSha, RepoRef, StageError, StageResult, TreeEntry};
use reposync::source::{AnswerCache, ContentSink, Source};

/// Keeps the contents by path; panics if it receives a file twice.
#[derive(Default)]
pub(crate) struct Collected {
    pub(crate) contents: BTreeMap<String, Bytes>,
    /// Files that could not be fetched.
    pub(crate) errors: BTreeMap<String, StageError>,
}

#[async_trait]
impl ContentSink for Collected {
    async fn put(&mut self, entry: TreeEntry, content: StageResult<Bytes>) -> StageResult<()> {
        let seen = self.contents.contains_key(&entry.path) || self.errors.contains_key(&entry.path);
        assert!(!seen, "`{}` came twice", entry.path);
        match content {
            Ok(content) => drop(self.contents.insert(entry.path, content)),
            Err(error) => drop(self.errors.insert(entry.path, error)),
        }
        Ok(())
    }
}

/// Answers in memory.
#[derive(Default)]
pub(crate) struct Answers(Mutex<HashMap<String, StoredAnswer>>);

impl Answers {
    /// Everything stored, as text, to search for secrets.
    pub(crate) fn dump(&self) -> String {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = |answer: &StoredAnswer| String::from_utf8_lossy(&answer.body).into_owned();
        answers.iter().map(|(key, answer)| [key.as_str(), &answer.etag, &text(answer)].join(" ")).collect()
    }
}

#[async_trait]
impl AnswerCache for Answers {
    async fn get(&self, key: &str) -> Option<StoredAnswer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    async fn put(&self, key: &str, answer: &StoredAnswer) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), answer.clone());
    }
}

/// Fetches entries into memory.
pub(crate) async fn fetch(
    source: &dyn Source,
    repo: &RepoRef,
    commit: GitSha,
    wanted: Vec<TreeEntry>,
) -> StageResult<Collected> {
    let mut collected = Collected::default();
    let count = wanted.len();
    source.fetch(repo, commit, wanted, &mut collected).await?;
    assert_eq!(collected.contents.len() + collected.errors.len(), count, "each file comes exactly once");
    Ok(collected)
}
