//! What chunks of common formats look like.

use std::fmt::Write as _;

use super::*;
use crate::model::Body;

fn settings(start: &str) -> PatternSettings {
    PatternSettings::starting_at(start)
}

fn chunks(settings: &PatternSettings, text: &str) -> Vec<Chunk> {
    let chunker = PatternChunker::new("p", settings, None).expect("valid settings");
    chunker
        .chunk(&Document { path: "a.txt", text, language: None, ..Document::default() })
        .expect("it takes every text")
}

/// Each chunk as `[kind name] {attributes} <context> text`.
fn shown(settings: &PatternSettings, text: &str) -> String {
    let mut shown = String::new();
    for chunk in chunks(settings, text) {
        let Body::Slice(range) = chunk.body else { panic!("expected a slice") };
        let words: Vec<String> = chunk.kind.into_iter().chain(chunk.name).collect();
        let attrs: Vec<String> = chunk.attrs.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        let context = chunk.context.unwrap_or_default();
        let (words, attrs) = (words.join(" "), attrs.join(" "));
        writeln!(shown, "[{words}] {{{attrs}}} <{}> {:?}", context.escape_debug(), &text[range])
            .expect("a string");
    }
    shown
}

const TERRAFORM: &str = r#"# The state.
terraform {
}

# A bucket.
// With logs.
resource "aws_s3_bucket" "logs" {
  tags = {}
}
# Alone.

