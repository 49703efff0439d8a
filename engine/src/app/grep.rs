//! Searches the indexed texts for a regular expression.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use regex::{Regex, RegexBuilder};
use tokio_util::sync::CancellationToken;

use super::{App, AppError, AppResult};
use crate::model::Access;
use crate::search::{FileText, Selection};
use crate::store::{FileTexts, SearchScope};

/// Maximum number of bytes of a pattern.
const LONGEST: usize = 1000;
/// Bytes that a compiled pattern, and its cache, may take.
const COMPILED: usize = 4 << 20;
/// Bytes of a line that are given, around the match.
const LINE: usize = 300;

/// What is looked for, and bounds.
#[derive(Debug, Clone)]
pub struct GrepRequest {
    /// The regular expression, in the syntax of the `regex` crate.
    pub pattern: String,
    /// Whether case is ignored.
    pub ignore_case: bool,
    /// Filters by repository and path.
    pub selection: Selection,
    /// How many of the first lines are left out.
    pub offset: usize,
    /// Maximum number of lines.
    pub limit: usize,
    /// Maximum time.
    pub time: Duration,
}

/// The lines that match.
#[derive(Debug, Clone, Default)]
pub struct GrepAnswer {
    /// By project, repository and path.
    pub files: Vec<GrepFile>,
    /// Why there may be more; `None`: these are all.
    pub bounded: Option<String>,
    /// What could not be searched.
    pub notes: Vec<String>,
}

/// The matching lines of a file.
#[derive(Debug, Clone)]
pub struct GrepFile {
    /// The project.
    pub project: String,
    /// The repository.
    pub repository: String,
    /// The path.
    pub path: String,
    /// The commit at which it was written.
    pub commit: String,
    /// The lines, in order.
    pub lines: Vec<GrepLine>,
}

/// A matching line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrepLine {
    /// Its number in the file.
    pub line: u64,
    /// Its text; of a long line, the part around the match.
    pub text: String,
    /// A permalink to the chunk that has it; empty if there is none.
    pub url: String,
}

