use std::sync::Arc;

use super::*;
use crate::model::Fingerprint;

const ROOMY: ByteSize = ByteSize::mib(64);

fn key(n: u64) -> CacheKey {
    CacheKey::of(&Fingerprint::of(["test"]), &n.to_string())
}

fn vector(n: u64, length: usize) -> Vector {
    (0..length).map(|i| (n as f32).mul_add(0.5, i as f32)).collect()
}

fn numbers(range: std::ops::Range<u64>) -> Vec<(CacheKey, Vector)> {
    range.map(|n| (key(n), vector(n, 256))).collect()
}

fn count(cache: &CacheFile, range: std::ops::Range<u64>) -> usize {
    let keys: Vec<_> = range.map(key).collect();
    cache.contains_many(&keys).into_iter().filter(|there| *there).count()
}

#[test]
fn keys_depend_on_both_parts() {
    let (a, b) = (Fingerprint::of(["a"]), Fingerprint::of(["b"]));
    assert_eq!(CacheKey::of(&a, "x"), CacheKey::of(&a, "x"));
    assert_ne!(CacheKey::of(&a, "x"), CacheKey::of(&b, "x"));
    assert_ne!(CacheKey::of(&a, "x"), CacheKey::of(&a, "x "));
}

#[test]
fn what_was_put_is_got_also_after_reopening() {
    let folder = tempfile::tempdir().expect("temp dir");
    let path = folder.path().join("deeper");
    CacheFile::open(&path, ROOMY).put_many(&numbers(0..10));
    let cache = CacheFile::open(&path, ROOMY);
    cache.put_many(&[(key(3), vector(33, 8))]);
    let found = cache.get_many(&[key(9), key(10), key(3)]);
    assert_eq!(found, [Some(vector(9, 256)), None, Some(vector(33, 8))]);
    assert_eq!(count(&cache, 0..20), 10);
}

/// As RepoSync 0.1 made it.
#[test]
fn a_file_of_version_1_is_used() {
    let folder = tempfile::tempdir().expect("temp dir");
    let path = folder.path().join("cache.db");
    let old = "
        CREATE TABLE vectors (
            id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, used INTEGER NOT NULL, vector BLOB NOT NULL
        ) STRICT;
        CREATE INDEX vectors_by_use ON vectors (used);
        PRAGMA application_id = 0x52537663;
        PRAGMA user_version = 1;";
    Connection::open(&path).and_then(|made| made.execute_batch(old)).expect("made");
    CacheFile::open(folder.path(), ROOMY).put_many(&numbers(0..10));
    let cache = CacheFile::open(folder.path(), ROOMY);
    cache.put_many(&[(key(3), vector(33, 8))]);
    assert_eq!(cache.get_many(&[key(9), key(3)]), [Some(vector(9, 256)), Some(vector(33, 8))]);
    assert_eq!(count(&cache, 0..20), 10);
    assert!(!folder.path().join("cache.db.unusable").exists());
}

#[test]
fn the_bound_holds_and_the_least_recently_used_go() {
    let folder = tempfile::tempdir().expect("temp dir");
    let bound = ByteSize::mib(4);
    let cache = CacheFile::open(folder.path(), bound);
    cache.put_many(&numbers(0..1000));
    let age = "UPDATE vectors SET used = used - 10";
    cache.lock().connection.as_ref().expect("open").execute_batch(age).expect("aged");
    let kept: Vec<_> = (0..100).map(key).collect();
    assert_eq!(cache.get_many(&kept).iter().flatten().count(), 100);
    for start in (1000..6000).step_by(500) {
        cache.put_many(&numbers(start..start + 500));
    }
    let size = std::fs::metadata(&cache.path).expect("there").len();
    assert!(size <= bound.0 + (1 << 20), "{size}");
    assert_eq!(count(&cache, 100..1000), 0, "the unused went first");
    assert!(count(&cache, 5500..6000) == 500, "the newest stay");
    drop(cache);
    let smaller = CacheFile::open(folder.path(), ByteSize::mib(1));
    drop(smaller);
    let size = std::fs::metadata(folder.path().join("cache.db")).expect("there").len();
    assert!(size <= 1 << 20, "a lowered bound shrinks the file: {size}");
}

