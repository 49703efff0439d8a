//! The context of a chunk: its first line, nothing, or a template of the groups of `start`.

use crate::settings::Objection;

/// The value of `context`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Context {
    FirstLine,
    None,
    Template(Vec<Part>),
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    /// The text of a named group.
    Group(String),
}

impl Context {
    /// Reads the value; `names` are the groups of `start`. `{{` and `}}` are braces.
    pub(super) fn parse(text: &str, names: &[&str]) -> Result<Self, Objection> {
        match text {
            "first-line" => return Ok(Self::FirstLine),
            "none" => return Ok(Self::None),
            _ => {}
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            let after = &rest[at + 1..];
            if let Some(after) = after.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            let Some((name, after)) = after.split_once('}').filter(|_| brace == "{") else {
                return Err(Objection::new(
                    format!("a `{brace}` without its counterpart"),
                    "write `{NAME}` for a named group of `start`, and `{{` or `}}` for a brace",
                ));
            };
            if !names.contains(&name) {
                return Err(Objection::new(format!("`start` has no group `{name}`"), known(names)));
            }
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Group(name.to_owned()));
            rest = after;
        }
        if !parts.iter().any(|part| matches!(part, Part::Group(_))) {
            return Err(Objection::new(
                "is neither \"first-line\" nor \"none\", and names no group of `start`",
                known(names),
            ));
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self::Template(parts))
    }
}

/// A template, filled in; groups that did not take part in the match are empty.
pub(super) fn fill<'t>(
    parts: &[Part],
    group: impl Fn(&str) -> Option<&'t str>,
    max: usize,
) -> Option<String> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(literal) => text.push_str(literal),
            Part::Group(name) => text.push_str(group(name).unwrap_or_default()),
        }
    }
    let text = text.trim();
    (!text.is_empty()).then(|| text[..text.floor_char_boundary(max)].to_owned())
}

fn known(names: &[&str]) -> String {
    if names.is_empty() {
        return "give `start` a named group, such as `(?<name>\\w+)`, and write `{name}`".to_owned();
    }
    let names: Vec<String> = names.iter().map(|name| format!("`{{{name}}}`")).collect();
    format!("its groups are {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    fn filled(template: &str) -> Result<Option<String>, String> {
        let start = Regex::new(r"^(?<kind>\w+) (?<name>\w+)(?: (?<rest>.*))?$").expect("valid");
        let names: Vec<&str> = start.capture_names().flatten().collect();
        match Context::parse(template, &names).map_err(|objection| objection.message)? {
            Context::Template(parts) => {
                let captures = start.captures("function one").expect("it matches");
                Ok(fill(&parts, |name| captures.name(name).map(|found| found.as_str()), 100))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn templates_are_filled_with_groups() {
        assert_eq!(filled("{kind} {name}"), Ok(Some("function one".to_owned())));
        assert_eq!(filled("{{{name}}} {rest}"), Ok(Some("{one}".to_owned())));
        assert_eq!(filled("{rest}"), Ok(None), "a group without a match");
    }

    #[test]
    fn other_values_are_refused() {
        for (template, message) in [
            ("{title}", "`start` has no group `title`"),
            ("{}", "`start` has no group ``"),
            ("{name", "a `{` without its counterpart"),
            ("name}", "a `}` without its counterpart"),
            ("firstline", "is neither \"first-line\" nor \"none\", and names no group of `start`"),
            ("", "is neither \"first-line\" nor \"none\", and names no group of `start`"),
        ] {
            assert_eq!(filled(template), Err(message.to_owned()), "{template}");
        }
        assert_eq!(Context::parse("first-line", &[]), Ok(Context::FirstLine));
        assert_eq!(Context::parse("none", &[]), Ok(Context::None));
    }
}
