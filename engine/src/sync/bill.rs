//! The bill of a plan: chunks, texts after cache hits, tokens, vectors.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::project_run::ProjectRun;
use crate::model::{Fingerprint, GitSha, Place};
use crate::plan::{Estimate, SecretFound};
use crate::state::Leftover;

/// What a plan sends, for each embedder identity: equal texts are sent once, whichever projects they come
/// from.
pub(crate) type Sent = HashMap<Fingerprint, SentTo>;

/// The first half of a text's hash.
pub(crate) type TextKey = [u8; 16];

/// What a plan sends to one embedder.
#[derive(Debug, Default)]
pub(crate) struct SentTo {
    /// Texts, by their hash.
    pub(super) texts: HashSet<TextKey>,
    /// Contents that were estimated, each by its recipe.
    pub(super) contents: HashSet<(GitSha, Fingerprint)>,
}

/// What a project's plan adds up to.
pub(crate) struct Bill<'a> {
    pub(super) estimate: Estimate,
    /// Vectors of written files in other places than the project's, which are deleted there.
    pub(super) elsewhere: HashSet<Leftover>,
    /// Ids of written files whose state in the project's place is unknown: writing the file replaces or
    /// deletes them.
    pub(super) settled: HashSet<String>,
    pub(super) secrets: Vec<SecretFound>,
    pub(super) sent: &'a mut SentTo,
    /// The texts to send, by their hash, with their tokens; `None`: not kept.
    pub(super) texts: Option<Vec<(TextKey, u64)>>,
}

/// What a repository adds to the bill of its project.
pub(crate) struct Part {
    pub(super) estimate: Estimate,
    elsewhere: HashSet<Leftover>,
    settled: HashSet<String>,
    texts: Vec<(TextKey, u64)>,
}

impl<'a> Bill<'a> {
    /// An empty bill. `sent`: texts that earlier projects of the plan send.
    pub(crate) fn new(run: &ProjectRun, sent: &'a mut Sent) -> Self {
        let sent = sent.entry(run.project.embedder().identity().clone()).or_default();
        let (estimate, elsewhere, settled) = Default::default();
        Self { estimate, elsewhere, settled, secrets: Vec::new(), sent, texts: None }
    }

    /// Secrets that the index would hold, as far as contents were read.
    pub(crate) fn take_secrets(&mut self) -> Vec<SecretFound> {
        std::mem::take(&mut self.secrets)
    }

    /// An empty bill over the same texts.
    pub(crate) fn beside(&mut self) -> Bill<'_> {
        Bill {
            estimate: Estimate::default(),
            elsewhere: HashSet::new(),
            settled: HashSet::new(),
            secrets: Vec::new(),
            sent: self.sent,
            texts: None,
        }
    }

    /// The same, which keeps the texts to send, for [`Bill::add_part`]. Only the spending guard needs it, which leaves
    /// embedders out that are free: each text is sent once.
    pub(crate) fn part(&mut self) -> Bill<'_> {
        Bill { texts: Some(Vec::new()), ..self.beside() }
    }

    /// What was added up.
    pub(crate) fn into_part(self) -> Part {
        let Self { estimate, elsewhere, settled, texts, .. } = self;
        Part { estimate, elsewhere, settled, texts: texts.unwrap_or_default() }
    }

    /// Adds what was counted over other texts. Texts that this plan sends anyway cost nothing.
    pub(crate) fn add_part(&mut self, part: Part) {
        let Part { mut estimate, elsewhere, settled, texts } = part;
        for (key, tokens) in texts {
            if !self.sent.texts.insert(key) {
                estimate.texts -= 1;
                estimate.tokens -= tokens;
                estimate.texts_cached += 1;
            }
        }
        self.add(&estimate);
        self.elsewhere.extend(elsewhere);
        self.settled.extend(settled);
    }

    /// Adds an estimate.
    pub(crate) fn add(&mut self, more: &Estimate) {
        let estimate = &mut self.estimate;
        estimate.chunks += more.chunks;
        estimate.texts += more.texts;
        estimate.texts_cached += more.texts_cached;
        estimate.tokens += more.tokens;
        estimate.vectors_written += more.vectors_written;
        estimate.vectors_deleted += more.vectors_deleted;
    }

    /// Adds what is deleted after the last file: `removed`, and `leftovers` of earlier runs, of places that
    /// `reaches` names.
    pub(crate) fn deletions(
        &mut self,
        place: &Place,
        removed: Vec<Leftover>,
        leftovers: Vec<Leftover>,
        reaches: &HashSet<Arc<Place>>,
    ) {
        let is_settled = |one: &Leftover| *one.place == *place && self.settled.contains(&one.id);
        let leftovers = leftovers.into_iter().filter(|one| !is_settled(one));
        let mut all: HashSet<Leftover> = removed.into_iter().chain(leftovers).collect();
        all.extend(std::mem::take(&mut self.elsewhere));
        let reached = all.iter().filter(|one| reaches.contains(&one.place)).count();
        self.estimate.vectors_deleted += reached as u64;
    }

    /// Places in which vectors of written files are deleted.
    pub(crate) fn places(&self) -> impl Iterator<Item = Arc<Place>> {
        self.elsewhere.iter().map(|one| Arc::clone(&one.place))
    }

    /// The sum, with price and requests.
    pub(crate) fn total(self, run: &ProjectRun) -> Estimate {
        let mut estimate = self.estimate;
        let embedder = run.project.embedder();
        let limits = embedder.limits();
        let by_count = estimate.texts.div_ceil(limits.inputs_per_call.max(1) as u64);
        let by_tokens = estimate.tokens.div_ceil(limits.tokens_per_call.max(1) as u64);
        estimate.requests = by_count.max(by_tokens);
        estimate.price = estimate.tokens as f64 * embedder.price_per_million_tokens() / 1e6;
        estimate
    }
}
