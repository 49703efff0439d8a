//! A process-wide registry of secrets, and their masking in everything reported about a run: logs,
//! reports, the ledger's history, errors, notifications, hints.
//!
//! Texts of documents, stored records and query results are never masked: what is indexed must not
//! depend on the environment.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, MatchKind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Minimum length of a masked value in bytes. Shorter ones would match inside ordinary words;
/// `validate` refuses them as secrets.
pub const SHORTEST_SECRET: usize = 8;
/// The replacement of a secret.
const MASK: &str = "***";
/// Maximum number of values kept. A daemon that reads a new token every hour reaches it after a
/// month.
const MAX_VALUES: usize = 1000;
/// Minimum length of a line of a multi-line value that is masked on its own.
const MIN_LINE: usize = 16;
/// Characters that are not percent-encoded in URLs.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

static PROCESS: RwLock<Option<Arc<Masker>>> = RwLock::new(None);

/// Registers values, in every form that they may have in messages. They are masked from now on.
pub fn register_secrets(values: impl IntoIterator<Item = String>) {
    let values: Vec<String> = values.into_iter().collect();
    if values.is_empty() {
        return;
    }
    let mut process = PROCESS.write().unwrap_or_else(PoisonError::into_inner);
    let mut masker = process.as_deref().map(|masker| masker.values.clone()).unwrap_or_default();
    if add(&mut masker, &values) {
        *process = Masker::new(masker).map(Arc::new);
    }
}

/// Replaces every registered secret in a text.
pub fn mask_secrets(text: &str) -> Cow<'_, str> {
    let masker = PROCESS.read().unwrap_or_else(PoisonError::into_inner).clone();
    match masker {
        Some(masker) => masker.mask(text),
        None => Cow::Borrowed(text),
    }
}

/// Adds values and evicts the oldest beyond [`MAX_VALUES`]. Returns true if any is new.
fn add(known: &mut VecDeque<String>, values: &[String]) -> bool {
    let mut changed = false;
    for value in values.iter().flat_map(|value| forms(value)) {
        if !known.contains(&value) {
            known.push_back(value);
            changed = true;
        }
    }
    let surplus = known.len().saturating_sub(MAX_VALUES);
    known.drain(..surplus);
    changed
}

/// The value as it is, JSON-escaped, percent-encoded, and line by line.
fn forms(value: &str) -> Vec<String> {
    let value = value.trim();
    let mut forms = vec![value.to_owned(), utf8_percent_encode(value, UNRESERVED).to_string()];
    let json = serde_json::Value::from(value).to_string();
    forms.push(json[1..json.len() - 1].to_owned());
    if value.contains('\n') || value.contains("\\n") {
        // A PEM key: messages may quote single lines of it. Its first and last line are not secret.
        let lines = value.split('\n').flat_map(|line| line.split("\\n")).map(str::trim);
        let secret = |line: &&str| line.len() >= MIN_LINE && !line.starts_with("-----");
        forms.extend(lines.filter(secret).map(str::to_owned));
    }
    forms.retain(|form| form.chars().count() >= SHORTEST_SECRET);
    forms
}

/// Searches for all values in one pass.
struct Masker {
    values: VecDeque<String>,
    search: AhoCorasick,
}

impl Masker {
    /// `None` if there are no values.
    fn new(values: VecDeque<String>) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        // If one secret contains another, the longer one is masked as a whole.
        let search = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&values);
        // Building fails only for more than about 2^31 bytes of values.
        search.ok().map(|search| Self { values, search })
    }

    fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !self.search.is_match(text) {
            return Cow::Borrowed(text);
        }
        let mut masked = String::with_capacity(text.len());
        self.search.replace_all_with(text, &mut masked, |_, _, out| {
            out.push_str(MASK);
            true
        });
        Cow::Owned(masked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(values: &[&str], text: &str) -> String {
        let mut known = VecDeque::new();
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        add(&mut known, &values);
        Masker::new(known).map_or_else(|| text.to_owned(), |masker| masker.mask(text).into_owned())
    }

    #[test]
    fn secrets_are_masked_in_every_form_that_messages_have() {
        for (values, text, masked) in [
            (&["token-0123"][..], "bad token-0123, token-0123!", "bad ***, ***!"),
            (&["token-0123", "token-0123-long"], "token-0123-long token-0123", "*** ***"),
            (&["pass/word=1"], "GET /in?key=pass%2Fword%3D1 failed", "GET /in?key=*** failed"),
            (&["quote\"d-secret"], r#"{"error":"quote\"d-secret"}"#, r#"{"error":"***"}"#),
            (&["-----BEGIN K-----\nMIIEpAIBAAKCAQEA\nab\n"], "near `MIIEpAIBAAKCAQEA`", "near `***`"),
            (&["-----BEGIN K-----\\nMIIEpAIBAAKCAQEA\\nab"], "near `MIIEpAIBAAKCAQEA`", "near `***`"),
            (&["  token-0123\n"], "token-0123", "***"),
            (&["short", "", "  "], "a short text", "a short text"),
            (&[], "a text", "a text"),
        ] {
            assert_eq!(mask(values, text), masked, "{values:?}");
        }
    }

    #[test]
    fn the_oldest_values_go_first() {
        let mut known = VecDeque::new();
        let values: Vec<String> = (0..MAX_VALUES + 5).map(|n| format!("secret{n:06}")).collect();
        assert!(add(&mut known, &values));
        assert_eq!((known.len(), known[0].as_str()), (MAX_VALUES, "secret000005"));
        assert!(!add(&mut known, &["secret000005".to_owned()]), "known already");
    }

    #[test]
    fn the_process_has_one_registry() {
        let secret = "only-of-this-test-4f1c";
        register_secrets([secret.to_owned()]);
        register_secrets([]);
        assert_eq!(mask_secrets(&format!("a {secret} b")), "a *** b");
    }
}
