//! The tables and their partitions, and what the server must have.

use crate::model::StageError;
use crate::postgres::{BEGIN_TO_WRITE, Transaction};

use super::database::{Database, Failed};
use super::names::Part;
use super::settings::Index;
use super::tables::{MOST_INDEXED, Tables};

/// The version of the tables. A change of how texts are cut into words is a new version, too.
const VERSION: i32 = 1;
/// The oldest server, as `server_version_num` has it.
const OLDEST_SERVER: i32 = 140_000;
/// The oldest extension. Older ones may leave vectors out of the graph after deletions.
const OLDEST_EXTENSION: [u32; 3] = [0, 8, 4];
/// The most components of an index of vectors in half precision.
const MOST_INDEXED_HALF: usize = 4000;
/// The most components of a vector.
const MOST_STORED: usize = 16_000;

/// The tables; `None` before they are created.
pub(super) async fn tables(db: &Database) -> Result<Option<Tables>, Failed> {
    if let Some(tables) = db.known_tables() {
        return Ok(Some(tables));
    }
    let transaction = db.pool.begin("BEGIN READ ONLY").await?;
    check_server(db, &transaction).await?;
    let found = find(db, &transaction).await?;
    transaction.commit().await?;
    if let Some(tables) = found {
        db.know_tables(tables);
    }
    Ok(found)
}

/// The tables for vectors with this many components, created if they are missing.
pub(super) async fn tables_for(db: &Database, dimensions: usize) -> Result<Tables, Failed> {
    let tables = match tables(db).await? {
        Some(tables) => tables,
        None => create(db, dimensions).await?,
    };
    fits(db, tables, dimensions)?;
    Ok(tables)
}

/// Checks that vectors with this many components fit.
pub(super) fn fits(db: &Database, tables: Tables, dimensions: usize) -> Result<(), StageError> {
    if tables.dimensions == dimensions {
        return Ok(());
    }
    Err(StageError::misconfigured(
        &db.stage,
        format!(
            "the table {} holds vectors of {} components, the embedder makes {dimensions}",
            db.names.records(),
            tables.dimensions
        ),
    )
    .hint("set another `table` for this stage (the old tables stay as they are), or go back to the old embedder"))
}

/// Checks, before anything is paid for, that the server can be written and can index such vectors.
pub(super) async fn check_writable(db: &Database, dimensions: usize) -> Result<(), Failed> {
    let too_many = |most: usize, hint: &str| {
        let message =
            format!("the embedder makes vectors of {dimensions} components; pgvector takes at most {most}");
        Err(StageError::misconfigured(&db.stage, message).hint(hint).into())
    };
    if dimensions > MOST_STORED {
        return too_many(MOST_STORED, "set the embedder's `dimensions`");
    }
    if db.index == Index::Hnsw && dimensions > MOST_INDEXED_HALF {
        return too_many(MOST_INDEXED_HALF, "set the embedder's `dimensions`, or `index = \"none\"`");
    }
    let row = db
        .pool
        .get()
        .await?
        .row("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean", &[])
        .await?;
    if row.is_some_and(|row| row.get(0)) {
        let message = format!("`{}` only reads, as a standby does", db.pool.url());
        return Err(StageError::misconfigured(&db.stage, message).hint("name the primary in `url`").into());
    }
    Ok(())
}

async fn check_server(db: &Database, transaction: &Transaction) -> Result<(), Failed> {
    let row = transaction
        .row(
            "SELECT current_setting('server_version_num')::integer, current_setting('server_version'),
                    current_setting('server_encoding'),
                    (SELECT extversion FROM pg_extension WHERE extname = 'vector'),
                    (SELECT default_version FROM pg_available_extensions WHERE name = 'vector')",
            &[],
        )
        .await?;
    let Some(row) = row else { return Ok(()) };
    let refuse = |message: String, hint: &str| {
        Err(Failed::from(StageError::misconfigured(&db.stage, message).hint(hint)))
    };
    let (version, named, encoding): (i32, String, String) = (row.get(0), row.get(1), row.get(2));
    let (installed, available): (Option<String>, Option<String>) = (row.get(3), row.get(4));
    let url = db.pool.url();
    if version < OLDEST_SERVER {
        return refuse(
            format!("`{url}` runs PostgreSQL {named}; 14 or newer is needed"),
            "update the server, or name another one in `url`",
        );
    }
    if encoding != "UTF8" {
        return refuse(
            format!("the database `{url}` has the encoding {encoding}; UTF8 is needed"),
            "create it with `createdb --encoding=UTF8 --template=template0 NAME`",
        );
    }
    let is_new = |version: &Option<String>| version.as_deref().is_some_and(is_new_enough);
    match &installed {
        Some(_) if is_new(&installed) => Ok(()),
        None if is_new(&available) => Ok(()),
        Some(old) if is_new(&available) => refuse(
            format!("the extension `vector` in `{url}` has version {old}; 0.8.4 or newer is needed"),
            "run `ALTER EXTENSION vector UPDATE` in the database",
        ),
        Some(old) => refuse(
            format!("the extension `vector` in `{url}` has version {old}; 0.8.4 or newer is needed"),
            "install a newer pgvector on the server, then run `ALTER EXTENSION vector UPDATE` in the database",
        ),
        None => match available {
            Some(old) => refuse(
                format!("the server of `{url}` has pgvector {old}; 0.8.4 or newer is needed"),
                "install a newer pgvector on the server",
            ),
            None => refuse(
                format!("the server of `{url}` does not have the extension pgvector"),
                "install pgvector 0.8.4 or newer on the server (Debian, Ubuntu: `postgresql-NN-pgvector`)",
            ),
        },
    }
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let parts: [u32; 3] = std::array::from_fn(|_| parts.next().unwrap_or(0));
    parts >= OLDEST_EXTENSION
}

