//! Detects keys and tokens in a file's text, for `secrets = "skip"` and `"redact"`, and for the count in
//! a plan: by published formats of vendors, by the names that values are assigned to, and by positions
//! where passwords occur. The rules are data (`rules.toml`); run time is linear in the text.

mod check;
mod private_key;
mod rules;
mod settings;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use aho_corasick::{AhoCorasick, MatchKind};
use regex::Regex;

use rules::{Rule, Rules};
pub use settings::{SecretRule, SecretRules};

/// Replacement for a secret. Line breaks inside the secret are kept, so that line numbers stay valid.
const REDACTED: &str = "[REDACTED]";
/// A comment that suppresses findings on its line; also recognized by other scanners.
const ALLOW_COMMENT: &str = "gitleaks:allow";
/// Maximum number of bytes searched before a keyword; a window starts no earlier than its line.
const BEFORE: usize = 256;
/// Number of bytes searched after a keyword. A match that reaches the end of the window is extended.
const AFTER: usize = 1024;

/// A detected secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Byte range in the text, at character boundaries.
    pub range: Range<usize>,
    /// The id of the rule that found it.
    pub rule: Arc<str>,
}

impl Finding {
    /// The line on which it begins, 1-based.
    pub fn line(&self, text: &str) -> usize {
        text[..self.range.start].matches('\n').count() + 1
    }
}

/// Finds secrets by the built-in rules, or by these and a configuration's own.
#[derive(Debug, Clone)]
pub struct Scanner {
    /// `None`: the built-in rules alone.
    own: Option<Arc<RuleSet>>,
    identity: String,
}

/// Rules, ready for searching.
#[derive(Debug)]
struct RuleSet {
    rules: Arc<[Rule]>,
    placeholders: Arc<[String]>,
    /// The keywords of all rules.
    keywords: AhoCorasick,
    /// Index of the rule of each keyword.
    owners: Arc<[usize]>,
    /// Patterns of values that are not secrets.
    allow: Arc<[Regex]>,
}

/// Read from `rules.toml` when the first text is searched: a run that reads no content pays nothing.
static BUILT_IN: LazyLock<RuleSet> = LazyLock::new(|| {
    let rules = Rules::built_in();
    RuleSet::of(rules.list, rules.placeholders.into(), Arc::new([]))
});

impl Scanner {
    /// A scanner with the built-in rules.
    pub fn built_in() -> Self {
        Self { own: None, identity: format!("secrets {}", rules::VERSION) }
    }

    /// A scanner with the built-in rules plus the rules and the allow list of a configuration.
    ///
    /// Fails if a pattern is not a valid regular expression.
    pub fn with(settings: &SecretRules) -> Result<Self, regex::Error> {
        let built_in = Self::built_in();
        if *settings == SecretRules::default() {
            return Ok(built_in);
        }
        let mut rules = BUILT_IN.rules.to_vec();
        for rule in &settings.rules {
            rules.push(Rule::of_settings(rule)?);
        }
        let allow: Vec<Regex> =
            settings.allow.iter().map(|pattern| Regex::new(pattern)).collect::<Result<_, _>>()?;
        let identity = format!("{} {}", built_in.identity, settings.fingerprint());
        let rules = RuleSet::of(rules, Arc::clone(&BUILT_IN.placeholders), allow.into());
        Ok(Self { own: Some(Arc::new(rules)), identity })
    }

    /// Identifies the rules in recipes, because they determine what is redacted.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The secrets in a text, in order and without overlap.
    pub fn find(&self, text: &str) -> Vec<Finding> {
        self.own.as_deref().unwrap_or(&BUILT_IN).find(text)
    }

    /// Replaces every secret; the number of lines stays the same.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let found = self.find(text);
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut from = 0;
        for Finding { range, .. } in found {
            out.push_str(&text[from..range.start]);
            out.push_str(REDACTED);
            out.extend(text[range.clone()].matches('\n'));
            from = range.end;
        }
        out.push_str(&text[from..]);
        Cow::Owned(out)
    }
}

