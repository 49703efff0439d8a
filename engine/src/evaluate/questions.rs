//! Questions with their right answers, from a file.

use serde::{Deserialize, Serialize};

/// A question and what answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The question.
    pub query: String,
    /// Paths of files that answer it; the repository's name may precede the path.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Names of symbols that answer it.
    #[serde(default)]
    pub symbols: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    queries: Vec<Question>,
}

/// Parses a file: TOML with `[[queries]]`, or a JSON object on each line. The error says what is wrong
/// and where.
pub fn parse_questions(text: &str) -> Result<Vec<Question>, String> {
    let questions = if text.trim_start().starts_with('{') {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let parse = |(at, line)| {
            serde_json::from_str::<Question>(line).map_err(|error| format!("line {}: {error}", at + 1))
        };
        lines.map(parse).collect::<Result<Vec<_>, _>>()?
    } else {
        toml::from_str::<File>(text).map_err(|error| error.to_string())?.queries
    };
    if questions.is_empty() {
        return Err("it has no question".to_owned());
    }
    for (at, question) in questions.iter().enumerate() {
        let number = at + 1;
        if question.query.trim().is_empty() {
            return Err(format!("question {number} has no `query`"));
        }
        if question.paths.is_empty() && question.symbols.is_empty() {
            return Err(format!(
                "question {number} (`{}`) has neither `paths` nor `symbols`",
                question.query
            ));
        }
    }
    Ok(questions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let toml =
            "[[queries]]\nquery = \"a\"\npaths = [\"x.rs\"]\n[[queries]]\nquery = \"b\"\nsymbols = [\"S\"]\n";
        let lines = "{\"query\": \"a\", \"paths\": [\"x.rs\"]}\n\n{\"query\": \"b\", \"symbols\": [\"S\"]}\n";
        let questions = parse_questions(toml).expect("TOML");
        assert_eq!(questions, parse_questions(lines).expect("JSON lines"));
        assert_eq!((questions.len(), questions[1].symbols[0].as_str()), (2, "S"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("queries = []", "it has no question"),
            ("[[queries]]\nquery = \" \"\npaths = [\"x\"]", "question 1 has no `query`"),
            ("[[queries]]\nquery = \"a\"", "question 1 (`a`) has neither `paths` nor `symbols`"),
            ("{\"query\": \"a\", \"paths\": [\"x\"]}\n{\"query\": 1}", "line 2:"),
            ("[[queries]]\nquestion = 1", "unknown field"),
            ("", "missing field `queries`"),
        ] {
            let error = parse_questions(text).expect_err(text);
            assert!(error.contains(expected), "{error}");
        }
    }
}
