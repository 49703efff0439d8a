//! Loads and compiles the rules.

use std::ops::Range;
use std::sync::Arc;

use regex::{Match, Regex};
use serde::Deserialize;

use super::check::Check;
use super::settings::SecretRule;

/// The built-in rules.
const BUILT_IN: &str = include_str!("rules.toml");
/// Names of the capture groups that contain the secret; `bare` is an unquoted value.
const GROUPS: [&str; 4] = ["secret", "single", "back", "bare"];

/// A file of rules.
pub(super) struct Rules {
    pub(super) version: u32,
    pub(super) placeholders: Vec<String>,
    pub(super) list: Vec<Rule>,
}

/// One compiled rule. `rules.toml` documents the fields.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) id: Arc<str>,
    pub(super) pattern: Regex,
    pub(super) keywords: Arc<[String]>,
    pub(super) anywhere: bool,
    pub(super) check: Option<Check>,
    pub(super) entropy: Option<f64>,
    pub(super) allow: Arc<[Regex]>,
    has_groups: bool,
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
        let rule = |raw: RawRule| {
            let pattern = |text: &String| Regex::new(text).expect("a test compiles the built-in patterns");
            Rule {
                has_groups: has_groups(&raw.pattern),
                pattern: pattern(&raw.pattern),
                id: raw.id.into(),
                keywords: raw.keywords.into(),
                anywhere: raw.anywhere,
                check: raw.check,
                entropy: raw.entropy,
                allow: raw.allow.iter().map(pattern).collect(),
            }
        };
        let rules = raw.rules.into_iter().map(rule).collect();
        Self { version: raw.version, placeholders: raw.placeholders, list: rules }
    }
}

impl Rule {
    /// Compiles a rule of a configuration.
    pub(super) fn of_settings(rule: &SecretRule) -> Result<Self, regex::Error> {
        Ok(Self {
            has_groups: has_groups(&rule.pattern),
            pattern: Regex::new(&rule.pattern)?,
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
        let groups = self.has_groups.then(|| self.pattern.captures_at(text, whole.start())).flatten();
        let group = groups.and_then(|groups| {
            GROUPS.iter().find_map(|name| groups.name(name).map(|group| (group.range(), *name == "bare")))
        });
        group.unwrap_or_else(|| (whole.range(), false))
    }
}

fn has_groups(pattern: &str) -> bool {
    GROUPS.iter().any(|name| pattern.contains(&format!("(?<{name}>")))
}
