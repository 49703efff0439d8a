//! Errors of this machine's disk.

use std::io::{Error, ErrorKind};
use std::path::Path;

use crate::model::StageError;

/// The error of a file or folder for clones that cannot be written.
pub(super) fn cannot_write(stage: &str, path: &Path, error: Error) -> StageError {
    let path = path.display();
    if is_full(&error) {
        let message = format!("no room is left on the disk to write `{path}`");
        let hint = format!(
            "make room, lower `clones` of the stage `{stage}`, or set `cache` in [engine] to a folder on another disk"
        );
        return StageError::local(stage, message).caused_by(error).hint(hint);
    }
    let hint = "clones lie in the folder `clones` below `cache` of [engine], which must be writable";
    StageError::local(stage, format!("cannot write `{path}`")).caused_by(error).hint(hint)
}

/// The same for an error with a disk error among its causes; returns any other error unchanged.
pub(super) fn of_disk(stage: &str, path: &Path, error: anyhow::Error) -> Result<StageError, anyhow::Error> {
    let cause = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
    match cause.filter(|cause| is_full(cause)) {
        Some(cause) => Ok(cannot_write(stage, path, Error::new(cause.kind(), cause.to_string()))),
        None => Err(error),
    }
}

fn is_full(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_wherever_it_shows() {
        let full = || Error::from(ErrorKind::StorageFull);
        let path = Path::new("/clones/x");
        let error = cannot_write("lab", path, full());
        assert_eq!(error.message, "no room is left on the disk to write `/clones/x`");
        let nested = anyhow::Error::from(full()).context("could not index");
        assert_eq!(of_disk("lab", path, nested).expect("of the disk").message, error.message);
        assert!(of_disk("lab", path, anyhow::anyhow!("damaged")).is_err());
        let denied = cannot_write("lab", path, Error::from(ErrorKind::PermissionDenied));
        assert_eq!(denied.message, "cannot write `/clones/x`");
    }
}
