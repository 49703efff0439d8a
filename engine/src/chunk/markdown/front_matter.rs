//! Parses front matter: a YAML or TOML table between `---` or `+++` at the very start of a
//! document.
//!
//! A document may also begin with a thematic break, so the content decides: YAML that is not a
//! mapping is Markdown. Invalid YAML (`title: Foo: bar`) counts as front matter if it begins with a
//! key.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{alias_limits, budget, options};

use super::super::lines::Lines;

/// Maximum number of bytes passed to a parser. Larger front matter is scanned line by line.
const MAX_BYTES: usize = 64 << 10;
/// Maximum nesting of YAML; the TOML parser has its own limit.
const MAX_DEPTH: usize = 64;
/// Maximum number of YAML aliases, and of parser events that their expansion may replay.
const MAX_ALIASES: usize = 256;
const MAX_REPLAYED_EVENTS: usize = 16 << 10;

/// A document's front matter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FrontMatter {
    /// The line after the closing marker.
    pub(super) end: usize,
    /// The document's title, on one line.
    pub(super) title: Option<String>,
}

/// Returns the front matter at the start of a document.
pub(super) fn find(lines: &Lines<'_>) -> Option<FrontMatter> {
    if lines.count() == 0 {
        return None;
    }
    let mark = lines.text(0).trim_end();
    if !matches!(mark, "---" | "+++") {
        return None;
    }
    let first = (1..lines.count()).map(|at| lines.text(at)).find(|line| !is_remark(line))?;
    if !may_begin(first, mark) {
        return None;
    }
    let close = (1..lines.count()).find(|&at| {
        let line = lines.text(at).trim_end();
        line == mark || mark == "---" && line == "..."
    })?;
    let source = &lines.ruler.text[lines.bytes(1..close)];
    let title = if mark == "---" { yaml(source, first) } else { toml(source, first) };
    let title = title.ok()?;
    let title = title.map(|title| title.split_whitespace().collect::<Vec<_>>().join(" "));
    Some(FrontMatter { end: close + 1, title: title.filter(|title| !title.is_empty()) })
}

/// True for a blank line or a comment, in YAML and in TOML.
fn is_remark(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// False if the first line rules out a table, to avoid a pointless parse.
fn may_begin(first: &str, mark: &str) -> bool {
    if mark == "---" { first.contains([':', '?', '{']) } else { first.contains(['=', '[']) }
}

/// The text is not a table, so its first line is a thematic break or plain text.
struct NoTable;

/// The title from YAML.
fn yaml(source: &str, first: &str) -> Result<Option<String>, NoTable> {
    match parse_yaml(source) {
        Some(mapping) if mapping.keys > 0 => Ok(mapping.title),
        None if begins_with_key(first, ':') => Ok(lenient_title(source)),
        _ => Err(NoTable),
    }
}

/// The title from TOML.
fn toml(source: &str, first: &str) -> Result<Option<String>, NoTable> {
    let table = (source.len() <= MAX_BYTES).then(|| source.parse::<toml::Table>().ok()).flatten();
    match table {
        Some(table) if !table.is_empty() => Ok(match table.get("title") {
            Some(toml::Value::String(title)) => Some(title.clone()),
            Some(toml::Value::Integer(number)) => Some(number.to_string()),
            _ => None,
        }),
        None if begins_with_key(first, '=') || first.starts_with('[') => {
            Ok(title_value(source, '=').and_then(|at| plain(&source[at..])))
        }
        _ => Err(NoTable),
    }
}

/// True for `key: …` or `key = …`.
fn begins_with_key(line: &str, separator: char) -> bool {
    line.split_once(separator).is_some_and(|(key, value)| {
        let key = key.trim_end();
        !key.is_empty()
            && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '"' | '\''))
            && (value.is_empty() || separator == '=' || value.starts_with([' ', '\t']))
    })
}