async fn find(db: &Database, transaction: &Transaction) -> Result<Option<Tables>, Failed> {
    let info = db.names.info();
    let exists = transaction.row("SELECT to_regclass($1) IS NOT NULL", &[&info.as_str()]).await?;
    if !exists.is_some_and(|row| row.get(0)) {
        return Ok(None);
    }
    let row = transaction.row(&format!("SELECT version, dimensions FROM {info}"), &[]).await?;
    let Some(row) = row else { return Ok(None) };
    let (version, dimensions): (i32, i32) = (row.get(0), row.get(1));
    if version != VERSION {
        let message = format!(
            "the table {} was written by another version of RepoSync (format {version}; this one knows {VERSION})",
            db.names.records()
        );
        return Err(StageError::misconfigured(&db.stage, message)
            .hint("use the same RepoSync everywhere, or set another `table`")
            .into());
    }
    Ok(Some(Tables { dimensions: usize::try_from(dimensions).unwrap_or_default() }))
}

/// Begins a transaction that creates tables. One at a time does so.
async fn begin_to_create(db: &Database) -> Result<Transaction, Failed> {
    let transaction = db.pool.begin(BEGIN_TO_WRITE).await?;
    let key = format!("reposync pgvector {}", db.names.records());
    transaction.run("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", &[&key]).await?;
    Ok(transaction)
}

async fn create(db: &Database, dimensions: usize) -> Result<Tables, Failed> {
    let transaction = begin_to_create(db).await?;
    if let Some(tables) = find(db, &transaction).await? {
        return Ok(tables);
    }
    if let Err(failure) = transaction.batch("CREATE EXTENSION IF NOT EXISTS vector").await {
        if failure.code().is_some_and(|code| code.code() == "42501") {
            let message = format!("the user may not create the extension `vector` in `{}`", db.pool.url());
            return Err(StageError::misconfigured(&db.stage, message)
                .hint("run `CREATE EXTENSION vector` in the database as a superuser, once")
                .into());
        }
        return Err(failure.into());
    }
    let names = &db.names;
    // Without a move to TOAST, reading a vector is one access.
    let storage = if dimensions <= MOST_INDEXED { "PLAIN" } else { "EXTERNAL" };
    let [records, vectors, words] = [names.records(), names.vectors(), names.words()];
    let [files, frequencies, namespaces, info] =
        [names.files(), names.frequencies(), names.namespaces(), names.info()];
    let rows = names.rows();
    transaction
        .batch(&format!(
            r#"
            CREATE TABLE {info} (version integer NOT NULL, dimensions integer NOT NULL);
            INSERT INTO {info} VALUES ({VERSION}, {dimensions});
            CREATE TABLE {namespaces} (
                number  integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                name    text COLLATE "C" NOT NULL UNIQUE,
                chunks  bigint NOT NULL DEFAULT 0,
                tokens  bigint NOT NULL DEFAULT 0,
                changed bigint NOT NULL DEFAULT 0,
                mean    vector({dimensions})
            );
            CREATE TABLE {files} (
                number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                namespace  integer NOT NULL,
                key        text COLLATE "C" NOT NULL,
                project    text COLLATE "C" NOT NULL,
                repository text COLLATE "C" NOT NULL,
                path       text COLLATE "C" NOT NULL,
                chunks     bigint NOT NULL,
                UNIQUE (namespace, key)
            );
            CREATE INDEX ON {files} (namespace, project);
            CREATE TABLE {frequencies} (
                namespace integer NOT NULL,
                word      text COLLATE "C" NOT NULL,
                chunks    bigint NOT NULL,
                PRIMARY KEY (namespace, word)
            ) WITH (fillfactor = 70);
            CREATE SEQUENCE {rows};
            CREATE TABLE {records} (
                namespace   integer NOT NULL,
                row         bigint NOT NULL DEFAULT nextval('{rows}'),
                id          text COLLATE "C" NOT NULL,
                file        bigint NOT NULL,
                language    text NOT NULL,
                kind        text NOT NULL,
                symbol      text COLLATE "C" NOT NULL,
                vector_hash bigint NOT NULL,
                words_hash  bigint NOT NULL,
                facts       json NOT NULL,
                text        text NOT NULL
            ) PARTITION BY LIST (namespace);
            CREATE TABLE {vectors} (
                namespace integer NOT NULL,
                row       bigint NOT NULL,
                file      bigint NOT NULL,
                draw      integer NOT NULL,
                v         vector({dimensions}) NOT NULL
            ) PARTITION BY LIST (namespace);
            ALTER TABLE {vectors} ALTER COLUMN v SET STORAGE {storage};
            CREATE TABLE {words} (
                namespace integer NOT NULL,
                row       bigint NOT NULL,
                file      bigint NOT NULL,
                length    integer NOT NULL,
                words     text[] COLLATE "C" NOT NULL,
                counts    integer[] NOT NULL
            ) PARTITION BY LIST (namespace);
            "#
        ))
        .await?;
    transaction.commit().await?;
    let tables = Tables { dimensions };
    db.know_tables(tables);
    Ok(tables)
}

