//! The vector cache: vectors by key, and claims.

use super::*;
use crate::model::Vector;

type Cache = dyn VectorCache;

fn key(n: usize) -> CacheKey {
    CacheKey::of(&Fingerprint::of(["test"]), &n.to_string())
}

fn keys(range: std::ops::Range<usize>) -> Vec<CacheKey> {
    range.map(key).collect()
}

fn vector(n: usize) -> Vector {
    (0..16).map(|i| (n as f32).mul_add(0.5, i as f32)).collect()
}

fn vectors(range: std::ops::Range<usize>) -> Vec<(CacheKey, Vector)> {
    range.map(|n| (key(n), vector(n))).collect()
}

const ONE: Claimant = Claimant(1);
const OTHER: Claimant = Claimant(2);

pub(crate) async fn vectors_are_found_in_the_order_of_the_keys_also_by_the_next_process(world: World<Cache>) {
    world.process().put_many(vectors(0..1000)).await;
    let cache = world.process();
    cache.put_many(vec![(key(3), vector(33))]).await;
    let found = cache.get_many(vec![key(9), key(1000), key(3)]).await;
    assert_eq!(found, [Some(vector(9)), None, Some(vector(33))]);
    assert_eq!(cache.contains_many(vec![key(1000), key(999)]).await, [false, true]);
    assert!(cache.get_many(Vec::new()).await.is_empty());
}

pub(crate) async fn a_key_is_given_to_one_claimant_until_its_vector_is_there(world: World<Cache>) {
    let cache = world.process();
    cache.put_many(vectors(0..1)).await;
    let first = cache.claim_many(ONE, keys(0..2)).await;
    assert_eq!(first, [Claim::Cached(vector(0)), Claim::Given]);
    assert_eq!(cache.claim_many(OTHER, keys(1..3)).await, [Claim::Taken, Claim::Given]);
    assert_eq!(cache.claim_many(ONE, keys(1..2)).await, [Claim::Given], "its own");
    cache.put_many(vectors(1..2)).await;
    assert_eq!(cache.claim_many(OTHER, keys(1..2)).await, [Claim::Cached(vector(1))]);
}

pub(crate) async fn a_released_claim_is_given_again_and_those_of_others_stay(world: World<Cache>) {
    let cache = world.process();
    cache.claim_many(ONE, keys(0..2)).await;
    cache.release_many(OTHER, keys(0..2)).await;
    assert_eq!(cache.claim_many(OTHER, keys(0..2)).await, [Claim::Taken, Claim::Taken]);
    cache.release_many(ONE, keys(0..1)).await;
    assert_eq!(cache.claim_many(OTHER, keys(0..2)).await, [Claim::Given, Claim::Taken]);
}

pub(crate) async fn many_claimants_get_each_key_once(world: World<Cache>) {
    let cache = world.process();
    let claims = (0..8).map(|n| cache.claim_many(Claimant(n), keys(0..200)));
    let claims = futures::future::join_all(claims).await;
    for n in 0..200 {
        let given = claims.iter().filter(|claims| claims[n] == Claim::Given).count();
        let taken = claims.iter().filter(|claims| claims[n] == Claim::Taken).count();
        assert_eq!((given, taken), (1, 7), "key {n}");
    }
}

pub(crate) async fn vectors_of_a_length_are_forgotten_once(world: World<Cache>) {
    let short = |n: usize| (key(n), Vector::from([n as f32 + 1.0; 4]));
    let cache = world.process();
    cache.put_many(vectors(0..3)).await;
    cache.put_many(vec![short(3), short(4)]).await;
    cache.claim_many(ONE, keys(5..6)).await;
    cache.forget(8).await;
    cache.forget(4).await;
    assert_eq!(cache.contains_many(keys(0..5)).await, [true, true, true, false, false]);
    assert_eq!(cache.claim_many(OTHER, keys(5..6)).await, [Claim::Taken], "claims stay");
    cache.put_many(vec![short(3)]).await;
    world.process().forget(4).await;
    assert_eq!(cache.contains_many(keys(3..5)).await, [true, false], "only the first time");
}
