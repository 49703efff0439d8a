use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use proptest::prelude::*;

use super::*;
use crate::embed::{EmbedLimits, Embeddings};
use crate::model::{ByteSize, Event, Fingerprint};
use crate::state::sqlite::SqliteVectorCache;
use crate::state::{Claim, Claimant};

/// An embedder that records what it is sent. Its vectors tell the text; its tokens are the bytes
/// of a text and one more for each call (so that a service's count differs from ours).
struct Fake {
    identity: Fingerprint,
    limits: EmbedLimits,
    /// Texts that contain this are refused with their batch.
    refuses: &'static str,
    is_free: bool,
    /// Calls that fail for good, by number.
    fails_call: Option<usize>,
    latency: Duration,
    calls: Mutex<Vec<Vec<String>>>,
    accepted: Mutex<HashMap<String, usize>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl Fake {
    fn new(inputs_per_call: usize, calls: usize) -> Self {
        Self {
            identity: Fingerprint::of(["fake"]),
            limits: EmbedLimits { inputs_per_call, tokens_per_input: 1000, tokens_per_call: 300, calls },
            refuses: "bad",
            is_free: false,
            fails_call: None,
            latency: Duration::from_millis(10),
            calls: Mutex::default(),
            accepted: Mutex::default(),
            at_once: AtomicUsize::default(),
            most_at_once: AtomicUsize::default(),
        }
    }

    fn vector(text: &str) -> Vector {
        let hash = blake3::hash(text.as_bytes());
        hash.as_bytes()[..4].iter().map(|byte| f32::from(*byte) + 1.0).collect()
    }

    fn calls(&self) -> Vec<Vec<String>> {
        self.calls.lock().expect("lock").clone()
    }
}

#[async_trait]
impl Embedder for Fake {
    fn stage(&self) -> &'static str {
        "fake"
    }
    fn identity(&self) -> &Fingerprint {
        &self.identity
    }
    fn label(&self) -> &'static str {
        "fake"
    }
    fn limits(&self) -> EmbedLimits {
        self.limits
    }
    fn is_free(&self) -> bool {
        self.is_free
    }
    fn price_per_million_tokens(&self) -> f64 {
        0.0
    }
    fn count_tokens(&self, text: &str) -> usize {
        text.len()
    }
    async fn dimensions(&self) -> StageResult<usize> {
        Ok(4)
    }
    async fn embed(&self, inputs: &[&str], tokens: u64) -> StageResult<Embeddings> {
        let number = {
            let mut calls = self.calls.lock().expect("lock");
            calls.push(inputs.iter().map(ToString::to_string).collect());
            calls.len() - 1
        };
        let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        tokio::time::sleep(self.latency).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        let sum: usize = inputs.iter().map(|text| text.len()).sum();
        assert_eq!(sum as u64, tokens);
        assert!(inputs.len() <= self.limits.inputs_per_call);
        assert!(sum <= self.limits.tokens_per_call || inputs.len() == 1);
        if self.fails_call == Some(number) {
            return Err(StageError::misconfigured("fake", "no such deployment"));
        }
        if inputs.iter().any(|text| text.contains(self.refuses)) {
            return Err(StageError::refused("fake", "one of the inputs is bad"));
        }
        let mut accepted = self.accepted.lock().expect("lock");
        for text in inputs {
            *accepted.entry((*text).to_owned()).or_default() += 1;
        }
        let vectors =
            inputs.iter().map(|text| if *text == "zero" { [0.0; 4].into() } else { Self::vector(text) });
        Ok(Embeddings { vectors: vectors.collect(), tokens: tokens + 1 })
    }
}

fn texts(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("text {n}")).collect()
}

fn start(fake: &Arc<Fake>, cache: Option<Arc<dyn VectorCache>>) -> EmbedQueue {
    let embedder: Arc<dyn Embedder> = Arc::clone(fake) as _;
    EmbedQueue::new(embedder, cache, CancellationToken::new(), EventSink::none())
}

