//! A process-wide registry of secrets, and their masking in everything reported about a run: logs,
//! reports, the ledger's history, errors, notifications, hints.
//!
//! Texts of documents, stored records and query results are never masked: what is indexed must not
//! depend on the environment.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use parking_lot::RwLock;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Minimum length of a masked value in bytes. Shorter ones would match inside ordinary words;
/// `validate` refuses them as secrets.
pub const SHORTEST_SECRET: usize = 8;
/// The replacement of a secret.
const MASK: &str = "***";
/// Maximum number of issued tokens kept. They expire within hours; a daemon with an hourly token for each of
/// ten GitHub Apps reaches it after ten hours.
const MAX_ISSUED: usize = 100;
/// Minimum length of a line of a multi-line value that is masked on its own.
const MIN_LINE: usize = 16;
/// Characters that are not percent-encoded in URLs.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

static PROCESS: RwLock<Option<Arc<Masker>>> = RwLock::new(None);

/// Registers secrets of the configuration and the environment, in every form that they may have in messages.
/// They are masked from now on until the process ends.
pub fn register_secrets(values: impl IntoIterator<Item = String>) {
    register(&values.into_iter().collect::<Vec<_>>(), Known::add_own);
}

/// Registers a token that a service issued for a limited time. The oldest of these are forgotten first.
pub fn register_issued_token(token: &str) {
    register(&[token.to_owned()], Known::add_issued);
}

fn register(values: &[String], add: fn(&mut Known, &[String]) -> bool) {
    if values.is_empty() {
        return;
    }
    let mut process = PROCESS.write();
    let mut known = process.as_deref().map(|masker| masker.known.clone()).unwrap_or_default();
    if add(&mut known, values) {
        *process = Masker::new(known).map(Arc::new);
    }
}

/// Replaces every registered secret in a text.
pub fn mask_secrets(text: &str) -> Cow<'_, str> {
    let masker = PROCESS.read().clone();
    match masker {
        Some(masker) => masker.mask(text),
        None => Cow::Borrowed(text),
    }
}

/// What is masked.
#[derive(Debug, Clone, Default)]
struct Known {
    /// Every form of the secrets of configuration and environment.
    own: BTreeSet<String>,
    /// Tokens that services issued, the newest last.
    issued: VecDeque<String>,
}

impl Known {
    /// True if any value is new.
    fn add_own(&mut self, values: &[String]) -> bool {
        let before = self.own.len();
        self.own.extend(values.iter().flat_map(|value| forms(value)));
        self.own.len() > before
    }

    /// True if any token is new.
    fn add_issued(&mut self, tokens: &[String]) -> bool {
        let before = self.issued.len();
        for token in tokens.iter().flat_map(|token| forms(token)) {
            if !self.own.contains(&token) && !self.issued.contains(&token) {
                self.issued.push_back(token);
            }
        }
        let is_changed = self.issued.len() > before;
        let surplus = self.issued.len().saturating_sub(MAX_ISSUED);
        self.issued.drain(..surplus);
        is_changed
    }

    fn values(&self) -> impl Iterator<Item = &String> {
        self.own.iter().chain(&self.issued)
    }
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
    known: Known,
    search: AhoCorasick,
}

impl Masker {
    /// `None` if there are no values.
    fn new(known: Known) -> Option<Self> {
        known.values().next()?;
        // If one secret contains another, the longer one is masked as a whole.
        let search = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(known.values());
        // Building fails only for more than about 2^31 bytes of values.
        search.ok().map(|search| Self { known, search })
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
        let mut known = Known::default();
        known.add_own(&values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
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
    fn issued_tokens_never_displace_secrets_of_the_configuration() {
        let mut known = Known::default();
        let own: Vec<String> = (0..5000).map(|n| format!("configured{n:06}")).collect();
        assert!(known.add_own(&own));
        assert!(!known.add_own(&own[..1]), "known already");
        let issued: Vec<String> = (0..MAX_ISSUED + 5).map(|n| format!("issued{n:06}")).collect();
        assert!(known.add_issued(&issued));
        assert!(!known.add_issued(&issued[5..]), "known already");
        assert_eq!((known.own.len(), known.issued.len()), (5000, MAX_ISSUED));
        assert_eq!(known.issued[0], "issued000005", "the oldest went first");
    }

    #[test]
    fn the_process_has_one_registry() {
        let secret = "only-of-this-test-4f1c";
        register_secrets([secret.to_owned()]);
        register_secrets([]);
        assert_eq!(mask_secrets(&format!("a {secret} b")), "a *** b");
    }
}
