//! Renders the problems of a configuration for programs: JSON, GitHub Actions annotations, SARIF.

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::Problem;
use crate::model::StageError;

/// A problem of the file, or a component or service that refuses its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// `configuration`, `component` or `service`.
    pub(crate) kind: &'static str,
    /// The key, such as `stages.prose.chunk_overlap`; empty for the file as a whole.
    pub(crate) path: String,
    /// The line, from 1; `None` if the finding has no position in the file.
    pub(crate) line: Option<usize>,
    /// The column in characters, from 1.
    pub(crate) column: Option<usize>,
    /// What is wrong.
    pub(crate) message: String,
    /// What the user can do.
    pub(crate) hint: Option<String>,
}

impl Finding {
    /// A problem of the file.
    pub(crate) fn of_problem(problem: &Problem) -> Self {
        Self {
            kind: "configuration",
            path: problem.path.clone(),
            line: problem.line,
            column: problem.column,
            message: problem.message.clone(),
            hint: problem.hint.clone(),
        }
    }

    /// An error of a component or service.
    pub(crate) fn of_error(kind: &'static str, error: &StageError) -> Self {
        Self {
            kind,
            path: format!("stages.{}", error.stage),
            line: None,
            column: None,
            message: error.one_line(),
            hint: error.hint.clone(),
        }
    }

    /// The finding in one line.
    pub(crate) fn text(&self) -> String {
        let place = if self.path.is_empty() { String::new() } else { format!("`{}`: ", self.path) };
        let hint = self.hint.as_ref().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
        format!("{place}{}{hint}", self.message)
    }
}

/// GitHub Actions annotations, one per line.
pub(crate) fn github(file: &Path, findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let place = match (finding.line, finding.column) {
            (Some(line), Some(column)) => format!(",line={line},col={column}"),
            (Some(line), None) => format!(",line={line}"),
            _ => String::new(),
        };
        let file = property(&file.display().to_string());
        text.push_str(&format!("::error file={file}{place},title=reposync::{}\n", data(&finding.text())));
    }
    text
}

/// The value of a workflow command, escaped as the runner expects.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// A SARIF 2.1.0 log for code scanning.
pub(crate) fn sarif(file: &Path, findings: &[Finding]) -> Value {
    let uri = file.display().to_string().replace('\\', "/");
    let results: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let mut location = json!({ "artifactLocation": { "uri": uri } });
            if let Some(line) = finding.line {
                location["region"] = json!({ "startLine": line, "startColumn": finding.column.unwrap_or(1) });
            }
            json!({
                "ruleId": finding.kind,
                "level": "error",
                "message": { "text": finding.text() },
                "locations": [{ "physicalLocation": location }],
            })
        })
        .collect();
    let rule = |id: &str, text: &str| json!({ "id": id, "shortDescription": { "text": text } });
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "reposync",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": [
                    rule("configuration", "a problem of the configuration file"),
                    rule("component", "a component that cannot be used"),
                    rule("service", "a service that refused a request"),
                ],
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        let in_file = Finding {
            kind: "configuration",
            path: "stages.a.size".to_owned(),
            line: Some(3),
            column: Some(5),
            message: "100% wrong:\nreally, it is".to_owned(),
            hint: Some("fix it".to_owned()),
        };
        let of_service = Finding::of_error("service", &StageError::refused("ada", "wrong key (401)"));
        vec![in_file, of_service]
    }

    #[test]
    fn annotations_are_escaped() {
        insta::assert_snapshot!(github(Path::new("a,b:c.toml"), &findings()), @"
        ::error file=a%2Cb%3Ac.toml,line=3,col=5,title=reposync::`stages.a.size`: 100%25 wrong:%0Areally, it is (hint: fix it)
        ::error file=a%2Cb%3Ac.toml,title=reposync::`stages.ada`: wrong key (401)
        ");
    }

    #[test]
    fn sarif_names_rule_place_and_text() {
        let log = sarif(Path::new("reposync.toml"), &findings());
        let results = &log["runs"][0]["results"];
        let place = &results[0]["locations"][0]["physicalLocation"];
        assert_eq!(place["region"], json!({ "startLine": 3, "startColumn": 5 }));
        assert_eq!(place["artifactLocation"]["uri"], "reposync.toml");
        assert_eq!(results[1]["ruleId"], "service");
        assert!(results[1]["locations"][0]["physicalLocation"].get("region").is_none());
        assert_eq!(log["version"], "2.1.0");
    }
}
