//! The rules: data in, regular expressions out.

use std::ops::Range;
use std::sync::Arc;

use regex::{Match, Regex};
use serde::Deserialize;

use super::check::Check;
use super::settings::SecretRule;

/// The rules in the program.
const BUILT_IN: &str = include_str!("rules.toml");
/// Groups of a pattern that hold the secret; the last one without quotes.
const GROUPS: [&str; 4] = ["secret", "single", "back", "bare"];

/// A file of rules.
pub(super) struct Rules {
    pub(super) version: u32,
    pub(super) placeholders: Vec<String>,
    pub(super) list: Vec<Rule>,
}

/// One compiled rule. What the fields mean is told in `rules.toml`.
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
    /// The rules in the program, which are tested.
    pub(super) fn built_in() -> Self {
        let raw: RawRules = toml::from_str(BUILT_IN).expect("the file is tested");
        let rule = |raw: RawRule| {
            let pattern = |text: &String| Regex::new(text).expect("the patterns are tested");
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
    /// A rule of a configuration.
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

    /// The secret in a match, and whether it stands without quotes.
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
