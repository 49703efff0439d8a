//! Ids of records: recorded ones, announced upserts and deletes, and what a move left behind.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::targets::{entered, given, place_at, place_id, put_place, split, target, touch};
use crate::model::{Fingerprint, Place};
use crate::postgres::{Failure, Row, Transaction};
use crate::state::fence::Fence;
use crate::state::ids::{FileIds, FileKey, HeldIds, IdsOf, PlacedIds};

/// Writes down ids that are about to exist or to go.
pub(super) async fn open_intents(
    tx: &Transaction,
    fence: Fence,
    project: &str,
    place: &Place,
    intents: &[FileIds],
) -> Result<(), Failure> {
    let (id, place) = futures::try_join!(entered(tx, project), put_place(tx, place))?;
    let each =
        || intents.iter().flat_map(|intent| intent.ids.iter().map(move |id| (id.as_str(), &intent.file)));
    // An id once, and in order: a statement may write a row only once, and transactions must not wait for each other
    // in a circle.
    let files: BTreeMap<&str, &FileKey> = each().collect();
    let ids: Vec<&str> = files.keys().copied().collect();
    let (repositories, paths) = split(files.into_values());
    let sql = "INSERT INTO intents SELECT $1, given.id, $2, given.repository, given.path, $6
         FROM unnest($3::text[], $4::text[], $5::text[]) AS given (id, repository, path)
         ON CONFLICT (place_id, id) DO UPDATE SET project = excluded.project, repository = excluded.repository,
             file_path = excluded.file_path, epoch = excluded.epoch";
    futures::try_join!(
        tx.run(sql, &[&place, &project, &ids, &repositories, &paths, &fence.epoch]),
        touch(tx, id, intents.iter().map(|intent| intent.file.repository.as_str()).collect()),
        tx.end(),
    )?;
    Ok(())
}

/// What may be in a place for each file.
pub(super) async fn held(
    tx: &Transaction,
    project: &str,
    place: &Place,
    files: &[FileKey],
) -> Result<Vec<HeldIds>, Failure> {
    let mut held = vec![HeldIds::default(); files.len()];
    let (target, placed) = futures::try_join!(target(tx, project, place), place_id(tx, place))?;
    let Some(placed) = placed else { return Ok(held) };
    let (repositories, paths) = split(files.iter());
    let wanted = "unnest($2::text[], $3::text[]) WITH ORDINALITY AS given (repository, file_path, n)";
    let chunks = format!(
        "SELECT n, chunks.id, fingerprint FROM {wanted} JOIN files USING (repository, file_path)
         JOIN chunks ON file_id = files.id WHERE target_id = $1"
    );
    let open = |table: &str| {
        format!(
            "SELECT n, id FROM {wanted} JOIN {table} USING (repository, file_path) WHERE project = $4 AND place_id = $1"
        )
    };
    let (intents, leftovers) = (open("intents"), open("leftovers"));
    let target = target.map(|numbers| numbers.target);
    let (chunks, intents, leftovers) = futures::try_join!(
        tx.rows(&chunks, &[&target, &repositories, &paths]),
        tx.rows(&intents, &[&placed, &repositories, &paths, &project]),
        tx.rows(&leftovers, &[&placed, &repositories, &paths, &project]),
    )?;
    let at = |row: &Row| usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or_default();
    for row in &chunks {
        if let Some(held) = held.get_mut(at(row)) {
            held.chunks.insert(row.get(1), Fingerprint::from_stored(row.get::<_, String>(2)));
        }
    }
    for row in intents.iter().chain(&leftovers) {
        if let Some(held) = held.get_mut(at(row)) {
            held.open.insert(row.get(1));
        }
    }
    Ok(held)
}

/// Ids in every place, by file.
pub(super) async fn ids(tx: &Transaction, project: &str, of: &IdsOf) -> Result<Vec<PlacedIds>, Failure> {
    let recorded = "SELECT TRUE, place_id, chunks.id, files.repository, files.file_path
         FROM project_rows JOIN targets ON project_id = project_rows.id JOIN files ON target_id = targets.id
         JOIN chunks ON file_id = files.id WHERE name = $1";
    let open = |table: &str| {
        format!(
            "SELECT FALSE, place_id, own.id, own.repository, own.file_path FROM {table} AS own WHERE project = $1"
        )
    };
    let rows = match of {
        IdsOf::Project => {
            let (intents, leftovers) = (open("intents"), open("leftovers"));
            let sql = format!("{recorded} UNION ALL {intents} UNION ALL {leftovers}");
            tx.rows(&sql, &[&project]).await?
        }
        IdsOf::Files(files) => {
            let (repositories, paths) = split(files.iter());
            let these = |table: &str| {
                format!(
                    "AND EXISTS (SELECT 1 FROM {} WHERE given.repository = {table}.repository
                         AND given.file_path = {table}.file_path)",
                    given!("2", "3")
                )
            };
            let (intents, leftovers) = (open("intents"), open("leftovers"));
            let sql = format!(
                "{recorded} {} UNION ALL {intents} {own} UNION ALL {leftovers} {own}",
                these("files"),
                own = these("own")
            );
            tx.rows(&sql, &[&project, &repositories, &paths]).await?
        }
        IdsOf::Leftovers => {
            let leftovers = open("leftovers");
            let sql = format!(
                "{leftovers} AND NOT EXISTS (
                     SELECT 1 FROM project_rows JOIN targets ON project_id = project_rows.id
                     JOIN files ON target_id = targets.id
                     WHERE name = $1 AND files.repository = own.repository AND files.file_path = own.file_path
                       AND status NOT IN ('synced', 'skipped'))"
            );
            tx.rows(&sql, &[&project]).await?
        }
    };
    by_file(tx, &rows).await
}

async fn by_file(tx: &Transaction, rows: &[Row]) -> Result<Vec<PlacedIds>, Failure> {
    let mut found: BTreeMap<(FileKey, i64), (bool, BTreeSet<String>)> = BTreeMap::new();
    for row in rows {
        let file = FileKey { repository: row.get(3), path: row.get(4) };
        let (is_recorded, ids) = found.entry((file, row.get(1))).or_default();
        *is_recorded |= row.get::<_, bool>(0);
        ids.insert(row.get(2));
    }
    let places: Vec<i64> =
        found.keys().map(|(_, place)| *place).collect::<BTreeSet<i64>>().into_iter().collect();
    let sql = "SELECT id, kind, host, idx, namespace FROM places WHERE id = ANY ($1)";
    let places: HashMap<i64, Arc<Place>> =
        tx.rows(sql, &[&places]).await?.iter().map(|row| (row.get(0), Arc::new(place_at(row, 1)))).collect();
    let placed = found.into_iter().filter_map(|((file, place), (recorded, ids))| {
        Some(PlacedIds {
            place: Arc::clone(places.get(&place)?),
            file,
            recorded,
            ids: ids.into_iter().collect(),
        })
    });
    Ok(placed.collect())
}