#[tokio::test(start_paused = true)]
async fn batches_are_filled_across_callers() {
    let fake = Arc::new(Fake::new(10, 4));
    let queue = start(&fake, None);
    let callers = (0..10).map(|n| queue.embed("p", texts(n * 3..n * 3 + 3)));
    let answers = futures::future::join_all(callers).await;
    let sizes: Vec<usize> = fake.calls().iter().map(Vec::len).collect();
    assert_eq!(sizes, [10, 10, 10]);
    for (n, answer) in answers.iter().enumerate() {
        for (text, result) in texts(n * 3..n * 3 + 3).iter().zip(answer) {
            assert_eq!(result.as_ref().expect("embedded").vector, Fake::vector(text));
        }
    }
    let tokens: u64 = answers.iter().flatten().map(|result| result.as_ref().expect("embedded").tokens).sum();
    let ours: usize = texts(0..30).iter().map(String::len).sum();
    assert_eq!(tokens, ours as u64 + 3, "what the service counted, shared out");
}

/// A cache that takes a second to put vectors into it, and forgets them.
#[derive(Debug, Default)]
struct SlowCache {
    waiting: AtomicUsize,
    most_waiting: AtomicUsize,
}

impl SlowCache {
    const TAKES: Duration = Duration::from_secs(1);
}