/// The partitions of a namespace; `None` before something was written to it.
pub(super) async fn part(db: &Database, namespace: &str) -> Result<Option<Part>, Failed> {
    if let Some(number) = db.known_namespace(namespace) {
        return Ok(Some(db.names.part(number)));
    }
    if tables(db).await?.is_none() {
        return Ok(None);
    }
    let sql = format!("SELECT number FROM {} WHERE name = $1", db.names.namespaces());
    let Some(row) = db.pool.get().await?.row(&sql, &[&namespace]).await? else { return Ok(None) };
    let number = row.get(0);
    db.know_namespace(namespace, number);
    Ok(Some(db.names.part(number)))
}

/// The partitions of a namespace, created if they are missing.
pub(super) async fn part_for(db: &Database, tables: Tables, namespace: &str) -> Result<Part, Failed> {
    if let Some(part) = part(db, namespace).await? {
        return Ok(part);
    }
    let transaction = begin_to_create(db).await?;
    let names = &db.names;
    let sql = format!(
        "INSERT INTO {} (name) VALUES ($1) ON CONFLICT (name) DO NOTHING RETURNING number",
        names.namespaces()
    );
    let Some(row) = transaction.row(&sql, &[&namespace]).await? else {
        // Another process was first.
        transaction.commit().await?;
        let missing = || StageError::transient(&db.stage, format!("the namespace `{namespace}` disappeared"));
        return part(db, namespace).await?.ok_or_else(|| missing().into());
    };
    let part = names.part(row.get(0));
    let Part { number, records, vectors, words } = &part;
    transaction
        .batch(&format!(
            "CREATE TABLE {records} PARTITION OF {} FOR VALUES IN ({number});
             CREATE UNIQUE INDEX ON {records} (id);
             CREATE UNIQUE INDEX ON {records} (row);
             CREATE INDEX ON {records} USING hash (symbol);
             CREATE TABLE {vectors} PARTITION OF {} FOR VALUES IN ({number});
             CREATE UNIQUE INDEX ON {vectors} (row);
             CREATE INDEX ON {vectors} (file);
             CREATE INDEX ON {vectors} (draw);
             CREATE TABLE {words} PARTITION OF {} FOR VALUES IN ({number});
             CREATE UNIQUE INDEX ON {words} (row);
             CREATE INDEX ON {words} USING gin (words) WITH (fastupdate = off);",
            names.records(),
            names.vectors(),
            names.words()
        ))
        .await?;
    if db.index == Index::Hnsw {
        transaction.batch(&index_of(tables, &part)).await?;
    }
    transaction.commit().await?;
    db.know_namespace(namespace, part.number);
    Ok(part)
}

fn index_of(tables: Tables, part: &Part) -> String {
    let (expression, class) = tables.indexed();
    format!("CREATE INDEX ON {} USING hnsw ({expression} {class})", part.vectors)
}

/// Builds the indexes that are missing, such as after `index = "none"` was removed.
pub(super) async fn build_indexes(db: &Database, tables: Tables) -> Result<(), Failed> {
    if db.index == Index::None {
        return Ok(());
    }
    let sql = format!("SELECT number FROM {}", db.names.namespaces());
    let parts: Vec<Part> = {
        let rows = db.pool.get().await?.rows(&sql, &[]).await?;
        rows.iter().map(|row| db.names.part(row.get(0))).collect()
    };
    for part in parts {
        let indexed = db
            .pool
            .get()
            .await?
            .row(
                "SELECT 1 FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
                 WHERE indrelid = to_regclass($1) AND amname = 'hnsw'",
                &[&part.vectors.as_str()],
            )
            .await?;
        if indexed.is_none() {
            let transaction = begin_to_create(db).await?;
            transaction.batch(&index_of(tables, &part)).await?;
            transaction.commit().await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_extension() {
        for (version, expected) in [
            ("0.8.4", true),
            ("0.8.10", true),
            ("0.10", true),
            ("1.0", true),
            ("0.8.3", false),
            ("0.8", false),
            ("0.7.9", false),
        ] {
            assert_eq!(is_new_enough(version), expected, "{version}");
        }
    }
}
