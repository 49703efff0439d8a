//! The tables, and how those of an older program become those of this one.

use super::broken::Broken;
use crate::model::{ErrorKind, StageError, StageResult};
use crate::postgres::{BEGIN_TO_WRITE, Failure, Pool, PostgresUrl, Row, Transaction};
use crate::state::STAGE;

/// One script for each version.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
    include_str!("migrations/4.sql"),
];
/// The version of this program: the number of scripts.
pub(super) const VERSION: i32 = 4;
/// Gives the version of the tables that are there.
pub(super) const FOUND: &str = "SELECT version FROM reposync_schema";
/// The oldest server that is tested. `unnest` of several arrays and `FOR KEY SHARE` are older.
const OLDEST_SERVER: i32 = 14;
/// Serializes migrations of several processes: an advisory lock of the transaction.
const LOCK: &str = "SELECT pg_advisory_xact_lock(5926711407)";

/// Why a database cannot be used.
#[derive(PartialEq, Eq)]
enum Unusable {
    Newer(i32),
    Older(i32),
    Foreign,
    OldServer(String),
}

/// Creates the tables, or brings them up to this program's version, in one transaction. Running work of older
/// programs loses its leases, so that they stop and change nothing.
pub(super) async fn migrate(pool: &Pool) -> Result<StageResult<()>, Failure> {
    if look(pool).await? == Ok(Some(VERSION)) {
        return Ok(Ok(()));
    }
    let tx = pool.begin(BEGIN_TO_WRITE).await?;
    tx.batch(LOCK).await?;
    let found = match version(&tx).await? {
        Ok(found) => usize::try_from(found.unwrap_or(0)).unwrap_or(0),
        Err(unusable) => return Ok(Err(refuse(pool.url(), &unusable))),
    };
    if found == MIGRATIONS.len() {
        // Another process has done it meanwhile, and may have a lease by now.
        tx.commit().await?;
        return Ok(Ok(()));
    }
    for script in &MIGRATIONS[found..] {
        tx.batch(script).await?;
    }
    tx.batch(&format!(
        "CREATE TABLE IF NOT EXISTS reposync_schema (version INT NOT NULL); DELETE FROM reposync_schema;
         INSERT INTO reposync_schema VALUES ({VERSION}); DELETE FROM leases"
    ))
    .await?;
    tx.commit().await?;
    Ok(Ok(()))
}

/// Whether the database holds the tables of this version; false: it holds none.
pub(super) async fn is_there(pool: &Pool) -> Result<StageResult<bool>, Failure> {
    Ok(match look(pool).await? {
        Ok(None) => Ok(false),
        Ok(Some(found)) if found < VERSION => Err(refuse(pool.url(), &Unusable::Older(found))),
        Ok(Some(_)) => Ok(true),
        Err(unusable) => Err(refuse(pool.url(), &unusable)),
    })
}

/// The version of the tables, in a transaction that only reads.
async fn look(pool: &Pool) -> Result<Result<Option<i32>, Unusable>, Failure> {
    let tx = pool.begin("BEGIN READ ONLY").await?;
    let found = version(&tx).await?;
    tx.commit().await?;
    Ok(found)
}

/// The version of the tables; `None`: there are none.
async fn version(tx: &Transaction) -> Result<Result<Option<i32>, Unusable>, Failure> {
    let about = tx
        .row(
            "SELECT current_setting('server_version_num')::int / 10000, current_setting('server_version'),
                 to_regclass('reposync_schema') IS NOT NULL,
                 EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = current_schema()::regnamespace
                     AND relname IN ('project_rows', 'projects', 'files', 'runs', 'leases'))",
            &[],
        )
        .await?
        .ok_or_else(|| Failure::Other("no answer to a question about the server".into()))?;
    if about.get::<_, i32>(0) < OLDEST_SERVER {
        return Ok(Err(Unusable::OldServer(about.get(1))));
    }
    if !about.get::<_, bool>(2) {
        return Ok(if about.get(3) { Err(Unusable::Foreign) } else { Ok(None) });
    }
    let found = tx.row(FOUND, &[]).await?.map_or(0, |row| row.get(0));
    Ok(if found > VERSION { Err(Unusable::Newer(found)) } else { Ok(Some(found)) })
}

/// What [`FOUND`] gave must be this program's version.
pub(super) fn expect(row: Option<&Row>) -> Result<(), Broken> {
    match row.map_or(0, |row| row.get(0)) {
        VERSION => Ok(()),
        found => Err(Broken::Migrated(found)),
    }
}

/// The error of a call that came after a program of another version had changed the tables.
pub(super) fn migrated(url: &PostgresUrl, found: i32) -> StageError {
    let unusable = if found > VERSION { Unusable::Newer(found) } else { Unusable::Older(found) };
    StageError { kind: ErrorKind::Outdated, ..refuse(url, &unusable) }
}

fn refuse(url: &PostgresUrl, unusable: &Unusable) -> StageError {
    match unusable {
        Unusable::Newer(found) => StageError::local(
            STAGE,
            format!(
                "`{url}` was written by a newer RepoSync (version {found}, this program knows {VERSION})"
            ),
        )
        .hint("use the newer program; this one changed nothing"),
        Unusable::Older(found) => StageError::local(
            STAGE,
            format!(
                "`{url}` was written by an older RepoSync (version {found}, this program's is {VERSION})"
            ),
        )
        .hint("`reposync apply` or the daemon of this version brings it up"),
        Unusable::Foreign => StageError::local(STAGE, format!("`{url}` holds tables of another program"))
            .hint("name a database of its own in `[engine] state`; nothing was changed"),
        Unusable::OldServer(found) => StageError::misconfigured(
            STAGE,
            format!("`{url}` is PostgreSQL {found}; {OLDEST_SERVER} or newer is needed"),
        )
        .hint("upgrade the server"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_number_of_scripts() {
        assert_eq!(usize::try_from(VERSION), Ok(MIGRATIONS.len()));
    }
}
