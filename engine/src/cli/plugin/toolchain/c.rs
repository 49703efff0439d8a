//! C and C++: clang with wasi-libc, or zig.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::locate::newest;
use super::{Built, Entry, missing, read, run_shown};
use crate::cli::error::CommandError;
use crate::cli::plugin::template;

/// Removes debugging sections, and keeps the names of functions for backtraces.
const STRIP: &str = "-Wl,--strip-debug";

/// Builds a C or C++ project into a core module.
pub(super) fn build(entry: Entry, dir: &Path, scratch: &Path) -> Result<Built, CommandError> {
    let module = scratch.join("built.wasm");
    let mut command = compiler(dir).ok_or_else(|| {
        missing("no C compiler for WebAssembly is installed").hint(
            "`apt-get install clang lld wasi-libc libclang-rt-dev-wasm32`, the WASI SDK (`WASI_SDK_PATH`), or `pip install ziglang`",
        )
    })?;
    if !dir.join("reposync_chunker.h").is_file() {
        std::fs::write(scratch.join("reposync_chunker.h"), template::C_HEADER)
            .context("failed to write `reposync_chunker.h`")?;
    }
    let language: &[&str] = match entry {
        // A component has no unwinder.
        Entry::Cpp => &["-std=c++17", "-fno-exceptions", "-fno-rtti"],
        _ => &["-std=c11"],
    };
    command.current_dir(dir).args(language).args(["-O2", "-Wall", "-Wextra", "-I."]).arg("-I").arg(scratch);
    command.args([entry.file(), "-o"]).arg(&module);
    run_shown(&mut command, "the C compiler")?;
    Ok(Built::Module(read(&module)?))
}

/// A compiler with its target, libraries and linker: WASI SDK, clang with a distribution's
/// wasi-libc, or zig.
fn compiler(dir: &Path) -> Option<Command> {
    let library = [STRIP, "-nostartfiles", "-Wl,--no-entry"];
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
    ["python3", "python"].into_iter().find(|python| has_zig(python, dir)).map(|python| {
        let mut command = Command::new(python);
        command.args(["-m", "ziglang", "cc", "--target=wasm32-wasi", "-mexec-model=reactor", STRIP]);
        command
    })
}

fn has_zig(python: &str, dir: &Path) -> bool {
    Command::new(python)
        // Python looks for modules in the current folder first, which may be anybody's.
        .current_dir(dir)
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
