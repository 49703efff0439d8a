//! Renders the matches of a query: position, score, matching lines.

use std::collections::BTreeSet;

use crate::search::{Answer, Found, Neighbour, SnippetLine};

use super::super::output::{Style, escape};

pub(crate) fn render(answer: &Answer, style: &Style) -> String {
    let mut text = String::new();
    if answer.weak {
        text.push_str("Weak matches only: nothing indexed seems to answer this.\n\n");
    }
    for (i, found) in answer.matches.iter().enumerate() {
        text.push_str(&render_match(i + 1, found, style));
        text.push('\n');
    }
    if answer.matches.is_empty() {
        text.push_str("Nothing found.\n");
    }
    text
}

/// The paths of the matches, each once, in the order of the matches.
pub(crate) fn files(answer: &Answer) -> String {
    let mut seen = BTreeSet::new();
    let several = has_several_repositories(answer);
    let paths = answer.matches.iter().map(|found| path(found, several)).filter(|path| !path.is_empty());
    let mut text = String::new();
    for path in paths.filter(|path| seen.insert(path.clone())) {
        text.push_str(&escape(&path));
        text.push('\n');
    }
    text
}

/// `path:line:column:text` for each line of a snippet that matches; its first line if none does.
pub(crate) fn vimgrep(answer: &Answer) -> String {
    let several = has_several_repositories(answer);
    let mut text = String::new();
    for found in answer.matches.iter().filter(|found| !found.text("file_path").is_empty()) {
        let path = path(found, several);
        let lines = &found.snippet.lines;
        let matching: Vec<&SnippetLine> = lines.iter().filter(|line| !line.matches.is_empty()).collect();
        let shown = if matching.is_empty() { lines.iter().take(1).collect() } else { matching };
        for line in shown {
            let column = line.matches.first().map_or(1, |(from, _)| from + 1);
            text.push_str(&format!(
                "{}:{}:{column}:{}\n",
                escape(&path),
                line.line.max(1),
                escape(&line.text)
            ));
        }
    }
    text
}

fn has_several_repositories(answer: &Answer) -> bool {
    let mut names = answer.matches.iter().map(|found| found.text("repository"));
    let first = names.next();
    names.any(|name| Some(name) != first)
}

fn path(found: &Found, with_repository: bool) -> String {
    let path = found.text("file_path");
    if with_repository && !path.is_empty() {
        format!("{}/{path}", found.text("repository"))
    } else {
        path.to_owned()
    }
}

fn render_match(rank: usize, found: &Found, style: &Style) -> String {
    let place = match (found.text("file_path"), found.lines()) {
        ("", _) => found.id.clone(),
        (path, Some((start, end))) => format!("{path}:{}", range(start, end)),
        (path, None) => path.to_owned(),
    };
    let similarity = found.similarity.map(|cosine| format!(", similarity {cosine:.3}")).unwrap_or_default();
    let mut text = format!(
        "{rank}. {}  {}\n",
        style.strong(&escape(&place)),
        style.dim(&format!("{} score {:.3}{similarity}", escape(found.text("repository")), found.score))
    );
    let name = match (found.text("context"), found.text("name")) {
        ("", name) => name,
        (context, _) => context,
    };
    for line in [name, found.text("url")].into_iter().filter(|line| !line.is_empty()) {
        let line = line.lines().next().unwrap_or_default();
        text.push_str(&format!("   {}\n", style.advice(&escape(line))));
    }
    if let Some(terms) = &found.terms {
        text.push_str(&format!("   {}\n", style.dim(&terms_line(found.bm25, terms))));
    }
    text.push_str(&body(found, style));
    if !found.more.is_empty() {
        let lines: Vec<String> =
            found.more.iter().take(5).map(|more| range(more.start_line, more.end_line)).collect();
        let cut = if found.more.len() > lines.len() { ", …" } else { "" };
        let line = format!("{} more in this file: {}{cut}", found.more.len(), lines.join(", "));
        text.push_str(&format!("   {}\n", style.dim(&line)));
    }
    text
}

fn range(start: u64, end: u64) -> String {
    if start == end { start.to_string() } else { format!("{start}-{end}") }
}

fn terms_line(bm25: f64, terms: &serde_json::Value) -> String {
    let mut parts = vec![format!("bm25 {bm25:.2}")];
    if let Some(terms) = terms.as_object() {
        let named = terms.iter().filter_map(|(name, value)| Some((name, value.as_f64()?)));
        parts.extend(
            named.filter(|(_, value)| *value != 0.0).map(|(name, value)| format!("{name} {value:.2}")),
        );
    }
    parts.join("  ")
}

