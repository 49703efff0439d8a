//! Clones on disk: bare repositories with the fetched commits. When their total size exceeds the limit, the least
//! recently used are removed first.
//!
//! Several processes may share the folder. Each clone has two files to lock: who adds to it or removes it holds
//! `NAME.write` alone; who reads it holds `NAME.use`, shared; who removes it holds both, alone, and waits for
//! neither. So reading never waits for a fetch by another process, and nothing is removed while it is read.

mod lock;
mod state;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

pub(super) use self::state::CloneState;
use super::disk::cannot_write;
use crate::model::{ByteSize, StageError, StageResult};
use crate::{private, state_folder};

/// Packs of a clone. With more it is made again, because each one slows the search for objects.
const MOST_PACKS: usize = 50;
/// What Git needs to take a folder for a bare repository.
const FOLDERS: [&str; 3] = ["objects/pack", "objects/info", "refs/heads"];
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n";
/// The file in a clone that says what of it is whole.
const STATE: &str = "reposync";
/// The pack that is being received.
const INCOMING: &str = "incoming.pack";

/// The folder with the clones.
#[derive(Debug, Clone)]
pub(super) struct Clones {
    stage: String,
    folder: PathBuf,
    /// Bytes that all clones may have together.
    most: ByteSize,
    cancel: CancellationToken,
}

/// A clone that is not removed while this is held.
#[derive(Debug)]
pub(super) struct Held {
    folder: PathBuf,
    pub(super) state: CloneState,
    _in_use: File,
}

/// A clone that no other process writes to while this is held.
#[derive(Debug)]
pub(super) struct Writing<'a> {
    clones: &'a Clones,
    held: Held,
    _lock: File,
}

impl Clones {
    pub(super) fn new(
        stage: &str,
        folder: PathBuf,
        most: ByteSize,
        cancel: CancellationToken,
    ) -> StageResult<Self> {
        if folder.to_str().is_none() {
            let message = format!("the path `{}` is not UTF-8", folder.display());
            let hint = "set `cache` in [engine] to a folder with another name";
            return Err(StageError::misconfigured(stage, message).hint(hint));
        }
        Ok(Self { stage: stage.to_owned(), folder, most, cancel })
    }

    /// Bytes that all clones may have together.
    pub(super) fn most(&self) -> ByteSize {
        self.most
    }

    /// A clone for reading. It is empty where nothing was fetched.
    pub(super) async fn read(&self, name: &str) -> StageResult<Held> {
        let path = self.lock_file(name, "use");
        self.make(&self.folder.join("locks"))?;
        let in_use = lock::shared(&self.stage, &path, &self.cancel).await?;
        // The order in which clones are removed.
        in_use.set_modified(SystemTime::now()).map_err(|error| cannot_write(&self.stage, &path, error))?;
        let folder = self.folder.join(name);
        let state = CloneState::read(&folder.join(STATE));
        Ok(Held { folder, state, _in_use: in_use })
    }

