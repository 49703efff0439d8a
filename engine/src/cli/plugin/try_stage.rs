//! `plugin try`: prints the chunks that a stage of the configuration makes of files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::args::TryArgs;
use super::blocking::blocking;
use super::workbench::{count, first_line};
use crate::chunk::encoded::{self, Encoded};
use crate::chunk::{ChunkError, Limits, Piece, TokenCounter, clean, fit, language_in};
use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::Exit;
use crate::cli::output::escape;
use crate::config::{Config, Need, Role};
use crate::factory::{LoneChunker, StageFactory};
use crate::model::{Document, EventSink};

/// Limit of a text's tokens, if no embedder is known: that of OpenAI's models.
const INPUT_TOKENS: usize = 8191;

/// Limit of a record's metadata in bytes, of which a project's store may allow less.
const METADATA_BYTES: usize = 30_000;

/// The chunks of one file.
#[derive(Serialize)]
struct Tried {
    file: String,
    /// The path that the chunker gets, from the root of the file's repository.
    path: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    chunks: Vec<Shown>,
}

/// A chunk as it would be stored.
#[derive(Serialize)]
struct Shown {
    /// First and last line, from 1.
    lines: [u32; 2],
    /// The half-open range of bytes in the cleaned text; `None` for generated text.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<[usize; 2]>,
    characters: usize,
    tokens: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    attrs: Map<String, Value>,
    text: String,
}

/// Runs the command.
pub(super) async fn run(context: &Context, args: TryArgs) -> CommandResult {
    let config = context.load_to_read(&Need::enabled().only_stage(&args.stage))?;
    check_stage(&config, &args.stage)?;
    let out = context.out.clone();
    blocking(move || {
        let factory = StageFactory::new(CancellationToken::new(), EventSink::none());
        let lone = factory.lone_chunker(&config, &args.stage)?;
        let tried =
            args.files.iter().map(|file| attempt(&lone, file)).collect::<Result<Vec<_>, CommandError>>()?;
        let estimated = lone.embedder.is_none();
        if args.json {
            out.json(&serde_json::json!({
                "stage": args.stage,
                "chunker": lone.chunker.label(),
                "tokens_estimated": estimated,
                "files": tried,
            }))?;
            return Ok(Exit::Done);
        }
        out.data(&format!("{} ({})\n", escape(&args.stage), escape(lone.chunker.label())))?;
        for tried in &tried {
            out.data(&render(tried))?;
        }
        if estimated && lone.chunker.identity().contains(" tokens/") {
            out.message("tokens are estimated: no project with a usable embedder uses this stage\n");
        }
        Ok(Exit::Done)
    })
    .await
}

fn check_stage(config: &Config, name: &str) -> Result<(), CommandError> {
    if config.stage(name).is_some_and(|stage| stage.settings.role() == Role::Chunker) {
        return Ok(());
    }
    let chunkers = config.stages.iter().filter(|stage| stage.settings.role() == Role::Chunker);
    let names: Vec<String> = chunkers.map(|stage| format!("`{}`", stage.name)).collect();
    let hint = match names.as_slice() {
        [] => format!("add `[stages.{name}]` to `{}`", config.path.display()),
        names => format!("the chunkers in use are {}", names.join(", ")),
    };
    Err(CommandError::invalid(format!("`{name}` is not a chunker of `{}`", config.path.display())).hint(hint))
}

