//! Reading the texts of files, one file after the other.

use rusqlite::{Transaction, params};

use crate::model::file_prefix;
use crate::store::{FileTexts, SearchScope, Selector, TextChunk, TextVisitor};

use super::failed::Failed;
use super::namespaces::known_namespace;
use super::read::metadata;

/// Passes the files of the scopes that pass the filters by repository and path to `visit`, sorted by
/// repository and path within each scope, until it breaks.
pub(super) fn texts(
    transaction: &Transaction<'_>,
    scopes: &[SearchScope],
    selector: &Selector,
    mut visit: TextVisitor,
) -> Result<(), Failed> {
    let mut files = transaction.prepare_cached(
        "SELECT repository, path FROM files WHERE namespace = ?1 AND project = ?2 ORDER BY repository, path",
    )?;
    for SearchScope { namespace, project } in scopes {
        let Some(number) = known_namespace(transaction, namespace)? else { continue };
        let mut rows = files.query(params![number, project])?;
        while let Some(row) = rows.next()? {
            let text = |at| row.get_ref(at)?.as_str().map_err(rusqlite::Error::from);
            let (repository, path) = (text(0)?, text(1)?);
            if !selector.passes_file(repository, path) {
                continue;
            }
            let chunks = chunks(transaction, number, &file_prefix(project, repository, path))?;
            let file = FileTexts {
                project: project.clone(),
                repository: repository.to_owned(),
                path: path.to_owned(),
                chunks,
            };
            if visit(file).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The chunks of a file, in order.
fn chunks(transaction: &Transaction<'_>, namespace: i64, prefix: &str) -> Result<Vec<TextChunk>, Failed> {
    let mut select = transaction
        .prepare_cached("SELECT facts, text FROM records WHERE namespace = ?1 AND id >= ?2 AND id < ?3")?;
    // The ids of a file are its prefix, a dash, and more; `.` is the character after the dash.
    let mut rows = select.query(params![namespace, format!("{prefix}-"), format!("{prefix}.")])?;
    let mut chunks = Vec::new();
    while let Some(row) = rows.next()? {
        let facts = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        let text: String = row.get(1)?;
        chunks.push(match serde_json::from_str::<TextChunk>(facts) {
            Ok(chunk) => TextChunk { text, ..chunk },
            // Fields of other types than ours.
            Err(_) => TextChunk::of(&metadata(facts, text)),
        });
    }
    chunks.sort_by_key(|chunk| chunk.index);
    Ok(chunks)
}
