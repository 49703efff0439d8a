//! Rewrites the TOML parser's errors in plain words without values that may be secrets, and
//! suggests names ("did you mean").

use std::ops::Range;

use super::mask::looks_secret;
use super::problem::Problem;

/// True for the only parser error that contains no value.
pub(crate) fn is_missing_field(error: &toml::de::Error) -> bool {
    error.message().starts_with("missing field")
}

/// Explains a value of the wrong type or outside a closed list. `replaced`: the value came from a
/// reference, so it is not shown. `whole`: the value is the key's whole value, not a part of it.
pub(crate) fn explain(
    error: &toml::de::Error,
    path: String,
    key: &str,
    span: Range<usize>,
    replaced: bool,
    whole: bool,
) -> Problem {
    let message = error.message().trim();
    let hidden = replaced || looks_secret(key);
    let wrong = ["invalid type: ", "invalid value: ", "invalid length "];
    if let Some(rest) = wrong.iter().find_map(|start| message.strip_prefix(start))
        && let Some((found, expected)) = rest.rsplit_once(", expected ")
    {
        let expected = plain_expected(expected);
        let found = plain_found(found);
        let problem = Problem::at(path, span, format!("expected {expected}, found {found}"));
        return if whole { problem.hint(example(&expected, key)) } else { problem };
    }
    if let Some(rest) = message.strip_prefix("unknown variant `")
        && let Some((value, expected)) = rest.split_once("`, expected ")
    {
        let names: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        let hint = if hidden { None } else { did_you_mean(value, names.iter().copied()) };
        let hint = hint.unwrap_or_else(|| format!("use {}", choice(&names)));
        return Problem::at(path, span, "not one of the allowed values").hint(hint);
    }
    if hidden {
        return Problem::at(path, span, "its value is not valid");
    }
    match message.split_once("; ") {
        Some((message, hint)) => Problem::at(path, span, message).hint(hint),
        None => Problem::at(path, span, message),
    }
}

fn plain_expected(expected: &str) -> String {
    match expected {
        "usize" | "u64" | "u32" => "a whole number, at least 0".into(),
        "f64" => "a number".into(),
        "a string" | "string" | "path string" => "text in quotes".into(),
        "a boolean" => "`true` or `false`".into(),
        "a sequence" => "a list".into(),
        "a map" => "a table".into(),
        text if text.starts_with("struct ") => "a table".into(),
        text => text.into(),
    }
}

fn plain_found(found: &str) -> &'static str {
    match found.split([' ', '`']).next() {
        Some("string" | "str") => "text",
        Some("integer") if found.contains("`-") => "a negative number",
        Some("integer") => "a number",
        Some("floating") => "a number with a fraction",
        Some("boolean") => "`true` or `false`",
        Some("sequence") => "a list",
        Some("map") => "a table",
        _ => "something else",
    }
}

fn example(expected: &str, key: &str) -> String {
    match expected {
        "a whole number, at least 0" => format!("write it without quotes: {key} = 8"),
        "a number" => format!("write it without quotes: {key} = 0.5"),
        "text in quotes" => format!("write {key} = \"…\""),
        "`true` or `false`" => format!("write {key} = true, without quotes"),
        "a list" => format!("write {key} = [\"…\"]"),
        "a table" => format!("write {key} = {{ … }}"),
        _ => "see `docs/config.md` or `reposync schema`".into(),
    }
}

/// `did you mean …?` for a name that is nearly one of the known ones.
pub(crate) fn did_you_mean<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<String> {
    let lower = name.to_lowercase();
    // Typing errors change or swap a few letters; names further apart may still share a prefix.
    let near = |one: &str| {
        let slips = strsim::damerau_levenshtein(&lower, &one.to_lowercase());
        let likeness = strsim::jaro_winkler(&lower, &one.to_lowercase());
        if slips <= 1 { 1.0 + likeness } else { likeness }
    };
    let best = known.into_iter().map(|one| (near(one), one)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.8).then(|| format!("did you mean `{}`?", best.1))
}

/// `a`, `b` or `c`.
pub(crate) fn choice(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
