//! The components that come with RepoSync produce the same chunks as their native twins and keep the
//! contract for any document.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reposync::chunk::component::{ComponentChunker, ComponentHost, Folders, Trial, Verdict};
use reposync::chunk::{ChunkError, Chunker};
use reposync::model::Document;

use crate::support::component::settings;
use crate::support::twin::Twin;

/// The components in the repository, or those in the folder `REPOSYNC_COMPONENTS`: CI builds them from
/// source.
fn shipped() -> Vec<PathBuf> {
    let folder = std::env::var_os("REPOSYNC_COMPONENTS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins"), PathBuf::from);
    let mut components: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the plugins")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .collect();
    components.sort();
    assert!(!components.is_empty(), "no component is shipped");
    components
}

fn load(component: &Path) -> (ComponentHost, ComponentChunker, tempfile::TempDir) {
    let cache = tempfile::tempdir().expect("a folder");
    let host = ComponentHost::new(&Folders::below(cache.path())).expect("a host");
    let chunker = host.load("stage", &settings(component)).expect("loads");
    (host, chunker, cache)
}

/// Lines that are syntax to one of the chunkers, with characters of every UTF-8 width.
fn text() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        "## \\[?[0-9]\\.[0-9]\\.[0-9]\\]?( - 2024-0[1-9]-1[0-9])?",
        "#{1,6} [A-Za-zé🦀 ]{0,12}",
        "[-*=]{0,4} \\PC{0,30}",
        "(\\[[a-z0-9]{1,5}\\]: https://[a-z]{1,8})?",
        "(CREATE TABLE|INSERT INTO|--|/\\*|'|\\$\\$|;)[a-z ü(),;']{0,20}",
        "```[a-z]{0,4}",
        "[=~-]{3,12}",
        "\\.\\. _[a-zé]{1,6}:",
    ];
    prop::collection::vec(line, 0..40).prop_map(|lines| lines.join("\n"))
}

#[test]
fn the_component_and_its_native_twin_give_the_same_chunks() {
    let component =
        shipped().into_iter().find(|path| path.ends_with("changelog.wasm")).expect("it is shipped");
    let (_host, chunker, _cache) = load(&component);
    let chunker: Arc<dyn Chunker> = Arc::new(chunker);
    let twin = Twin::of(Arc::clone(&chunker), "{}");
    TestRunner::new(Config { cases: 200, ..Config::default() })
        .run(&text(), |text| {
            let document = Document {
                path: "CHANGELOG.md",
                text: &text,
                language: Some("markdown"),
                ..Document::default()
            };
            match (twin.chunk(&document), chunker.chunk(&document)) {
                (Ok(here), Ok(there)) => prop_assert_eq!(here, there),
                (Err(ChunkError::NotMine), Err(ChunkError::NotMine)) => {}
                (here, there) => prop_assert!(false, "{here:?} and {there:?}"),
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// The text as a document for a component: mostly the text itself; for notebooks a valid notebook, and
/// sometimes an invalid one.
fn document(extension: &str, text: &str) -> String {
    if extension != ".ipynb" || text.len().is_multiple_of(5) {
        return text.to_owned();
    }
    let cells: Vec<_> = text
        .split("\n\n")
        .zip(["markdown", "code", "raw", "odd"].into_iter().cycle())
        .map(|(source, kind)| serde_json::json!({ "cell_type": kind, "source": source, "metadata": {} }))
        .collect();
    serde_json::json!({ "cells": cells }).to_string()
}

#[test]
fn random_documents_keep_the_contract() {
    for component in shipped() {
        let (_host, chunker, _cache) = load(&component);
        let extension = chunker.info().extensions.first().cloned().unwrap_or_default();
        let path = format!("docs/random{extension}");
        TestRunner::new(Config { cases: 100, ..Config::default() })
            .run(&text(), |text| {
                let text = document(&extension, &text);
                let document = Document { path: &path, text: &text, language: None, ..Document::default() };
                let mut reused = Trial::new(&chunker);
                let first = reused.chunk(&document).verdict;
                prop_assert!(!matches!(first, Verdict::Broke { .. }), "{}: {first:?}", chunker.label());
                prop_assert_eq!(&first, &reused.chunk(&document).verdict);
                prop_assert_eq!(&first, &Trial::new(&chunker).chunk(&document).verdict);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{error}"));
    }
}
