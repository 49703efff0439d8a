//! `plugin bench`: measures a component. Reports the best of several runs, since single runs vary
//! by half.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::args::BenchArgs;
use super::workbench::{load, private_folder, size, time};
use crate::chunk::component::{ComponentChunker, Folders, HostOptions, Trial, Verdict};
use crate::chunk::{clean, language_in};
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::Exit;
use crate::cli::output::{Output, escape};
use crate::model::Document;

/// How long each value is measured.
const BUDGET: Duration = Duration::from_millis(600);

/// Runs the command. Blocks.
pub(super) fn run(out: &Output, args: &BenchArgs) -> CommandResult {
    // A private cache of compiled components, so that compilation can be measured.
    let folder = private_folder("reposync-bench-")?;
    measure(out, args, &Folders::below(folder.path()))
}

fn measure(out: &Output, args: &BenchArgs, folders: &Folders) -> CommandResult {
    let options = HostOptions::default();
    let (host, chunker) = load(&args.component, &args.settings, folders, options)?;
    let compiled = chunker.compile_time().unwrap_or_default();
    drop((chunker, host));
    let begun = Instant::now();
    let (_host, chunker) = load(&args.component, &args.settings, folders, options)?;
    let cached = begun.elapsed();
    let mut trial = Trial::new(&chunker);
    trial.chunk(&Document { path: "a.md", text: "", language: None, ..Document::default() });
    out.data(&format!(
        "{}, {}\n\n{:<34}{}\n{:<34}{}\n{:<34}{}\n{:<34}{}\n{:<34}{}\n\n",
        chunker.info().label(),
        size(chunker.info().bytes),
        "compile",
        time(compiled),
        "start from the cache, configured",
        time(cached),
        "an instance for a document",
        time(chunker.start_time(20)),
        "memory of an idle instance",
        size(trial.memory() as u64),
        "call with an empty document",
        time(best(&mut trial, "", "a.md")?),
    ))?;
    for (name, path, text) in documents(&chunker, args)? {
        let took = best(&mut trial, &text, &path)?;
        let speed = text.len() as f64 / took.as_secs_f64() / 1e6;
        let plain = plain_pass(&text);
        out.data(&format!(
            "{:<33} {}, {speed:.1} MB/s (a plain pass over its characters: {})\n",
            escape(&name),
            time(took),
            time(plain)
        ))?;
    }
    Ok(Exit::Done)
}

/// The author's documents, or else generated ones: name, path, text.
fn documents(
    chunker: &ComponentChunker,
    args: &BenchArgs,
) -> Result<Vec<(String, String, String)>, CommandError> {
    if args.files.is_empty() {
        let extension = chunker.info().extensions.first().map_or(".md", String::as_str);
        let made = |name: &str, bytes: usize| {
            let text: String = PARAGRAPH.repeat(bytes / PARAGRAPH.len() + 1).chars().take(bytes).collect();
            (format!("generated document of {name}"), format!("document{extension}"), text)
        };
        return Ok(vec![made("10 KB", 10_000), made("1 MB", 1_000_000)]);
    }
    args.files
        .iter()
        .map(|file| {
            let shown = file.display().to_string();
            let bytes = std::fs::read(file).with_context(|| format!("failed to read `{shown}`"))?;
            let cleaned = clean(&bytes).map_err(|skip| {
                CommandError::invalid(format!("`{shown}` would not be indexed: {}", skip.label()))
            })?;
            Ok((shown.clone(), shown, cleaned.text))
        })
        .collect()
}

const PARAGRAPH: &str = "## 1.2.0 - 2024-05-01\n\n### Added\n\n- A setting for the level of headings, so that other layouts work.\n- Names of releases as attributes.\n\n### Fixed\n\n- Empty releases are left out.\n\n";

fn best(trial: &mut Trial<'_>, text: &str, path: &str) -> Result<Duration, CommandError> {
    let document = Document { path, text, language: language_in(path, text), ..Document::default() };
    let begun = Instant::now();
    let mut best = Duration::MAX;
    loop {
        let outcome = trial.chunk(&document);
        if let Verdict::Broke { what, remedy, .. } = outcome.verdict {
            return Err(CommandError::new(Exit::Failed, anyhow::anyhow!("`{path}`: {what}")).hint(remedy));
        }
        best = best.min(outcome.took);
        if begun.elapsed() > BUDGET {
            return Ok(best);
        }
    }
}

/// The time that the program itself takes to read every character, as a lower bound for chunkers.
fn plain_pass(text: &str) -> Duration {
    let begun = Instant::now();
    let mut best = Duration::MAX;
    while begun.elapsed() < BUDGET / 4 {
        let pass = Instant::now();
        black_box(black_box(text).chars().filter(|c| *c == '\n').count());
        best = best.min(pass.elapsed());
    }
    best
}
