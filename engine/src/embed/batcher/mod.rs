//! The batcher between chunking and embedding: one for each embedder, shared by all files,
//! repositories and projects.
//!
//! A text is looked up in the cache, sent at most once however many ask for it, batched with
//! whatever else is waiting, and put into the cache before anyone is answered; an embedder that is
//! free has no cache. One task owns all the state; callers send it messages. It ends, after the
//! calls in flight, when the last handle is dropped.

mod call;
mod task;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Embedder;
use super::embedded::{Embedded, is_usable};
use crate::model::{ErrorKind, EventSink, StageError, StageResult, Vector};
use crate::state::{CacheKey, VectorCache};
use crate::upstream::{Expected, Upstream};
use task::{Batcher, Message, Request};

/// A handle on the queue of one embedder.
pub struct EmbedQueue {
    task: mpsc::UnboundedSender<Message>,
    embedder: Arc<dyn Embedder>,
    /// `None`: each text is embedded whenever its vector is needed.
    cache: Option<Arc<dyn VectorCache>>,
    upstream: Upstream,
}

impl EmbedQueue {
    /// Starts the queue; must be called inside a runtime. `cache` is left unused if the embedder is
    /// free. `cancel` ends its work: calls in flight finish (they are paid, so their vectors go into
    /// the cache), everything else is answered with `Cancelled`.
    pub fn new(
        embedder: Arc<dyn Embedder>,
        cache: Option<Arc<dyn VectorCache>>,
        cancel: CancellationToken,
        events: EventSink,
    ) -> Self {
        let cache = cache.filter(|_| !embedder.is_free());
        let (task, messages) = mpsc::unbounded_channel();
        let upstream = Upstream::default();
        let batcher = Batcher::new(Arc::clone(&embedder), cache.clone(), cancel, events, upstream.clone());
        tokio::spawn(batcher.run(messages));
        Self { task, embedder, cache, upstream }
    }

    /// The embedder behind it.
    pub fn embedder(&self) -> &Arc<dyn Embedder> {
        &self.embedder
    }

    /// Announces a file whose texts may come. As long as one may, a call that is not full waits a moment for it.
    pub(crate) fn expect(&self) -> Expected {
        self.upstream.expect()
    }

    /// Vectors for texts that were not announced.
    pub async fn embed(&self, project: &str, inputs: Vec<String>) -> Vec<StageResult<Embedded>> {
        self.embed_expected(project, inputs, self.expect()).await
    }

    /// Vectors for the texts of one file (exact inputs, see [`Embedder::input`]), in their order.
    ///
    /// An error of an item kind concerns that text alone. Any other has ended all that was
    /// waiting; later calls try again. A caller that stops waiting takes its unsent texts back.
    pub(crate) async fn embed_expected(
        &self,
        project: &str,
        inputs: Vec<String>,
        expected: Expected,
    ) -> Vec<StageResult<Embedded>> {
        let n = inputs.len();
        if n == 0 {
            return Vec::new();
        }
        let identity = self.embedder.identity();
        let texts = inputs.into_iter().map(|text| (CacheKey::of(identity, &text), text.into())).collect();
        let (answer, answered) = oneshot::channel();
        let request = Request { project: project.to_owned(), texts, answer, _expected: expected };
        let sent = self.task.send(Message::Embed(request));
        if let (Ok(()), Ok(results)) = (sent, answered.await) {
            return results;
        }
        let error = StageError::new(self.embedder.stage(), ErrorKind::Bug, "the embedding queue has stopped");
        vec![Err(error); n]
    }

    /// Which inputs have their vector in the cache. Sends nothing, changes nothing.
    pub async fn peek(&self, inputs: &[String]) -> Vec<bool> {
        let n = inputs.len();
        let Some(cache) = self.cache.clone() else { return vec![false; n] };
        let identity = self.embedder.identity();
        cache.contains_many(inputs.iter().map(|input| CacheKey::of(identity, input)).collect()).await
    }

    /// Puts vectors into the cache that were found elsewhere: in a store, under the same recipe.
    pub async fn remember(&self, vectors: Vec<(String, Vector)>) {
        let Some(cache) = self.cache.clone() else { return };
        let identity = self.embedder.identity();
        let keyed: Vec<(CacheKey, Vector)> = vectors
            .into_iter()
            .filter(|(_, vector)| is_usable(vector))
            .map(|(input, vector)| (CacheKey::of(identity, &input), vector))
            .collect();
        cache.put_many(keyed).await;
    }

    /// Waits until nothing is waiting or in flight. For the end of an interrupted run: what is
    /// paid for gets into the cache.
    pub async fn settle(&self) {
        let (done, settled) = oneshot::channel();
        if self.task.send(Message::Settle(done)).is_ok() {
            // An error means that the task has ended: then nothing is in flight either.
            settled.await.unwrap_or_default();
        }
    }
}
