//! Reading commands while a daemon serves the ledger: where the file on disk is refused, they go by the
//! configuration that the daemon runs on.

use std::path::{Path, PathBuf};

use crate::config::{Config, Problems};
use crate::daemon::DaemonRecord;

/// What a reading command goes by.
pub(super) enum Basis {
    /// The file on disk.
    File(Box<Config>),
    /// The daemon that serves its ledger: the file is refused.
    Daemon(Serving),
}

/// A daemon that runs on an earlier state of a file that is refused.
pub(super) struct Serving {
    /// The ledger.
    pub(super) state: PathBuf,
    /// What the daemon says of itself.
    pub(super) record: DaemonRecord,
}

impl Serving {
    /// The daemon that serves a refused file; `None`: there is none.
    pub(super) fn of(problems: &Problems) -> Option<Self> {
        let state = problems.salvaged().state;
        let record = DaemonRecord::read(&state)?;
        same_file(&record.config, problems.file()).then_some(Self { state, record })
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}
