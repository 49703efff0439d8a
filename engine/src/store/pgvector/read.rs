//! Listing, fetching and counting records, and reading texts.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use crate::model::{ErrorKind, StageError, Vector};
use crate::store::{FileTexts, IdPage, SearchScope, Selector, StoredRecord, TextChunk, TextVisitor};

use super::database::{Database, Failed};
use super::documents::metadata;
use super::schema;

/// Ids in a page of a listing.
const PAGE: i64 = 1000;
/// Files whose names are read at once.
const NAMES: usize = 2000;
/// Files whose texts are read at once.
const FILES: usize = 100;

/// One page of the ids that start with `prefix`, in byte order.
pub(super) async fn list(
    db: &Database,
    namespace: &str,
    prefix: &str,
    after: Option<&str>,
) -> Result<IdPage, Failed> {
    let Some(part) = schema::part(db, namespace).await? else { return Ok(IdPage::default()) };
    // Upper bound of the range: no id with this prefix sorts after it.
    let end = format!("{prefix}{}", char::MAX);
    let sql = format!(
        "SELECT id FROM {} WHERE id >= $1 AND id < $2 AND id > $3 ORDER BY id LIMIT {}",
        part.records,
        PAGE + 1
    );
    // An empty string excludes nothing on the first page, since ids are not empty.
    let rows = db.pool.get().await?.rows(&sql, &[&prefix, &end.as_str(), &after.unwrap_or_default()]).await?;
    let mut ids: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let most = usize::try_from(PAGE).expect("a page is small");
    let more = ids.len() > most;
    ids.truncate(most);
    let next = if more { ids.last().cloned() } else { None };
    Ok(IdPage { ids, next })
}

/// The records with these ids.
pub(super) async fn fetch(
    db: &Database,
    namespace: &str,
    ids: &[String],
) -> Result<Vec<StoredRecord>, Failed> {
    let Some(part) = schema::part(db, namespace).await? else { return Ok(Vec::new()) };
    let sql = format!(
        "SELECT r.id, r.facts::text, r.text, v.v::real[] FROM {} AS r JOIN {} AS v ON v.row = r.row
         WHERE r.id = ANY($1)",
        part.records, part.vectors
    );
    let rows = db.pool.get().await?.rows(&sql, &[&ids.to_vec()]).await?;
    let records = rows.iter().map(|row| StoredRecord {
        id: row.get(0),
        metadata: metadata(row.get(1), row.get(2)),
        vector: Vector::from(row.get::<_, Vec<f32>>(3)),
    });
    Ok(records.collect())
}

/// Number of records by namespace; empty namespaces are left out.
pub(super) async fn counts(db: &Database) -> Result<BTreeMap<String, u64>, Failed> {
    if schema::tables(db).await?.is_none() {
        return Ok(BTreeMap::new());
    }
    let sql = format!("SELECT name, chunks FROM {} WHERE chunks > 0", db.names.namespaces());
    let rows = db.pool.get().await?.rows(&sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get::<_, i64>(1).unsigned_abs())).collect())
}

/// Passes the files of the scopes that pass the filters by repository and path to `visit`, sorted by repository and
/// path within each scope, until it breaks.
pub(super) async fn texts(
    db: &Database,
    scopes: &[SearchScope],
    selector: &Selector,
    mut visit: TextVisitor,
) -> Result<(), Failed> {
    for SearchScope { namespace, project } in scopes {
        let Some(part) = schema::part(db, namespace).await? else { continue };
        let transaction = db.pool.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let sql = format!(
            "DECLARE files NO SCROLL CURSOR FOR SELECT number, repository, path FROM {}
             WHERE namespace = {} AND project = $1 ORDER BY repository, path",
            db.names.files(),
            part.number
        );
        transaction.run(&sql, &[project]).await?;
        let chunks = format!(
            "SELECT file, facts::text, text FROM {} WHERE row IN (
             SELECT row FROM {} WHERE file = ANY($1))",
            part.records, part.vectors
        );
        loop {
            let rows = transaction.rows(&format!("FETCH {NAMES} FROM files"), &[]).await?;
            if rows.is_empty() {
                break;
            }
            let passing = rows.iter().filter(|row| selector.passes_file(row.get(1), row.get(2)));
            let passing: Vec<(i64, String, String)> =
                passing.map(|row| (row.get(0), row.get(1), row.get(2))).collect();
            for files in passing.chunks(FILES) {
                let numbers: Vec<i64> = files.iter().map(|(number, ..)| *number).collect();
                let mut found: HashMap<i64, Vec<TextChunk>> = HashMap::new();
                for row in transaction.rows(&chunks, &[&numbers]).await? {
                    let (facts, text): (&str, String) = (row.get(1), row.get(2));
                    found.entry(row.get(0)).or_default().push(
                        match serde_json::from_str::<TextChunk>(facts) {
                            Ok(chunk) if chunk.text.is_empty() => TextChunk { text, ..chunk },
                            // A text with NUL, or fields of other types than ours.
                            _ => TextChunk::of(&metadata(facts, text)),
                        },
                    );
                }
                let batch: Vec<FileTexts> = files
                    .iter()
                    .map(|(number, repository, path)| {
                        let mut chunks = found.remove(number).unwrap_or_default();
                        chunks.sort_by_key(|chunk| chunk.index);
                        FileTexts {
                            project: project.clone(),
                            repository: repository.clone(),
                            path: path.clone(),
                            chunks,
                        }
                    })
                    .collect();
                let flow;
                (visit, flow) = visited(db, visit, batch).await?;
                if flow.is_break() {
                    transaction.commit().await?;
                    return Ok(());
                }
            }
        }
        transaction.commit().await?;
    }
    Ok(())
}

/// Visitors search texts, which is work for a thread that may block.
async fn visited(
    db: &Database,
    mut visit: TextVisitor,
    batch: Vec<FileTexts>,
) -> Result<(TextVisitor, ControlFlow<()>), Failed> {
    let work = move || {
        let flow = batch.into_iter().try_for_each(&mut visit);
        (visit, flow)
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        StageError::new(&db.stage, ErrorKind::Bug, "reading texts panicked").caused_by(error).into()
    })
}
