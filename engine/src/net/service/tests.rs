use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{pending, ready};
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full};
use reqwest::{Method, StatusCode};
use url::Url;

use super::*;
use crate::model::register_secrets;
use crate::net::limit::bank::Bank;
use crate::net::transport::{TransportBody, TransportError};
use crate::net::{Oversize, RetryPolicy};

const SECOND: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(60);

/// What the fake service does with one request.
enum Reply {
    Status(u16, &'static [(&'static str, &'static str)], &'static str),
    /// 200, and a number of pieces of `piece`, one per second; then no more bytes if it stalls.
    Drip {
        pieces: usize,
        stalls: bool,
    },
    Hang,
    Broken,
}

const OK: Reply = Reply::Status(200, &[], "fine");

/// A service whose replies are fixed. Beyond them all is well.
#[derive(Default)]
struct Fake {
    replies: Mutex<VecDeque<Reply>>,
    requests: Mutex<usize>,
}

#[async_trait]
impl Transport for Fake {
    async fn send(&self, _: &ServiceRequest) -> Result<http::Response<TransportBody>, TransportError> {
        *self.requests.lock() += 1;
        let reply = self.replies.lock().pop_front().unwrap_or(OK);
        let whole = |body: Bytes| Full::new(body).map_err(|never: Infallible| match never {}).boxed_unsync();
        match reply {
            Reply::Status(status, headers, body) => {
                let mut response = http::Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(*name, *value);
                }
                Ok(response.body(whole(Bytes::from_static(body.as_bytes()))).expect("a response"))
            }
            Reply::Drip { pieces, stalls } => {
                let pieces = stream::iter(0..pieces).then(|_| async {
                    tokio::time::sleep(SECOND).await;
                    Ok::<_, Infallible>(Bytes::from_static(b"piece"))
                });
                let rest = stream::once(pending()).take(usize::from(stalls));
                let body = reqwest::Body::wrap_stream(pieces.chain(rest));
                Ok(http::Response::new(body.map_err(TransportError::Http).boxed_unsync()))
            }
            Reply::Hang => pending().await,
            Reply::Broken => Err(TransportError::Unreadable),
        }
    }
}

struct Bench {
    fake: Arc<Fake>,
    limiter: Arc<Limiter>,
    cancel: CancellationToken,
    events: Arc<Mutex<Vec<Event>>>,
    service: Service,
}

impl Bench {
    fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        let fake = Arc::new(Fake { replies: Mutex::new(replies.into_iter().collect()), ..Fake::default() });
        let (limiter, cancel) = (Limiter::new(4, None, None), CancellationToken::new());
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        let sink = EventSink::new(move |event| seen.lock().push(event));
        let transport = Arc::clone(&fake) as Arc<dyn Transport>;
        let limits = Arc::clone(&limiter);
        let service = Service::new(ServiceKind::Store, "vectors", transport, limits, cancel.clone(), sink);
        let timeouts = Timeouts { retry: RetryPolicy { tries: 3, ..RetryPolicy::default() }, answer: ANSWER };
        Self { fake, limiter, cancel, events, service: service.with_timeouts(timeouts) }
    }

    async fn call(&self, request: &ServiceRequest) -> StageResult<String> {
        self.service.call(request, |response| ready(classify(&response))).await
    }

    fn requests(&self) -> usize {
        *self.fake.requests.lock()
    }

    /// Seconds and reasons of the reported waits.
    fn waits(&self) -> Vec<(f64, String)> {
        let events = self.events.lock();
        let waits = events.iter().filter_map(|event| match event {
            Event::Waiting { stage, seconds, reason } if stage == "vectors" => {
                Some((*seconds, reason.clone()))
            }
            _ => None,
        });
        waits.collect()
    }

    /// Of each call, tokens and the type of its error.
    fn calls(&self) -> Vec<(u64, Option<&'static str>)> {
        let events = self.events.lock();
        let calls = events.iter().filter_map(|event| match event {
            Event::Call { tokens, ok, error, .. } => {
                assert_eq!(*ok, error.is_none());
                Some((*tokens, *error))
            }
            _ => None,
        });
        calls.collect()
    }
}

