//! Python with packages, for tests with programs that others wrote.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex};

/// Where the folders of packages are; kept between test runs.
static TOOLS: LazyLock<PathBuf> =
    LazyLock::new(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/python-tests"));

/// One test installs, the others wait.
static INSTALLED: LazyLock<Mutex<HashMap<&'static str, Result<PathBuf, String>>>> =
    LazyLock::new(Mutex::default);

/// A Python that has these packages, in a folder of this name below `target/tools`. `None`, with a message, if
/// there is no Python or the packages cannot be installed: then the test has nothing to test. With
/// `REPOSYNC_PYTHON_TESTS=required`, as in CI, that is a failure.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
pub(crate) fn python(name: &'static str, packages: &[&str]) -> Option<PathBuf> {
    let mut installed = INSTALLED.lock().expect("no test panicked while it installed");
    let found = installed.entry(name).or_insert_with(|| install(name, packages)).clone();
    drop(installed);
    match found {
        Ok(program) => Some(program),
        Err(why) => {
            let required = std::env::var_os("REPOSYNC_PYTHON_TESTS").is_some_and(|value| value == "required");
            assert!(!required, "Python with {packages:?}: {why}");
            eprintln!("skipped: Python with {packages:?}: {why}");
            None
        }
    }
}

fn install(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let folder = TOOLS.join(name);
    let program = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let (mark, wanted) = (folder.join("installed.txt"), packages.join("\n"));
    if std::fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted) {
        return Ok(program);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    run(Command::new(&program)
        .args(["-m", "pip", "install", "--quiet", "--no-input", "--retries=2", "--timeout=30"])
        .args(packages))?;
    std::fs::write(mark, wanted).map_err(|error| error.to_string())?;
    Ok(program)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it failed").to_owned())
}
