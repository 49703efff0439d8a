//! Watches the file and its components. Folders are watched rather than files, since editors and
//! mounted volumes replace files. After half a second without events, hashes of the contents decide
//! whether anything changed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::notify::event::{AccessKind, AccessMode};
use ::notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::handle::Handle;
use super::message::Cause;

/// Debounce interval: an editor saves in several steps.
const QUIET: Duration = Duration::from_millis(500);
/// Upper bound of the debouncing, for files that are written continuously.
const MAX_DEBOUNCE: Duration = Duration::from_secs(5);
/// Some file systems (network mounts, for example) send no events, so contents are also polled.
const POLL: Duration = Duration::from_secs(5);

/// Watches until `cancel`. Requests a reload when the contents differ from those last seen.
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
                // The folder itself may have been replaced; watch the new one.
                watcher = start(&watched, &touched);
            }
        }
        stamps = stamp(&watched);
        let now = digest(&watched).await;
        if now != seen {
            seen = now;
            handle.request_reload(Cause::Files).await;
        }
        // Keeps the watcher alive to the end of the loop.
        let _alive = &watcher;
    }
}

/// Debounces: returns after [`QUIET`] without events, or after [`MAX_DEBOUNCE`].
async fn quiet(touched: &Notify) {
    let end = Instant::now() + MAX_DEBOUNCE;
    while Instant::now() < end && tokio::time::timeout(QUIET, touched.notified()).await.is_ok() {}
}

/// Watches the folders of these files. Folders that cannot be watched are still polled.
fn start(files: &[PathBuf], touched: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let mut folders = BTreeSet::new();
    let mut names = BTreeSet::new();
    for file in files {
        // For a symbolic link, both its folder and its target's folder may change.
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
        let names = names.lock();
        if event.is_ok_and(|event| matters(&event, &names)) {
            touched.notify_one();
        }
    });
    let mut watcher = match made {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(%error, "cannot watch files; falling back to polling");
            return None;
        }
    };
    for folder in folders {
        if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
            tracing::warn!(folder = %folder.display(), %error, "cannot watch a folder; falling back to polling");
        }
    }
    Some(watcher)
}

/// True if the event may mean a change of one of these files. Kubernetes replaces a symbolic link
/// named `..data`.
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

/// One hash over the contents of these files. A missing file also counts as a state.
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

/// Modification times and sizes: a cheap check before the contents are read.
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