/// A YAML mapping: the number of keys, and the title if it is a `T`.
struct Mapping<T> {
    keys: usize,
    title: Option<T>,
}

/// Parses YAML that is a mapping within the limits. The title is `None` if it is not a scalar.
fn parse_yaml(source: &str) -> Option<Mapping<String>> {
    if source.len() > MAX_BYTES {
        return None;
    }
    let limits = options! {
        budget: budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_aliases: MAX_ALIASES,
            max_documents: 1,
        },
        alias_limits: alias_limits! { max_total_replayed_events: MAX_REPLAYED_EVENTS },
        duplicate_keys: DuplicateKeyPolicy::FirstWins,
        with_snippet: false,
    };
    if let Ok(mapping) = serde_saphyr::from_str_with_options(source, limits.clone()) {
        return Some(mapping);
    }
    let Mapping::<IgnoredAny> { keys, .. } = serde_saphyr::from_str_with_options(source, limits).ok()?;
    Some(Mapping { keys, title: None })
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Mapping<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Keys<T> {
            type Value = Mapping<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Mapping<T>, A::Error> {
                let mut mapping = Mapping { keys: 0, title: None };
                while let Some(key) = map.next_key::<String>()? {
                    mapping.keys += 1;
                    if key == "title" {
                        mapping.title = map.next_value()?;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(mapping)
            }
        }

        deserializer.deserialize_map(Keys(PhantomData))
    }
}

/// The title of invalid YAML: its entry parsed alone, else the rest of its line.
fn lenient_title(source: &str) -> Option<String> {
    let value = &source[title_value(source, ':')?..];
    let end = value
        .match_indices('\n')
        .map(|(at, _)| at + 1)
        .find(|&at| !value[at..].starts_with([' ', '\t', '\n']))
        .unwrap_or(value.len());
    match parse_yaml(&format!("title:{}", &value[..end])) {
        Some(mapping) => mapping.title,
        None => plain(value),
    }
}

/// Byte offset of the value of the key `title`.
fn title_value(source: &str, separator: char) -> Option<usize> {
    let mut start = 0;
    for line in source.split_inclusive('\n') {
        let value = line
            .strip_prefix("title")
            .and_then(|rest| rest.trim_start_matches([' ', '\t']).strip_prefix(separator));
        if let Some(value) = value {
            return Some(start + line.len() - value.len());
        }
        start += line.len();
    }
    None
}

