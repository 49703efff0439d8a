//! Converts a stage's `config` for a component, and the component's diagnostics about it back.

use serde_json::{Map, Value};

use super::bindings::reposync::chunker::types::{Diagnostic, Severity};
use super::said::one_line;

/// JSON with sorted keys, so that the order of keys in the file does not matter.
pub(super) fn canonical(config: &Map<String, Value>) -> String {
    Value::Object(sorted(config)).to_string()
}

fn sorted(map: &Map<String, Value>) -> Map<String, Value> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| key.as_str());
    entries.into_iter().map(|(key, value)| (key.clone(), sorted_value(value))).collect()
}

fn sorted_value(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(sorted(map)),
        Value::Array(values) => Value::Array(values.iter().map(sorted_value).collect()),
        other => other.clone(),
    }
}

/// A diagnostic of a component about its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// True for an error, false for a warning or a note.
    pub error: bool,
    /// Stable identifier of the problem, such as `unknown-key`.
    pub code: String,
    /// Description of the problem.
    pub message: String,
    /// Location in the stage's `config`, as a JSON pointer. `None`: the configuration as a whole.
    pub pointer: Option<String>,
}

impl ConfigProblem {
    pub(super) fn of(diagnostic: Diagnostic) -> Self {
        Self {
            error: matches!(diagnostic.severity, Severity::Error),
            code: one_line(&diagnostic.code),
            message: one_line(&diagnostic.message),
            pointer: diagnostic.pointer.map(|pointer| one_line(&pointer)),
        }
    }

    /// The location as keys below the stage's table: `config`, `heading_level`. An index becomes a
    /// number.
    pub fn keys(&self) -> Vec<String> {
        let pointer = self.pointer.as_deref().unwrap_or_default();
        let steps = pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"));
        std::iter::once("config".to_owned()).chain(steps).collect()
    }
}

impl std::fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`: {}", self.keys().join("."), self.message)
    }
}

/// Error source for a configuration that a component refused. The configuration loader downcasts to
/// it to show the lines of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedConfig {
    /// The component's errors.
    pub problems: Vec<ConfigProblem>,
}

impl std::fmt::Display for RefusedConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for RefusedConfig {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let one = serde_json::json!({"b": [{"d": 1, "c": 2}], "a": null});
        let two = serde_json::json!({"a": null, "b": [{"c": 2, "d": 1}]});
        let canon = |value: &Value| canonical(value.as_object().expect("an object"));
        assert_eq!(canon(&one), r#"{"a":null,"b":[{"c":2,"d":1}]}"#);
        assert_eq!(canon(&one), canon(&two));
    }

    #[test]
    fn pointers_become_keys() {
        let problem = |pointer: Option<&str>| ConfigProblem {
            error: true,
            code: "x".into(),
            message: "must be 1 to 6".into(),
            pointer: pointer.map(str::to_owned),
        };
        assert_eq!(problem(Some("/a~1b/0")).keys(), ["config", "a/b", "0"]);
        assert_eq!(problem(None).to_string(), "`config`: must be 1 to 6");
        assert_eq!(problem(Some("/level")).to_string(), "`config.level`: must be 1 to 6");
    }
}
