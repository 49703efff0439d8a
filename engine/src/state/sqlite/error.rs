//! Errors of the ledger's file, with what to do about them.

use std::path::Path;

use super::schema::Unusable;
use crate::model::StageError;
use crate::state::STAGE;

const DAMAGED: &str = "the ledger is damaged. Restore it from a backup, or move it aside: the next `reposync apply` \
    then reads back what the stores hold and embeds nothing that it finds there";

pub(super) fn cannot_open(path: &Path, error: rusqlite::Error) -> StageError {
    let hint = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => DAMAGED,
        Some(rusqlite::ErrorCode::DiskFull) => "free some space on the disk",
        Some(rusqlite::ErrorCode::DatabaseBusy) => "another process holds the ledger; try again",
        _ => "make the file and its folder readable and writable, or set another path with `[engine] state`",
    };
    StageError::local(STAGE, format!("cannot open `{}`", path.display())).caused_by(error).hint(hint)
}

pub(super) fn cannot_read(path: &Path, error: rusqlite::Error) -> StageError {
    let wants_access = matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::ReadOnly)
    );
    let error = cannot_open(path, error);
    if wants_access {
        error.hint(
            "make it readable, with its `-wal` and `-shm` where these are there; on a read-only medium, where \
             only `-wal` is there, copy the folder to where you may write",
        )
    } else {
        error
    }
}

pub(super) fn refuse(path: &Path, unusable: &Unusable) -> StageError {
    match unusable {
        Unusable::Newer { found, known } => StageError::local(
            STAGE,
            format!(
                "`{}` was written by a newer RepoSync (ledger version {found}, this program knows {known})",
                path.display()
            ),
        )
        .hint("use the newer program; this one changed nothing"),
        Unusable::Foreign => {
            StageError::local(STAGE, format!("`{}` is an SQLite database, but not a ledger", path.display()))
                .hint("set another path with `[engine] state`; nothing was changed")
        }
    }
}

/// An operation on the opened ledger failed.
pub(super) fn failed(path: &Path, what: &str, error: rusqlite::Error) -> StageError {
    let hint = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => "free some space on the disk and run again; nothing is lost",
        Some(rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::PermissionDenied) => {
            "make the ledger and its folder writable"
        }
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => DAMAGED,
        _ => "see the cause; the next run continues where this one stopped",
    };
    StageError::local(STAGE, format!("cannot {what} in `{}`", path.display())).caused_by(error).hint(hint)
}
