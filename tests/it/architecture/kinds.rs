//! A kind of stage is a folder: only `registry.rs` and the folder itself name what is inside, and all
//! folders have the same files.

use std::collections::BTreeSet;

use super::cycles::dependencies;
use super::{blank_out, is_ident, sources, words};

/// Files that may use a kind's folder all the same, with what they use it for.
const MAY_USE: &[(&str, &[&str])] = &[
    // Properties of all built-in chunkers, for tests and fuzzing.
    ("chunk/code", &["chunk/promises.rs"]),
    ("chunk/markdown", &["chunk/promises.rs"]),
    ("chunk/pattern", &["chunk/promises.rs"]),
    ("chunk/sentence", &["chunk/promises.rs"]),
    // The temporary index of an evaluation.
    ("source/git", &["cli/eval.rs"]),
    ("store/sqlite", &["cli/eval.rs"]),
    // What runs components (host, description, lock file), which the commands for their authors use.
    (
        "chunk/component",
        &[
            "app/apply.rs",
            "chunk/config.rs",
            "chunk/mod.rs",
            "cli/",
            "config/load.rs",
            "config/registries.rs",
            "factory/components.rs",
            "factory/mod.rs",
            "fetch/",
        ],
    ),
];

/// Files that may name the settings of a kind all the same.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("chunk/component", &["cli/plugin/workbench.rs"]),
    ("chunk/code", &["chunk/promises.rs"]),
    ("chunk/markdown", &["chunk/promises.rs"]),
    ("chunk/pattern", &["chunk/promises.rs"]),
    ("chunk/sentence", &["chunk/promises.rs"]),
];

/// The files that every kind has.
const ANATOMY: &[&str] = &["config.rs", "mod.rs", "settings.rs"];

#[test]
fn only_the_registry_names_a_kind() {
    let found = violations(&sources("engine/src"));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_check_can_fail() {
    let registry = "static KINDS: &[Kind] = &[Kind::store::<crate::store::disk::DiskSettings>()];";
    let disk = [
        ("store/disk/config.rs", "use super::settings::DiskSettings; impl StoreConfig for DiskSettings {}"),
        ("store/disk/mod.rs", "mod config; mod settings; pub use settings::DiskSettings; pub struct Disk;"),
        ("store/disk/settings.rs", "pub struct DiskSettings; impl StageConfig for DiskSettings {}"),
    ];
    let with = |disk: &[(&str, &str)], more: &[(&str, &str)]| {
        let all = [("lib.rs", "mod registry; mod store; mod sync;"), ("registry.rs", registry)];
        let all = all.iter().chain(disk).chain(more);
        violations(&all.map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect::<Vec<_>>())
    };
    let role = ("store/mod.rs", "pub mod disk;");
    assert_eq!(with(&disk, &[role]), Vec::<String>::new());
    assert_eq!(with(&disk[..2], &[role]), ["store/disk/settings.rs is missing"]);
    for (path, text, expected) in [
        ("sync/mod.rs", "use crate::store::disk::Disk;", "sync/mod.rs uses store/disk"),
        ("sync/mod.rs", "fn f(x: &dyn Any) { x.is::<DiskSettings>() }", "sync/mod.rs names DiskSettings"),
        ("sync/mod.rs", "mod tests { use crate::store::disk::Disk; }", ""),
        (
            "store/tape/mod.rs",
            "impl StageConfig for TapeSettings {}",
            "registry.rs does not list TapeSettings",
        ),
    ] {
        let expected: Vec<&str> = Some(expected).filter(|text| !text.is_empty()).into_iter().collect();
        assert_eq!(with(&disk, &[role, (path, text)]), expected, "{path}: {text}");
    }
}

/// A kind in the registry: its folder, and the type of its settings.
struct Kind {
    folder: String,
    settings: String,
}

fn violations(sources: &[(String, String)]) -> Vec<String> {
    let code: Vec<(&str, String)> =
        sources.iter().map(|(path, text)| (path.as_str(), blank_out(text))).collect();
    let registry = code.iter().find(|(path, _)| *path == "registry.rs").map(|(_, text)| text.as_str());
    let kinds = kinds(registry.expect("a registry"));
    assert!(!kinds.is_empty(), "registry.rs is not read as it is written");
    let mut found = Vec::new();
    for (_, text) in &code {
        for at in words(text, "StageConfig") {
            let named = text[at..].strip_prefix("StageConfig for ").unwrap_or_default();
            let named: String = named.chars().take_while(|&c| is_ident(c)).collect();
            // `impl<T: StageConfig> AnyStageConfig for T`
            let is_impl = text[..at].trim_end().ends_with("impl");
            if is_impl && !kinds.iter().any(|kind| kind.settings == named) {
                found.push(format!("registry.rs does not list {named}"));
            }
        }
    }
    let dependencies = dependencies(sources);
    for kind in &kinds {
        let inside = |path: &str| path.starts_with(&format!("{}/", kind.folder));
        let allowed = |list: &[(&str, &[&str])], path: &str| {
            let places = list.iter().find(|(folder, _)| *folder == kind.folder);
            inside(path)
                || path == "registry.rs"
                || places.is_some_and(|(_, places)| places.iter().any(|place| path.starts_with(place)))
        };
        for file in ANATOMY {
            let path = format!("{}/{file}", kind.folder);
            if !code.iter().any(|(other, _)| *other == path) {
                found.push(format!("{path} is missing"));
            }
        }
        for (path, needs) in &dependencies {
            if !allowed(MAY_USE, path) && !is_tests(path) && needs.iter().any(|file| inside(file)) {
                found.push(format!("{path} uses {}", kind.folder));
            }
        }
        for (path, text) in code.iter().filter(|(path, _)| !allowed(MAY_NAME, path)) {
            let named = words(text, &kind.settings).into_iter();
            if named.filter(|at| super::inline_modules(&text[..*at]) == 0).count() > 0 && !is_tests(path) {
                found.push(format!("{path} names {}", kind.settings));
            }
        }
    }
    found
}

/// Modules that hold tests alone.
fn is_tests(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// The kinds in the text of the registry: `Kind::ROLE::<crate::ROLE::FOLDER::SETTINGS>()`.
fn kinds(registry: &str) -> Vec<Kind> {
    let paths: BTreeSet<&str> = registry
        .match_indices("::<crate::")
        .filter(|(at, _)| registry[..*at].trim_end_matches(is_ident).ends_with("Kind::"))
        .filter_map(|(at, found)| registry[at + found.len()..].split('>').next())
        .collect();
    let kind = |path: &str| {
        let (folder, settings) = path.rsplit_once("::").expect("a path");
        Kind { folder: folder.replace("::", "/"), settings: settings.to_owned() }
    };
    paths.into_iter().map(kind).collect()
}
