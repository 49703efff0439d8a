//! What may change is owned by a value, not by the process: two engines in one process share nothing but what
//! is listed here.

use super::{blank_out, sources, words};

/// Statics that may change: the file, the name, and the reason.
const CHANGING: &[(&str, &str, &str)] = &[
    ("chunk/code/parse.rs", "PARSER", "one parser for each thread, reset for each file"),
    ("chunk/component/cache/private.rs", "NEXT", "numbers the temporary files of the process"),
    ("model/masking.rs", "PROCESS", "log lines of the process, whoever writes them, must not show secrets"),
    ("net/buffers.rs", "POOL", "free memory, for whoever needs it"),
    ("net/tls.rs", "ONCE", "the TLS provider of the process"),
    ("net/tls.rs", "CONFIG", "the certificates of the system, read once"),
    ("sync/run.rs", "MADE", "numbers the runs that begin in one millisecond"),
];

/// Types whose values change behind a shared reference.
const INNER: &[&str] = &[
    "Mutex",
    "RwLock",
    "Semaphore",
    "BlockingPool",
    "Once",
    "OnceLock",
    "RefCell",
    "Cell",
    "Pool",
    "Notify",
];

#[test]
fn only_listed_statics_change() {
    let mut found: Vec<(String, String)> = Vec::new();
    for (path, text) in sources("engine/src") {
        found.extend(changing(&text).into_iter().map(|name| (path.clone(), name)));
    }
    let unlisted: Vec<_> = found
        .iter()
        .filter(|(path, name)| !CHANGING.iter().any(|(file, listed, _)| file == path && listed == name))
        .collect();
    assert!(unlisted.is_empty(), "give these to `Runtime`, or list them with a reason: {unlisted:?}");
    for (file, name, _) in CHANGING {
        assert!(
            found.iter().any(|(path, found)| path == file && found == name),
            "{file} has no {name} any more"
        );
    }
}

#[test]
fn the_check_can_fail() {
    assert_eq!(changing("pub(crate) static A: LazyLock<BlockingPool> = x();"), ["A"]);
    assert_eq!(changing("fn f() { static B: AtomicU32 = AtomicU32::new(0); }"), ["B"]);
    assert!(changing("static C: LazyLock<Regex> = x(); fn f(a: &'static Mutex<u8>) {}").is_empty());
    assert!(changing("#[cfg(test)]\nmod tests { static D: Mutex<u8> = x(); }").is_empty());
}

/// The names of statics outside of tests whose values may change.
fn changing(source: &str) -> Vec<String> {
    let code = blank_out(source);
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let statics = words(code, "static").into_iter().filter(|at| !code[..*at].ends_with('\''));
    let declared = statics.filter_map(|at| code[at + "static".len()..].split_once('=')?.0.split_once(':'));
    declared
        .filter(|(_, kind)| {
            let mut parts = kind.split(|c: char| !c.is_alphanumeric());
            parts.any(|part| INNER.contains(&part) || part.starts_with("Atomic"))
        })
        .map(|(name, _)| name.trim().to_owned())
        .collect()
}