/// The meaning of answers: 409 is understood, 429 and 5xx pass, others do not.
fn classify(response: &ServiceResponse) -> Classified<String> {
    let body = String::from_utf8_lossy(&response.body).into_owned();
    let retry_after = response.retry_after();
    let transient = |failure| {
        let kind = ErrorKind::Transient { retry_after };
        Err(CallError::new(failure, StageError::new("vectors", kind, format!("busy: {body}"))))
    };
    match response.status {
        StatusCode::CONFLICT => Ok(Accepted::declined(CallFailure::Refused, body)),
        StatusCode::TOO_MANY_REQUESTS => transient(CallFailure::RateLimit),
        status if status.is_server_error() => transient(CallFailure::Server),
        status if status.is_success() => Ok(Accepted::new(body).tokens(Some(7))),
        _ => Err(StageError::misconfigured("vectors", body).into()),
    }
}

fn request() -> ServiceRequest {
    let url = Url::parse("https://vectors.example/query").expect("a URL");
    ServiceRequest { tokens: 5, ..ServiceRequest::new("query", Method::POST, url) }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_limited_and_told() {
    let bench = Bench::new([Reply::Broken, Reply::Status(409, &[], "there"), OK]);
    assert_eq!(bench.call(&request()).await.expect("understood"), "there");
    assert_eq!(bench.call(&request()).await.expect("fine"), "fine");
    assert_eq!(bench.calls(), [(5, Some("invalid_answer")), (5, Some("refused")), (7, None)]);
    assert_eq!(bench.limiter.allowed(), 4, "none of these is a rate limit");
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_five_minutes_holds_everyone_and_is_told_once() {
    let busy = Reply::Status(429, &[("retry-after", "300")], "slow down");
    let bench = Bench::new([busy]);
    let start = Instant::now();
    let request = request();
    let (first, second) = tokio::join!(bench.call(&request), async {
        tokio::time::sleep(SECOND).await;
        bench.call(&request).await
    });
    assert_eq!((first.expect("fine"), second.expect("fine")), ("fine".into(), "fine".into()));
    assert!(start.elapsed() >= Duration::from_secs(300));
    assert_eq!(bench.waits(), [(300.0, "busy: slow down".to_owned())]);
    assert_eq!(bench.requests(), 3, "nothing is asked during the pause");
    assert_eq!(bench.calls()[0], (5, Some("rate_limit")));
}

#[tokio::test(start_paused = true)]
async fn a_longer_pause_ends_the_call_at_once_and_holds_nobody() {
    for status in [429, 503] {
        let bench = Bench::new([Reply::Status(status, &[("retry-after", "301")], "not today")]);
        let start = Instant::now();
        let error = bench.call(&request()).await.expect_err("too long");
        let retry_after = Some(Duration::from_secs(301));
        assert_eq!(error.kind, ErrorKind::Transient { retry_after });
        assert_eq!(error.message, "busy: not today (asked to wait 301 s)");
        assert!(error.hint.is_some());
        assert_eq!(bench.call(&request()).await.expect("asked anew"), "fine");
        assert_eq!((start.elapsed(), bench.requests()), (Duration::ZERO, 2));
        assert_eq!(bench.waits(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn tries_are_used_up_with_the_last_error() {
    let bench = Bench::new((0..9).map(|_| Reply::Status(503, &[], "down")));
    let error = bench.call(&request()).await.expect_err("used up");
    assert_eq!((bench.requests(), error.message.as_str()), (3, "busy: down"));
    assert_eq!(bench.waits().len(), 2);
    assert!(error.hint.expect("what to do").starts_with("it was tried 3 times"));
    let bench = Bench::new([Reply::Status(503, &[], "down")]);
    let once = bench.service.call_once(&request(), |response| ready(classify(&response))).await;
    assert!(once.is_err() && bench.requests() == 1, "a single try");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_tried_again() {
    let bench = Bench::new([Reply::Status(301, &[("location", "https://elsewhere.example")], "moved")]);
    let error = bench.call(&request()).await.expect_err("not followed");
    assert_eq!((error.kind, bench.requests()), (ErrorKind::Misconfigured, 1));
}

#[tokio::test(start_paused = true)]
async fn the_rate_limit_of_a_service_halves_the_calls_at_once() {
    let bench = Bench::new([Reply::Status(429, &[], ""), Reply::Status(500, &[], "")]);
    bench.call(&request()).await.expect("the third try");
    assert_eq!(bench.limiter.allowed(), 2);
}

#[tokio::test(start_paused = true)]
async fn silence_is_waited_for_no_longer_than_the_time_out() {
    for deadline in [Deadline::Total, Deadline::Idle] {
        let request = ServiceRequest { deadline, ..request() };
        let bench = Bench::new([Reply::Hang, Reply::Drip { pieces: 2, stalls: true }, Reply::Hang]);
        let error = bench.call(&request).await.expect_err("silence");
        assert_eq!(error.message, "no answer in time from vectors.example");
        assert_eq!(bench.calls(), [(5, Some("timeout")); 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_read_where_the_line_decides() {
    let slow = || Reply::Drip { pieces: 100, stalls: false };
    let bench = Bench::new([slow(), slow()]);
    let request = ServiceRequest { deadline: Deadline::Idle, ..request() };
    assert_eq!(bench.call(&request).await.expect("100 seconds").len(), 500);
    let request = ServiceRequest { deadline: Deadline::Total, ..request };
    assert_eq!(bench.call(&request).await.expect("after the time-out"), "fine");
    assert_eq!(bench.requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_body_without_end_is_not_read_to_its_end() {
    let endless = || Reply::Drip { pieces: usize::MAX, stalls: false };
    let request =
        ServiceRequest { longest: 12, oversize: Oversize::Refuse, deadline: Deadline::Idle, ..request() };
    let bench = Bench::new([endless()]);
    let error = bench.call(&request).await.expect_err("refused");
    assert_eq!((error.kind, bench.requests()), (ErrorKind::Refused, 1));
    assert_eq!(error.message, "vectors.example sent more than 12 B for `query`");
    let request = ServiceRequest { oversize: Oversize::Retry, ..request };
    let bench = Bench::new([endless(), Reply::Status(200, &[], "announced to be too long")]);
    assert_eq!(bench.call(&request).await.expect("the third answer"), "fine");
    assert_eq!(bench.calls()[..2], [(5, Some("invalid_answer")); 2]);
    let request = ServiceRequest { reads_success: false, ..request };
    let bench = Bench::new([endless()]);
    assert_eq!(bench.call(&request).await.expect("its status is enough"), "");
}

#[tokio::test(start_paused = true)]
async fn an_error_holds_no_secret() {
    register_secrets(["of-the-service-test-5e".to_owned()]);
    let bench = Bench::new([Reply::Status(401, &[], "{\"wrong\":\"of-the-service-test-5e\"}")]);
    let error = bench.call(&request()).await.expect_err("401");
    assert_eq!(error.message, "{\"wrong\":\"***\"}");
}

#[tokio::test(start_paused = true)]
async fn cancellation_ends_a_call_wherever_it_is() {
    let busy = || Reply::Status(429, &[("retry-after", "200")], "");
    for (what, replies) in [
        ("sending", vec![Reply::Hang]),
        ("reading", vec![Reply::Drip { pieces: 1, stalls: true }]),
        ("waiting for the next try", vec![busy()]),
    ] {
        let bench = Bench::new(replies);
        let start = Instant::now();
        let request = request();
        let (result, ()) = tokio::join!(bench.call(&request), async {
            tokio::time::sleep(2 * SECOND).await;
            bench.cancel.cancel();
        });
        assert_eq!(result.expect_err(what).kind, ErrorKind::Cancelled);
        assert_eq!((start.elapsed(), bench.requests()), (2 * SECOND, 1), "{what}");
    }
    let bench = Bench::new([]);
    bench.limiter.pause(200 * SECOND, "slow down");
    bench.cancel.cancel();
    assert_eq!(bench.call(&request()).await.expect_err("held").kind, ErrorKind::Cancelled);
    assert_eq!(bench.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_paid_call_is_finished() {
    let bench = Bench::new([Reply::Drip { pieces: 10, stalls: false }]);
    let request = ServiceRequest { paid: true, ..request() };
    let (result, ()) = tokio::join!(bench.call(&request), async {
        tokio::time::sleep(SECOND).await;
        bench.cancel.cancel();
    });
    assert_eq!(result.expect("its answer").len(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_used_up_budget_is_waited_for_or_refused() {
    let bench = Bench::new([]);
    bench.service.hold(Duration::from_millis(200), "used up");
    bench.service.hold(10 * SECOND, "used up");
    assert_eq!(bench.waits(), [(10.0, "used up".to_owned())]);
    let start = Instant::now();
    bench.call(&request()).await.expect("after the wait");
    assert!(start.elapsed() >= 10 * SECOND);

    bench.service.hold(400 * SECOND, "used up until later");
    let error = bench.call(&request()).await.expect_err("too long");
    assert_eq!(error.kind, ErrorKind::Transient { retry_after: Some(400 * SECOND) });
    assert_eq!(error.message, "used up until later (asked to wait 400 s)");
    assert_eq!(bench.requests(), 1, "it is not asked");
    // The rest of the time is short enough to be waited for.
    tokio::time::sleep(150 * SECOND).await;
    bench.call(&request()).await.expect("after the rest");
    assert!(start.elapsed() >= 410 * SECOND, "{:?}", start.elapsed());
    bench.service.close(Duration::MAX, "for ever");
    let error = bench.call(&request()).await.expect_err("for a day");
    assert_eq!(error.kind, ErrorKind::Transient { retry_after: Some(LONGEST_CLOSED) });
}

#[tokio::test(start_paused = true)]
async fn processes_that_share_a_service_pause_and_end_together() {
    let bank = Arc::new(Bank::default());
    let shared = |replies| {
        let mut bench = Bench::new(replies);
        let allowances = Arc::clone(&bank) as Arc<dyn Allowances>;
        bench.service = bench.service.sharing(Some(&allowances), Fingerprint::of(["key"]), None);
        bench
    };
    let busy = Reply::Status(429, &[("retry-after", "30")], "slow down");
    let (first, second) = (shared(vec![busy]), shared(Vec::new()));
    let start = Instant::now();
    let request = request();
    let (one, other) = tokio::join!(first.call(&request), async {
        tokio::time::sleep(SECOND).await;
        second.call(&request).await
    });
    assert_eq!((one.expect("fine"), other.expect("fine")), ("fine".into(), "fine".into()));
    assert!(start.elapsed() >= 30 * SECOND);
    assert_eq!((first.requests(), second.requests()), (2, 1));
    let [(seconds, reason)] = &second.waits()[..] else { panic!("{:?}", second.waits()) };
    assert!((28.0..30.0).contains(seconds) && reason == "busy: slow down", "{seconds}: {reason}");

    first.service.hold(400 * SECOND, "used up until later");
    tokio::time::sleep(2 * SECOND).await;
    for _ in 0..2 {
        let error = second.call(&request).await.expect_err("too long");
        assert!(error.message.starts_with("used up until later (asked to wait 39"), "{}", error.message);
    }
    assert_eq!(second.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_processes_share_is_not_asked_for_again_by_the_service() {
    let bank = Arc::new(Bank::default());
    bank.is_down.store(true, Ordering::Relaxed);
    let bench = Bench::new([]);
    let allowances = Arc::clone(&bank) as Arc<dyn Allowances>;
    let service = bench.service.clone().sharing(Some(&allowances), Fingerprint::of(["key"]), None);
    let request = request();
    let error = service.call(&request, |response| ready(classify(&response))).await.expect_err("away");
    assert_eq!((error.stage.as_str(), bank.asked(), bench.requests()), ("state", 1, 0));
}
