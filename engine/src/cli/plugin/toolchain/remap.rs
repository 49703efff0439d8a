//! Compiler flags that make the output of the Rust compiler independent of paths: the same source
//! gives the same component on every machine, without paths of that machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The flags in the format of `CARGO_ENCODED_RUSTFLAGS`.
pub(super) fn flags(workspace: &Path) -> OsString {
    let mut mapped = vec![(workspace.to_owned(), "/project")];
    if let Some(home) = cargo_home() {
        let registries = std::fs::read_dir(home.join("registry/src")).into_iter().flatten();
        // If several prefixes match, the compiler applies the last.
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
