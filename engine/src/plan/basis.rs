//! What a project's index rests on besides the trees of its repositories, part by part, so that a change can
//! be explained.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::Fingerprint;

/// The version of the parts: raised where one changes its meaning.
const VERSION: u32 = 2;
/// Hex digits kept of each part: enough to tell a part from its former value.
const DIGITS: usize = 12;

/// Fingerprints of the settings that decide, besides the trees, which files are indexed and how. What only
/// queries use is not part of it. If neither it nor the head changed, a repository is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Basis(BTreeMap<String, String>);

impl Basis {
    /// Adds a part. `name` is the word for it in messages; `value` is written as JSON, so that the basis does
    /// not depend on how Rust prints values.
    #[must_use]
    pub fn with(mut self, name: &str, value: &impl Serialize) -> Self {
        let value = serde_json::to_string(value).unwrap_or_default();
        let digest = Fingerprint::of([value]).as_str()[..DIGITS].to_owned();
        self.0.insert(name.to_owned(), digest);
        self
    }

    /// As the state records it: JSON, with the version.
    pub fn recorded(&self) -> String {
        let version = ("version".to_owned(), VERSION.to_string());
        let parts: BTreeMap<String, String> = self.0.clone().into_iter().chain([version]).collect();
        serde_json::to_string(&parts).unwrap_or_default()
    }

    /// One fingerprint of all parts.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of([self.recorded()])
    }

    /// The names of the parts that differ from a recorded basis; `None` if that is unknown, because
    /// another version recorded it.
    pub fn difference(&self, recorded: &str) -> Option<Vec<&str>> {
        let old: BTreeMap<String, String> = serde_json::from_str(recorded).ok()?;
        if old.get("version") != Some(&VERSION.to_string()) {
            return None;
        }
        let differs = |part: &(&String, &String)| old.get(part.0) != Some(part.1);
        Some(self.0.iter().filter(differs).map(|(name, _)| name.as_str()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_that_changed_are_named() {
        let old = Basis::default().with("branch", &"main").with("chunkers", &["a", "b"]);
        let new = Basis::default().with("branch", &"main").with("chunkers", &["a"]);
        assert_eq!(new.difference(&old.recorded()), Some(vec!["chunkers"]));
        assert_eq!(old.difference(&old.recorded()), Some(Vec::new()));
        assert_ne!(old.fingerprint(), new.fingerprint());
        let more = new.clone().with("secrets", &"skip");
        assert_eq!(more.difference(&new.recorded()), Some(vec!["secrets"]));
    }

    #[test]
    fn nothing_is_said_of_a_basis_of_another_version() {
        let basis = Basis::default().with("branch", &"main");
        assert_eq!(basis.difference("0123456789abcdef"), None);
        assert_eq!(basis.difference(r#"{"branch":"x","version":"1"}"#), None);
    }
}
