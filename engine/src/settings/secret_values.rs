//! Recognizes secrets in the file, and values that cannot be valid secrets.

use url::Url;

use super::mask::looks_secret;
use crate::model::SHORTEST_SECRET;

/// Minimum length at which a query value counts as a secret although its key does not suggest one.
const LONG_QUERY_VALUE: usize = 12;
/// Minimum length at which a webhook's path counts as a secret: services put the key there.
const LONG_PATH: usize = 16;

/// True for invisible characters, which get into keys that are copied from web pages or saved by
/// editors.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// The value without white space and invisible characters at both ends.
pub(super) fn trimmed(value: &str) -> &str {
    value.trim_matches(|c: char| c.is_whitespace() || is_invisible(c))
}

/// A message and a hint if the value cannot be a secret; `None` if it can.
pub(super) fn defect(value: &str) -> Option<(String, &'static str)> {
    if let Some(c) = value.chars().find(|c| is_invisible(*c)) {
        let message = format!("holds an invisible character (U+{:04X})", u32::from(c));
        return Some((message, "copy the value again, or save the file as plain text"));
    }
    let quoted = |quotes: [char; 2]| {
        value.chars().count() > 1 && value.starts_with(quotes[0]) && value.ends_with(quotes[1])
    };
    if [['"'; 2], ['\''; 2], ['`'; 2], ['\u{201c}', '\u{201d}'], ['\u{2018}', '\u{2019}']]
        .into_iter()
        .any(quoted)
    {
        let hint = "remove the quotes from the variable or the file: they would be sent as part of the value";
        return Some(("its value is in quotes".to_owned(), hint));
    }
    None
}

/// True if the value is too short for a secret. An empty value is reported elsewhere.
pub(super) fn too_short(value: &str) -> bool {
    (1..SHORTEST_SECRET).contains(&value.chars().count())
}

/// The parts of a URL that may be secrets: the password (or a user name without one, except of a
/// database), the whole query, and its long values. Empty if the text is not a URL.
pub(super) fn of_url(text: &str) -> Vec<String> {
    let Some(url) = Url::parse(text).ok().filter(|_| text.contains("://")) else { return Vec::new() };
    let mut found = Vec::new();
    let mut both = |part: &str| {
        found.push(part.to_owned());
        found.push(percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned());
    };
    match url.password() {
        Some(password) => both(password),
        // The user of a database is not a secret, and may be a common word.
        None if is_database(&url) => {}
        None => both(url.username()),
    }
    if let Some(query) = url.query() {
        both(query);
    }
    for (key, value) in url.query_pairs() {
        if looks_secret(&key) || value.chars().count() >= LONG_QUERY_VALUE {
            found.push(value.into_owned());
        }
    }
    found
}

/// The secret parts of a webhook's URL, which is a secret as a whole.
pub(super) fn of_webhook(text: &str) -> Vec<String> {
    let mut found = vec![text.to_owned()];
    if let Ok(url) = Url::parse(text)
        && url.path().len() >= LONG_PATH
        && !is_database(&url)
    {
        found.push(url.path().to_owned());
        found.push(url.path().trim_matches('/').to_owned());
    }
    found
}

fn is_database(url: &Url) -> bool {
    matches!(url.scheme(), "postgres" | "postgresql")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_along_with_a_copied_key_is_trimmed_or_refused() {
        for (value, clean) in [
            ("\u{feff}ghp_0123", "ghp_0123"),
            ("ghp_0123\u{200b}\r\n", "ghp_0123"),
            (" \u{a0}ghp_0123\t", "ghp_0123"),
            ("ghp_0123", "ghp_0123"),
        ] {
            assert_eq!(trimmed(value), clean, "{value:?}");
            assert_eq!(defect(clean), None);
        }
        for (value, message) in [
            ("ghp\u{200b}_0123", "holds an invisible character (U+200B)"),
            ("ghp\u{feff}_0123", "holds an invisible character (U+FEFF)"),
            ("\"ghp_0123\"", "its value is in quotes"),
            ("'ghp_0123'", "its value is in quotes"),
            ("\u{201c}ghp_0123\u{201d}", "its value is in quotes"),
        ] {
            assert_eq!(defect(value).expect(value).0, message);
        }
        for good in ["\"", "a\"b\"", "-----BEGIN K-----\nab\n-----END K-----", "p\u{e4}ssword"] {
            assert_eq!(defect(good), None, "{good}");
        }
    }

    #[test]
    fn short_values_are_distinguished_from_missing_ones() {
        assert_eq!([too_short(""), too_short("1234567"), too_short("12345678")], [false, true, false]);
    }

    #[test]
    fn user_information_and_queries_are_secrets() {
        let of = |text| {
            let mut found: Vec<String> =
                of_url(text).into_iter().filter(|part| part.len() >= SHORTEST_SECRET).collect();
            found.dedup();
            found
        };
        assert_eq!(of("https://git:pass%2Fword@h.example/x"), ["pass%2Fword", "pass/word"]);
        assert_eq!(of("https://x-token-0123@h.example/x"), ["x-token-0123"]);
        assert_eq!(of("https://h.example/x?sig=abc123456&v=2026-04-01"), ["sig=abc123456&v=2026-04-01"]);
        assert_eq!(
            of("https://h.example/x?token=abc123456&id=0123456789abcdef"),
            ["token=abc123456&id=0123456789abcdef", "abc123456", "0123456789abcdef"]
        );
        assert!(of("https://h.example/a/long/path/without/secrets").is_empty());
        assert_eq!(of("postgres://reposync:pass-0123@db.example/reposync"), ["pass-0123"]);
        assert!(of("postgres://reposync@%2Frun%2Fpostgresql/reposync").is_empty());
        assert!(of("no URL: 12345678").is_empty());
    }

    #[test]
    fn a_webhook_is_a_secret_whole_and_by_its_path() {
        let slack = "https://hooks.slack.com/services/T00/B00/XXXX";
        assert_eq!(of_webhook(slack), [slack, "/services/T00/B00/XXXX", "services/T00/B00/XXXX"]);
        assert_eq!(of_webhook("https://ci.example/in"), ["https://ci.example/in"]);
        let database = "postgres://reposync:pass@db/a_database_with_a_long_name";
        assert_eq!(of_webhook(database), [database]);
    }
}