#[async_trait]
impl VectorCache for SlowCache {
    async fn get_many(&self, keys: Vec<CacheKey>) -> Vec<Option<Vector>> {
        vec![None; keys.len()]
    }
    async fn contains_many(&self, keys: Vec<CacheKey>) -> Vec<bool> {
        vec![false; keys.len()]
    }
    async fn claim_many(&self, _: Claimant, keys: Vec<CacheKey>) -> Vec<Claim> {
        vec![Claim::Given; keys.len()]
    }
    async fn put_many(&self, _: Vec<(CacheKey, Vector)>) {
        let waiting = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_waiting.fetch_max(waiting, Ordering::SeqCst);
        tokio::time::sleep(Self::TAKES).await;
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
    async fn release_many(&self, _: Claimant, _: Vec<CacheKey>) {}
    async fn forget(&self, _: usize) {}
}

#[tokio::test(start_paused = true)]
async fn the_next_call_does_not_wait_for_the_cache_unless_it_is_far_behind() {
    let (fake, cache) = (Arc::new(Fake::new(10, 2)), Arc::new(SlowCache::default()));
    let queue = start(&fake, Some(Arc::clone(&cache) as _));
    let before = tokio::time::Instant::now();
    let answers = queue.embed("p", texts(0..80)).await;
    assert!(answers.iter().all(Result::is_ok));
    // Four of the eight calls are made one after the other, the others when answers are in the cache.
    assert_eq!(before.elapsed(), SlowCache::TAKES * 2 + fake.latency * 3);
    assert_eq!(cache.most_waiting.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn an_answer_makes_room_for_more_to_join_a_batch() {
    let fake = Arc::new(Fake { latency: Duration::from_secs(1), ..Fake::new(10, 1) });
    let queue = start(&fake, None);
    let _more = queue.expect();
    let first = async {
        queue.embed("p", texts(0..15)).await;
    };
    let freed = async {
        // Longer than for a quick service.
        tokio::time::sleep(fake.latency + fake.linger() * 3 / 2).await;
        queue.embed("p", texts(15..20)).await;
    };
    tokio::join!(first, freed);
    let sizes: Vec<usize> = fake.calls().iter().map(Vec::len).collect();
    assert_eq!(sizes, [10, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_call_of_minutes_delays_the_next_batch_by_a_quarter_of_a_second_at_most() {
    let fake = Arc::new(Fake { latency: Duration::from_secs(300), ..Fake::new(10, 1) });
    let queue = start(&fake, None);
    let _more = queue.expect();
    let before = tokio::time::Instant::now();
    queue.embed("p", texts(0..15)).await;
    assert_eq!(before.elapsed(), fake.latency * 2 + Duration::from_millis(250));
}

#[tokio::test(start_paused = true)]
async fn the_last_texts_wait_only_for_the_linger() {
    let fake = Arc::new(Fake::new(100, 2));
    let queue = start(&fake, None);
    let before = tokio::time::Instant::now();
    let expected = queue.expect();
    queue.embed("p", texts(0..3)).await;
    assert_eq!(before.elapsed(), fake.linger() + fake.latency);
    drop(expected);
    let before = tokio::time::Instant::now();
    queue.embed("p", texts(3..6)).await;
    assert_eq!(before.elapsed(), fake.latency, "nothing else may come");
}

#[tokio::test(start_paused = true)]
async fn texts_go_as_soon_as_nothing_else_may_come() {
    let fake = Arc::new(Fake::new(100, 2));
    let queue = start(&fake, None);
    let before = tokio::time::Instant::now();
    let expected = queue.expect();
    let nothing_came = async {
        tokio::time::sleep(fake.linger() / 5).await;
        drop(expected);
    };
    futures::future::join(queue.embed("p", texts(0..3)), nothing_came).await;
    assert_eq!(before.elapsed(), fake.linger() / 5 + fake.latency);
}

/// 500 files of three texts, arriving over half a second, at 750 ms a batch of 100 and eight calls
/// at once: 15 calls in two rounds.
#[tokio::test(start_paused = true)]
async fn hardly_more_waiting_than_the_service_makes_unavoidable() {
    let mut fake = Fake::new(100, 8);
    fake.limits.tokens_per_call = 300_000;
    fake.latency = Duration::from_millis(750);
    let fake = Arc::new(fake);
    let queue = start(&fake, None);
    let before = tokio::time::Instant::now();
    let file = async |(n, expected): (usize, _)| {
        tokio::time::sleep(Duration::from_millis(n as u64 / 5)).await;
        queue.embed_expected("p", texts(n * 3..n * 3 + 3), expected).await
    };
    let files: Vec<_> = (0..500).map(|n| (n, queue.expect())).collect();
    let answers = futures::future::join_all(files.into_iter().map(file)).await;
    assert!(answers.iter().flatten().all(Result::is_ok));
    assert_eq!(fake.calls().len(), 15);
    assert!(before.elapsed() <= Duration::from_millis(1500 * 12 / 10), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn equal_texts_are_sent_once_and_say_so() {
    let fake = Arc::new(Fake::new(100, 2));
    let queue = start(&fake, None);
    let same = || vec!["same".to_owned(), "same".to_owned()];
    let (first, second) = tokio::join!(queue.embed("p", same()), queue.embed("q", same()));
    assert_eq!(fake.calls(), [["same"]]);
    let cached: Vec<bool> =
        first.iter().chain(&second).map(|r| r.as_ref().expect("embedded").cached).collect();
    assert_eq!(cached, [false, true, true, true]);
}

#[tokio::test]
async fn the_cache_is_asked_first_and_filled_before_the_answer() {
    let folder = tempfile::tempdir().expect("temp dir");
    let cache: Arc<dyn VectorCache> = Arc::new(SqliteVectorCache::open(folder.path(), ByteSize::mib(8)));
    let fake = Arc::new(Fake::new(100, 2));
    let queue = start(&fake, Some(Arc::clone(&cache)));
    queue.embed("p", texts(0..5)).await;
    assert_eq!(queue.peek(&texts(3..7)).await, [true, true, false, false]);
    let hits = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&hits);
    let events = EventSink::new(move |event| {
        if let Event::CacheHits { n, .. } = event {
            counter.fetch_add(n, Ordering::SeqCst);
        }
    });
    let again = EmbedQueue::new(Arc::clone(&fake) as _, Some(cache), CancellationToken::new(), events);
    let answers = again.embed("p", texts(3..7)).await;
    assert_eq!(fake.calls()[1..], [texts(5..7)]);
    assert_eq!(hits.load(Ordering::SeqCst), 2);
    assert!(answers.iter().zip([true, true, false, false]).all(|(a, b)| a.as_ref().expect("ok").cached == b));
}

/// Equal texts may go out together, but each counts, as a plan says; the cache is neither asked nor filled.
#[tokio::test]
async fn an_embedder_that_is_free_has_no_cache_and_counts_every_text() {
    let folder = tempfile::tempdir().expect("temp dir");
    let cache: Arc<dyn VectorCache> = Arc::new(SqliteVectorCache::open(folder.path(), ByteSize::mib(8)));
    let fake = Arc::new(Fake { is_free: true, ..Fake::new(100, 2) });
    let queue = start(&fake, Some(cache));
    queue.remember(vec![("found".to_owned(), Fake::vector("found"))]).await;
    for _ in 0..2 {
        let inputs = ["same", "same", "found"].map(str::to_owned).to_vec();
        assert_eq!(queue.peek(&inputs).await, [false; 3]);
        for (text, answer) in inputs.iter().zip(queue.embed("p", inputs.clone()).await) {
            let answer = answer.expect("embedded");
            assert_eq!((answer.cached, answer.vector), (false, Fake::vector(text)));
            assert!(answer.tokens >= text.len() as u64, "{text}: {}", answer.tokens);
        }
    }
    assert_eq!(fake.calls(), [["same", "found"], ["same", "found"]]);
    assert!(!folder.path().join("cache.db").exists());
}

#[tokio::test(start_paused = true)]
async fn one_refused_text_is_found_in_logarithmic_calls() {
    let fake = Arc::new(Fake::new(256, 4));
    let mut fake_limits = fake.limits;
    fake_limits.tokens_per_call = 100_000;
    let fake = Arc::new(Fake { limits: fake_limits, ..Arc::into_inner(fake).expect("alone") });
    let queue = start(&fake, None);
    let mut inputs = texts(0..5000);
    inputs[1234] = "bad".into();
    let answers = queue.embed("p", inputs.clone()).await;
    for (text, answer) in inputs.iter().zip(&answers) {
        assert_eq!(answer.is_err(), text == "bad");
    }
    assert!(fake.accepted.lock().expect("lock").values().all(|&times| times == 1), "nothing is paid twice");
    let needed = 5000usize.div_ceil(256);
    assert!(fake.calls().len() <= needed + 2 * 8, "{} calls", fake.calls().len());
}

#[tokio::test(start_paused = true)]
async fn an_embedder_that_refuses_everything_is_misconfigured() {
    let fake = Arc::new(Fake { refuses: "text", ..Fake::new(16, 2) });
    let queue = start(&fake, None);
    let answers = queue.embed("p", texts(0..500)).await;
    assert!(fake.calls().len() < 40, "{} calls", fake.calls().len());
    let last = answers.last().expect("some").as_ref().expect_err("refused");
    assert_eq!(last.kind, ErrorKind::Misconfigured);
    assert!(last.message.contains("one of the inputs is bad"), "{last}");
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_ends_all_that_wait_but_not_the_queue() {
    let fake = Arc::new(Fake { fails_call: Some(0), ..Fake::new(10, 1) });
    let queue = start(&fake, None);
    let answers = queue.embed("p", texts(0..25)).await;
    assert_eq!(fake.calls().len(), 1);
    assert!(answers.iter().all(|a| a.as_ref().is_err_and(|e| e.kind == ErrorKind::Misconfigured)));
    assert!(queue.embed("p", texts(0..25)).await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn unusable_texts_and_vectors_are_refused_alone() {
    let fake = Arc::new(Fake::new(10, 1));
    let queue = start(&fake, None);
    let inputs = vec!["fine".to_owned(), String::new(), "long ".repeat(300), "zero".into()];
    let answers = queue.embed("p", inputs).await;
    let failed: Vec<Option<ErrorKind>> = answers.iter().map(|a| a.as_ref().err().map(|e| e.kind)).collect();
    let refused = Some(ErrorKind::Refused);
    assert_eq!(failed, [None, refused, refused, refused]);
    assert_eq!(fake.calls(), [["fine", "zero"]]);
}

#[tokio::test(start_paused = true)]
async fn cancelling_finishes_what_is_in_flight() {
    let folder = tempfile::tempdir().expect("temp dir");
    let cache: Arc<dyn VectorCache> = Arc::new(SqliteVectorCache::open(folder.path(), ByteSize::mib(8)));
    let fake = Arc::new(Fake { latency: Duration::from_secs(5), ..Fake::new(10, 1) });
    let cancel = CancellationToken::new();
    let queue = EmbedQueue::new(Arc::clone(&fake) as _, Some(cache), cancel.clone(), EventSink::none());
    let waiting = queue.embed("p", texts(0..30));
    let stop = async {
        while fake.calls().is_empty() {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let (answers, ()) = tokio::join!(waiting, stop);
    queue.settle().await;
    assert_eq!(fake.calls().len(), 1);
    assert_eq!(answers.iter().filter(|a| a.is_ok()).count(), 10);
    assert!(answers[10..].iter().all(|a| a.as_ref().is_err_and(|e| e.kind == ErrorKind::Cancelled)));
    assert_eq!(queue.peek(&texts(0..11)).await, [&[true; 10][..], &[false]].concat());
    let late = queue.embed("p", texts(40..41)).await;
    assert!(late[0].as_ref().is_err_and(|e| e.kind == ErrorKind::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_left_costs_nothing_more() {
    let fake = Arc::new(Fake::new(10, 1));
    let queue = start(&fake, None);
    let _more = queue.expect();
    let left = tokio::time::timeout(Duration::from_millis(5), queue.embed("p", texts(0..3))).await;
    assert!(left.is_err());
    queue.embed("p", texts(3..4)).await;
    queue.settle().await;
    assert_eq!(fake.calls(), [texts(3..4)]);
}

#[derive(Debug, Clone)]
struct Scenario {
    inputs_per_call: usize,
    tokens_per_call: usize,
    calls: usize,
    fails_call: Option<usize>,
    with_cache: bool,
    /// Callers are announced before any asks.
    announced: bool,
    /// For each caller: when it asks (ms), and for which texts.
    callers: Vec<(u64, Vec<u8>)>,
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let caller = (0u64..120, proptest::collection::vec(0u8..60, 0..12));
    let callers = proptest::collection::vec(caller, 1..25);
    let fails_call = proptest::option::weighted(0.2, 0usize..4);
    (1usize..12, 10usize..200, 1usize..5, fails_call, any::<(bool, bool)>(), callers).prop_map(
        |(inputs_per_call, tokens_per_call, calls, fails_call, (with_cache, announced), callers)| Scenario {
            inputs_per_call,
            tokens_per_call,
            calls,
            fails_call,
            with_cache,
            announced,
            callers,
        },
    )
}

/// Every seventh text is refused.
fn text_of(n: u8) -> String {
    if n.is_multiple_of(7) { format!("bad {n}") } else { format!("text {n}").repeat(usize::from(n % 5) + 1) }
}

async fn hold(scenario: Scenario) {
    let folder = tempfile::tempdir().expect("temp dir");
    let cache = scenario
        .with_cache
        .then(|| Arc::new(SqliteVectorCache::open(folder.path(), ByteSize::mib(8))) as Arc<dyn VectorCache>);
    let mut fake = Fake::new(scenario.inputs_per_call, scenario.calls);
    fake.limits.tokens_per_call = scenario.tokens_per_call;
    fake.fails_call = scenario.fails_call;
    let fake = Arc::new(fake);
    let queue = start(&fake, cache);
    let ask = async |((at, texts), expected): (&(u64, Vec<u8>), Option<_>)| {
        tokio::time::sleep(Duration::from_millis(*at)).await;
        let expected = expected.unwrap_or_else(|| queue.expect());
        queue.embed_expected("p", texts.iter().map(|&n| text_of(n)).collect(), expected).await
    };
    let announce = |caller| (caller, scenario.announced.then(|| queue.expect()));
    let callers: Vec<_> = scenario.callers.iter().map(announce).collect();
    let answers = futures::future::join_all(callers.into_iter().map(ask)).await;
    let mut tokens = 0;
    for ((_, asked), answers) in scenario.callers.iter().zip(&answers) {
        assert_eq!(asked.len(), answers.len());
        for (&n, answer) in asked.iter().zip(answers) {
            match answer {
                Ok(embedded) => {
                    assert_eq!(embedded.vector, Fake::vector(&text_of(n)), "the answer is in its place");
                    assert!(!embedded.cached || embedded.tokens == 0);
                    tokens += embedded.tokens;
                }
                Err(error) if error.kind == ErrorKind::Refused => assert!(n.is_multiple_of(7)),
                Err(error) => {
                    let hopeless = error.message.contains("every text is refused");
                    assert!(hopeless || scenario.fails_call.is_some(), "{error}");
                }
            }
        }
    }
    let accepted = fake.accepted.lock().expect("lock");
    if scenario.with_cache {
        assert!(accepted.values().all(|&times| times == 1), "sent twice: {accepted:?}");
    }
    let calls = fake.calls();
    let refused_or_failed = |(number, call): &(usize, &Vec<String>)| {
        scenario.fails_call == Some(*number) || call.iter().any(|text| text.contains("bad"))
    };
    let paid: usize = calls
        .iter()
        .enumerate()
        .filter(|call| !refused_or_failed(call))
        .map(|(_, call)| call.iter().map(String::len).sum::<usize>() + 1)
        .sum();
    assert_eq!(tokens, paid as u64, "the tokens told are the tokens paid");
    assert!(fake.most_at_once.load(Ordering::SeqCst) <= scenario.calls);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    #[test]
    fn all_are_answered_in_place_and_nothing_is_sent_twice(scenario in scenario()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(hold(scenario));
    }
}
