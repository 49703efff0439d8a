//! A record file next to the ledger: which daemon serves it, where it listens, and its state for `reposync
//! status`. It holds no secret. The daemon keeps it locked while it runs, so a record left by a killed daemon
//! is recognized as stale.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::config::StatePlace;
use crate::model::{DeclaredProject, StageError, StageResult};
use crate::{private, state_folder};

/// Daemons of one state in a database that may run on one machine.
const MOST_ON_A_MACHINE: u32 = 8;

/// Where the API of a daemon listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// The API itself.
    pub listen: SocketAddr,
    /// `/health` and `/metrics` for probes; none: nowhere but there.
    #[serde(default)]
    pub probe: Option<SocketAddr>,
    /// True where `listen` speaks TLS.
    #[serde(default)]
    pub tls: bool,
}

/// The content of the record file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonRecord {
    /// The state that the daemon serves.
    #[serde(skip)]
    pub state: StatePlace,
    /// The process.
    pub process: u32,
    /// Since when (UTC).
    pub since: DateTime<Utc>,
    /// Where its API listens.
    #[serde(flatten)]
    pub api: Listening,
    /// The configuration file.
    pub config: PathBuf,
    /// The projects of the configuration that is in force.
    #[serde(default)]
    pub projects: Vec<DeclaredProject>,
    /// Why it refuses the file on disk, where it does.
    pub refused: Option<String>,
    /// When which project's schedule is due next (UTC).
    pub next_runs: BTreeMap<String, DateTime<Utc>>,
}

impl DaemonRecord {
    /// The record of the daemon that serves this ledger now; none: no daemon does.
    pub fn read(state: &StatePlace) -> Option<Self> {
        paths(state).find_map(|path| Self::read_file(state, &path))
    }

    fn read_file(state: &StatePlace, path: &Path) -> Option<Self> {
        let mut file = File::open(path).ok()?;
        if file.try_lock_shared().is_ok() {
            return None; // its writer is gone
        }
        let mut text = String::new();
        // It is written in place: a reader may meet it half written.
        for _ in 0..100 {
            text.clear();
            file.seek(SeekFrom::Start(0)).ok()?;
            file.read_to_string(&mut text).ok()?;
            if let Ok(record) = serde_json::from_str(&text) {
                return Some(Self { state: state.clone(), ..record });
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        None
    }
}

/// The claim of one daemon on a ledger; it ends with the process, however that ends.
pub(super) struct Claim {
    file: File,
    path: PathBuf,
    written: Option<DaemonRecord>,
}

impl Claim {
    /// Claims the ledger, or says which daemon has it. A state in a database can have several daemons on one machine.
    pub(super) fn take(state: &StatePlace) -> StageResult<Self> {
        let mut taken = None;
        for path in paths(state) {
            match Self::take_file(state, path)? {
                Ok(claim) => return Ok(claim),
                Err(error) => taken = Some(error),
            }
        }
        Err(taken.unwrap_or_else(|| StageError::local("daemon", "another daemon serves this ledger")))
    }

    /// The inner error: another daemon has it.
    fn take_file(state: &StatePlace, path: PathBuf) -> StageResult<Result<Self, StageError>> {
        let cannot = |error: std::io::Error| {
            StageError::local("daemon", format!("cannot write `{}`", path.display())).caused_by(error)
        };
        // The ledger's own folder exists by now; that for a state in a database may not.
        path.parent().map_or(Ok(()), state_folder::make).map_err(cannot)?;
        let file = private::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => Ok(Ok(Self { file, path, written: None })),
            Err(TryLockError::Error(error)) => Err(cannot(error)),
            Err(TryLockError::WouldBlock) => {
                let who = DaemonRecord::read_file(state, &path).map_or_else(String::new, |record| {
                    format!(" (process {}, listening on {})", record.process, record.api.listen)
                });
                Ok(Err(StageError::local("daemon", format!("another daemon serves this ledger{who}"))
                    .hint("end it first, or give this one a separate ledger with `[engine] state`")))
            }
        }
    }

    /// Writes the record, where it differs from what is written.
    pub(super) fn write(&mut self, record: DaemonRecord) -> StageResult<()> {
        if self.written.as_ref() == Some(&record) {
            return Ok(());
        }
        let text = serde_json::to_vec(&record).unwrap_or_default();
        private::rewrite(&mut self.file, &text).map_err(|error| {
            StageError::local("daemon", format!("cannot write `{}`", self.path.display())).caused_by(error)
        })?;
        self.written = Some(record);
        Ok(())
    }
}

/// Where the record of a daemon may be.
fn paths(state: &StatePlace) -> impl Iterator<Item = PathBuf> {
    let most = if state.file().is_some() { 1 } else { MOST_ON_A_MACHINE };
    let local = state.local().as_os_str().to_owned();
    (1..=most).map(move |n| {
        let mut path = local.clone();
        path.push(if n == 1 { ".daemon".to_owned() } else { format!(".daemon{n}") });
        PathBuf::from(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_there_as_long_as_its_daemon() {
        let dir = tempfile::tempdir().expect("a folder");
        let state = StatePlace::File(dir.path().join("state.db"));
        assert_eq!(DaemonRecord::read(&state), None);
        let mut claim = Claim::take(&state).expect("free");
        let record = DaemonRecord {
            state: state.clone(),
            process: 7,
            since: Utc::now(),
            api: Listening { listen: ([127, 0, 0, 1], 8080).into(), probe: None, tls: false },
            config: dir.path().join("reposync.toml"),
            projects: Vec::new(),
            refused: Some("a long reason, so that the next one is shorter".into()),
            next_runs: BTreeMap::new(),
        };
        claim.write(record.clone()).expect("written");
        assert_eq!(DaemonRecord::read(&state), Some(record.clone()));
        let second = Claim::take(&state).err().expect("taken");
        assert_eq!(
            second.message,
            "another daemon serves this ledger (process 7, listening on 127.0.0.1:8080)"
        );
        let mended = DaemonRecord { refused: None, ..record };
        claim.write(mended.clone()).expect("written");
        assert_eq!(DaemonRecord::read(&state), Some(mended));
        drop(claim);
        assert_eq!(DaemonRecord::read(&state), None);
    }
}