impl RuleSet {
    fn of(rules: Vec<Rule>, placeholders: Arc<[String]>, allow: Arc<[Regex]>) -> Self {
        let owned =
            rules.iter().enumerate().flat_map(|(at, rule)| rule.keywords.iter().map(move |word| (at, word)));
        let (owners, words): (Vec<usize>, Vec<&String>) = owned.unzip();
        let keywords = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .build(words)
            .expect("a few hundred short keywords are within the limits of Aho-Corasick");
        Self { rules: rules.into(), placeholders, keywords, owners: owners.into(), allow }
    }

    fn find(&self, text: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        for (rule, windows) in self.rules.iter().zip(self.windows(text)) {
            for window in windows {
                self.search(rule, text, window, &mut found);
            }
        }
        let mut keys = Vec::new();
        private_key::find(text, &mut keys);
        found.extend(keys.into_iter().map(|range| Finding { range, rule: private_key::RULE.into() }));
        found.retain(|finding| !self.is_allowed(text, finding));
        found.sort_by_key(|finding| finding.range.start);
        let mut merged: Vec<Finding> = Vec::with_capacity(found.len());
        for finding in found {
            match merged.last_mut() {
                Some(last) if finding.range.start < last.range.end => {
                    last.range.end = last.range.end.max(finding.range.end);
                }
                _ => merged.push(finding),
            }
        }
        merged
    }

    /// For each rule, the parts of the text that may contain a match: around its keywords, in order and
    /// without overlap.
    fn windows(&self, text: &str) -> Vec<Vec<Range<usize>>> {
        let mut windows = vec![Vec::<Range<usize>>::new(); self.rules.len()];
        for (rule, windows) in self.rules.iter().zip(&mut windows) {
            if rule.keywords.is_empty() {
                windows.push(0..text.len());
            }
        }
        for word in self.keywords.find_overlapping_iter(text) {
            let at = self.owners[word.pattern().as_usize()];
            let windows = &mut windows[at];
            if self.rules[at].anywhere {
                if windows.is_empty() {
                    windows.push(0..text.len());
                }
                continue;
            }
            let window = around(text, word.start(), word.end());
            match windows.last_mut() {
                Some(last) if window.start <= last.end => last.end = last.end.max(window.end),
                _ => windows.push(window),
            }
        }
        windows
    }

    fn search(&self, rule: &Rule, text: &str, window: Range<usize>, found: &mut Vec<Finding>) {
        let mut from = window.start;
        while from <= window.end {
            let Some(mut whole) = rule.pattern.get().find_at(&text[..window.end], from) else { return };
            let mut within = &text[..window.end];
            if whole.end() == window.end && window.end < text.len() {
                let Some(longer) = rule.pattern.get().find_at(text, whole.start()) else { return };
                (whole, within) = (longer, text);
            }
            let (secret, bare) = rule.secret(within, &whole);
            let value = &text[secret.clone()];
            let random = rule.entropy.is_none_or(|least| check::entropy(value) >= least);
            let checked = rule.check.is_none_or(|check| check.passes(value, bare, &self.placeholders));
            if random && checked && !rule.allow.iter().any(|allow| allow.get().is_match(value)) {
                found.push(Finding { range: secret, rule: Arc::clone(&rule.id) });
            }
            from = whole.end().max(from + 1);
            while !text.is_char_boundary(from) {
                from += 1;
            }
        }
    }

    fn is_allowed(&self, text: &str, finding: &Finding) -> bool {
        let start = text[..finding.range.start].rfind('\n').map_or(0, |at| at + 1);
        let end = text[finding.range.start..].find('\n').map_or(text.len(), |at| finding.range.start + at);
        // Bounds the search in the long lines of minified files.
        let line = &text[start.max(floor(text, finding.range.start.saturating_sub(AFTER)))
            ..end
                .min(floor(text, finding.range.end.max(finding.range.start) + AFTER))
                .max(finding.range.start)];
        line.contains(ALLOW_COMMENT)
            || self.allow.iter().any(|allow| allow.is_match(&text[finding.range.clone()]))
    }
}

/// The window around a keyword: from the start of its line, at most [`BEFORE`] bytes back, to [`AFTER`]
/// bytes after it.
fn around(text: &str, start: usize, end: usize) -> Range<usize> {
    let from = floor(text, start.saturating_sub(BEFORE));
    let line = memchr::memrchr(b'\n', &text.as_bytes()[from..start]).map_or(from, |at| from + at);
    line..floor(text, end + AFTER)
}

/// The last character boundary at or before a byte offset.
fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests;
