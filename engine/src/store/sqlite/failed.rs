//! Why work on the file failed.

use crate::model::StageError;

#[derive(Debug)]
pub(super) enum Failed {
    /// An error of SQLite.
    Sqlite(rusqlite::Error),
    /// An error that we raised.
    Stage(StageError),
    /// The database belongs to another program.
    Foreign,
    /// The schema has this newer version.
    Newer(i32),
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StageError> for Failed {
    fn from(error: StageError) -> Self {
        Self::Stage(error)
    }
}
