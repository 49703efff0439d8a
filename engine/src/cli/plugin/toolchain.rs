//! The languages' own tools: which are there, and how each is called. What they print goes through.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, anyhow, bail};

use super::build::WORLD;
use super::{Language, remap, template};
use crate::cli::error::CommandError;

/// What a tool makes.
pub(super) enum Built {
    /// A component.
    Component(Vec<u8>),
    /// A core module, to be made into one.
    Module(Vec<u8>),
}

/// Builds the project in `dir` (absolute). `scratch` holds `chunker.wit` and may be written to.
pub(super) fn build(language: Language, dir: &Path, scratch: &Path) -> Result<Built, CommandError> {
    match language {
        Language::Rust => rust(dir),
        Language::Js => javascript(dir, scratch),
        Language::Python => python(dir, scratch),
        Language::C => c(dir, scratch),
    }
}

const RUST_TARGET: &str = "wasm32-unknown-unknown";

fn rust(dir: &Path) -> Result<Built, CommandError> {
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
    // Scanning text is what chunkers do, and every host has vectors.
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

/// True where the `rustc` that stands first has the target's standard library.
fn rustup_target() -> bool {
    sysroot("rustc").is_some_and(|sysroot| sysroot.join("lib/rustlib").join(RUST_TARGET).join("lib").is_dir())
}

fn sysroot(rustc: &str) -> Option<PathBuf> {
    let output = Command::new(rustc).args(["--print", "sysroot"]).stderr(Stdio::null()).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(path.trim()))
}

/// A distribution's cargo, which builds the standard library from its source: for machines where
/// rustup cannot fetch targets.
fn distribution_cargo(dir: &Path) -> Option<Command> {
    let source = sysroot("/usr/bin/rustc")?.join("lib/rustlib/src/rust/library");
    let linker = newest("wasm-ld")?;
    if !source.is_dir() || !Path::new("/usr/bin/cargo").exists() {
        return None;
    }
    let mut command = Command::new("/usr/bin/cargo");
    command
        // rustup's shims usually stand first.
        .env("PATH", "/usr/bin:/bin")
        .env("RUSTC", "/usr/bin/rustc")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTC_WRAPPER")
        // `-Z` on a stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
        .args(["build", "--target", RUST_TARGET, "-Zbuild-std=std,panic_abort"])
        // Another compiler than the workspace's: in a folder of its own, neither spoils the other's work.
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

/// The folder of the workspace that `dir` belongs to.
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

/// `plugin` where the workspace has such a profile.
fn rust_profile(dir: &Path) -> &'static str {
    let root = workspace_root(dir).unwrap_or_else(|| dir.to_owned());
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap_or_default();
    if manifest.lines().any(|line| line.trim() == "[profile.plugin]") { "plugin" } else { "release" }
}

/// The module among what cargo says it made for this package.
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

fn javascript(dir: &Path, scratch: &Path) -> Result<Built, CommandError> {
    let jco = local(dir, &["node_modules/.bin/jco"]).or_else(|| in_path("jco")).ok_or_else(|| {
        missing("jco, the compiler for JavaScript components, is not installed")
            .hint("`npm install` in the project's folder, or `npm install -g @bytecodealliance/jco@1.35.0`")
    })?;
    let module = scratch.join("built.wasm");
    let mut command = Command::new(jco);
    command
        .current_dir(dir)
        .args(["componentize", "chunker.js", "-n", WORLD, "-w"])
        .arg(scratch.join("chunker.wit"))
        // QuickJS: smaller, and faster in a host that calls often.
        .args(["--backend", "qjs", "--backend-qjs-disable-async", "--backend-qjs-stub-wasi", "-o"])
        .arg(&module);
    run_shown(&mut command, "jco")?;
    Ok(Built::Component(read(&module)?))
}

fn python(dir: &Path, scratch: &Path) -> Result<Built, CommandError> {
    let places = [".venv/bin/componentize-py", "venv/bin/componentize-py"];
    let tool = local(dir, &places).or_else(|| in_path("componentize-py")).ok_or_else(|| {
        missing("componentize-py, the compiler for Python components, is not installed")
            .hint("`pip install -r requirements.txt` in the project's folder, or `pip install componentize-py==0.25.1`")
    })?;
    let module = scratch.join("built.wasm");
    let mut command = Command::new(tool);
    command
        .current_dir(dir)
        .arg("-d")
        .arg(scratch.join("chunker.wit"))
        .args(["-w", WORLD, "componentize", "--stub-wasi", "chunker", "-o"])
        .arg(&module);
    run_shown(&mut command, "componentize-py")?;
    Ok(Built::Component(read(&module)?))
}

