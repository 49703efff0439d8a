//! The chunkers that come with RepoSync. The small ones are part of the program; the others are files of a
//! release, next to the program.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::error::CommandError;

/// The components in the program.
const CONTAINED: [(&str, &[u8]); 3] = [
    ("changelog", include_bytes!("../../../../plugins/changelog.wasm")),
    ("notebook", include_bytes!("../../../../plugins/notebook.wasm")),
    ("sql", include_bytes!("../../../../plugins/sql.wasm")),
];

/// The components that are too large for the program.
const BESIDE: [&str; 1] = ["restructuredtext"];

/// Overrides the folder of the components that come with the program.
const FOLDER: &str = "REPOSYNC_PLUGINS";

/// The bytes of a component by its name.
pub(super) fn read(name: &str) -> Result<Vec<u8>, CommandError> {
    if let Some((_, bytes)) = CONTAINED.iter().find(|(contained, _)| *contained == name) {
        return Ok(bytes.to_vec());
    }
    if !BESIDE.contains(&name) {
        let names: Vec<String> = CONTAINED
            .iter()
            .map(|(name, _)| *name)
            .chain(BESIDE)
            .map(|name| format!("`builtin:{name}`"))
            .collect();
        return Err(CommandError::invalid(format!("no component `{name}` comes with RepoSync"))
            .hint(format!("there are {}", names.join(", "))));
    }
    let folders = folders();
    let file = folders.iter().map(|folder| folder.join(format!("{name}.wasm"))).find(|file| file.is_file());
    let file = file.ok_or_else(|| {
        let shown: Vec<String> = folders.iter().map(|folder| format!("`{}`", folder.display())).collect();
        CommandError::invalid(format!(
            "`{name}.wasm` is too large for the program, and is not in {}",
            shown.join(" or ")
        ))
        .hint(format!(
            "release archives and the image contain it; else download `{name}.wasm` of the release and run \
                 `reposync plugin add {name}.wasm`, or set `{FOLDER}` to its folder"
        ))
    })?;
    Ok(std::fs::read(&file).with_context(|| format!("failed to read `{}`", file.display()))?)
}

/// Where a release has its components: `share/reposync/plugins` beside the folder of the program.
fn folders() -> Vec<PathBuf> {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return vec![folder.into()];
    }
    let program = std::env::current_exe().and_then(|program| program.canonicalize()).unwrap_or_default();
    let folder = program.parent().unwrap_or(Path::new(""));
    vec![folder.parent().unwrap_or(folder).join("share/reposync/plugins"), folder.join("plugins")]
}
