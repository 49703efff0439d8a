//! C and C++: clang with wasi-libc, or zig.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::command::{Built, missing, read, run_shown};
use super::entry::Entry;
use super::locate::newest;
use crate::cli::error::CommandError;
use crate::cli::plugin::template;

/// Removes debug sections, but keeps the names of functions for backtraces.
const STRIP: &str = "-Wl,--strip-debug";

/// A compiler with its target, libraries and linker.
struct Compiler {
    program: PathBuf,
    /// Arguments of every call.
    common: Vec<OsString>,
    /// Arguments of the linking call.
    link: Vec<OsString>,
}

/// Builds a C or C++ project as a core module.
pub(super) fn build(entry: Entry, dir: &Path, scratch: &Path) -> Result<Built, CommandError> {
    let compiler = Compiler::find(dir).ok_or_else(|| {
        missing("no C compiler for WebAssembly is installed").hint(
            "`apt-get install clang lld wasi-libc libclang-rt-dev-wasm32`, the WASI SDK (`WASI_SDK_PATH`), or `pip install ziglang`",
        )
    })?;
    if !dir.join("reposync_chunker.h").is_file() {
        std::fs::write(scratch.join("reposync_chunker.h"), template::C_HEADER)
            .context("failed to write `reposync_chunker.h`")?;
    }
    let language: &[&str] = match entry {
        // Components have no stack unwinding.
        Entry::Cpp => &["-std=c++17", "-fno-exceptions", "-fno-rtti"],
        _ => &["-std=c11"],
    };
    let [object, module] = ["chunker.o", "built.wasm"].map(|name| scratch.join(name));
    let mut compile = compiler.call(dir);
    compile.args(language).args(["-O2", "-Wall", "-Wextra", "-I."]).arg("-I").arg(scratch);
    compile.args(["-c", entry.file(), "-o"]).arg(&object);
    run_shown(&mut compile, "the C compiler")?;
    // A separate call without `-O2`: with it, clang would run any `wasm-opt` in `PATH`, whose
    // output depends on its version and lacks function names.
    let mut link = compiler.call(dir);
    link.arg(&object).args(&compiler.link).arg("-o").arg(&module);
    run_shown(&mut link, "the C compiler")?;
    Ok(Built::Module(read(&module)?))
}

impl Compiler {
    /// Finds the WASI SDK, or else clang with a distribution's wasi-libc, or else zig.
    fn find(dir: &Path) -> Option<Self> {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let library = [STRIP, "-nostartfiles", "-Wl,--no-entry"];
        if let Some(sdk) = std::env::var_os("WASI_SDK_PATH").map(PathBuf::from).filter(|sdk| sdk.is_dir()) {
            return Some(Self {
                program: sdk.join("bin/clang"),
                common: words(&["--target=wasm32-wasip1"]),
                link: words(&library),
            });
        }
        let headers = "/usr/include/wasm32-wasi";
        if let (Some(program), Some(linker), true) =
            (newest("clang"), newest("wasm-ld"), Path::new(headers).is_dir())
        {
            let mut link = words(&library);
            link.extend(["-L/usr/lib/wasm32-wasi".into(), joined("-fuse-ld=", linker.as_os_str())]);
            return Some(Self {
                program,
                common: words(&["--target=wasm32-wasip1", "-isystem", headers]),
                link,
            });
        }
        ["python3", "python"].into_iter().find(|python| has_zig(python, dir)).map(|python| Self {
            program: python.into(),
            common: words(&["-m", "ziglang", "cc", "--target=wasm32-wasi"]),
            // zig builds its C library while linking, with these options.
            link: words(&["-O2", "-mexec-model=reactor", STRIP]),
        })
    }

    fn call(&self, dir: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(dir).args(&self.common);
        command
    }
}

fn has_zig(python: &str, dir: &Path) -> bool {
    Command::new(python)
        // Python searches the current folder for modules first, so run it in the project rather
        // than in an arbitrary folder.
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