    /// A clone to add to. `address` is written into a new one, for people.
    pub(super) async fn write(&self, name: &str, address: &str) -> StageResult<Writing<'_>> {
        self.make(&self.folder.join("locks"))?;
        let lock = lock::alone(&self.stage, &self.lock_file(name, "write"), &self.cancel).await?;
        self.wipe_if_outgrown(name)?;
        let held = self.read(name).await?;
        for folder in FOLDERS {
            let folder = held.folder.join(folder);
            std::fs::create_dir_all(&folder).map_err(|error| cannot_write(&self.stage, &folder, error))?;
        }
        for (file, text) in [("HEAD", "ref: refs/heads/main\n"), ("config", CONFIG), ("description", address)]
        {
            let path = held.folder.join(file);
            if !path.exists() {
                let written = private::replace(&path, text.as_bytes());
                written.map_err(|error| cannot_write(&self.stage, &path, error))?;
            }
        }
        Ok(Writing { clones: self, held, _lock: lock })
    }

    /// Removes a clone that is damaged, or at least what is believed of it, so that it is fetched again.
    pub(super) async fn discard(&self, name: &str) -> StageResult<()> {
        let _lock = lock::alone(&self.stage, &self.lock_file(name, "write"), &self.cancel).await?;
        let state = self.folder.join(name).join(STATE);
        match std::fs::remove_file(&state) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(cannot_write(&self.stage, &state, error))
            }
            _ => self.wipe_if_outgrown(name),
        }
    }

    /// Removes a clone that has too many packs, or packs of which nothing is believed, unless it is being read.
    /// The caller holds its lock for writing.
    fn wipe_if_outgrown(&self, name: &str) -> StageResult<()> {
        let folder = self.folder.join(name);
        let packs = folder.join("objects/pack").read_dir().map_or(0, |files| {
            files.flatten().filter(|file| file.path().extension().is_some_and(|end| end == "pack")).count()
        });
        let believed = !CloneState::read(&folder.join(STATE)).commits.is_empty();
        if packs == 0 || (believed && packs <= MOST_PACKS) {
            return Ok(());
        }
        match lock::try_alone(&self.lock_file(name, "use")) {
            Some(_in_use) => remove(&folder).map_err(|error| cannot_write(&self.stage, &folder, error)),
            None => Ok(()),
        }
    }

    /// Removes the clones that were not used for the longest time, until the others fit their room. Those that
    /// are being read or written stay.
    pub(super) fn evict(&self) {
        let mut clones: Vec<(SystemTime, u64, String)> = Vec::new();
        for entry in self.folder.read_dir().into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name == "locks" || !entry.path().is_dir() {
                continue;
            }
            let used = self.lock_file(&name, "use").metadata().and_then(|file| file.modified());
            clones.push((used.unwrap_or(SystemTime::UNIX_EPOCH), bytes_below(&entry.path()), name));
        }
        clones.sort();
        let mut bytes: u64 = clones.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, freed, name) in clones {
            if bytes <= self.most.0 {
                return;
            }
            let Some(_lock) = lock::try_alone(&self.lock_file(&name, "write")) else { continue };
            let Some(_in_use) = lock::try_alone(&self.lock_file(&name, "use")) else { continue };
            match remove(&self.folder.join(&name)) {
                Ok(()) => bytes -= freed,
                Err(error) => tracing::warn!(clone = name, %error, "a clone cannot be removed"),
            }
        }
    }

    fn make(&self, folder: &Path) -> StageResult<()> {
        let made = state_folder::make(folder).and_then(|()| private::narrow(&self.folder));
        made.map_err(|error| cannot_write(&self.stage, folder, error))
    }

    fn lock_file(&self, name: &str, kind: &str) -> PathBuf {
        self.folder.join("locks").join(format!("{name}.{kind}"))
    }
}

impl Held {
    /// The folder.
    pub(super) fn folder(&self) -> &str {
        self.folder.to_str().expect("checked when the source was made")
    }
}

impl Writing<'_> {
    /// What of the clone is whole.
    pub(super) fn state(&self) -> &CloneState {
        &self.held.state
    }

    /// The file for the pack that is received next.
    pub(super) fn incoming(&self) -> PathBuf {
        self.held.folder.join(INCOMING)
    }

    /// The folder.
    pub(super) fn folder(&self) -> &str {
        self.held.folder()
    }

    /// Records what is whole now, last of all.
    pub(super) fn record(mut self, state: CloneState) -> StageResult<Held> {
        let path = self.held.folder.join(STATE);
        state.write(&path).map_err(|error| cannot_write(&self.clones.stage, &path, error))?;
        self.held.state = state;
        Ok(self.held)
    }

    /// Leaves it as it is.
    pub(super) fn unchanged(self) -> Held {
        self.held
    }
}

/// Removes a clone. What is believed of it goes first, so that one that is removed by half is not believed.
fn remove(folder: &Path) -> io::Result<()> {
    let absent_is_fine = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    absent_is_fine(std::fs::remove_file(folder.join(STATE)))?;
    absent_is_fine(std::fs::remove_dir_all(folder))
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => bytes_below(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests;
