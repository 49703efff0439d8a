//! The one task that owns the queue's state.
//!
//! States of a key: requested -> looked up -> pending -> in a call -> cached -> answered. In all of them it is in
//! `wanted` with its waiters, so requests for an equal text are coalesced. A vector is in the cache before
//! its key leaves `wanted`, so no text is sent twice.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::call::{Answered, Called, Outcome, Text, claim_and_call, counted, remember, shares};
use crate::embed::embedded::Embedded;
use crate::embed::{EmbedLimits, Embedder};
use crate::model::{ErrorKind, Event, EventSink, ServiceKind, StageError, StageResult, Vector};
use crate::state::{CacheKey, Claimant, VectorCache};
use crate::upstream::{Expected, Upstream};

/// The queue lingers for at least this share of the time that the last call took, so that a slow service gets fewer
/// calls that are not full.
const LINGER_SHARE: u32 = 10;
/// Maximum of that share: a call may have waited minutes for a rate limit.
const LONGEST_SHARE: Duration = Duration::from_millis(250);
/// Maximum number of linger periods, from the last answer or batch, before a batch is sent, so that a steady trickle
/// cannot delay it forever.
const LONGEST_LINGER: u32 = 20;
/// Maximum of calls in flight plus answers that are not cached yet, in multiples of `limits.calls`. If the cache is
/// slower than the service, calls wait for it, because answers that are not cached are paid for again if the process
/// dies.
const UNCACHED_PER_CALL: usize = 2;
/// If this many texts were refused individually and none was ever accepted, the cause is not the texts.
const HOPELESS: usize = 8;
/// How long texts wait that another claimant embeds, before they are looked up again.
const TAKEN_PAUSE: Duration = Duration::from_millis(200);

pub(super) type Answers = Vec<StageResult<Embedded>>;

pub(super) enum Message {
    Embed(Request),
    Settle(oneshot::Sender<()>),
}

pub(super) struct Request {
    pub(super) project: String,
    pub(super) texts: Vec<(CacheKey, Arc<str>)>,
    pub(super) answer: oneshot::Sender<Answers>,
    /// Held until the request has arrived, so that it is not missed.
    pub(super) _expected: Expected,
}

/// A request that waits for some of its texts.
struct Open {
    project: String,
    results: Vec<Option<StageResult<Embedded>>>,
    missing: usize,
    cached: u64,
    answer: oneshot::Sender<Answers>,
}

/// A waiter for a key: the request and the text's index in it.
type Waiter = (u64, usize);

/// What a task of the batcher returned.
enum Done {
    LookedUp(Vec<(Text, Option<Vector>)>),
    /// A call has ended; its vectors are not in the cache yet.
    Called(Called),
    /// The vectors of an answer are in the cache.
    Cached(Answered),
}

pub(super) struct Batcher {
    embedder: Arc<dyn Embedder>,
    cache: Option<Arc<dyn VectorCache>>,
    claimant: Claimant,
    cancel: CancellationToken,
    events: EventSink,
    stage: String,
    upstream: Upstream,

    next_request: u64,
    open: HashMap<u64, Open>,
    wanted: HashMap<CacheKey, Vec<Waiter>>,
    /// To be looked up, in the next lookup.
    asked: Vec<Text>,
    looking_up: bool,
    /// Texts that another claimant embeds, and when they are looked up again.
    taken: Vec<Text>,
    taken_until: Instant,
    pending: VecDeque<Text>,
    pending_tokens: usize,
    /// Parts of refused batches; they go first.
    parts: Vec<Vec<Text>>,
    tasks: JoinSet<Done>,
    calls: usize,
    /// Answers that are being put into the cache.
    caching: usize,
    /// When the last text became pending, and when the oldest pending one did; see also `restart_linger`.
    last_arrival: Instant,
    first_arrival: Instant,
    /// How long the last call took.
    took: Duration,
    settling: Vec<oneshot::Sender<()>>,
    accepted_any: bool,
    refused_alone: usize,
}

