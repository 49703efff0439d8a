//! From a file's bytes to records that lack only their vectors. Pure and synchronous.

use std::borrow::Cow;
use std::io::Write as _;

use serde_json::{Map, Value};

use super::setup::{Project, Recipe};
use crate::chunk::encoded::{self, Encoded};
use crate::chunk::{ChunkError, Chunker, clean, fit, language_in};
use crate::model::{
    Chunk, ChunkIds, Cleaned, Document, ErrorKind, Field, Fingerprint, FingerprintHasher, GitSha, Metadata,
    RepoRef, SecretsMode, SkipReason, StageError, StageResult, TreeEntry, file_prefix,
};

/// What became of a file's content.
#[derive(Debug)]
pub(crate) enum Prepared {
    /// It is not for the index.
    Skipped(SkipReason),
    /// Its chunks, in order, and the lines of encoded data that is not embedded.
    Chunks(Vec<Draft>, Vec<u32>),
}

/// A record without its vector.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The record's id.
    pub(crate) id: String,
    /// The exact text to embed.
    pub(crate) input: String,
    /// The record's metadata.
    pub(crate) metadata: Metadata,
    /// Of the metadata, without `commit_sha` and `url`.
    pub(crate) fingerprint: Fingerprint,
}

/// Which file is prepared.
pub(crate) struct Origin<'a> {
    pub(crate) repo: &'a RepoRef,
    pub(crate) commit: GitSha,
    pub(crate) entry: &'a TreeEntry,
    pub(crate) recipe: &'a Recipe,
}

/// Cleans, chunks and fits one file.
///
/// An error of an item kind fails this file; any other ends the project. `notes` gets what a person
/// should know of chunkers that could not use the file.
pub(crate) fn prepare(
    project: &Project,
    origin: &Origin<'_>,
    content: &[u8],
    notes: &mut Vec<String>,
) -> StageResult<Prepared> {
    if content.len() as u64 > project.selector.max_file_bytes {
        return Ok(Prepared::Skipped(SkipReason::TooLarge));
    }
    let mut cleaned = match clean(content) {
        Ok(cleaned) => cleaned,
        Err(reason) => return Ok(Prepared::Skipped(reason)),
    };
    match project.secrets {
        SecretsMode::Off => {}
        SecretsMode::Skip if project.scanner.find(&cleaned.text).is_empty() => {}
        SecretsMode::Skip => return Ok(Prepared::Skipped(SkipReason::Secret)),
        SecretsMode::Redact => cleaned.text = project.scanner.redact(&cleaned.text).into_owned(),
    }
    let path = origin.entry.path.as_str();
    let Some((chunker, cleaned, encoded, chunks)) = chunk(project, origin, cleaned, notes)? else {
        return Ok(Prepared::Skipped(SkipReason::NoChunker));
    };
    let pieces = fit(&cleaned, chunks, &project.limits()).map_err(|bad| {
        StageError::new(
            chunker.stage(),
            ErrorKind::BadInput,
            format!("{} gave a bad chunk: {bad}", chunker.label()),
        )
        .hint("this is a fault of the chunker; `reposync plugin test` shows it on this file")
    })?;
    if pieces.is_empty() {
        return Ok(Prepared::Skipped(SkipReason::Empty));
    }

    let repository = origin.repo.name.as_str();
    let mut ids = ChunkIds::of(file_prefix(project.name(), repository, path));
    let language = language_in(path, &cleaned.text).unwrap_or_default();
    let mut drafts = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let embedded = match &piece.range {
            Some(range) => encoded.outside(&cleaned.text, range.clone()),
            None => encoded::without(&piece.text),
        };
        // What is left of it says nothing: quotes and commas around the data.
        if embedded.len() < piece.text.len() && !embedded.contains(char::is_alphanumeric) {
            continue;
        }
        let id = ids.next(&piece.text);
        let input = project.embedder().input(piece.context.as_deref(), &embedded);
        let lines = (piece.start_line, piece.end_line);
        let metadata = Metadata {
            project: project.name().to_owned(),
            repository: repository.to_owned(),
            file_path: path.to_owned(),
            chunk_index: u32::try_from(drafts.len()).unwrap_or(u32::MAX),
            text: piece.text,
            start_line: piece.start_line,
            end_line: piece.end_line,
            language: language.to_owned(),
            blob_sha: origin.entry.sha,
            recipe: origin.recipe.fingerprint.clone(),
            commit_sha: origin.commit,
            url: project.source.permalink(origin.repo, origin.commit, path, lines),
            context: piece.context,
            kind: piece.kind,
            name: piece.name,
            attrs: piece.attrs,
            foreign: None,
        };
        let fingerprint = metadata_fingerprint(metadata.fields());
        drafts.push(Draft { id, input, metadata, fingerprint });
    }
    if drafts.is_empty() {
        return Ok(Prepared::Skipped(SkipReason::EncodedData));
    }
    Ok(Prepared::Chunks(drafts, encoded.lines(&cleaned)))
}

