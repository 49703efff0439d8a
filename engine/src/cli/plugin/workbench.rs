//! Helpers of `test`, `inspect`, `bench` and `build`: loading a component from the command line
//! like a stage, and formatting numbers.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::chunk::component::WasmSettings;
use crate::chunk::component::{
    ComponentChunker, ComponentHost, Folders, HostOptions, default_compiled_cache,
};
use crate::cli::error::CommandError;
use crate::model::ByteSize;

/// The cache of compiled components, which does not require a `reposync.toml`.
pub(super) fn folders() -> Folders {
    let compiled = default_compiled_cache(&|name| std::env::var(name).ok());
    let cache = compiled.as_deref().and_then(Path::parent).map_or_else(|| ".reposync".into(), Path::to_owned);
    Folders::of_user(compiled, &cache)
}

/// Creates a temporary folder that only this user can access. It is removed on drop.
pub(super) fn private_folder(prefix: &str) -> anyhow::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir().context("failed to make a temporary folder")
}

/// The settings of a stage with this component.
pub(super) fn settings(component: &Path, config: &str) -> Result<WasmSettings, CommandError> {
    let config: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(config).map_err(|error| {
            CommandError::invalid(format!("`--settings` is not a JSON object: {error}"))
                .hint("write it like `--settings '{\"level\": 2}'`")
        })?;
    serde_json::from_value(serde_json::json!({ "component": component, "config": config }))
        .map_err(|error| CommandError::invalid(error.to_string()))
}

/// Loads a component as a stage named after its file.
pub(super) fn load(
    component: &Path,
    config: &str,
    folders: &Folders,
    options: HostOptions,
) -> Result<(ComponentHost, ComponentChunker), CommandError> {
    let settings = settings(component, config)?;
    let stage = component.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let host = ComponentHost::with(folders, options)?;
    let chunker = host.load(&stage, &settings)?;
    Ok((host, chunker))
}

/// The path as a chunker would see it: relative to a repository, with `/`.
pub(super) fn relative(file: &Path) -> String {
    let parts: Vec<_> = file
        .components()
        .filter_map(|part| match part {
            std::path::Component::Normal(part) => Some(part.to_string_lossy()),
            _ => None,
        })
        .collect();
    parts.join("/")
}

/// Maximum number of characters shown of a text.
const SHOWN: usize = 60;

/// The beginning of a text's first line that is not blank.
pub(super) fn first_line(text: &str) -> String {
    text.trim().lines().next().unwrap_or_default().chars().take(SHOWN).collect()
}

/// A duration with three digits: `1.24 ms`.
pub(super) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (value, unit) = match seconds {
        s if s >= 1.0 => (s, "s"),
        s if s >= 1e-3 => (s * 1e3, "ms"),
        s => (s * 1e6, "µs"),
    };
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

/// A size with three digits: `97.3 KiB`.
pub(super) fn size(bytes: u64) -> String {
    let (value, unit) = match bytes {
        b if b >= 1 << 20 => (b as f64 / f64::from(1 << 20), "MiB"),
        b if b >= 1 << 10 => (b as f64 / 1024.0, "KiB"),
        b => return ByteSize(b).to_string(),
    };
    let digits = usize::from(value < 100.0);
    format!("{value:.digits$} {unit}")
}

/// `1 chunk`, `2 chunks`.
pub(super) fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn temporary_folders_are_for_this_user_alone() {
        use std::os::unix::fs::PermissionsExt;
        let [one, other] = [(); 2].map(|()| private_folder("reposync-test-").expect("made"));
        assert_ne!(one.path(), other.path());
        let mode = one.path().metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_chunker_sees_paths_of_a_repository() {
        assert_eq!(relative(Path::new("/tmp/../x/fixtures/a.md")), "tmp/x/fixtures/a.md");
    }

    #[test]
    fn numbers_have_three_digits() {
        for (nanos, shown) in [(850, "0.85 µs"), (12_340, "12.3 µs"), (1_240_000, "1.24 ms")] {
            assert_eq!(time(Duration::from_nanos(nanos)), shown);
        }
        assert_eq!(time(Duration::from_millis(2500)), "2.50 s");
        for (bytes, shown) in [(900, "900 B"), (99_635, "97.3 KiB"), (13 << 20, "13.0 MiB")] {
            assert_eq!(size(bytes), shown);
        }
    }
}
