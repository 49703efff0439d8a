//! `plugin test`: runs a component on documents, compares with their golden outputs, and then runs
//! the battery of edge cases. Each document runs on a fresh and on a reused instance.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use super::args::TestArgs;
use super::battery::{self, Awkward};
use super::golden::{self, GoldenChunk};
use super::workbench::{count, folders, load, relative, size, time};
use crate::chunk::component::{ComponentChunker, HostOptions, Outcome, Trial, Verdict};
use crate::chunk::{clean, language_in};
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::Exit;
use crate::cli::output::{Output, escape};
use crate::model::Document;

/// Maximum number of characters shown of a chunk's text.
const SHOWN: usize = 60;

/// The result of one document.
#[derive(Serialize)]
struct Report {
    document: String,
    chunks: Vec<GoldenChunk>,
    /// Why the document failed; `None` if it passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    /// Lines that the component logged or printed, as `info: …` or `printed: …`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    said: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<String>,
}

/// Runs the command. Blocks.
pub(super) fn run(out: &Output, args: &TestArgs) -> CommandResult {
    let options = HostOptions { deterministic: args.deterministic, ..HostOptions::default() };
    let (_, chunker) = load(&args.component, &args.settings, &folders(), options)?;
    if !args.json {
        let info = chunker.info();
        out.data(&format!(
            "{} ({}, {})\n",
            info.label(),
            escape(&args.component.display().to_string()),
            size(info.bytes)
        ))?;
    }
    let mut reports = Vec::new();
    let mut awkward = battery::documents();
    for file in &args.files {
        let (report, text) = document(&chunker, file, args.update)?;
        if reports.is_empty() {
            awkward.extend(battery::spoilt(&text));
        }
        if !args.json {
            out.data(&shown(&report))?;
        }
        reports.push(report);
    }
    let awkward = run_battery(&chunker, args.files.first().map(PathBuf::as_path), &awkward);
    if args.json {
        out.json(
            &serde_json::json!({ "component": chunker.info(), "documents": reports, "battery": awkward }),
        )?;
    } else {
        out.data(&shown_battery(&awkward))?;
    }
    let failed = reports.iter().chain(&awkward).filter(|report| report.failure.is_some()).count();
    let all = reports.len() + awkward.len();
    if failed == 0 {
        out.message(&format!("{} passed\n", count(all, "document")));
        return Ok(Exit::Done);
    }
    Err(CommandError::new(Exit::Failed, anyhow::anyhow!("{failed} of {} failed", count(all, "document")))
        .hint("if the changes are intended, run again with `--update` to rewrite the golden outputs"))
}

/// Tests a document that the author names. Returns its cleaned text too.
fn document(chunker: &ComponentChunker, file: &Path, update: bool) -> Result<(Report, String), CommandError> {
    let shown_path = file.display().to_string();
    let bytes = std::fs::read(file).with_context(|| format!("failed to read `{shown_path}`"))?;
    let cleaned = clean(&bytes).map_err(|skip| {
        CommandError::invalid(format!("`{shown_path}` would not be indexed: {}", skip.label()))
    })?;
    let path = relative(file);
    let mut report = check(chunker, &path, &cleaned.text);
    shown_path.clone_into(&mut report.document);
    report.notes.extend(gaps(&cleaned.text, &report.chunks));
    if report.failure.is_none() {
        compare(file, &mut report, update)?;
    }
    Ok((report, cleaned.text))
}

fn compare(file: &Path, report: &mut Report, update: bool) -> Result<(), CommandError> {
    let path: PathBuf = golden::path(file);
    let shown = path.display();
    let now = golden::text(&report.chunks);
    let before = match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(anyhow::Error::new(error).context(format!("failed to read `{shown}`")).into());
        }
    };
    if update {
        if before.as_deref() != Some(&now) {
            std::fs::write(&path, now).with_context(|| format!("failed to write `{shown}`"))?;
            report.notes.push(format!("golden output written to `{shown}`"));
        }
        return Ok(());
    }
    match before.as_deref().map(serde_json::from_str::<Vec<GoldenChunk>>) {
        None => report.notes.push(format!("no golden output; `--update` writes `{shown}`")),
        Some(Err(error)) => report.failure = Some(format!("`{shown}` cannot be read: {error}")),
        Some(Ok(golden)) => {
            report.failure = golden::difference(&golden, &report.chunks)
                .map(|difference| format!("{difference} (golden output `{shown}`)"));
        }
    }
    Ok(())
}

/// Tests edge cases, with the path of a document that the component accepts.
fn run_battery(chunker: &ComponentChunker, file: Option<&Path>, awkward: &[Awkward]) -> Vec<Report> {
    let extension = chunker.info().extensions.first().map_or("", String::as_str);
    let path = file.map_or_else(|| format!("battery/document{extension}"), relative);
    awkward
        .iter()
        .map(|awkward| {
            let mut report = check(chunker, &path, &awkward.text);
            awkward.name.clone_into(&mut report.document);
            report
        })
        .collect()
}

