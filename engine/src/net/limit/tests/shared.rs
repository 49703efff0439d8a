use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::super::bank::Bank;
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const FIVE_MINUTES: Duration = Duration::from_secs(300);

/// The limiter of a process that shares its limits.
fn process(
    bank: &Arc<Bank>,
    calls: usize,
    (requests, tokens): (Option<u32>, Option<u32>),
    at_once: Option<usize>,
) -> Arc<Limiter> {
    let limiter = Limiter::new(calls, requests, tokens);
    let allowances = Arc::clone(bank) as Arc<dyn Allowances>;
    limiter.share("ada", allowances, Fingerprint::of(["key"]), at_once);
    limiter
}

/// Makes calls of `tokens` tokens for five minutes, `callers` at once in each process. Returns when each began.
async fn work(
    processes: &[Arc<Limiter>],
    callers: usize,
    tokens: u64,
    latency: impl Fn(usize) -> Duration,
) -> Vec<Instant> {
    let begun = Arc::new(Mutex::new(Vec::new()));
    let end = Instant::now() + FIVE_MINUTES;
    let mut working = JoinSet::new();
    for (n, limiter) in processes.iter().enumerate() {
        for _ in 0..callers {
            let (limiter, begun, latency) = (Arc::clone(limiter), Arc::clone(&begun), latency(n));
            working.spawn(async move {
                while Instant::now() < end {
                    let permit = limiter.acquire(tokens, quiet).await.expect("a permit");
                    begun.lock().push(Instant::now());
                    sleep(latency).await;
                    permit.succeeded();
                }
            });
        }
    }
    working.join_all().await;
    let mut begun = std::mem::take(&mut *begun.lock());
    begun.sort_unstable();
    begun
}

/// The fewest and the most calls in a minute.
fn per_minute(begun: &[Instant], start: Instant) -> (usize, usize) {
    let within = |from: Instant| {
        begun.partition_point(|at| *at < from + MINUTE) - begun.partition_point(|at| *at < from)
    };
    let most = begun.iter().map(|at| within(*at)).max().unwrap_or_default();
    let whole = (0..=240).map(|second| within(start + second * SECOND)).min().unwrap_or_default();
    (whole, most)
}

