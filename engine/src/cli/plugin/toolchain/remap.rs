//! The same source gives the same component wherever it is built, and no path of the machine stays
//! in it: what a Rust compiler is told for that.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The flags, as `CARGO_ENCODED_RUSTFLAGS` wants them.
pub(super) fn flags(workspace: &Path) -> OsString {
    let mut mapped = vec![(workspace.to_owned(), "/project")];
    if let Some(home) = cargo_home() {
        let registries = std::fs::read_dir(home.join("registry/src")).into_iter().flatten();
        // Of two that fit, the compiler takes the last.
        mapped.push((home, "/cargo"));
        mapped.extend(registries.flatten().map(|entry| (entry.path(), "/crates")));
    }
    let mut flags = OsString::new();
    for (from, to) in mapped {
        if !flags.is_empty() {
            flags.push("\u{1f}");
        }
        flags.push("--remap-path-prefix=");
        flags.push(from);
        flags.push("=");
        flags.push(to);
    }
    flags
}

fn cargo_home() -> Option<PathBuf> {
    std::env::var_os("CARGO_HOME").filter(|home| !home.is_empty()).map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME").or_else(|| std::env::var_os("USERPROFILE"))?;
        Some(Path::new(&home).join(".cargo"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projects_folder_is_named_alike_everywhere() {
        let flags = flags(Path::new("/somewhere/notes")).to_string_lossy().into_owned();
        let first = flags.split('\u{1f}').next();
        assert_eq!(first, Some("--remap-path-prefix=/somewhere/notes=/project"));
    }
}