/// Runs a document on a fresh instance, again on the same one, and on another fresh one.
fn check(chunker: &ComponentChunker, path: &str, text: &str) -> Report {
    let document = Document { path, text, language: language_in(path, text), ..Document::default() };
    let mut trial = Trial::new(chunker);
    let first = trial.chunk(&document);
    let reused = trial.chunk(&document);
    let fresh = Trial::new(chunker).chunk(&document);
    let mut report = Report {
        document: path.to_owned(),
        chunks: Vec::new(),
        failure: None,
        notes: Vec::new(),
        said: first.said.iter().map(|line| format!("{}: {}", line.how, line.text)).collect(),
        details: None,
    };
    for (how, other) in [("a reused instance", &reused), ("another fresh instance", &fresh)] {
        if report.failure.is_none() && !same(&first.verdict, &other.verdict) {
            report.failure =
                Some(format!("not deterministic: the same document gives a different result on {how}"));
        }
    }
    if let Some(fuel) = first.fuel {
        report.notes.push(format!("{fuel} instructions"));
    } else {
        report.notes.push(time(first.took.min(reused.took).min(fresh.took)));
    }
    take(&mut report, text, first);
    report
}

fn same(one: &Verdict, other: &Verdict) -> bool {
    match (one, other) {
        // Backtraces and times in the message may differ.
        (Verdict::Broke { .. }, Verdict::Broke { .. }) => true,
        _ => one == other,
    }
}

fn take(report: &mut Report, text: &str, outcome: Outcome) {
    match outcome.verdict {
        Verdict::Chunks(chunks) => report.chunks = golden::of(text, &chunks),
        Verdict::NotMine => report.notes.push("declined: not its document".to_owned()),
        Verdict::Refused(why) => report.notes.push(format!("refused: {why}")),
        Verdict::Broke { what, remedy, details } => {
            report.failure = Some(format!("{what}; {remedy}"));
            report.details = details;
        }
    }
}

/// Text outside of every chunk: allowed, but often a mistake.
fn gaps(text: &str, chunks: &[GoldenChunk]) -> Vec<String> {
    if chunks.is_empty() {
        return Vec::new();
    }
    let mut end = 0;
    let mut gaps = Vec::new();
    let places = chunks.iter().filter_map(|chunk| chunk.bytes).chain([(text.len(), text.len())]);
    for (start, next) in places {
        if start > end && !text[end..start].trim().is_empty() {
            let line = |at: usize| text[..at].matches('\n').count() + 1;
            let trimmed = end + (text[end..start].len() - text[end..start].trim_start().len());
            let last = end + text[end..start].trim_end().len();
            let (first, last) = (line(trimmed), line(last));
            gaps.push(if first == last {
                format!("line {first} has text in no chunk")
            } else {
                format!("lines {first} to {last} have text in no chunk")
            });
        }
        end = end.max(next);
    }
    gaps
}

fn shown(report: &Report) -> String {
    let mut shown = format!("\n{}: {}\n", escape(&report.document), count(report.chunks.len(), "chunk"));
    for (index, chunk) in report.chunks.iter().enumerate() {
        let place = match chunk.lines {
            Some((first, last)) if first == last => format!("line {first}"),
            Some((first, last)) => format!("lines {first}-{last}"),
            None => "generated".to_owned(),
        };
        let what: Vec<_> =
            [&chunk.kind, &chunk.name].into_iter().flatten().map(|word| escape(word).into_owned()).collect();
        let characters = count(chunk.text.chars().count(), "character");
        shown.push_str(&format!("{:>5}  {place}  {}  {characters}\n", index + 1, what.join(" ")));
        if let Some(context) = &chunk.context {
            shown.push_str(&format!("       in {}\n", escape(context)));
        }
        let start: String = chunk.text.trim().chars().take(SHOWN).collect();
        shown.push_str(&format!("       {}\n", escape(&start)));
    }
    shown.push_str(&verdict(report, "  "));
    for line in &report.said {
        shown.push_str(&format!("  | {}\n", escape(line)));
    }
    shown
}

fn shown_battery(reports: &[Report]) -> String {
    let mut shown =
        format!("\n{}, each on fresh and reused instances\n", count(reports.len(), "awkward document"));
    for report in reports {
        let chunks = count(report.chunks.len(), "chunk");
        shown.push_str(&format!("  {}: {chunks}\n{}", report.document, verdict(report, "    ")));
    }
    shown
}

fn verdict(report: &Report, indent: &str) -> String {
    let mut shown = String::new();
    for note in &report.notes {
        shown.push_str(&format!("{indent}note: {}\n", escape(note)));
    }
    if let Some(failure) = &report.failure {
        shown.push_str(&format!("{indent}FAILED: {}\n", escape(failure)));
    }
    for line in report.details.iter().flat_map(|details| details.lines()) {
        shown.push_str(&format!("{indent}  {}\n", escape(line)));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Chunk;

    #[test]
    fn gaps_are_named_by_line() {
        let text = "one\ntwo\n\nthree\nfour\nfive\n";
        let gaps_of = |ranges: &[std::ops::Range<usize>]| {
            let chunks: Vec<_> = ranges.iter().cloned().map(Chunk::slice).collect();
            gaps(text, &golden::of(text, &chunks))
        };
        assert!(gaps_of(&[0..8, 9..25]).is_empty());
        assert_eq!(gaps_of(&[0..4, 9..25]), ["line 2 has text in no chunk"]);
        assert_eq!(
            gaps_of(&[4..8, 9..14]),
            ["line 1 has text in no chunk", "lines 5 to 6 have text in no chunk"]
        );
    }
}