variable "region" {}
variable "open" {
  type = string
module "net" {
  source = "./net"
}
"#;

#[test]
fn blocks_with_an_end_and_comments() {
    let terraform = PatternSettings {
        end: Some("^}".to_owned()),
        comment: Some(r"^\s*(#|//)".to_owned()),
        context: Some("{kind} {name}".to_owned()),
        ..settings(r#"^(?<kind>resource|module|variable)\s+("(?<type>[^"]+)"\s+)?"(?<name>[^"]+)""#)
    };
    insta::assert_snapshot!(shown(&terraform, TERRAFORM), @r##"
    [] {} <> "# The state.\nterraform {\n}"
    [resource logs] {type=Text("aws_s3_bucket")} <resource logs> "# A bucket.\n// With logs.\nresource \"aws_s3_bucket\" \"logs\" {\n  tags = {}\n}"
    [] {} <> "# Alone."
    [variable region] {} <variable region> "variable \"region\" {}"
    [variable open] {} <variable open> "variable \"open\" {\n  type = string"
    [module net] {} <module net> "module \"net\" {\n  source = \"./net\"\n}"
    "##);
}

#[test]
fn without_an_end_a_chunk_ends_before_the_next_start() {
    let log = settings(r"^(?<day>\d{4}-\d\d-\d\d)T\S+ (?<kind>[A-Z]+) ");
    let text = "begin\n2024-01-02T03:04:05 INFO up\n2024-01-02T03:04:06 ERROR no\n  at a\n  at b\n\n";
    insta::assert_snapshot!(shown(&log, text), @r#"
    [] {} <> "begin"
    [INFO] {day=Text("2024-01-02")} <> "2024-01-02T03:04:05 INFO up"
    [ERROR] {day=Text("2024-01-02")} <2024-01-02T03:04:06 ERROR no> "2024-01-02T03:04:06 ERROR no\n  at a\n  at b"
    "#);
    let plain = PatternSettings { context: Some("none".to_owned()), ..log };
    insta::assert_snapshot!(shown(&plain, text), @r#"
    [] {} <> "begin"
    [INFO] {day=Text("2024-01-02")} <> "2024-01-02T03:04:05 INFO up"
    [ERROR] {day=Text("2024-01-02")} <> "2024-01-02T03:04:06 ERROR no\n  at a\n  at b"
    "#);
}

#[test]
fn comments_attach_to_their_start_alone() {
    let section = PatternSettings { comment: Some("^;".to_owned()), ..settings(r"^\[(?<name>[^\]]+)\]") };
    let text = "; file\n\n; one\n[one]\n; inside\na = 1\n; two\n; more\n[two]\n; three\n[three]\n";
    insta::assert_snapshot!(shown(&section, text), @r#"
    [] {} <> "; file"
    [one] {} <[one]> "; one\n[one]\n; inside\na = 1"
    [two] {} <[two]> "; two\n; more\n[two]"
    [three] {} <[three]> "; three\n[three]"
    "#);
    let alone = PatternSettings { lead: Some(Lead::None), ..section };
    insta::assert_snapshot!(shown(&alone, text), @r#"
    [] {} <> "; file\n\n; one"
    [one] {} <[one]> "[one]\n; inside\na = 1\n; two\n; more"
    [two] {} <[two]> "[two]\n; three"
    [three] {} <> "[three]"
    "#);
}

#[test]
fn an_end_may_look_like_a_start_or_stand_on_its_line() {
    let fence = PatternSettings { end: Some("^```$".to_owned()), ..settings("^```") };
    insta::assert_snapshot!(shown(&fence, "a\n```rust\nx\n```\nb\n```\ny\n```\n"), @r#"
    [] {} <> "a"
    [] {} <```rust> "```rust\nx\n```"
    [] {} <> "b"
    [] {} <```> "```\ny\n```"
    "#);
    let element = PatternSettings { end: Some("</item>".to_owned()), ..settings("<item>") };
    insta::assert_snapshot!(shown(&element, "<a>\n<item>1</item>\n<item>\n2\n</item>\n</a>\n"), @r#"
    [] {} <> "<a>"
    [] {} <> "<item>1</item>"
    [] {} <<item>> "<item>\n2\n</item>"
    [] {} <> "</a>"
    "#);
}

#[test]
fn rows_repeat_the_header_as_context() {
    let text = "id,name\n1,a\n2,b\n3,c\n4,d\n5,e\n";
    insta::assert_snapshot!(shown(&PatternSettings::of_rows(2, 1), text), @r#"
    [] {} <> "id,name\n1,a\n2,b"
    [] {} <id,name> "3,c\n4,d"
    [] {} <id,name> "5,e"
    "#);
    insta::assert_snapshot!(shown(&PatternSettings::of_rows(4, 0), text), @r#"
    [] {} <> "id,name\n1,a\n2,b\n3,c"
    [] {} <> "4,d\n5,e"
    "#);
    assert_eq!(chunks(&PatternSettings::of_rows(2, 9), text).len(), 1, "nothing but a header");
}

#[test]
fn what_never_matches_is_split_by_size() {
    let chunks = chunks(&settings("^never$"), &"word word word\n".repeat(400));
    assert_eq!(chunks.len(), 4);
    assert!(chunks.iter().all(|chunk| chunk.context.is_none() && chunk.name.is_none()));
}

#[test]
fn every_part_of_a_large_chunk_keeps_what_is_known() {
    let text = format!("## Long\n{}## Short\n", "word word word\n".repeat(300));
    let chunks = chunks(&settings("^## (?<name>.*)"), &text);
    assert_eq!(chunks.len(), 5);
    for chunk in &chunks[..4] {
        assert_eq!((chunk.context.as_deref(), chunk.name.as_deref()), (Some("## Long"), Some("Long")));
    }
    assert_eq!((chunks[4].context.as_deref(), chunks[4].name.as_deref()), (None, Some("Short")));
}

#[test]
fn labels_are_bounded() {
    let text = format!("= {}\n", "é".repeat(5_000));
    for chunk in chunks(&settings("^= (?<name>.*)"), &text) {
        assert!(chunk.name.is_some_and(|name| name.len() <= MAX_VALUE));
        assert!(chunk.context.is_some_and(|context| context.len() <= MAX_CONTEXT));
    }
    // Every group at its longest leaves room for the text.
    let mut groups = String::new();
    for number in 0..settings::MAX_NAMES {
        write!(groups, "(?<g{number}>\"+),").expect("a string");
    }
    let line = "\"".repeat(300) + ",";
    let text = line.repeat(settings::MAX_NAMES) + "\ntext\n";
    let chunks = chunks(&settings(&groups), &text);
    let limits = crate::chunk::Limits {
        input_tokens: 8191,
        counter: crate::chunk::promises::counter(),
        metadata_bytes: 30_000,
    };
    let cleaned = crate::model::Cleaned { text, lines: crate::model::LineMap::Identity };
    assert!(crate::chunk::fit(&cleaned, chunks, &limits).is_ok());
}

#[test]
fn every_setting_is_part_of_the_identity() {
    let base = PatternSettings { comment: Some("^#".to_owned()), ..settings("^a") };
    let other = [
        PatternSettings { start: Some("^b".to_owned()), ..base.clone() },
        PatternSettings { end: Some("^b".to_owned()), ..base.clone() },
        PatternSettings { context: Some("none".to_owned()), ..base.clone() },
        PatternSettings { lead: Some(Lead::None), ..base.clone() },
        PatternSettings { comment: Some("^b".to_owned()), ..base.clone() },
        PatternSettings { max_chunk_size: 9, ..base.clone() },
        PatternSettings::of_rows(1, 0),
        PatternSettings::of_rows(2, 0),
        PatternSettings::of_rows(2, 1),
    ];
    let identity = |settings: &PatternSettings| {
        PatternChunker::new("p", settings, None).expect("valid settings").identity().to_owned()
    };
    let mut identities: Vec<String> = other.iter().chain([&base]).map(identity).collect();
    identities.sort();
    identities.dedup();
    assert_eq!(identities.len(), 10);
    let spelled =
        PatternSettings { context: Some("first-line".to_owned()), lead: Some(Lead::Attach), ..base.clone() };
    assert_eq!(identity(&spelled), identity(&base), "a default that is spelled out");
}