/// The first line of an unquoted value, without its comment; `None` if it starts with YAML syntax
/// or a template.
fn plain(value: &str) -> Option<String> {
    let line = value.lines().next().unwrap_or_default();
    let value = line.split(" #").next().unwrap_or_default().trim();
    (!value.starts_with(['{', '[', '&', '*', '!', '|', '>', '%', '@', '`', '#']))
        .then(|| value.trim_matches(['"', '\'']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::super::size::Size;
    use super::*;

    fn read(text: &str) -> Option<FrontMatter> {
        let size = Size::chars(1000);
        let ruler = size.ruler(text);
        find(&Lines::new(&ruler))
    }

    /// The title of YAML between front matter markers; `Err` if that is not front matter.
    fn yaml_title(source: &str) -> Result<Option<String>, String> {
        let text = format!("---\n{source}\n---\n# Head\n");
        read(&text).map(|found| found.title).ok_or(text)
    }

    #[test]
    fn yaml_titles_are_found() {
        for (source, title) in [
            ("title: Plain # comment", Some("Plain")),
            ("id: x\ntitle: \"A: b\"", Some("A: b")),
            ("title: >-\n  A folded\n  title\nx: y", Some("A folded title")),
            ("title: |\n  Literal title", Some("Literal title")),
            (r#"title: "A \"quoted\" one""#, Some("A \"quoted\" one")),
            ("title: 'It''s here'", Some("It's here")),
            ("title: &t Anchored\nother: *t", Some("Anchored")),
            ("base: &t Named\ntitle: *t", Some("Named")),
            ("title: 1.0", Some("1.0")),
            ("title: 2024-01-02", Some("2024-01-02")),
            ("title: true", Some("true")),
            ("title: ~", None),
            ("title:", None),
            ("title: [a, b]\nx: y", None),
            ("subtitle: x", None),
            ("nested:\n  title: x", None),
            ("{title: Flow}", Some("Flow")),
            ("title: First\ntitle: Second", Some("First")),
            ("# comment\n\ntitle: After", Some("After")),
        ] {
            assert_eq!(yaml_title(source), Ok(title.map(str::to_owned)), "{source:?}");
        }
    }

    #[test]
    fn invalid_yaml_that_begins_with_a_key_still_has_its_title() {
        for (source, title) in [
            ("title: Foo: bar", Some("Foo: bar")),
            ("title: Foo: bar # comment", Some("Foo: bar")),
            ("title: \"Good\"\ntags: a: b", Some("Good")),
            ("tags: a: b\ntitle: >-\n  Two\n  lines\nlast: c", Some("Two lines")),
            ("layout: x\ntitle: {{ page.title }}: x", None),
            ("layout: a: b", None),
        ] {
            assert_eq!(yaml_title(source), Ok(title.map(str::to_owned)), "{source:?}");
        }
    }

    #[test]
    fn toml_titles_are_found() {
        for (source, title) in [
            ("title = 'T' # comment", Some("T")),
            ("title = \"\"\"\nTwo\nlines\"\"\"", Some("Two lines")),
            ("[params]\ntitle = 'T'", None),
            ("title = T\n", Some("T")),
        ] {
            let found = read(&format!("+++\n{source}\n+++\n"));
            assert_eq!(found.map(|found| found.title), Some(title.map(str::to_owned)), "{source:?}");
        }
    }

    #[test]
    fn a_thematic_break_is_not_front_matter() {
        for text in [
            "---\n# Title\n\nIntro text.\n\n## Section\n\nmore text\n\n---\n\n## After\n",
            "---\n\nSee also: the docs\nof it\n---\n",
            "---\n- a\n- b: c\n---\n",
            "---\n# only a comment\n---\n",
            "---\n---\n",
            "---\ntitle: never closed\n",
            "----\ntitle: x\n----\n",
            "\n---\ntitle: x\n---\n",
            "+++\nplain\n+++\n",
            "+++\n+++\n",
            "",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
        let blank_first = read("---\n\nlayout: post\ntitle: Blank\n---\n\n### Deep\n");
        assert_eq!(blank_first, Some(FrontMatter { end: 5, title: Some("Blank".into()) }));
        let dots = read("---\ntitle: x\n...\n---\n");
        assert_eq!(dots, Some(FrontMatter { end: 3, title: Some("x".into()) }));
    }

    #[test]
    fn hostile_yaml_is_bounded() {
        let bomb = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |yaml, n| {
            format!("{yaml}a{n}: &a{n} [*a{0}, *a{0}, *a{0}, *a{0}]\n", n - 1)
        });
        assert_eq!(yaml_title(&format!("title: Bomb\n{bomb}")), Ok(Some("Bomb".into())));
        let deep = format!("title: Deep\nx: {}", "[".repeat(30_000));
        assert_eq!(yaml_title(&deep), Ok(Some("Deep".into())));
        let indented = (0..300).fold(String::new(), |yaml, depth| yaml + &" ".repeat(depth) + "k:\n");
        assert_eq!(yaml_title(&format!("title: Steps\n{indented}")), Ok(Some("Steps".into())));
        let large = format!("title: Large\n{}", "key: value\n".repeat(10_000));
        assert_eq!(yaml_title(&large), Ok(Some("Large".into())));
        let toml = read(&format!("+++\ntitle = 'T'\nx = {}\n+++\n", "[".repeat(30_000)));
        assert_eq!(toml.map(|found| found.title), Some(Some("T".into())));
    }
}
