//! Paths in the file: relative to its folder, without the shell's `~`.

use std::path::{Path, PathBuf};

use serde::Serializer;

/// True for `~`, `~/…` and `~name/…`.
pub(crate) fn begins_at_home(path: &Path) -> bool {
    path.components().next().is_some_and(|first| first.as_os_str().as_encoded_bytes().starts_with(b"~"))
}

/// The problem and hint for such a path.
pub(crate) const NOT_EXPANDED: (&str, &str) =
    ("`~` is not expanded here", "write \"${HOME}/…\", or the whole path; a folder of that name is \"./~\"");

/// Makes a path absolute, relative to the folder of the file.
pub(crate) fn absolute(folder: &Path, path: &Path) -> PathBuf {
    let joined = folder.join(path);
    std::path::absolute(&joined).unwrap_or(joined)
}

/// Writes a path for display. The folder of the file need not be UTF-8, which serde requires.
pub(crate) fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.to_string_lossy())
}