fn attempt(lone: &LoneChunker, file: &Path) -> Result<Tried, CommandError> {
    let shown = file.display().to_string();
    let bytes = std::fs::read(file).with_context(|| format!("failed to read `{shown}`"))?;
    let path = path_in_repository(file);
    let mut tried = Tried { file: shown, path, notes: Vec::new(), chunks: Vec::new() };
    let cleaned = match clean(&bytes) {
        Ok(cleaned) => lone.chunker.prepare(cleaned),
        Err(reason) => {
            tried.notes.push(format!("it would not be indexed: {}", reason.label()));
            return Ok(tried);
        }
    };
    if !lone.chunker.matches(&tried.path) {
        tried.notes.push(format!("`match` of this stage does not select `{}`", tried.path));
    }
    let text = cleaned.text.as_str();
    let document =
        Document { path: &tried.path, text, language: language_in(&tried.path, text), ..Document::default() };
    let chunks = match encoded::chunk(&*lone.chunker, &document, &Encoded::of(text)) {
        Ok(chunks) => chunks,
        Err(error) => {
            tried.notes.push(reason(error)?);
            return Ok(tried);
        }
    };
    let counter = lone.counter();
    let input_tokens =
        lone.embedder.as_ref().map_or(INPUT_TOKENS, |embedder| embedder.limits().tokens_per_input);
    let limits = Limits { input_tokens, counter: Arc::clone(&counter), metadata_bytes: METADATA_BYTES };
    let pieces = fit(&cleaned, chunks, &limits)
        .map_err(|bad| CommandError::new(Exit::Failed, anyhow::Error::new(bad)))?;
    tried.chunks = pieces.into_iter().map(|piece| of_piece(piece, &counter)).collect();
    if tried.chunks.is_empty() {
        tried.notes.push("no chunks".to_owned());
    }
    Ok(tried)
}

/// Why there are no chunks, as a note; a failure is an error.
fn reason(error: ChunkError) -> Result<String, CommandError> {
    match error {
        ChunkError::NotMine => Ok("declined: the next chunker of the pipeline gets it".to_owned()),
        ChunkError::Left { why } => Ok(format!("passed to the next chunker of the pipeline: {why}")),
        ChunkError::Failed { message, hint } => {
            let error = CommandError::new(Exit::Failed, anyhow::anyhow!(message));
            Err(match hint {
                Some(hint) => error.hint(hint),
                None => error,
            })
        }
        ChunkError::Stopped { message } => Err(CommandError::new(Exit::Failed, anyhow::anyhow!(message))),
    }
}

fn of_piece(piece: Piece, counter: &TokenCounter) -> Shown {
    let attr = |(name, value)| (name, serde_json::to_value(value).unwrap_or_default());
    Shown {
        lines: [piece.start_line, piece.end_line],
        bytes: piece.range.map(|range| [range.start, range.end]),
        characters: piece.text.chars().count(),
        tokens: counter(&piece.text),
        kind: piece.kind,
        name: piece.name,
        context: piece.context,
        attrs: piece.attrs.into_iter().map(attr).collect(),
        text: piece.text,
    }
}

/// The path from the root of the Git work tree that holds the file, else as given.
fn path_in_repository(file: &Path) -> String {
    let whole = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let root = whole.ancestors().skip(1).find(|folder| folder.join(".git").exists());
    let within: PathBuf = match root.and_then(|root| whole.strip_prefix(root).ok()) {
        Some(path) => path.to_owned(),
        None => file.to_owned(),
    };
    super::workbench::relative(&within)
}

fn render(tried: &Tried) -> String {
    let mut shown = format!("\n{}: {}\n", escape(&tried.file), count(tried.chunks.len(), "chunk"));
    for (index, chunk) in tried.chunks.iter().enumerate() {
        let [first, last] = chunk.lines;
        let place = if first == last { format!("line {first}") } else { format!("lines {first}-{last}") };
        let mut facts = vec![place];
        if chunk.bytes.is_none() {
            facts.push("generated".to_owned());
        }
        facts.extend(chunk.kind.iter().map(|kind| escape(kind).into_owned()));
        facts.extend(chunk.name.iter().map(|name| format!("`{}`", escape(name))));
        facts.push(count(chunk.characters, "character"));
        facts.push(count(chunk.tokens, "token"));
        shown.push_str(&format!("{:>5}  {}\n", index + 1, facts.join("  ")));
        if let Some(context) = &chunk.context {
            shown.push_str(&format!("       in {}\n", escape(&first_line(context))));
        }
        for (name, value) in &chunk.attrs {
            shown.push_str(&format!("       attr_{} = {}\n", escape(name), escape(&value.to_string())));
        }
        shown.push_str(&format!("       | {}\n", escape(&first_line(&chunk.text))));
    }
    for note in &tried.notes {
        shown.push_str(&format!("  note: {}\n", escape(note)));
    }
    shown
}