/// The matching lines; the whole chunk with `-v`, the whole symbol or the neighbours if they were
/// asked for.
fn body(found: &Found, style: &Style) -> String {
    if let Some(whole) = &found.expanded {
        return lines(whole.text.lines(), style, true);
    }
    if !found.neighbours.is_empty() {
        let own = found.lines().map(|(start_line, end_line)| Neighbour {
            start_line,
            end_line,
            text: found.text("text").to_owned(),
        });
        let mut pieces: Vec<&Neighbour> = found.neighbours.iter().chain(own.as_ref()).collect();
        pieces.sort_by_key(|piece| (piece.start_line, piece.end_line));
        return lines(pieces.iter().flat_map(|piece| piece.text.lines()), style, true);
    }
    if style.verbose > 0 {
        return lines(found.text("text").lines(), style, true);
    }
    let snippet = &found.snippet;
    let mut text = String::new();
    if snippet.before > 0 {
        text.push_str("   | …\n");
    }
    text.push_str(&lines(snippet.lines.iter().map(|line| line.text.as_str()), style, false));
    if snippet.after > 0 {
        text.push_str("   | …\n");
    }
    text
}

/// Lines without their common indentation; cut to the terminal's width unless `whole`.
fn lines<'a>(all: impl Iterator<Item = &'a str>, style: &Style, whole: bool) -> String {
    let all: Vec<String> = all.map(|line| line.trim_end().replace('\t', "    ")).collect();
    let indent = |line: &String| line.len() - line.trim_start_matches(' ').len();
    let shared = all.iter().filter(|line| !line.is_empty()).map(indent).min().unwrap_or(0);
    let width = style.width.saturating_sub(6);
    let first = all.iter().position(|line| !line.is_empty()).unwrap_or(0);
    let mut text = String::new();
    for line in &all[first..] {
        let line = escape(line.get(shared..).unwrap_or_default());
        let line = if whole { line } else { console::truncate_str(&line, width, "…").into_owned().into() };
        text.push_str(format!("   | {line}").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::rank::{Words, snippet};
    use crate::search::More;

    use super::*;

    fn found(score: f64, metadata: Value) -> Found {
        let Value::Object(metadata) = metadata else { unreachable!("the tests give objects") };
        let text = metadata.get("text").and_then(Value::as_str).unwrap_or_default();
        let start = metadata.get("start_line").and_then(Value::as_u64).unwrap_or_default();
        Found {
            id: "0a-1b-0".to_owned(),
            score,
            similarity: Some(0.5),
            bm25: 3.25,
            snippet: snippet(&Words::new("seven limits"), text, start, 6),
            metadata,
            more: Vec::new(),
            neighbours: Vec::new(),
            expanded: None,
            terms: None,
        }
    }

    fn answer() -> Answer {
        let code =
            "    fn guard(&self) -> bool {\n\t// too many?\n        self.deleted > self.limit\n    }\n";
        let mut first = found(
            0.871_23,
            json!({
                "repository": "acme/api", "file_path": "src/guard.rs", "text": code,
                "start_line": 10, "end_line": 13.0, "name": "Guard::guard", "context": "impl Guard",
                "url": "https://git.example/acme/api/blob/1a2b/src/guard.rs#L10-L13",
            }),
        );
        first.more = vec![
            More { start_line: 20, end_line: 24, score: 0.3 },
            More { start_line: 40, end_line: 40, score: 0.2 },
        ];
        first.terms = Some(json!({"words": 1.0, "chunk": 0.25, "defines": 0.0}));
        Answer {
            matches: vec![
                first,
                found(
                    0.5,
                    json!({
                        "repository": "acme/docs", "file_path": "a \u{1b}[2J.md", "start_line": 3, "end_line": 3,
                        "text": "\n\none\ntwo\nthree\nfour\nfive\nsix\nseven\u{7}\n",
                    }),
                ),
                found(0.25, json!({ "foreign": true })),
            ],
            ..Answer::default()
        }
    }

    #[test]
    fn matches_show_place_score_context_and_the_lines_that_match() {
        insta::assert_snapshot!(render(&answer(), &Style::plain(60)));
    }

    #[test]
    fn verbose_shows_the_whole_text_escaped() {
        let text = render(&answer(), &Style::plain(60).verbose(1));
        assert!(text.contains("   | one\n") && text.contains("   | seven\\u{7}\n"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn weak_and_no_matches_are_said() {
        assert_eq!(render(&Answer::default(), &Style::plain(60)), "Nothing found.\n");
        let weak = Answer { weak: true, ..answer() };
        assert!(render(&weak, &Style::plain(60)).starts_with("Weak matches only"));
    }

    #[test]
    fn files_and_vimgrep_are_for_other_programs() {
        insta::assert_snapshot!(format!("{}---\n{}", files(&answer()), vimgrep(&answer())));
    }
}
