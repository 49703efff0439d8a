//! Validates single values: globs, URLs, names, extensions, schedules.

use std::str::FromStr as _;

use croner::Cron;
use globset::GlobBuilder;
use url::Url;

use super::problem::Problem;
use super::table::Table;
use crate::model::parse_endpoint;

pub(super) fn check_globs(table: &Table<'_>, key: &str, problems: &mut Vec<Problem>) {
    for (span, pattern) in table.texts(key) {
        let (message, hint) = if pattern.is_empty() {
            ("an empty pattern matches nothing".to_owned(), "leave it out")
        } else if pattern.starts_with('/') || pattern.starts_with("./") {
            let message = "matches nothing: paths start at the repository's root, without a `/`".to_owned();
            (message, "leave the start out: `docs/**`, not `/docs/**`")
        } else if let Err(error) = GlobBuilder::new(pattern).literal_separator(true).build() {
            let why = if table.replaced_at(&span) { String::new() } else { format!(": {}", error.kind()) };
            (
                format!("not a glob{why}"),
                "`*` and `?` stay within a folder, `**` crosses folders, `{a,b}` and `[a-z]` choose",
            )
        } else {
            continue;
        };
        table.flag_at(problems, key, span, message, hint);
    }
    let empty = table.value(key).and_then(|value| value.as_array()).is_some_and(|items| items.is_empty());
    if empty && key == "match" {
        table.flag(problems, key, "an empty list matches no file", "leave it out for the default");
    }
}

/// Validates a service's URL. Problems do not repeat the value, since it may contain a secret.
pub(super) fn check_url(
    table: &Table<'_>,
    key: &str,
    text: &str,
    problems: &mut Vec<Problem>,
) -> Option<Url> {
    match parse_endpoint(text) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            let hint = "leave `USER:PASSWORD@` out; keys have settings of their own";
            table.flag(problems, key, "a URL must not carry credentials", hint);
            None
        }
        Ok(url) => Some(url),
        Err(why) => {
            table.flag(problems, key, why, "write it like \"https://HOST[:PORT][/PREFIX]\"");
            None
        }
    }
}

/// Parses a schedule: five cron fields in UTC. The error is a message fragment.
pub fn parse_schedule(text: &str) -> Result<Cron, String> {
    if !text.starts_with('@') && text.split_whitespace().count() != 5 {
        return Err("a schedule has five fields".into());
    }
    let cron = Cron::from_str(text).map_err(|_| "not a cron expression".to_owned())?;
    match cron.find_next_occurrence(&chrono::Utc::now(), false) {
        Ok(_) => Ok(cron),
        Err(_) => Err("it matches no date".into()),
    }
}

/// A hint if this is not a file extension; `None` if it is.
pub(super) fn bad_extension(text: &str) -> Option<String> {
    let name = text.trim_start_matches('*').trim_start_matches('.');
    let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "._-+#".contains(c));
    match (plain, text.strip_prefix('.') == Some(name)) {
        (true, true) => None,
        (true, false) => Some(format!("write \".{name}\"")),
        (false, _) => {
            Some("write it like \".md\"; for whole names use `exclude_patterns` or a stage's `match`".into())
        }
    }
}

/// True for a valid name of a stage or project. Names appear in metrics, logs, metadata and on the
/// command line.
pub(super) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// True for a valid name of a Pinecone index.
pub(super) fn is_index_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=45).contains(&text.len())
        && text.bytes().all(|byte| plain(byte) || byte == b'-')
        && text.bytes().next().is_some_and(plain)
        && text.bytes().last().is_some_and(plain)
}

/// True for a name of a GitHub account: letters, digits and single dashes inside; `_` for managed
/// users.
pub(super) fn is_owner(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// True for `owner/name` on GitHub.
pub(super) fn is_full_name(text: &str) -> bool {
    text.split_once('/').is_some_and(|(owner, name)| {
        is_owner(owner)
            && (1..=100).contains(&name.len())
            && ![".", ".."].contains(&name)
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    })
}

/// True if Git accepts this as a branch name (the main rules of `git check-ref-format`).
pub(super) fn is_branch(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['-', '/', '.'])
        && !text.ends_with(['/', '.'])
        && !["..", "//", "@{", "/."].iter().any(|part| text.contains(part))
        && !text.contains(|c: char| c.is_control() || " ~^:?*[\\".contains(c))
        && text != "@"
}

/// True for `2024-10-21` and `2024-10-21-preview`.
pub(super) fn is_date(text: &str) -> bool {
    let date = text.strip_suffix("-preview").unwrap_or(text);
    date.len() == 10 && chrono::NaiveDate::from_str(date).is_ok()
}

/// True for `2026-04`.
pub(super) fn is_month(text: &str) -> bool {
    text.len() == 7 && chrono::NaiveDate::from_str(&format!("{text}-01")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules() {
        for good in ["0 8 * * *", "*/15 * * * 1-5", "0 0 29 2 *", "@daily"] {
            assert!(parse_schedule(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", "a schedule has five fields"),
            ("0 8 * *", "a schedule has five fields"),
            ("0 0 8 * * *", "a schedule has five fields"),
            ("61 8 * * *", "not a cron expression"),
            ("a b c d e", "not a cron expression"),
            ("@sometimes", "not a cron expression"),
            ("0 0 31 2 *", "it matches no date"),
        ] {
            assert_eq!(parse_schedule(bad).map(|_| ()), Err(why.to_owned()), "{bad}");
        }
    }

    #[test]
    fn names_and_extensions() {
        let long = "a".repeat(101);
        for (check, good, bad) in [
            (is_name as fn(&str) -> bool, ["a", "docs-2.x_y"], ["", "ä", "a b", "-a", "a/b", &long]),
            (is_index_name, ["docs", "a-1"], ["", "Docs", "-a", "a-", "a_b", &long]),
            (is_full_name, ["acme/handbook", "A-b/c.d_e"], ["", "acme", "a/b/c", "/b", "a/..", "a b/c"]),
            (is_branch, ["main", "feature/x-1"], ["", "a b", "a..b", "/a", "a~1", "-a"]),
            (
                is_date,
                ["2024-10-21", "2025-01-01-preview"],
                ["", "2024-13-01", "v1", "2024-1-1", "latest", "2024-10-21-x"],
            ),
        ] {
            assert!(good.iter().all(|text| check(text)), "{good:?}");
            assert!(bad.iter().all(|text| !check(text)), "{bad:?}");
        }
        for (text, hint) in [
            (".md", None),
            (".tar.gz", None),
            ("md", Some("write \".md\"")),
            ("*.md", Some("write \".md\"")),
            ("..md", Some("write \".md\"")),
        ] {
            assert_eq!(bad_extension(text).as_deref(), hint, "{text}");
        }
        for bad in ["", ".", ".m d", ".a/b", "*"] {
            assert!(bad_extension(bad).is_some(), "{bad}");
        }
    }
}
