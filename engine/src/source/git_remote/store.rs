//! From a pack that was received to objects of a clone.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use super::disk::{cannot_write, of_disk};
use super::scan::{Bounds, PackFault, scan};
use crate::model::{ErrorKind, StageError, StageResult};
use crate::source::limits::beyond;
use crate::source::objects::{Access, Purpose, Reader};

/// A pack that was received, and the clone that it is for.
#[derive(Clone)]
pub(super) struct Received {
    pub(super) access: Arc<Access>,
    /// What messages call the repository.
    pub(super) name: String,
    /// The file with the pack.
    pub(super) file: PathBuf,
    /// The folder of the clone.
    pub(super) clone: String,
    /// It may store files as differences to what is in the clone.
    pub(super) thin: bool,
    pub(super) bounds: Bounds,
}

/// Checks a pack against the bounds, and stores it with an index in the clone. The file is removed.
pub(super) async fn store(received: Received, cancel: &CancellationToken) -> StageResult<()> {
    let stop = cancel.child_token();
    let _stop_when_dropped = stop.clone().drop_guard();
    let interrupt = Arc::new(AtomicBool::new(false));
    let _interrupt_when_dropped = Interrupt(Arc::clone(&interrupt));
    let (access, stopped) = (Arc::clone(&received.access), stop.clone());
    let work = move || {
        let stored = received.check_and_store(&stopped, &interrupt);
        // Nothing is lost where it stays: the next pack replaces it.
        drop(std::fs::remove_file(&received.file));
        stored
    };
    tokio::select! {
        done = access.runtime.indexing.run(work) => done.unwrap_or_else(|panic| {
            Err(StageError::new(&access.stage, ErrorKind::Bug, "storing a pack broke off").caused_by(panic))
        }),
        () = stop.cancelled() => Err(StageError::cancelled(&access.stage)),
    }
}

/// Stops the indexing of a pack when its caller is dropped.
struct Interrupt(Arc<AtomicBool>);

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Received {
    fn check_and_store(&self, stop: &CancellationToken, interrupt: &AtomicBool) -> StageResult<()> {
        let (stage, incoming) = (self.access.stage.as_str(), &self.file);
        let open = || File::open(incoming).map_err(|error| cannot_write(stage, incoming, error));
        let file = open()?;
        let size = file.metadata().map_err(|error| cannot_write(stage, incoming, error))?.len();
        match scan(BufReader::with_capacity(256 << 10, file), size, &self.bounds, stop) {
            // Everything is there already.
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(PackFault::Beyond(what, key)) => return Err(beyond(stage, &self.name, &what, key)),
            Err(PackFault::Damaged(what)) => return Err(self.damaged(anyhow::anyhow!(what))),
            Err(PackFault::Stopped) => return Err(StageError::cancelled(stage)),
            Err(PackFault::Unreadable(error)) => return Err(cannot_write(stage, incoming, error)),
        }
        let reader = Reader::open_named(&self.access, &self.name, &self.clone, Purpose::Contents)?;
        let packs = Path::new(&self.clone).join("objects/pack");
        let options = gix_pack::bundle::write::Options {
            thread_limit: Some(1),
            alloc_limit_bytes: Some(usize::try_from(self.bounds.blob_bytes()).unwrap_or(usize::MAX)),
            ..gix_pack::bundle::write::Options::default()
        };
        let written = gix_pack::Bundle::write_to_directory(
            &mut BufReader::new(open()?),
            Some(&packs),
            &mut gix::progress::Discard,
            interrupt,
            self.thin.then(|| reader.repo.to_thread_local().objects),
            gix::hash::Kind::Sha1,
            options,
        );
        let written = written.map_err(|error| match of_disk(stage, &packs, error.into()) {
            Ok(full) => full,
            Err(_) if interrupt.load(Ordering::Relaxed) => StageError::cancelled(stage),
            Err(error) => self.damaged(error),
        })?;
        // The pack is believed once the clone's state names its commit. Both must survive a loss of power.
        for path in [&written.data_path, &written.index_path].into_iter().flatten() {
            let synced = File::open(path).and_then(|file| file.sync_all());
            synced.map_err(|error| cannot_write(stage, path, error))?;
        }
        if let Some(keep) = written.keep_path {
            std::fs::remove_file(&keep).map_err(|error| cannot_write(stage, &keep, error))?;
        }
        Ok(())
    }

    fn damaged(&self, cause: anyhow::Error) -> StageError {
        let message = format!("the server sent a damaged pack for `{}`", self.name);
        // What one of them differs from may not be here; a whole pack is asked for instead.
        let kind = if self.thin { ErrorKind::BadInput } else { ErrorKind::Transient { retry_after: None } };
        StageError::new(&self.access.stage, kind, message)
            .caused_by(cause)
            .hint("run it again; if it stays so, let the server's operator run `git fsck`")
    }
}
