//! Compiles the regular expressions of a stage, and refuses those that cannot be meant.

use regex::{Regex, RegexBuilder};
use regex_syntax::ast::Span;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

use crate::settings::Objection;

/// An expression that is searched for in single lines.
pub(super) type Expression = Regex;

/// Maximum size of a compiled expression. Searching takes time in proportion to the text's length
/// and, in the worst case, to this size.
const MAX_COMPILED: usize = 512 << 10;

/// Maximum size of the table that a search builds as it goes.
const MAX_TABLE: usize = 4 << 20;

/// Lines of all sorts. An expression that matches each of them matches practically every line.
const PROBES: &[&str] = &[
    "a",
    "Z 9",
    "  x = 1",
    "\t}",
    "é漢",
    "# title",
    "2024-01-02 03:04:05 INFO x",
    "- [ ] \"q\"; (z)",
    "\u{1F600}",
];

/// Compiles an expression. The objection says what is wrong with it.
pub(super) fn compile(text: &str) -> Result<Expression, Objection> {
    let tree = regex_syntax::Parser::new().parse(text).map_err(|error| invalid(text, &error))?;
    if never(&tree) {
        return Err(Objection::new(
            "matches no line",
            "each line is matched alone, without its line feed; `^` is its start and `$` its end",
        ));
    }
    let expression = RegexBuilder::new(text).size_limit(MAX_COMPILED).dfa_size_limit(MAX_TABLE).build();
    let expression = expression.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => Objection::new(
            format!("is too large: compiled it exceeds {} KiB", MAX_COMPILED >> 10),
            "repeat less (`{1000}`), or use `[0-9]` and `[A-Za-z_]` instead of `\\d` and `\\w`",
        ),
        other => Objection::new(one_line(&other.to_string()), SYNTAX),
    })?;
    if PROBES.iter().all(|line| expression.is_match(line)) {
        return Err(Objection::new(
            "matches every line",
            "describe what only such a line has, such as '^## '; chunks of a fixed number of lines are `group = 1`",
        ));
    }
    Ok(expression)
}

/// The names of an expression's groups.
pub(super) fn names_of(expression: &Expression) -> impl Iterator<Item = &str> {
    expression.capture_names().flatten()
}

const SYNTAX: &str = "the syntax is that of Rust's `regex` crate; in TOML write it between single quotes";

fn invalid(text: &str, error: &regex_syntax::Error) -> Objection {
    let (why, span): (String, &Span) = match error {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), error.span()),
        regex_syntax::Error::Translate(error) => (error.kind().to_string(), error.span()),
        other => return Objection::new(one_line(&other.to_string()), SYNTAX),
    };
    let at = text[..text.floor_char_boundary(span.start.offset)].chars().count() + 1;
    let why = one_line(&why);
    let hint = if why.contains("look-around") || why.contains("backreferences") {
        "expressions are matched in linear time, without look-around and back-references"
    } else {
        SYNTAX
    };
    Objection::new(format!("is not a regular expression: {why} (character {at})"), hint)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// True if the expression certainly matches nothing in a text without line feeds. The check is not
/// complete; it finds what people write by mistake.
fn never(tree: &Hir) -> bool {
    if tree.properties().minimum_len().is_none() {
        return true;
    }
    match tree.kind() {
        HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Literal(literal) => literal.0.contains(&b'\n'),
        HirKind::Class(class) => only_line_feed(class),
        HirKind::Repetition(repetition) => repetition.min > 0 && never(&repetition.sub),
        HirKind::Capture(capture) => never(&capture.sub),
        HirKind::Alternation(all) => all.iter().all(never),
        HirKind::Concat(all) => all.iter().any(never) || crossed(all),
    }
}

/// True if a start of the line comes after text, or text after an end of the line.
fn crossed(parts: &[Hir]) -> bool {
    let (mut text, mut ended) = (false, false);
    for part in parts {
        let needs_text = part.properties().minimum_len().is_some_and(|len| len > 0);
        let look = if let HirKind::Look(look) = part.kind() { Some(*look) } else { None };
        if text && matches!(look, Some(Look::Start | Look::StartLF)) || ended && needs_text {
            return true;
        }
        text |= needs_text;
        ended |= matches!(look, Some(Look::End | Look::EndLF));
    }
    false
}

fn only_line_feed(class: &Class) -> bool {
    match class {
        Class::Unicode(class) => class.iter().all(|range| range.start() == '\n' && range.end() == '\n'),
        Class::Bytes(class) => class.iter().all(|range| range.start() == b'\n' && range.end() == b'\n'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objection(text: &str) -> String {
        compile(text).map_or_else(|objection| objection.message, |_| String::new())
    }

    #[test]
    fn useful_expressions_compile() {
        for text in [
            r#"^(?<kind>resource|module)\s+"(?<name>[^"]+)""#,
            "^}",
            r"^\s*$",
            r"^From ",
            r"^\[(?<name>[^\]]+)\]$",
            r"^\d{4}-\d\d-\d\d",
            // Exponential time in engines that backtrack.
            r"^(a+)+$",
            r"(x+x+)+y",
            r"^(?i)chapter\b",
            r"a|\n",
            r"\n?x",
        ] {
            assert_eq!(objection(text), "", "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in [r"[^\s\S]", r"a\n", r"\n^x", "x^a", "a$b", "(?:x^|$y)", r"(?:\n)+", "^$x"] {
            assert_eq!(objection(text), "matches no line", "{text}");
        }
        for text in ["", ".*", "^", "$", ".", r"\S", "a?", "(?<name>.+)", "^.*$"] {
            assert_eq!(objection(text), "matches every line", "{text}");
        }
        for (text, message) in [
            ("(a", "is not a regular expression: unclosed group (character 1)"),
            ("é[z", "is not a regular expression: unclosed character class (character 2)"),
            ("a{9}{2}{9999999999}", "is not a regular expression: decimal literal invalid (character 9)"),
            (r"\p{Klingon}", "is not a regular expression: Unicode property not found (character 1)"),
            ("(?<a>x)(?<a>y)", "is not a regular expression: duplicate capture group name (character 11)"),
            ("(?<a-b>x)", "is not a regular expression: invalid capture group character (character 5)"),
        ] {
            assert_eq!(objection(text), message);
        }
        for text in ["(?=a)b", r"(a)\1", "(?<!a)b"] {
            let objection = compile(text).expect_err("refused");
            assert!(objection.hint.contains("linear time"), "{objection:?}");
        }
        for text in ["(a{1000}){1000}", r"\w{5000}"] {
            assert_eq!(objection(text), "is too large: compiled it exceeds 512 KiB", "{text}");
        }
        let deep = "(".repeat(1000) + &")".repeat(1000);
        assert!(
            objection(&deep).starts_with("is not a regular expression: exceed the maximum number of nested"),
            "{}",
            objection(&deep)
        );
    }
}
