//! Asks every service of a project whether it would serve a run, and changes nothing: for
//! `validate --online`.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::setup::{Candidate, Project};
use crate::model::{StageError, StageResult, StoredAnswer};
use crate::source::AnswerCache;

/// What one service answered.
#[derive(Debug)]
pub struct Probe {
    /// The project that was asked for; a service that several projects share is asked once.
    pub project: String,
    /// The stage, by its name in the file.
    pub stage: String,
    /// What the service says, in a few words; or why it refuses.
    pub answer: StageResult<String>,
}

/// Asks the services of these projects: sources list, embedders embed one short text (which costs a
/// few tokens), stores are looked at. Notifiers are not asked: that would send a message.
pub async fn probe(candidates: &[Candidate]) -> Vec<Probe> {
    let mut probes = Vec::new();
    let mut asked = BTreeSet::new();
    for candidate in candidates {
        match &candidate.project {
            Ok(project) => probe_project(project, &mut asked, &mut probes).await,
            Err(error) => probes.push(Probe {
                project: candidate.name.clone(),
                stage: error.stage.clone(),
                answer: Err(error.clone()),
            }),
        }
    }
    probes
}

async fn probe_project(project: &Project, asked: &mut BTreeSet<String>, probes: &mut Vec<Probe>) {
    let mut told = |stage: &str, answer| {
        probes.push(Probe { project: project.name().to_owned(), stage: stage.to_owned(), answer });
    };
    let source = &project.source;
    match source.list(&project.selection, &NoAnswers, true).await {
        Ok(listing) => {
            let n = listing.repositories.len();
            let noun = if n == 1 { "repository" } else { "repositories" };
            told(source.stage(), Ok(format!("{n} {noun}")));
            for (repo, error) in listing.refused {
                let message = format!("repository `{}`: {}", repo.name, error.message);
                told(source.stage(), Err(StageError { message, ..error }));
            }
            for repo in listing.missing {
                let message =
                    format!("repository `{}` is absent, or not visible to these credentials", repo.name);
                let error = StageError::refused(source.stage(), message)
                    .hint("check its name and the permissions, or take it out of `repositories`");
                told(source.stage(), Err(error));
            }
        }
        Err(error) => told(source.stage(), Err(error)),
    }
    let embedder = project.embedder();
    if asked.insert(format!("embedder {}", embedder.stage())) {
        let answer = embedder.embed_one("RepoSync").await;
        told(embedder.stage(), answer.map(|vector| format!("vectors of {} components", vector.len())));
    }
    let store = &project.store;
    if asked.insert(format!("store {} {}", store.stage(), embedder.stage())) {
        let answer = match embedder.dimensions().await {
            Ok(dimensions) => store.peek(dimensions).await,
            // Already reported for the embedder.
            Err(_) => return,
        };
        let words = |exists| if exists { "ready" } else { "not there yet; a run creates it" };
        told(store.stage(), answer.map(|exists| words(exists).to_owned()));
    }
}

/// Asks without conditions, and keeps nothing.
struct NoAnswers;

#[async_trait]
impl AnswerCache for NoAnswers {
    async fn get(&self, _key: &str) -> Option<StoredAnswer> {
        None
    }

    async fn put(&self, _key: &str, _answer: &StoredAnswer) {}
}
