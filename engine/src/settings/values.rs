//! Validates values that several kinds of stages have: globs and URLs.

use globset::GlobBuilder;
use url::Url;

use super::problem::Problem;
use super::table::Table;
use crate::model::parse_endpoint;

pub(crate) fn check_globs(table: &Table<'_>, key: &str, problems: &mut Vec<Problem>) {
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
pub(crate) fn check_url(
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
