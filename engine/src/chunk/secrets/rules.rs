//! Loads and compiles the rules.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use regex::{Match, Regex};
use serde::Deserialize;

use super::check::Check;
use super::settings::SecretRule;

/// The built-in rules.
const BUILT_IN: &str = include_str!("rules.toml");
/// The version that `rules.toml` states.
pub(super) const VERSION: u32 = 2;
/// Names of the capture groups that contain the secret; `bare` is an unquoted value.
const GROUPS: [&str; 4] = ["secret", "single", "back", "bare"];

/// A file of rules.
pub(super) struct Rules {
    pub(super) placeholders: Vec<String>,
    pub(super) list: Vec<Rule>,
}

/// One compiled rule. `rules.toml` documents the fields.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) id: Arc<str>,
    pub(super) pattern: Pattern,
    pub(super) keywords: Arc<[String]>,
    pub(super) anywhere: bool,
    pub(super) check: Option<Check>,
    pub(super) entropy: Option<f64>,
    pub(super) allow: Arc<[Pattern]>,
    has_groups: bool,
}

/// A regular expression that is compiled when it is first used: most texts contain the keywords of few
/// rules, and compiling all of them takes 60 ms.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    text: Arc<str>,
    compiled: Arc<OnceLock<Regex>>,
}

impl Pattern {
    fn built_in(text: &str) -> Self {
        Self { text: text.into(), compiled: Arc::default() }
    }

    /// Fails if the text is not a valid regular expression.
    fn compiled(text: &str) -> Result<Self, regex::Error> {
        let compiled = OnceLock::from(Regex::new(text)?);
        Ok(Self { text: text.into(), compiled: Arc::new(compiled) })
    }

    pub(super) fn get(&self) -> &Regex {
        self.compiled.get_or_init(|| Regex::new(&self.text).expect("a test compiles the built-in patterns"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRules {
    version: u32,
    placeholders: Vec<String>,
    rules: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    id: String,
    pattern: String,
    keywords: Vec<String>,
    #[serde(default)]
    anywhere: bool,
    check: Option<Check>,
    entropy: Option<f64>,
    #[serde(default)]
    allow: Vec<String>,
}

impl Rules {
    /// Loads the built-in rules.
    pub(super) fn built_in() -> Self {
        let raw: RawRules = toml::from_str(BUILT_IN).expect("a test parses the built-in rules");
        debug_assert_eq!(raw.version, VERSION, "`VERSION` repeats what `rules.toml` states");
        let rule = |raw: RawRule| Rule {
            has_groups: has_groups(&raw.pattern),
            pattern: Pattern::built_in(&raw.pattern),
            id: raw.id.into(),
            keywords: raw.keywords.into(),
            anywhere: raw.anywhere,
            check: raw.check,
            entropy: raw.entropy,
            allow: raw.allow.iter().map(|text| Pattern::built_in(text)).collect(),
        };
        let rules = raw.rules.into_iter().map(rule).collect();
        Self { placeholders: raw.placeholders, list: rules }
    }
}

impl Rule {
    /// Compiles a rule of a configuration.
    pub(super) fn of_settings(rule: &SecretRule) -> Result<Self, regex::Error> {
        Ok(Self {
            has_groups: has_groups(&rule.pattern),
            pattern: Pattern::compiled(&rule.pattern)?,
            id: rule.id.as_str().into(),
            keywords: rule.keywords.clone().into(),
            anywhere: false,
            check: None,
            entropy: rule.entropy,
            allow: Arc::new([]),
        })
    }

    /// The range of the secret in a match, and whether it is unquoted.
    pub(super) fn secret(&self, text: &str, whole: &Match<'_>) -> (Range<usize>, bool) {
        let groups = self.has_groups.then(|| self.pattern.get().captures_at(text, whole.start())).flatten();
        let group = groups.and_then(|groups| {
            GROUPS.iter().find_map(|name| groups.name(name).map(|group| (group.range(), *name == "bare")))
        });
        group.unwrap_or_else(|| (whole.range(), false))
    }
}

fn has_groups(pattern: &str) -> bool {
    GROUPS.iter().any(|name| pattern.contains(&format!("(?<{name}>")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_pattern_compiles() {
        let rules = Rules::built_in().list;
        let patterns = rules.iter().flat_map(|rule| rule.allow.iter().chain([&rule.pattern]));
        let lengths: Vec<usize> = patterns.map(|pattern| pattern.get().as_str().len()).collect();
        assert!(lengths.len() >= 90 && lengths.iter().all(|length| *length > 0), "{lengths:?}");
    }
}