impl App {
    /// Searches the texts of these projects (all enabled ones if empty). In linear time, and within the bounds of the
    /// request.
    pub async fn grep(&self, names: &[String], request: &GrepRequest) -> AppResult<GrepAnswer> {
        self.check_names(names)?;
        let pattern = compile(request)?;
        let mut selection = request.selection.clone();
        selection.access = Access::clone(&self.access);
        let until = Instant::now() + request.time;
        let cancel = CancellationToken::new();
        // The reading thread ends when this call is given up.
        let _cancelled_with_this = cancel.clone().drop_guard();
        let mut answer = GrepAnswer::default();
        let mut left = Left { skip: request.offset, take: request.limit };
        let mut searched = false;
        // Projects may share repositories: a file is given once.
        let seen: Arc<Mutex<HashSet<(String, String)>>> = Arc::default();
        for (project, place) in self.stores(names) {
            let place = match place {
                Ok(place) => place,
                Err(error) if names.is_empty() => {
                    answer.notes.push(format!("project `{project}` is not searched: {}", error.one_line()));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let found = Arc::new(Mutex::new(Found { left, files: Vec::new(), bounded: None }));
            let (sink, pattern, cancel) = (Arc::clone(&found), pattern.clone(), cancel.clone());
            let seen = Arc::clone(&seen);
            let visit = Box::new(move |file: FileTexts| {
                let mut sink = sink.lock();
                if cancel.is_cancelled() {
                    return ControlFlow::Break(());
                }
                let name = (file.repository.clone(), file.path.clone());
                if !seen.lock().insert(name) {
                    return ControlFlow::Continue(());
                }
                sink.visit(&pattern, &file, until)
            });
            let scope = SearchScope { namespace: place.namespace.clone(), project: project.clone() };
            if !place.store.texts(&[scope], &selection, visit).await? {
                answer.notes.push(format!(
                    "project `{project}` is not searched: its store `{}` holds no texts that can be scanned",
                    place.store.stage()
                ));
                continue;
            }
            searched = true;
            let mut found = found.lock();
            answer.files.append(&mut found.files);
            left = found.left;
            if let Some(bound) = found.bounded {
                answer.bounded = Some(bound.said(request));
                break;
            }
        }
        if !searched && !answer.notes.is_empty() {
            let message = format!("{}; use search instead of grep", answer.notes.join("; "));
            return Err(AppError::Invalid(message));
        }
        Ok(answer)
    }
}

fn compile(request: &GrepRequest) -> AppResult<Regex> {
    if request.pattern.is_empty() {
        return Err(AppError::Invalid("`pattern` is empty; give a regular expression".to_owned()));
    }
    if request.pattern.len() > LONGEST {
        let message = format!("`pattern` is longer than {LONGEST} bytes; shorten it");
        return Err(AppError::Invalid(message));
    }
    let mut builder = RegexBuilder::new(&request.pattern);
    builder
        .case_insensitive(request.ignore_case)
        .multi_line(true)
        .size_limit(COMPILED)
        .dfa_size_limit(COMPILED);
    builder.build().map_err(|error| {
        let message = format!(
            "`pattern` is not a regular expression that is searched here: {error}\n\
             (Rust syntax: no look-around, no back-references; escape literal ( ) [ ] {{ }} . * + ? | ^ $ by a backslash)"
        );
        AppError::Invalid(message)
    })
}

/// Lines to leave out, and lines to give.
#[derive(Debug, Clone, Copy)]
struct Left {
    skip: usize,
    take: usize,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    Lines,
    Time,
}

impl Bound {
    fn said(self, request: &GrepRequest) -> String {
        match self {
            Self::Lines => format!("stopped after {} lines", request.limit),
            Self::Time => format!("stopped after {} s", request.time.as_secs_f64()),
        }
    }
}

struct Found {
    left: Left,
    files: Vec<GrepFile>,
    bounded: Option<Bound>,
}

impl Found {
    fn visit(&mut self, pattern: &Regex, file: &FileTexts, until: Instant) -> ControlFlow<()> {
        if Instant::now() >= until {
            self.bounded = Some(Bound::Time);
            return ControlFlow::Break(());
        }
        let text = FileText::of(&file.chunks);
        let mut lines = Vec::new();
        let mut from = 0;
        while let Some(found) = pattern.find_at(text.text(), from) {
            let Some((line, whole, chunk, next)) = text.at(found.start()) else { break };
            if self.left.skip > 0 {
                self.left.skip -= 1;
            } else if self.left.take == 0 {
                self.bounded = Some(Bound::Lines);
                break;
            } else {
                self.left.take -= 1;
                let start = found.start().saturating_sub(next.saturating_sub(whole.len() + 1));
                let url = file.chunks.get(chunk).map(|chunk| chunk.url.clone()).unwrap_or_default();
                lines.push(GrepLine { line, text: around(whole, start), url });
            }
            if next > text.text().len() {
                break;
            }
            from = next;
        }
        if !lines.is_empty() {
            self.files.push(GrepFile {
                project: file.project.clone(),
                repository: file.repository.clone(),
                path: file.path.clone(),
                commit: file.chunks.first().map(|chunk| chunk.commit.clone()).unwrap_or_default(),
                lines,
            });
        }
        if self.bounded.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The part of a line around a byte of it.
fn around(line: &str, at: usize) -> String {
    if line.len() <= LINE {
        return line.to_owned();
    }
    let mut from = at.saturating_sub(LINE / 3).min(line.len() - LINE);
    while !line.is_char_boundary(from) {
        from -= 1;
    }
    let mut to = (from + LINE).min(line.len());
    while !line.is_char_boundary(to) {
        to -= 1;
    }
    let mark = |is_cut: bool| if is_cut { "…" } else { "" };
    format!("{}{}{}", mark(from > 0), &line[from..to], mark(to < line.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::TextChunk;

    fn request(pattern: &str) -> GrepRequest {
        GrepRequest {
            pattern: pattern.to_owned(),
            ignore_case: false,
            selection: Selection::default(),
            offset: 0,
            limit: 10,
            time: Duration::from_secs(60),
        }
    }

    fn lines(request: &GrepRequest, text: &str) -> (Vec<(u64, String)>, bool) {
        let chunk = TextChunk { start_line: 1, end_line: 9, text: text.to_owned(), ..TextChunk::default() };
        let file = FileTexts { chunks: vec![chunk], ..FileTexts::default() };
        let left = Left { skip: request.offset, take: request.limit };
        let mut found = Found { left, files: Vec::new(), bounded: None };
        let pattern = compile(request).expect("a pattern");
        let flow = found.visit(&pattern, &file, Instant::now() + request.time);
        let lines =
            found.files.iter().flat_map(|file| &file.lines).map(|line| (line.line, line.text.clone()));
        (lines.collect(), flow.is_break())
    }

    #[test]
    fn each_matching_line_is_given_once() {
        let text = "fn a() {}\nlet b = a(); a();\n\nfn é() {}";
        let numbers = |request: &GrepRequest| {
            let (lines, bounded) = lines(request, text);
            (lines.into_iter().map(|(line, _)| line).collect::<Vec<_>>(), bounded)
        };
        assert_eq!(numbers(&request(r"a\(")), (vec![1, 2], false));
        assert_eq!(numbers(&request("^fn")), (vec![1, 9], false));
        assert_eq!(numbers(&request("x*")).0.len(), 4, "an empty match on every line");
        assert_eq!(numbers(&GrepRequest { ignore_case: true, ..request("LET") }), (vec![2], false));
        assert_eq!(numbers(&GrepRequest { limit: 1, ..request("^fn") }), (vec![1], true));
        assert_eq!(numbers(&GrepRequest { offset: 1, ..request("^fn") }), (vec![9], false));
        assert_eq!(numbers(&GrepRequest { time: Duration::ZERO, ..request("a") }), (vec![], true));
    }

    #[test]
    fn long_lines_are_cut_around_the_match() {
        let long = format!("{}needle{}", "é".repeat(1000), "x".repeat(1000));
        let (found, _) = lines(&request("needle"), &long);
        let text = &found[0].1;
        assert!(text.contains("needle") && text.len() < LINE + 10, "{text}");
        assert!(text.starts_with('…') && text.ends_with('…'));
    }

    #[test]
    fn patterns_that_are_no_use_are_refused() {
        let long = "a".repeat(LONGEST + 1);
        for pattern in ["", "(", "(?=a)", r"(a)\1", long.as_str(), r"(\w{1000}){1000}"] {
            let Err(AppError::Invalid(message)) = compile(&request(pattern)) else { panic!("{pattern}") };
            assert!(message.starts_with("`pattern` "), "{message}");
        }
    }
}