fn c(dir: &Path, scratch: &Path) -> Result<Built, CommandError> {
    let module = scratch.join("built.wasm");
    let mut command = c_compiler().ok_or_else(|| {
        missing("no C compiler for WebAssembly is installed").hint(
            "`apt-get install clang lld wasi-libc libclang-rt-dev-wasm32`, the WASI SDK (`WASI_SDK_PATH`), or `pip install ziglang`",
        )
    })?;
    if !dir.join("reposync_chunker.h").is_file() {
        std::fs::write(scratch.join("reposync_chunker.h"), template::C_HEADER)
            .context("failed to write `reposync_chunker.h`")?;
    }
    command.current_dir(dir).args(["-std=c11", "-O2", "-Wall", "-Wextra", "-I."]).arg("-I").arg(scratch);
    command.args(["chunker.c", "-o"]).arg(&module);
    run_shown(&mut command, "the C compiler")?;
    Ok(Built::Module(read(&module)?))
}

/// A compiler with its target, libraries and linker: WASI SDK, clang with a distribution's
/// wasi-libc, or zig.
fn c_compiler() -> Option<Command> {
    let library = ["-Wl,-s", "-nostartfiles", "-Wl,--no-entry"];
    if let Some(sdk) = std::env::var_os("WASI_SDK_PATH").map(PathBuf::from).filter(|sdk| sdk.is_dir()) {
        let mut command = Command::new(sdk.join("bin/clang"));
        command.arg("--target=wasm32-wasip1").args(library);
        return Some(command);
    }
    let headers = Path::new("/usr/include/wasm32-wasi");
    if let (Some(clang), Some(linker), true) = (newest("clang"), newest("wasm-ld"), headers.is_dir()) {
        let mut command = Command::new(clang);
        command.args(["--target=wasm32-wasip1", "-isystem"]).arg(headers).args(library);
        command.arg("-L/usr/lib/wasm32-wasi").arg(joined("-fuse-ld=", linker.as_os_str()));
        return Some(command);
    }
    ["python3", "python"].into_iter().find(|python| has_zig(python)).map(|python| {
        let mut command = Command::new(python);
        command.args(["-m", "ziglang", "cc", "--target=wasm32-wasi", "-mexec-model=reactor", "-Wl,-s"]);
        command
    })
}

fn has_zig(python: &str) -> bool {
    Command::new(python)
        .args(["-c", "import ziglang"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn joined(prefix: &str, rest: &OsStr) -> OsString {
    let mut word = OsString::from(prefix);
    word.push(rest);
    word
}

/// A tool of the project itself, or of a folder around it.
fn local(dir: &Path, places: &[&str]) -> Option<PathBuf> {
    dir.ancestors().flat_map(|dir| places.iter().map(|place| dir.join(place))).find(|tool| tool.is_file())
}

fn in_path(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|file| file.is_file())
}

/// A tool of LLVM, which distributions install as `clang-22` or as `clang`.
fn newest(tool: &str) -> Option<PathBuf> {
    const NEWEST: u32 = 40;
    const OLDEST: u32 = 15;
    (OLDEST..=NEWEST)
        .rev()
        .find_map(|version| in_path(&format!("{tool}-{version}")))
        .or_else(|| in_path(tool))
}

fn missing(message: &str) -> CommandError {
    CommandError::invalid(message)
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("failed to read `{}`", file.display()))
}

/// Runs a tool; what it prints to standard output is the answer.
fn run(command: &mut Command, tool: &str) -> anyhow::Result<Vec<u8>> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("failed to start {tool}"))?;
    if !output.status.success() {
        bail!("{tool} failed ({})", output.status);
    }
    Ok(output.stdout)
}

/// Runs a tool; what it prints is for the person, and goes to standard error if it fails.
fn run_shown(command: &mut Command, tool: &str) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("failed to start {tool}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    bail!("{tool} failed ({})\n{}", output.status, String::from_utf8_lossy(&said).trim_end())
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
