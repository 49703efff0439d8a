//! Native tests of the chunker.

use proptest::prelude::*;
use reposync_plugin_sdk::{AttrValue, ChunkError, Document, testing};

use crate::Changelog;

const LOG: &str = "\
# Changelog

All notable changes.

## [Unreleased]

## [1.1.0] - 2026-05-01

### Added

- Überblick

### Fixed

- a crash

## [1.0.0] - 2026-01-31 [YANKED]

- the first

[1.1.0]: https://example.com/1.1.0
";

#[test]
fn a_release_is_a_chunk() {
    let document = Document::new("CHANGELOG.md", LOG);
    let chunks = testing::chunk::<Changelog>("{}", &document);
    testing::assert_contract(&document, &chunks);
    testing::assert_covers(&document, &chunks);
    let kinds: Vec<_> =
        chunks.iter().map(|it| (it.kind.as_deref().unwrap_or(""), it.name.as_deref())).collect();
    assert_eq!(
        kinds,
        [
            ("preamble", None),
            ("release", Some("Unreleased")),
            ("release", Some("1.1.0")),
            ("release", Some("1.0.0")),
            ("links", None),
        ]
    );
    assert_eq!(chunks[2].context.as_deref(), Some("1.1.0 (2026-05-01)"));
    assert_eq!(
        chunks[3].attrs,
        [
            ("version".into(), AttrValue::Text("1.0.0".into())),
            ("date".into(), AttrValue::Text("2026-01-31".into())),
            ("yanked".into(), AttrValue::Flag(true)),
        ]
    );
}

#[test]
fn a_long_release_is_cut_at_its_groups() {
    let document = Document::new("CHANGELOG.md", LOG);
    let chunks = testing::chunk::<Changelog>(r#"{"split_above": 50}"#, &document);
    testing::assert_covers(&document, &chunks);
    let texts = testing::texts(&document, &chunks);
    assert_eq!(
        texts[2..5],
        ["## [1.1.0] - 2026-05-01", "### Added\n\n- Überblick", "### Fixed\n\n- a crash"]
    );
    assert_eq!(chunks[4].context.as_deref(), Some("1.1.0 (2026-05-01) > Fixed"));
}

#[test]
fn other_texts_are_declined() {
    for text in ["", "# Title\n\nProse.\n", "## Usage\n\nNo version here.\n"] {
        let document = Document::new("README.md", text);
        let answer = testing::try_chunk::<Changelog>("{}", &document);
        assert_eq!(answer, Err(ChunkError::NotMine), "{text:?}");
    }
}

#[test]
fn an_impossible_level_is_refused() {
    for level in [0, 6] {
        let json = format!(r#"{{"heading_level":{level}}}"#);
        let problems = testing::configured::<Changelog>(&json).expect_err("refused");
        assert_eq!(problems[0].pointer.as_deref(), Some("/heading_level"));
    }
}

proptest! {
    #[test]
    fn any_text_keeps_the_contract(
        lines in prop::collection::vec(
            prop_oneof![
                Just("## [1.0.0] - 2026-01-01".to_owned()),
                Just("### Added".to_owned()),
                Just("[1.0.0]: x".to_owned()),
                Just("```".to_owned()),
                Just("1.2.0\n-----".to_owned()),
                Just(String::new()),
                "\\PC{0,30}",
            ],
            0..40,
        ),
        split_above in 0_usize..60,
    ) {
        let document = Document::new("CHANGELOG.md", lines.join("\n"));
        let config = format!(r#"{{"split_above":{split_above}}}"#);
        if let Ok(chunks) = testing::try_chunk::<Changelog>(&config, &document) {
            testing::assert_contract(&document, &chunks);
            testing::assert_covers(&document, &chunks);
        }
    }
}