impl Batcher {
    pub(super) fn new(
        embedder: Arc<dyn Embedder>,
        cache: Option<Arc<dyn VectorCache>>,
        cancel: CancellationToken,
        events: EventSink,
        upstream: Upstream,
    ) -> Self {
        let now = Instant::now();
        Self {
            stage: embedder.stage().to_owned(),
            embedder,
            cache,
            claimant: Claimant::new(),
            cancel,
            events,
            upstream,
            next_request: 0,
            open: HashMap::new(),
            wanted: HashMap::new(),
            asked: Vec::new(),
            looking_up: false,
            taken: Vec::new(),
            taken_until: now,
            pending: VecDeque::new(),
            pending_tokens: 0,
            parts: Vec::new(),
            tasks: JoinSet::new(),
            calls: 0,
            caching: 0,
            last_arrival: now,
            first_arrival: now,
            took: Duration::ZERO,
            settling: Vec::new(),
            accepted_any: false,
            refused_alone: 0,
        }
    }

    pub(super) async fn run(mut self, mut messages: mpsc::UnboundedReceiver<Message>) {
        let (cancel, upstream) = (self.cancel.clone(), self.upstream.clone());
        let mut arrived = Vec::new();
        let mut listening = true;
        while listening || !self.is_settled() {
            if self.taken_until <= Instant::now() {
                self.asked.append(&mut self.taken);
            }
            self.look_up();
            let taken_until = (!self.taken.is_empty()).then_some(self.taken_until);
            let lingers_until = self.make_calls();
            let lingering = lingers_until.is_some();
            let due = lingers_until.into_iter().chain(taken_until).min();
            if self.is_settled() {
                // An error means that the caller has stopped waiting.
                self.settling.drain(..).for_each(|done| done.send(()).unwrap_or_default());
            }
            tokio::select! {
                n = messages.recv_many(&mut arrived, 1024), if listening => {
                    listening = n > 0;
                    arrived.drain(..).for_each(|message| self.accept(message));
                }
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    // The tasks catch panics and are never aborted.
                    if let Ok(done) = done {
                        self.finish(done);
                    }
                }
                () = tokio::time::sleep_until(due.unwrap_or(self.last_arrival)), if due.is_some() => {}
                () = upstream.dry(), if lingering => {}
                () = cancel.cancelled(), if self.has_unsent() => {
                    self.fail_unsent(&StageError::cancelled(&self.stage));
                }
                else => {}
            }
        }
    }

    fn is_settled(&self) -> bool {
        self.wanted.is_empty() && self.tasks.is_empty()
    }

    fn has_unsent(&self) -> bool {
        let unsent =
            [self.asked.is_empty(), self.taken.is_empty(), self.pending.is_empty(), self.parts.is_empty()];
        unsent.contains(&false)
    }

    fn accept(&mut self, message: Message) {
        let Request { project, texts, answer, .. } = match message {
            Message::Embed(request) => request,
            Message::Settle(done) => return self.settling.push(done),
        };
        let id = self.next_request;
        self.next_request += 1;
        let n = texts.len();
        self.open.insert(id, Open { project, results: vec![None; n], missing: n, cached: 0, answer });
        for (place, (key, text)) in texts.into_iter().enumerate() {
            let waiters = self.wanted.entry(key).or_default();
            waiters.push((id, place));
            if waiters.len() == 1 {
                self.asked.push(Text { key, input: text, tokens: 0 });
            }
        }
    }

    /// Starts the next lookup. One at a time: meanwhile the next one's keys gather.
    fn look_up(&mut self) {
        if self.looking_up || self.asked.is_empty() || self.cancel.is_cancelled() {
            return;
        }
        self.looking_up = true;
        let texts = std::mem::take(&mut self.asked);
        let (cache, embedder) = (self.cache.clone(), Arc::clone(&self.embedder));
        self.tasks.spawn(async move {
            let found = match cache {
                Some(cache) => cache.get_many(texts.iter().map(|text| text.key).collect()).await,
                None => vec![None; texts.len()],
            };
            let found = texts.into_iter().zip(found).collect();
            Done::LookedUp(counted(embedder, found).await)
        });
    }

    /// Starts the calls that can be made now. What is left over may go out incomplete at the
    /// time returned, if nothing else arrives, or as soon as nothing else may.
    fn make_calls(&mut self) -> Option<Instant> {
        if self.cancel.is_cancelled() {
            return None;
        }
        let limits = self.embedder.limits();
        let most = limits.calls.max(1);
        while self.calls < most && self.calls + self.caching < most * UNCACHED_PER_CALL {
            let batch = match self.parts.pop() {
                Some(part) => part.into_iter().filter(|text| self.is_still_wanted(text)).collect(),
                None if self.pending.is_empty() => return None,
                None => {
                    let full = self.pending.len() >= limits.inputs_per_call
                        || self.pending_tokens >= limits.tokens_per_call;
                    // What is being looked up comes within a moment, and may fill the batch.
                    let linger = self.linger();
                    let due = (self.last_arrival + linger).min(self.first_arrival + linger * LONGEST_LINGER);
                    let more_may_come = !self.upstream.is_dry() && due > Instant::now();
                    if !full && (self.looking_up || more_may_come) {
                        return (!self.looking_up).then_some(due);
                    }
                    self.take_batch(limits)
                }
            };
            if !batch.is_empty() {
                self.call(batch);
            }
        }
        None
    }

    /// How long texts wait for more that may come.
    fn linger(&self) -> Duration {
        match self.embedder.linger() {
            Duration::ZERO => Duration::ZERO,
            least => least.max((self.took / LINGER_SHARE).min(LONGEST_SHARE)),
        }
    }

    fn take_batch(&mut self, limits: EmbedLimits) -> Vec<Text> {
        let mut batch = Vec::new();
        let mut tokens = 0;
        while let Some(text) = self.pending.pop_front() {
            let too_much =
                tokens + text.tokens > limits.tokens_per_call || batch.len() >= limits.inputs_per_call;
            if too_much && !batch.is_empty() {
                self.pending.push_front(text);
                break;
            }
            self.pending_tokens -= text.tokens;
            if self.is_still_wanted(&text) {
                tokens += text.tokens;
                batch.push(text);
            }
        }
        self.first_arrival = Instant::now();
        batch
    }

    /// False, and the text is forgotten, where everyone who waited has gone.
    fn is_still_wanted(&mut self, text: &Text) -> bool {
        let waiters = self.wanted.get(&text.key).map_or(&[][..], Vec::as_slice);
        if waiters.iter().any(|(id, _)| self.open.get(id).is_some_and(|open| !open.answer.is_closed())) {
            return true;
        }
        self.answer(&text.key, |_| Err(StageError::cancelled("")));
        false
    }

    fn call(&mut self, batch: Vec<Text>) {
        self.calls += 1;
        let (embedder, cache, claimant) = (Arc::clone(&self.embedder), self.cache.clone(), self.claimant);
        self.tasks
            .spawn(async move { Done::Called(claim_and_call(&*embedder, cache, claimant, batch).await) });
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::LookedUp(texts) => self.looked_up(texts),
            Done::Called(Called { cached, taken, outcome }) => {
                self.calls -= 1;
                for (text, vector) in cached {
                    self.answer_cached(&text.key, &vector);
                }
                if self.taken.is_empty() {
                    self.taken_until = Instant::now() + TAKEN_PAUSE;
                }
                self.taken.extend(taken);
                match outcome {
                    Outcome::NothingSent => {}
                    Outcome::Answered(answered) => self.called(answered),
                    Outcome::Failed(batch, error) if error.kind.is_item() => self.refused(batch, error),
                    Outcome::Failed(batch, error) => {
                        for text in &batch {
                            self.fail(&text.key, &error);
                        }
                        self.fail_unsent(&error);
                    }
                }
            }
            Done::Cached(answered) => {
                self.caching -= 1;
                self.answered(&answered);
            }
        }
    }

    fn looked_up(&mut self, texts: Vec<(Text, Option<Vector>)>) {
        self.looking_up = false;
        let most = self.embedder.limits().tokens_per_input;
        for (text, vector) in texts {
            if let Some(vector) = vector {
                self.answer_cached(&text.key, &vector);
            } else if text.input.is_empty() {
                self.fail(&text.key, &StageError::refused(&self.stage, "an empty text has no vector"));
            } else if text.tokens > most {
                let message = format!("a text of {} tokens is over the limit of {most}", text.tokens);
                self.fail(&text.key, &StageError::refused(&self.stage, message));
            } else {
                self.last_arrival = Instant::now();
                if self.pending.is_empty() {
                    self.first_arrival = self.last_arrival;
                }
                self.pending_tokens += text.tokens;
                self.pending.push_back(text);
            }
        }
    }

    /// Starts caching an answer. The next call does not wait for the cache; the callers are answered after it.
    fn called(&mut self, answered: Answered) {
        self.accepted_any = true;
        self.took = answered.took;
        self.restart_linger();
        let Some(cache) = self.cache.clone() else {
            return self.answered(&answered);
        };
        let claimant = self.claimant;
        self.caching += 1;
        self.tasks.spawn(async move {
            remember(&*cache, claimant, &answered).await;
            Done::Cached(answered)
        });
    }

    /// Restarts the linger timers, because answered files free memory for others, whose texts may join a batch.
    fn restart_linger(&mut self) {
        self.last_arrival = Instant::now();
        self.first_arrival = self.last_arrival;
    }

    fn answered(&mut self, Answered { batch, vectors, tokens, took }: &Answered) {
        self.restart_linger();
        if !self.embedder.reports_calls() {
            self.events.emit(Event::Call {
                service: ServiceKind::Embedder,
                stage: self.stage.clone(),
                operation: "embed",
                items: batch.len() as u64,
                tokens: *tokens,
                seconds: took.as_secs_f64(),
                ok: true,
                error: None,
            });
        }
        let counts_each = self.embedder.is_free();
        let shares = shares(*tokens, batch);
        for ((text, vector), tokens) in batch.iter().zip(vectors).zip(shares) {
            let Some(vector) = vector else {
                let error = StageError::refused(&self.stage, "the embedder has no usable vector for a text");
                self.fail(&text.key, &error);
                continue;
            };
            self.answer(&text.key, |first| {
                let counts = first || counts_each;
                let tokens = if counts { tokens } else { 0 };
                Ok(Embedded { vector: Arc::clone(vector), cached: !counts, tokens })
            });
        }
    }

    /// Halves a refused batch; the halves are sent before anything else, so that the one text is
    /// found in about twice the logarithm of the batch's size.
    fn refused(&mut self, mut batch: Vec<Text>, error: StageError) {
        if let [text] = &batch[..] {
            self.refused_alone += 1;
            if self.accepted_any || self.refused_alone < HOPELESS {
                return self.fail(&text.key, &error);
            }
            let error = StageError {
                kind: ErrorKind::Misconfigured,
                message: format!("every text is refused: {}", error.message),
                hint: error.hint.or_else(|| Some("check the model's name and the stage's settings".into())),
                ..error
            };
            self.fail(&text.key, &error);
            return self.fail_unsent(&error);
        }
        // The embedder may have learnt from the refusal that it takes fewer texts at once.
        let part = self.embedder.limits().inputs_per_call.clamp(1, batch.len().div_ceil(2));
        while batch.len() > part {
            let tail = batch.split_off(batch.len() - part);
            self.parts.push(tail);
        }
        self.parts.push(batch);
    }

    /// Everything that is not in flight ends with this error.
    fn fail_unsent(&mut self, error: &StageError) {
        self.pending_tokens = 0;
        let mut unsent = std::mem::take(&mut self.asked);
        unsent.append(&mut self.taken);
        unsent.extend(self.pending.drain(..));
        unsent.extend(self.parts.drain(..).flatten());
        for text in unsent {
            self.fail(&text.key, error);
        }
    }

    fn answer_cached(&mut self, key: &CacheKey, vector: &Vector) {
        self.answer(key, |_| Ok(Embedded { vector: Arc::clone(vector), cached: true, tokens: 0 }));
    }

    fn fail(&mut self, key: &CacheKey, error: &StageError) {
        self.answer(key, |_| Err(error.clone()));
    }

    /// Sends the result to all waiters of the key; `make` gets true for the first of them.
    fn answer(&mut self, key: &CacheKey, make: impl Fn(bool) -> StageResult<Embedded>) {
        for (nth, (id, place)) in self.wanted.remove(key).unwrap_or_default().into_iter().enumerate() {
            let Some(open) = self.open.get_mut(&id) else { continue };
            let result = make(nth == 0);
            open.cached += u64::from(result.as_ref().is_ok_and(|embedded| embedded.cached));
            if open.results[place].replace(result).is_none() {
                open.missing -= 1;
            }
            if open.missing == 0
                && let Some(Open { project, results, cached, answer, .. }) = self.open.remove(&id)
            {
                if cached > 0 {
                    self.events.emit(Event::CacheHits { project, n: cached });
                }
                // An error means that the caller has stopped waiting.
                drop(answer.send(results.into_iter().flatten().collect()));
            }
        }
    }
}
