//! Renders the matches of a query: position, score, text.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::model::Match;

use super::super::output::{Style, escape};

/// Number of lines shown per match without `-v`.
const EXCERPT: usize = 6;

/// The result of a query; as JSON `{"matches": [...]}`.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    /// The matches, best first.
    pub(crate) matches: Vec<Match>,
}

pub(crate) fn render(answer: &Answer, style: &Style) -> String {
    let mut text = String::new();
    for (i, found) in answer.matches.iter().enumerate() {
        text.push_str(&render_match(i + 1, found, style));
        text.push('\n');
    }
    if answer.matches.is_empty() {
        text.push_str("Nothing found.\n");
    }
    text
}

fn render_match(rank: usize, found: &Match, style: &Style) -> String {
    let metadata = &found.metadata;
    let place = match (text_of(metadata, "file_path"), lines_of(metadata)) {
        ("", _) => found.id.as_str().into(),
        (path, Some((start, end))) if start == end => format!("{path}:{start}"),
        (path, Some((start, end))) => format!("{path}:{start}-{end}"),
        (path, None) => path.to_owned(),
    };
    let repository = text_of(metadata, "repository");
    let mut text = format!(
        "{rank}. {}  {}\n",
        style.strong(&escape(&place)),
        style.dim(&format!("{} score {:.3}", escape(repository), found.score))
    );
    let name = match (text_of(metadata, "context"), text_of(metadata, "name")) {
        ("", name) => name,
        (context, _) => context,
    };
    for line in [name, text_of(metadata, "url")].into_iter().filter(|line| !line.is_empty()) {
        let line = line.lines().next().unwrap_or_default();
        text.push_str(&format!("   {}\n", style.advice(&escape(line))));
    }
    text.push_str(&excerpt(text_of(metadata, "text"), style));
    text
}

/// The first non-empty lines, without their common indentation.
fn excerpt(body: &str, style: &Style) -> String {
    let lines: Vec<String> =
        body.lines().map(|line| line.trim_end().replace('\t', "    ")).skip_while(String::is_empty).collect();
    let shared = lines
        .iter()
        .filter(|line| !line.is_empty())
        .map(|line| line.len() - line.trim_start_matches(' ').len())
        .min()
        .unwrap_or(0);
    let shown = if style.verbose > 0 { lines.len() } else { EXCERPT };
    let width = style.width.saturating_sub(6);
    let mut text = String::new();
    for line in lines.iter().take(shown) {
        let line = line.get(shared..).unwrap_or_default();
        let line = escape(line);
        let line = if style.verbose > 0 {
            line
        } else {
            console::truncate_str(&line, width, "…").into_owned().into()
        };
        text.push_str(format!("   | {line}").trim_end());
        text.push('\n');
    }
    if lines.len() > shown {
        text.push_str("   | …\n");
    }
    text
}

fn text_of<'a>(metadata: &'a Map<String, Value>, key: &str) -> &'a str {
    metadata.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Remote stores return numbers as floats.
fn lines_of(metadata: &Map<String, Value>) -> Option<(u64, u64)> {
    let line = |key: &str| {
        let value = metadata.get(key)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a line number; saturates"
        )]
        value.as_u64().or_else(|| value.as_f64().map(|line| line as u64))
    };
    Some((line("start_line")?, line("end_line")?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(score: f64, metadata: Value) -> Match {
        let Value::Object(metadata) = metadata else { unreachable!("the tests give objects") };
        Match { id: "0a-1b-0".to_owned(), score, metadata }
    }

    fn answer() -> Answer {
        let code =
            "    fn guard(&self) -> bool {\n\t// too many?\n        self.deleted > self.limit\n    }\n";
        Answer {
            matches: vec![
                found(
                    0.871_23,
                    json!({
                        "repository": "acme/api", "file_path": "src/guard.rs", "text": code,
                        "start_line": 10, "end_line": 13.0, "name": "Guard::guard", "context": "impl Guard",
                        "url": "https://git.example/acme/api/blob/1a2b/src/guard.rs#L10-L13",
                    }),
                ),
                found(
                    0.5,
                    json!({
                        "repository": "acme/docs", "file_path": "a \u{1b}[2J.md", "start_line": 3, "end_line": 3,
                        "text": "\n\none\ntwo\nthree\nfour\nfive\nsix\nseven\u{7}\n",
                    }),
                ),
                found(0.25, json!({ "foreign": true })),
            ],
        }
    }

    #[test]
    fn matches_show_place_score_context_and_text() {
        insta::assert_snapshot!(render(&answer(), &Style::plain(60)), @r"
        1. src/guard.rs:10-13  acme/api score 0.871
           impl Guard
           https://git.example/acme/api/blob/1a2b/src/guard.rs#L10-L13
           | fn guard(&self) -> bool {
           | // too many?
           |     self.deleted > self.limit
           | }

        2. a \u{1b}[2J.md:3  acme/docs score 0.500
           | one
           | two
           | three
           | four
           | five
           | six
           | …

        3. 0a-1b-0   score 0.250
        ");
    }

    #[test]
    fn verbose_shows_the_whole_text_escaped() {
        let text = render(&answer(), &Style::plain(60).verbose(1));
        assert!(text.contains("   | seven\\u{7}\n"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn no_match_is_said() {
        assert_eq!(render(&Answer { matches: vec![] }, &Style::plain(60)), "Nothing found.\n");
    }
}
