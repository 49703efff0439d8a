//! Functions and sections of source files, with the question that their documentation answers.
//! Reads lines, not grammars: it must find many, not all.

use std::collections::HashSet;
use std::io;
use std::path::Path;

/// Characters of a chunk at most, as the chunkers cut them.
const LONGEST: usize = 1500;
/// Characters of a chunk at least: less holds nothing to find.
const SHORTEST: usize = 80;
/// Lines of a function at most.
const MOST_LINES: usize = 200;
const LARGEST_FILE: u64 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Python,
    Rust,
    JavaScript,
    Docs,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Python, Self::Rust, Self::JavaScript, Self::Docs];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Rust => "rust",
            Self::JavaScript => "javascript",
            Self::Docs => "docs",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) kind: Kind,
    pub(crate) path: String,
    /// The question; none: only there to be found by mistake.
    pub(crate) query: Option<String>,
    pub(crate) text: String,
}

/// Everything below `path`, in the order of the names.
pub(crate) fn collect(root: &Path, path: &Path, items: &mut Vec<Item>) -> io::Result<()> {
    let metadata = std::fs::symlink_metadata(path)?;
    if metadata.is_dir() {
        let mut entries = std::fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if !name.starts_with('.') && name != "node_modules" && name != "target" {
                collect(root, &entry.path(), items)?;
            }
        }
        return Ok(());
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let kind = match extension {
        "py" => Kind::Python,
        "rs" => Kind::Rust,
        "js" | "mjs" | "ts" => Kind::JavaScript,
        "md" => Kind::Docs,
        _ => return Ok(()),
    };
    if !metadata.is_file() || metadata.len() > LARGEST_FILE {
        return Ok(());
    }
    let Ok(text) = String::from_utf8(std::fs::read(path)?) else { return Ok(()) };
    let lines: Vec<&str> = text.lines().collect();
    let found = match kind {
        Kind::Python => python(&lines),
        Kind::Rust => braces(&lines, rust_documentation, starts_rust_function),
        Kind::JavaScript => braces(&lines, block_documentation, |line| {
            line.contains("function")
                || line.contains("=> {")
                || (line.contains('(') && line.ends_with(") {"))
        }),
        Kind::Docs => sections(&lines),
    };
    let mut seen = HashSet::new();
    for (documentation, body) in found {
        let text: String = body.trim().chars().take(LONGEST).collect();
        if text.chars().count() >= SHORTEST && seen.insert(text.clone()) {
            let query = documentation.as_deref().and_then(|text| question(kind, text));
            items.push(Item { kind, path: crate::relative(root, path), query, text });
        }
    }
    Ok(())
}

type Found = Vec<(Option<String>, String)>;

/// The first sentence, where it says enough to be asked.
fn question(kind: Kind, documentation: &str) -> Option<String> {
    let words: Vec<&str> = documentation.split_whitespace().collect();
    let joined = words.join(" ");
    let sentence = joined.split_once(". ").map_or(joined.as_str(), |(first, _)| first).trim_end_matches('.');
    let (least_words, least_characters) = if kind == Kind::Docs { (3, 12) } else { (4, 20) };
    let enough = sentence.split(' ').count() >= least_words && sentence.chars().count() >= least_characters;
    enough.then(|| sentence.chars().take(300).collect())
}

/// How a line of documentation above a function reads, if it is one; `true` while it goes on.
type Documentation = fn(&str, bool) -> Option<(String, bool)>;

fn rust_documentation(line: &str, _: bool) -> Option<(String, bool)> {
    line.strip_prefix("///").map(|text| (text.to_owned(), false))
}

fn block_documentation(line: &str, inside: bool) -> Option<(String, bool)> {
    let text = match (inside, line.strip_prefix("/**")) {
        (false, Some(text)) => text,
        (false, None) => return None,
        (true, _) => line.trim_start_matches('*'),
    };
    match text.split_once("*/") {
        Some((text, _)) => Some((text.to_owned(), false)),
        // Tags (`@param`) are no part of the sentence.
        None => {
            Some((if text.trim_start().starts_with('@') { String::new() } else { text.to_owned() }, true))
        }
    }
}

