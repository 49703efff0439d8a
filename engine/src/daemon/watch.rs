//! Watching the file and its components: their folders, since editors and mounted volumes replace
//! files. After half a second of quiet the contents decide whether anything changed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::notify::event::{AccessKind, AccessMode};
use ::notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::handle::Handle;
use super::message::Cause;

/// So long nothing may happen before the file is read: an editor saves in several steps.
const QUIET: Duration = Duration::from_millis(500);
/// Somebody who writes all the time is not waited for longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Not every file system tells of changes: the contents are compared this often anyway.
const POLL: Duration = Duration::from_secs(5);

/// Watches until `cancel`; tells the dispatcher when contents differ from those last seen.
pub(super) async fn watch(
    mut files: watch::Receiver<Vec<PathBuf>>,
    handle: Handle,
    cancel: CancellationToken,
) {
    let touched = Arc::new(Notify::new());
    let mut watched = files.borrow_and_update().clone();
    let mut watcher = start(&watched, &touched);
    let mut seen = digest(&watched).await;
    let mut stamps = stamp(&watched);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = files.changed() => {
                if changed.is_err() {
                    return; // the dispatcher has ended
                }
                watched.clone_from(&files.borrow_and_update());
                watcher = start(&watched, &touched);
            }
            () = touched.notified() => quiet(&touched).await,
            () = tokio::time::sleep(POLL) => {
                let now = stamp(&watched);
                if now == stamps {
                    continue;
                }
                quiet(&touched).await;
                // A folder that was replaced is watched anew.
                watcher = start(&watched, &touched);
            }
        }
        stamps = stamp(&watched);
        let now = digest(&watched).await;
        if now != seen {
            seen = now;
            handle.request_reload(Cause::Files).await;
        }
        // Dropped at the end of the task, not before.
        let _alive = &watcher;
    }
}

/// Waits until nothing has happened for a while.
async fn quiet(touched: &Notify) {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end && tokio::time::timeout(QUIET, touched.notified()).await.is_ok() {}
}

/// Watches the folders of these files. What cannot be watched is still looked at now and then.
fn start(files: &[PathBuf], touched: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let mut folders = BTreeSet::new();
    let mut names = BTreeSet::new();
    for file in files {
        // Where a link leads to another folder, both may change.
        for path in [Some(file.clone()), file.canonicalize().ok()].into_iter().flatten() {
            if let (Some(folder), Some(name)) = (path.parent(), path.file_name()) {
                folders.insert(folder.to_owned());
                names.insert(name.to_owned());
            }
        }
    }
    let names = Mutex::new(names);
    let touched = Arc::clone(touched);
    let made = ::notify::recommended_watcher(move |event: ::notify::Result<Event>| {
        let names = names.lock().unwrap_or_else(PoisonError::into_inner);
        if event.is_ok_and(|event| matters(&event, &names)) {
            touched.notify_one();
        }
    });
    let mut watcher = match made {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(%error, "cannot watch files; they are looked at every few seconds");
            return None;
        }
    };
    for folder in folders {
        if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
            tracing::warn!(folder = %folder.display(), %error, "cannot watch a folder; it is looked at every few seconds");
        }
    }
    Some(watcher)
}

/// True for what may have changed one of these files. Kubernetes swaps a link named `..data`.
fn matters(event: &Event, names: &BTreeSet<OsString>) -> bool {
    let only_read = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    };
    let named = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| names.contains(name) || name.as_encoded_bytes().starts_with(b".."))
    };
    !only_read && (event.need_rescan() || event.paths.iter().any(named))
}

/// The contents of these files as one value; a file that is not there is part of it.
async fn digest(files: &[PathBuf]) -> Option<blake3::Hash> {
    let files = files.to_vec();
    let read = move || {
        let mut hasher = blake3::Hasher::new();
        for file in &files {
            let content = std::fs::read(file);
            let hash = content.map(|bytes| *blake3::hash(&bytes).as_bytes()).unwrap_or_default();
            hasher.update(file.as_os_str().as_encoded_bytes()).update(&[0]).update(&hash);
        }
        hasher.finalize()
    };
    tokio::task::spawn_blocking(read).await.ok()
}

/// What shows a change without reading: times and sizes.
fn stamp(files: &[PathBuf]) -> Vec<Option<(std::time::SystemTime, u64)>> {
    let one = |file: &PathBuf| {
        let metadata = std::fs::metadata::<&Path>(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::notify::event::{CreateKind, ModifyKind};

    #[test]
    fn only_what_may_have_changed_the_files_matters() {
        let names = BTreeSet::from([OsString::from("reposync.toml")]);
        let event = |kind, path: &str| Event::new(kind).add_path(path.into());
        let modify = EventKind::Modify(ModifyKind::Any);
        for (event, expected) in [
            (event(modify, "/x/reposync.toml"), true),
            (event(EventKind::Create(CreateKind::Any), "/x/reposync.toml"), true),
            (event(EventKind::Create(CreateKind::Any), "/x/..data"), true),
            (event(modify, "/x/state.db-wal"), false),
            (event(EventKind::Access(AccessKind::Open(AccessMode::Any)), "/x/reposync.toml"), false),
            (event(EventKind::Access(AccessKind::Close(AccessMode::Write)), "/x/reposync.toml"), true),
        ] {
            assert_eq!(matters(&event, &names), expected, "{event:?}");
        }
    }
}
