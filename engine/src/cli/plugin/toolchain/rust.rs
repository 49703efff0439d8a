//! Rust: cargo with the target `wasm32-unknown-unknown`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::anyhow;

use super::command::{Built, missing, read, run};
use super::locate::newest;
use super::remap;
use crate::cli::error::CommandError;

const RUST_TARGET: &str = "wasm32-unknown-unknown";

/// Builds a Rust project as a core module.
pub(super) fn build(dir: &Path) -> Result<Built, CommandError> {
    let mut command = if rustup_target() {
        let mut command = Command::new("cargo");
        command.args(["build", "--target", RUST_TARGET]);
        command
    } else if let Some(command) = distribution_cargo(dir) {
        command
    } else {
        return Err(missing("no Rust compiler for WebAssembly is installed").hint(format!(
            "`rustup target add {RUST_TARGET}`, or Debian's rustc-web, cargo-web, rust-web-src and lld"
        )));
    };
    let workspace = workspace_root(dir).unwrap_or_else(|| dir.to_owned());
    let mut flags = remap::flags(&workspace);
    // Chunkers mostly scan text, and every host supports SIMD.
    flags.push("\u{1f}-Ctarget-feature=+simd128");
    command.env("CARGO_ENCODED_RUSTFLAGS", flags);
    command.current_dir(dir).args([
        "--profile",
        rust_profile(dir),
        "--message-format=json-render-diagnostics",
    ]);
    let messages = run(&mut command, "cargo")?;
    let manifest = dir.join("Cargo.toml");
    let module = built_module(&messages, &manifest).ok_or_else(|| {
        anyhow!(
            "`{}` builds no `.wasm` file; its library needs `crate-type = [\"cdylib\"]`",
            manifest.display()
        )
    })?;
    Ok(Built::Module(read(&module)?))
}

/// True if the first `rustc` in `PATH` has the target's standard library.
fn rustup_target() -> bool {
    sysroot("rustc").is_some_and(|sysroot| sysroot.join("lib/rustlib").join(RUST_TARGET).join("lib").is_dir())
}

fn sysroot(rustc: &str) -> Option<PathBuf> {
    let output = Command::new(rustc).args(["--print", "sysroot"]).stderr(Stdio::null()).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(path.trim()))
}

/// The cargo of a distribution, which builds the standard library from source, for machines on
/// which rustup cannot download targets.
fn distribution_cargo(dir: &Path) -> Option<Command> {
    let source = sysroot("/usr/bin/rustc")?.join("lib/rustlib/src/rust/library");
    let linker = newest("wasm-ld")?;
    if !source.is_dir() || !Path::new("/usr/bin/cargo").exists() {
        return None;
    }
    let mut command = Command::new("/usr/bin/cargo");
    command
        // rustup's proxies usually come first in `PATH`.
        .env("PATH", "/usr/bin:/bin")
        .env("RUSTC", "/usr/bin/rustc")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTC_WRAPPER")
        // Allows `-Z` options with a stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
        .args(["build", "--target", RUST_TARGET, "-Zbuild-std=std,panic_abort"])
        // A separate target folder, since a different compiler would invalidate the workspace's
        // builds.
        .arg("--target-dir")
        .arg(target_dir(dir).join("plugins"));
    Some(command)
}

fn target_dir(dir: &Path) -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
        Some(target) => PathBuf::from(target),
        None => workspace_root(dir).unwrap_or_else(|| dir.to_owned()).join("target"),
    }
}

/// The root of the workspace that `dir` belongs to.
fn workspace_root(dir: &Path) -> Option<PathBuf> {
    let output = Command::new("cargo")
        .args(["locate-project", "--workspace", "--message-format", "plain"])
        .current_dir(dir)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let manifest = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    manifest.parent().filter(|_| output.status.success()).map(Path::to_owned)
}

/// The profile `plugin` if the workspace defines it, otherwise `release`.
fn rust_profile(dir: &Path) -> &'static str {
    let root = workspace_root(dir).unwrap_or_else(|| dir.to_owned());
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap_or_default();
    if manifest.lines().any(|line| line.trim() == "[profile.plugin]") { "plugin" } else { "release" }
}

/// The module among the artifacts that cargo reports for this package.
fn built_module(messages: &[u8], manifest: &Path) -> Option<PathBuf> {
    String::from_utf8_lossy(messages)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter(|message| message["manifest_path"].as_str().is_some_and(|path| Path::new(path) == manifest))
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_says_which_file_it_made() {
        let messages = br#"{"reason":"compiler-artifact","manifest_path":"/w/sdk/Cargo.toml","filenames":["/w/t/sdk.wasm"]}
noise
{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","filenames":["/w/t/a.d","/w/t/a.wasm"]}
{"reason":"build-finished","success":true}
"#;
        let found = |manifest| built_module(messages, Path::new(manifest));
        assert_eq!(found("/w/a/Cargo.toml").as_deref(), Some(Path::new("/w/t/a.wasm")));
        assert_eq!(found("/w/b/Cargo.toml"), None);
    }

    #[test]
    fn the_size_minded_profile_is_used_where_it_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let manifest =
            "[package]\nname = \"a\"\nversion = \"0.1.0\"\n[lib]\npath = \"lib.rs\"\n[workspace]\n";
        std::fs::write(dir.path().join("lib.rs"), "").expect("written");
        std::fs::write(dir.path().join("Cargo.toml"), manifest).expect("written");
        assert_eq!(rust_profile(dir.path()), "release");
        let with = format!("{manifest}\n[profile.plugin]\ninherits = \"release\"\n");
        std::fs::write(dir.path().join("Cargo.toml"), with).expect("written");
        assert_eq!(rust_profile(dir.path()), "plugin");
    }
}