#[tokio::test(start_paused = true)]
async fn eight_processes_hold_a_rate_together_and_use_it() {
    // Fast and slow calls, more and fewer callers than the rate needs.
    for (calls, milliseconds) in [(8, 300), (2, 300), (8, 20), (16, 2500)] {
        let bank = Arc::new(Bank::default());
        let processes: Vec<_> = (0..8).map(|_| process(&bank, calls, (Some(600), None), None)).collect();
        let start = Instant::now();
        let latency = Duration::from_millis(milliseconds);
        let begun = work(&processes, 10, 1, |_| latency).await;
        let (fewest, most) = per_minute(&begun, start);
        assert!(most <= 660 && fewest >= 540, "{calls} of {latency:?}: {fewest} to {most}");
        assert!(bank.asked() <= 8 * 300 * 3 / 2, "{calls} of {latency:?}: asked {} times", bank.asked());
        assert!(bank.most_lent() <= 10.0, "a second's worth is lost at most: {}", bank.most_lent());
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_are_shared_whatever_the_size_of_a_call() {
    for tokens in [100, 900, 9000] {
        let bank = Arc::new(Bank::default());
        let processes: Vec<_> = (0..3).map(|_| process(&bank, 8, (None, Some(60_000)), None)).collect();
        let start = Instant::now();
        let begun = work(&processes, 8, tokens, |n| Duration::from_millis(50 + 200 * n as u64)).await;
        let (fewest, most) = per_minute(&begun, start);
        let (fewest, most) = (fewest as u64 * tokens, most as u64 * tokens);
        assert!(most <= 66_000 + tokens && fewest + tokens >= 54_000, "{tokens}: {fewest} to {most}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_asks_about_once_a_second_however_many_calls_it_makes() {
    for limits in [(None, None), (Some(60_000), None)] {
        let bank = Arc::new(Bank::default());
        let alone = [process(&bank, 8, limits, Some(100))];
        let begun = work(&alone, 8, 1, |_| Duration::from_millis(100)).await;
        assert!(begun.len() > 8 * 10 * 300 * 9 / 10, "{limits:?}: it is not slowed down: {}", begun.len());
        assert!(bank.asked() <= 400, "{limits:?}: {}", bank.asked());
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_the_other_processes_and_is_told_once() {
    let bank = Arc::new(Bank::default());
    let [first, second] = [(); 2].map(|()| process(&bank, 8, (None, None), None));
    second.acquire(1, quiet).await.expect("a permit").succeeded();
    let paused = Instant::now();
    first.pause(30 * SECOND, "slow down");
    let told = Mutex::new(Vec::new());
    let tell = |wait: Duration, cause: &str| told.lock().push((wait.as_secs(), cause.to_owned()));
    sleep(SECOND).await;
    let calls = (0..3).map(|_| async { second.acquire(1, tell).await.expect("a permit").succeeded() });
    futures::future::join_all(calls).await;
    assert!(paused.elapsed() >= 30 * SECOND, "{:?}", paused.elapsed());
    let told = told.into_inner();
    let [(seconds, reason)] = &told[..] else { panic!("{told:?}") };
    assert!((28..30).contains(seconds) && reason == "slow down", "{seconds}: {reason}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_too_long_refuses_the_calls_of_other_processes() {
    let bank = Arc::new(Bank::default());
    let [first, second] = [(); 2].map(|()| process(&bank, 8, (Some(60), None), None));
    first.pause_others(3600 * SECOND, "the hourly limit is used up");
    sleep(SECOND).await;
    let refused = second.acquire(1, quiet).await.expect_err("refused");
    let NoPermit::Closed(pause) = refused else { panic!("{refused:?}") };
    assert!(pause.wait > 3590 * SECOND, "{:?}", pause.wait);
    assert_eq!(pause.reason, "the hourly limit is used up");
}

#[tokio::test(start_paused = true)]
async fn calls_at_once_are_bounded_over_all_processes_and_shared() {
    let bank = Arc::new(Bank::default());
    let processes: Vec<_> = (0..3).map(|_| process(&bank, 16, (None, None), Some(20))).collect();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut working = JoinSet::new();
    let end = Instant::now() + MINUTE;
    for (n, (limiter, later)) in processes.iter().zip([0, 2, 4]).enumerate() {
        for caller in 0..20 {
            let (limiter, now, most) = (Arc::clone(limiter), Arc::clone(&now), Arc::clone(&most));
            working.spawn(async move {
                // One begins before the others, and takes all that it can.
                sleep(later * SECOND).await;
                let mut calls = 0;
                while Instant::now() < end {
                    let permit = limiter.acquire(1, quiet).await.expect("a permit");
                    most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    sleep(Duration::from_millis(700 + caller * 50)).await;
                    now.fetch_sub(1, Ordering::Relaxed);
                    permit.succeeded();
                    calls += 1;
                }
                (n, calls)
            });
        }
    }
    let mut calls = [0; 3];
    for (n, made) in working.join_all().await {
        calls[n] += made;
    }
    assert_eq!(most.load(Ordering::Relaxed), 20);
    // A call takes 1.2 s on average.
    let (all, least) = (calls.iter().sum::<usize>(), calls.iter().min().copied().unwrap_or_default());
    assert!(all > 20 * 60 * 10 / 12 * 3 / 4 && least > all / 5, "{calls:?}");
    sleep(3 * SECOND).await;
    assert_eq!(bank.places(), 0, "they are free again");
}

#[tokio::test(start_paused = true)]
async fn places_that_are_not_used_become_free_while_calls_go_on() {
    let bank = Arc::new(Bank::default());
    let limiter = process(&bank, 16, (None, None), Some(20));
    let calls = (0..10).map(|_| limiter.acquire(1, quiet));
    let mut calls: Vec<_> = futures::future::try_join_all(calls).await.expect("permits");
    assert!(bank.places() >= 10);
    calls.truncate(3);
    sleep(3 * SECOND).await;
    assert_eq!(bank.places(), 3);
    drop(calls);
    sleep(3 * SECOND).await;
    assert_eq!(bank.places(), 0);
    limiter.acquire(1, quiet).await.expect("a permit").succeeded();
    sleep(3 * SECOND).await;
    assert_eq!(bank.places(), 0, "reports begin again");
}

#[tokio::test(start_paused = true)]
async fn callers_that_wait_together_fail_together() {
    let bank = Arc::new(Bank::default());
    bank.is_down.store(true, Ordering::Relaxed);
    let limiter = process(&bank, 8, (Some(60), None), None);
    let calls = (0..5).map(|_| timeout(SECOND, limiter.acquire(1, quiet)));
    for refused in futures::future::join_all(calls).await {
        let refused = refused.expect("it ends").expect_err("refused");
        assert!(matches!(&refused, NoPermit::Unknown(error) if error.stage == "state"), "{refused:?}");
    }
    assert_eq!(bank.asked(), 1);
    bank.is_down.store(false, Ordering::Relaxed);
    limiter.acquire(1, quiet).await.expect("it is there again").succeeded();
}
