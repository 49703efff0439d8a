//! Numbers of projects, places and targets, which stay inside this module, and small parts of statements.

use crate::model::{Place, TargetState};
use crate::postgres::{Failure, Row, Transaction};
use crate::state::ids::FileKey;

/// The files of a project, as a condition on `files` with the project's number as `$1`.
macro_rules! of_project {
    () => {
        "target_id IN (SELECT id FROM targets WHERE project_id = $1)"
    };
}
pub(super) use of_project;

/// Files by repository and path, given as two lists.
macro_rules! given {
    ($repositories:literal, $paths:literal) => {
        concat!(
            "unnest($",
            $repositories,
            "::text[], $",
            $paths,
            "::text[]) AS given (repository, file_path)"
        )
    };
}
pub(super) use given;

/// A project's number; `None`: it never ran.
pub(super) async fn project_id(tx: &Transaction, name: &str) -> Result<Option<i64>, Failure> {
    let row = tx.row("SELECT id FROM project_rows WHERE name = $1", &[&name]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// The number of a project that is entered.
pub(super) async fn entered(tx: &Transaction, name: &str) -> Result<i64, Failure> {
    let id = project_id(tx, name).await?;
    id.ok_or_else(|| Failure::Other(format!("project `{name}` is not entered")))
}

/// A place's number; `None`: no project uses it.
pub(super) async fn place_id(tx: &Transaction, place: &Place) -> Result<Option<i64>, Failure> {
    let Place { kind, host, index, namespace } = place;
    let sql = "SELECT id FROM places WHERE kind = $1 AND host = $2 AND idx = $3 AND namespace = $4";
    let row = tx.row(sql, &[kind, host, index, namespace]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// A place's number; entered if it is new.
pub(super) async fn put_place(tx: &Transaction, place: &Place) -> Result<i64, Failure> {
    if let Some(id) = place_id(tx, place).await? {
        return Ok(id);
    }
    let Place { kind, host, index, namespace } = place;
    // Another transaction may enter it at the same moment; this one then waits for it and finds its row.
    let sql = "INSERT INTO places (kind, host, idx, namespace) VALUES ($1, $2, $3, $4)
         ON CONFLICT (kind, host, idx, namespace) DO UPDATE SET kind = excluded.kind RETURNING id";
    number(tx.row(sql, &[kind, host, index, namespace]).await?)
}

/// The numbers of a project in a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    pub(super) project: i64,
    pub(super) target: i64,
    pub(super) place: i64,
}

/// The target of an entered project in a place; `None`: nothing of the project was ever written there.
pub(super) async fn target(
    tx: &Transaction,
    project: &str,
    place: &Place,
) -> Result<Option<Numbers>, Failure> {
    let Place { kind, host, index, namespace } = place;
    let row = tx
        .row(
            "SELECT project_id, targets.id, place_id FROM project_rows
             JOIN targets ON project_id = project_rows.id JOIN places ON places.id = place_id
             WHERE project_rows.name = $1 AND kind = $2 AND host = $3 AND idx = $4 AND places.namespace = $5",
            &[&project, kind, host, index, namespace],
        )
        .await?;
    Ok(row.map(|row| Numbers { project: row.get(0), target: row.get(1), place: row.get(2) }))
}

/// The target of an entered project in a place; entered, as one that is being built, if it is new.
pub(super) async fn put_target(tx: &Transaction, project: &str, place: &Place) -> Result<Numbers, Failure> {
    if let Some(numbers) = target(tx, project, place).await? {
        return Ok(numbers);
    }
    let (project, place) = (entered(tx, project).await?, put_place(tx, place).await?);
    let sql = "INSERT INTO targets (project_id, place_id, state) VALUES ($1, $2, $3)
         ON CONFLICT (project_id, place_id) DO UPDATE SET state = targets.state RETURNING id";
    let target = number(tx.row(sql, &[&project, &place, &TargetState::Building.as_str()]).await?)?;
    Ok(Numbers { project, target, place })
}

/// Counts a change of what is recorded of repositories' files; each counts once.
pub(super) async fn touch(tx: &Transaction, project: i64, repositories: Vec<&str>) -> Result<(), Failure> {
    // In the order of the names, so that transactions do not wait for each other in a circle.
    let sql = "UPDATE repositories SET revision = revision + 1 FROM (
             SELECT project_id, name FROM repositories WHERE project_id = $1 AND name = ANY ($2)
             ORDER BY name FOR NO KEY UPDATE) AS own
         WHERE repositories.project_id = own.project_id AND repositories.name = own.name";
    tx.run(sql, &[&project, &repositories]).await.map(drop)
}

/// A place from four columns that begin at `first`.
pub(super) fn place_at(row: &Row, first: usize) -> Place {
    Place {
        kind: row.get(first),
        host: row.get(first + 1),
        index: row.get(first + 2),
        namespace: row.get(first + 3),
    }
}

/// The number in a row that must be there.
pub(super) fn number(row: Option<Row>) -> Result<i64, Failure> {
    row.map(|row| row.get(0)).ok_or_else(|| Failure::Other("a statement gave no row".into()))
}

/// The repositories and the paths of files.
pub(super) fn split<'a>(files: impl Iterator<Item = &'a FileKey>) -> (Vec<&'a str>, Vec<&'a str>) {
    files.map(|file| (file.repository.as_str(), file.path.as_str())).unzip()
}