type Chunked<'a> = (&'a dyn Chunker, Cleaned, Encoded, Vec<Chunk>);

/// Asks the chunkers of the file's chain, in order. None: all of them declined.
fn chunk<'a>(
    project: &'a Project,
    origin: &Origin<'_>,
    cleaned: Cleaned,
    notes: &mut Vec<String>,
) -> StageResult<Option<Chunked<'a>>> {
    let path = origin.entry.path.as_str();
    let mut cleaned = Some(cleaned);
    let chain = project.chain(path);
    for (at, &index) in chain.iter().enumerate() {
        let chunker = &*project.chunkers[index];
        let last = at + 1 == chain.len();
        // Only a text that another chunker may still need is copied.
        let text = if last { cleaned.take() } else { cleaned.clone() };
        let Some(text) = text else { break };
        let text = chunker.prepare(text);
        let document = Document {
            path,
            text: &text.text,
            language: language_in(path, &text.text),
            repository: Some(&origin.repo.name).filter(|name| !name.is_empty()).map(String::as_str),
        };
        let encoded = Encoded::of(&text.text);
        match encoded::chunk(chunker, &document, &encoded) {
            Ok(chunks) => return Ok(Some((chunker, text, encoded, chunks))),
            Err(ChunkError::NotMine) => {}
            Err(ChunkError::Left { why }) => {
                let then = if last { "no other chunker takes it" } else { "the next chunker gets it" };
                notes.push(format!("`{}:{path}`: {why}; {then}", origin.repo.name));
            }
            Err(ChunkError::Failed { message, hint }) => {
                let mut error = StageError::new(chunker.stage(), ErrorKind::BadInput, message);
                error.hint = hint;
                return Err(error);
            }
            Err(ChunkError::Stopped { message }) => {
                return Err(StageError::new(chunker.stage(), ErrorKind::BadInput, message));
            }
        }
    }
    Ok(None)
}

/// A fingerprint of stored metadata, without `commit_sha` and `url`: two records of the same id,
/// vector and fingerprint are the same record. Numbers compare by value: stores return `3.0` for 3.
pub(crate) fn metadata_fingerprint<'a>(
    fields: impl IntoIterator<Item = (Cow<'a, str>, Field<'a>)>,
) -> Fingerprint {
    let kept = |key: &str| !matches!(key, "commit_sha" | "url");
    let mut fields: Vec<_> = fields.into_iter().filter(|(key, _)| kept(key)).collect();
    fields.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut hasher = FingerprintHasher::default();
    let mut text = Vec::new();
    for (key, value) in &fields {
        text.clear();
        match value.as_f64() {
            Some(number) => write!(text, "{number}"),
            None => serde_json::to_writer(&mut text, value).map_err(std::io::Error::from),
        }
        .expect("plain data has a text form and memory takes it");
        hasher.update(key.as_bytes());
        hasher.update(&text);
    }
    hasher.finish()
}

/// The same of metadata as a store gives it back.
pub(crate) fn stored_fingerprint(metadata: &Map<String, Value>) -> Fingerprint {
    metadata_fingerprint(metadata.iter().map(|(key, value)| (key.into(), Field::Json(value))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AttrValue;

    #[test]
    fn fingerprints_see_everything_but_when_and_where_it_was_written() {
        let map = |json: serde_json::Value| json.as_object().expect("object").clone();
        let a = map(serde_json::json!({"text": "t", "chunk_index": 3, "commit_sha": "1", "url": "u"}));
        let b = map(serde_json::json!({"url": "v", "chunk_index": 3.0, "text": "t", "commit_sha": "2"}));
        let c = map(serde_json::json!({"text": "t", "chunk_index": 4}));
        assert_eq!(stored_fingerprint(&a), stored_fingerprint(&b));
        assert_ne!(stored_fingerprint(&a), stored_fingerprint(&c));
    }

    #[test]
    fn a_record_and_what_a_store_gives_back_have_one_fingerprint() {
        let mut metadata = Metadata::foreign(Map::new());
        metadata.foreign = None;
        metadata.text = "a \"quoted\" ü".into();
        metadata.context = Some("A > B".into());
        metadata.attrs = vec![
            ("word".into(), AttrValue::Text("w".into())),
            ("level".into(), AttrValue::Number(2.0)),
            ("odd".into(), AttrValue::Number(f64::NAN)),
            ("flag".into(), AttrValue::Flag(true)),
            ("words".into(), AttrValue::Texts(vec!["a".into(), "b".into()])),
        ];
        assert_eq!(metadata_fingerprint(metadata.fields()), stored_fingerprint(&metadata.to_json()));
        let mut written = Vec::new();
        metadata.write_json(&mut written, |_, _| true);
        assert_eq!(serde_json::from_slice::<Map<_, _>>(&written).expect("JSON"), metadata.to_json());
    }
}
