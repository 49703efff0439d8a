//! A real PostgreSQL server with the extension pgvector, for the tests of one process.

use std::sync::OnceLock;

use super::postgres::Postgres;

/// The server of the installation in the folder `REPOSYNC_TEST_PGVECTOR`; none, with a word of it, where it is not set.
pub(crate) fn server() -> Option<&'static Postgres> {
    static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
    SERVER.get_or_init(|| Postgres::find("REPOSYNC_TEST_PGVECTOR", || None)).as_ref()
}