#[test]
fn what_is_forgotten_gives_its_space_back() {
    let folder = tempfile::tempdir().expect("temp dir");
    let cache = CacheFile::open(folder.path(), ROOMY);
    let others: Vec<_> = (0..10).map(|n| (key(100_000 + n), vector(n, 64))).collect();
    cache.put_many(&others);
    cache.put_many(&numbers(0..12_000));
    cache.forget(256);
    assert_eq!((count(&cache, 0..12_000), count(&cache, 100_000..100_010)), (0, 10));
    drop(cache);
    let size = std::fs::metadata(folder.path().join("cache.db")).expect("there").len();
    assert!(size < 64 << 10, "{size}");
}

#[test]
fn unusable_files_are_moved_aside() {
    let foreign = |path: &Path| {
        Connection::open(path).and_then(|c| c.execute_batch("CREATE TABLE mine (x)")).expect("made");
    };
    let newer = |path: &Path| {
        drop(CacheFile::open(path.parent().expect("folder"), ROOMY));
        Connection::open(path)
            .and_then(|c| c.pragma_update(None, "user_version", VERSION + 1))
            .expect("made");
    };
    let garbage =
        |path: &Path| std::fs::write(path, "not a database, but long enough ".repeat(900)).expect("made");
    let damaged = |path: &Path| {
        CacheFile::open(path.parent().expect("folder"), ROOMY).put_many(&numbers(0..200));
        let mut bytes = std::fs::read(path).expect("read");
        bytes[100..2000].fill(0x5a); // the root page of the schema
        std::fs::write(path, bytes).expect("written");
    };
    let makers: [&dyn Fn(&Path); 4] = [&foreign, &newer, &garbage, &damaged];
    for (what, make) in ["foreign", "newer", "garbage", "damaged"].into_iter().zip(makers) {
        let folder = tempfile::tempdir().expect("temp dir");
        make(&folder.path().join("cache.db"));
        let cache = CacheFile::open(folder.path(), ROOMY);
        assert_eq!(count(&cache, 0..200), 0, "{what}");
        cache.put_many(&numbers(0..5));
        assert_eq!(count(&cache, 0..5), 5, "{what}");
        assert!(folder.path().join("cache.db.unusable").exists(), "{what}");
    }
}

#[test]
fn damage_found_in_mid_run_is_survived() {
    let folder = tempfile::tempdir().expect("temp dir");
    CacheFile::open(folder.path(), ROOMY).put_many(&numbers(0..2000));
    let path = folder.path().join("cache.db");
    let mut bytes = std::fs::read(&path).expect("read");
    let half = bytes.len() / 2;
    bytes[half..].fill(0x5a);
    std::fs::write(&path, bytes).expect("written");
    let cache = CacheFile::open(folder.path(), ROOMY);
    let keys: Vec<_> = (0..2000).map(key).collect();
    for (n, found) in (0..).zip(cache.get_many(&keys)) {
        assert!(found.is_none_or(|found| found == vector(n, 256)), "never a wrong vector");
    }
    cache.put_many(&numbers(0..5));
    assert_eq!(count(&cache, 0..5), 5);
}

#[test]
fn without_a_place_there_is_no_cache_and_no_error() {
    let folder = tempfile::tempdir().expect("temp dir");
    let file = folder.path().join("a file, not a folder");
    std::fs::write(&file, "x").expect("written");
    let cache = CacheFile::open(&file, ROOMY);
    cache.put_many(&numbers(0..5));
    assert_eq!(count(&cache, 0..5), 0);
}

#[test]
fn two_at_once_share_the_file() {
    let folder = Arc::new(tempfile::tempdir().expect("temp dir"));
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let folder = Arc::clone(&folder);
            std::thread::spawn(move || {
                let cache = CacheFile::open(folder.path(), ROOMY);
                for start in (n * 1000..n * 1000 + 500).step_by(50) {
                    cache.put_many(&numbers(start..start + 50));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    let cache = CacheFile::open(folder.path(), ROOMY);
    assert_eq!((0..4).map(|n| count(&cache, n * 1000..n * 1000 + 500)).sum::<usize>(), 2000);
}