fn starts_rust_function(line: &str) -> bool {
    let line = line.strip_prefix("pub").map_or(line, |rest| {
        let rest =
            rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(rest, |(_, rest)| rest);
        rest.trim_start()
    });
    let mut words = line.split(' ');
    words.by_ref().find(|word| !matches!(*word, "const" | "async" | "unsafe" | "extern" | "\"C\""))
        == Some("fn")
}

/// Functions of languages with braces, each with the documentation above it.
fn braces(lines: &[&str], documentation: Documentation, starts: fn(&str) -> bool) -> Found {
    let mut found = Found::new();
    let mut above: Vec<String> = Vec::new();
    let mut inside = false;
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at].trim();
        if let Some((text, goes_on)) = documentation(line, inside) {
            above.push(text);
            inside = goes_on;
        } else if starts(line) {
            let end = function_end(lines, at);
            let told = above.join(" ");
            let body = lines[at..end].join("\n");
            found.push(((!told.trim().is_empty()).then_some(told), body));
            above.clear();
            at = end.max(at + 1);
            continue;
        } else if !line.starts_with("#[") && !line.starts_with("//") {
            above.clear();
        }
        at += 1;
    }
    found
}

/// The line after the one that closes the function's braces.
fn function_end(lines: &[&str], start: usize) -> usize {
    let mut depth = 0i32;
    let mut opened = false;
    for (at, line) in lines.iter().enumerate().skip(start).take(MOST_LINES) {
        for c in line.chars() {
            match c {
                '{' => {
                    depth += 1;
                    opened = true;
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
        if (opened && depth <= 0) || (!opened && line.trim_end().ends_with(';')) {
            return at + 1;
        }
    }
    (start + MOST_LINES).min(lines.len())
}

fn python(lines: &[&str]) -> Found {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut found = Found::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        if !code.starts_with("def ") && !code.starts_with("async def ") {
            continue;
        }
        let Some(head) = lines[at..].iter().take(30).position(|line| line.trim_end().ends_with(':')) else {
            continue;
        };
        let body_start = at + head + 1;
        let end = lines[body_start..]
            .iter()
            .take(MOST_LINES)
            .position(|next| !next.trim().is_empty() && indent(next) <= indent(line))
            .map_or((body_start + MOST_LINES).min(lines.len()), |length| body_start + length);
        let (told, rest) = docstring(&lines[body_start..end]);
        let mut body: Vec<&str> = lines[at..body_start].to_vec();
        body.extend(&lines[body_start + rest..end]);
        found.push((told, body.join("\n")));
    }
    found
}

/// The docstring at the beginning of a body, and how many lines it takes.
fn docstring(body: &[&str]) -> (Option<String>, usize) {
    let Some(first) = body.first().map(|line| line.trim().trim_start_matches(['r', 'u'])) else {
        return (None, 0);
    };
    let Some(quote) = ["\"\"\"", "'''"].into_iter().find(|quote| first.starts_with(quote)) else {
        return (None, 0);
    };
    let mut text = String::new();
    for (at, line) in body.iter().enumerate() {
        let line = if at == 0 { &first[3..] } else { line.trim() };
        if let Some((last, _)) = line.split_once(quote) {
            text.push_str(last);
            return (Some(text), at + 1);
        }
        // The sentence ends at the latest with the paragraph.
        text.push_str(if line.is_empty() && !text.is_empty() { ". " } else { line });
        text.push(' ');
    }
    (None, 0)
}

fn sections(lines: &[&str]) -> Found {
    let mut found = Found::new();
    let mut heading: Option<String> = None;
    let mut body: Vec<&str> = Vec::new();
    let mut fenced = false;
    for line in lines {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let title = line.trim_start_matches('#');
        if !fenced && title.len() < line.len() && title.starts_with(' ') {
            found.push((heading.take(), body.join("\n")));
            body.clear();
            heading = Some(title.trim().trim_matches('#').to_owned());
        } else {
            body.push(line);
        }
    }
    found.push((heading, body.join("\n")));
    found
}
