mod shared;

use super::*;

fn quiet(_: Duration, _: &str) {}

async fn permit(limiter: &Arc<Limiter>, tokens: u64) -> Permit {
    limiter.acquire(tokens, quiet).await.expect("a permit")
}

#[tokio::test(start_paused = true)]
async fn calls_at_once_are_bounded_and_adapt() {
    let limiter = Limiter::new(4, None, None);
    let first = permit(&limiter, 1).await;
    let _second = permit(&limiter, 1).await;
    first.throttled();
    assert_eq!(limiter.allowed(), 2);
    let third = permit(&limiter, 1).await;
    let waiting = tokio::time::timeout(Duration::from_secs(1), permit(&limiter, 1)).await;
    assert!(waiting.is_err());
    third.succeeded();
    permit(&limiter, 1).await.succeeded();
    assert_eq!(limiter.allowed(), 3);
}

#[tokio::test(start_paused = true)]
async fn calls_throttled_together_halve_once() {
    let limiter = Limiter::new(8, None, None);
    let mut together = Vec::new();
    for _ in 0..8 {
        together.push(permit(&limiter, 1).await);
    }
    together.into_iter().for_each(Permit::throttled);
    assert_eq!(limiter.allowed(), 4);
    permit(&limiter, 1).await.throttled();
    assert_eq!(limiter.allowed(), 2);
}

#[tokio::test(start_paused = true)]
async fn budgets_hold_the_rate() {
    let limiter = Limiter::new(100, Some(600), Some(60_000));
    let start = Instant::now();
    for _ in 0..120 {
        permit(&limiter, 1000).await.succeeded();
    }
    // 120,000 tokens at 60,000 a minute, less the first burst of 6,000.
    let seconds = start.elapsed().as_secs_f64();
    assert!((110.0..=125.0).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn pauses_hold_everyone() {
    let limiter = Limiter::new(2, None, None);
    limiter.pause(Duration::from_secs(30), "slow down");
    let start = Instant::now();
    permit(&limiter, 1).await.succeeded();
    assert!(start.elapsed() >= Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_budget_is_told_once() {
    let limiter = Limiter::new(8, None, Some(60));
    let told = Mutex::new(Vec::new());
    let tell = |wait: Duration, cause: &str| told.lock().push((wait.as_secs(), cause.to_owned()));
    let calls = (0..4).map(|_| async { limiter.acquire(6, tell).await.expect("a permit").succeeded() });
    futures::future::join_all(calls).await;
    let told = told.into_inner();
    assert_eq!(told[0], (6, "the limit of tokens per minute is used up".to_owned()));
    assert_eq!(told.len(), 3, "one for each wait, not for each caller: {told:?}");
}
