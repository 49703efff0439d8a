//! An isolated environment for the built program: a temporary folder, cleared environment variables, a
//! fixed width, no colours, UTC. Its output can be redacted to be the same in every run.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::git_repo::GitRepo;

/// Longer than anything that a test waits for, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A temporary folder to run the program in.
pub(crate) struct World {
    _dir: tempfile::TempDir,
    root: PathBuf,
    env: Vec<(String, String)>,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        // The real path: on some systems the temporary folder is a link.
        let root = dir.path().canonicalize().expect("exists");
        Self { _dir: dir, root, env: Vec::new() }
    }

    /// The same with a variable in the program's environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A path below the root; the program runs in the root.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().expect("inside")).expect("folders");
        std::fs::write(path, content).expect("a file");
        self
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root.join(path)).expect("a text file")
    }

    /// Writes `reposync.toml`.
    pub(crate) fn config(&self, text: &str) -> &Self {
        self.write("reposync.toml", text)
    }

    /// An empty repository in a folder of this name.
    pub(crate) fn repo(&self, name: &str) -> GitRepo {
        GitRepo::at(&self.root.join(name))
    }

    /// The program with these arguments, isolated from the user's environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.under(&[], args)
    }

    /// The same, started by another program, such as a tracer.
    pub(crate) fn under(&self, starter: &[&str], args: &[&str]) -> Command {
        let mut words = starter.iter().chain([&env!("CARGO_BIN_EXE_reposync")]).chain(args);
        let mut command = Command::new(words.next().expect("the program at least"));
        command
            .args(words)
            .current_dir(&self.root)
            .env_clear()
            // For `git` and the tools of plugin authors.
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.root)
            .env("TZ", "UTC")
            .env("LC_ALL", "C.UTF-8")
            .env("NO_COLOR", "1")
            .env("COLUMNS", "100")
            .env("RUST_BACKTRACE", "0")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.spawn(args).wait()
    }

    /// Runs the program, which must exit with 0.
    pub(crate) fn ok(&self, args: &[&str]) -> Ran {
        self.run(args).exits(0)
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Running {
        self.start(&mut self.command(args), args)
    }

    /// Starts what [`World::command`] or [`World::under`] returned.
    #[track_caller]
    pub(crate) fn start(&self, command: &mut Command, args: &[&str]) -> Running {
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("{} does not start: {error}", command.get_program().display()),
        };
        let stdout = Reader::new(child.stdout.take().expect("piped"));
        let stderr = Reader::new(child.stderr.take().expect("piped"));
        Running { child, stdout, stderr, root: self.root.clone(), args: args.join(" ") }
    }
}

/// The result of a finished program.
pub(crate) struct Ran {
    /// The exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// Standard output, unchanged.
    pub(crate) stdout: String,
    /// Standard error, unchanged.
    pub(crate) stderr: String,
    root: PathBuf,
    args: String,
}

impl Ran {
    /// Panics unless the exit code is this one.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        let Self { args, stdout, stderr, .. } = &self;
        assert_eq!(self.code, Some(code), "reposync {args}\nstdout: {stdout}\nstderr: {stderr}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("reposync {}: {error} in {}", self.args, self.stdout),
        }
    }

    /// All output for a snapshot, with everything replaced that differs between runs.
    pub(crate) fn redacted(&self) -> String {
        let code = self.code.map_or_else(|| "signal".to_owned(), |code| code.to_string());
        let mut text = format!("exit: {code}\n");
        for (name, output) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !output.is_empty() {
                text.push_str(&format!("--- {name}\n{}\n", redact(output, &self.root).trim_end()));
            }
        }
        text
    }
}

/// The running program; killed when dropped.
pub(crate) struct Running {
    child: Child,
    stdout: Reader,
    stderr: Reader,
    root: PathBuf,
    args: String,
}

impl Running {
    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, such as `INT`, `TERM`, `HUP`, `KILL`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.id().to_string()]).status();
        assert!(status.expect("the `kill` program").success(), "kill -{name}");
    }

    /// Standard output until now.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    /// Standard error until now.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.so_far()
    }

    /// Waits until a condition holds while the program runs.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let started = Instant::now();
        while !holds(self) {
            let ended = self.child.try_wait().expect("a child").filter(|_| !holds(self));
            let (out, err) = (self.stdout(), self.stderr());
            if let Some(status) = ended {
                panic!("reposync {} ended ({status}) before {what}\n{out}\n{err}", self.args);
            }
            assert!(started.elapsed() < PATIENCE, "reposync {}: no {what}\n{out}\n{err}", self.args);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(self) -> Ran {
        self.wait_while(|| {})
    }

    /// Waits for its end, and does something again and again meanwhile.
    #[track_caller]
    pub(crate) fn wait_while(mut self, mut meanwhile: impl FnMut()) -> Ran {
        let status = self.end(&mut meanwhile);
        Ran {
            code: status.code(),
            stdout: self.stdout.all(),
            stderr: self.stderr.all(),
            root: self.root.clone(),
            args: self.args.clone(),
        }
    }

    #[track_caller]
    fn end(&mut self, meanwhile: &mut dyn FnMut()) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            meanwhile();
            let (out, err) = (self.stdout(), self.stderr());
            assert!(started.elapsed() < PATIENCE, "reposync {} does not end\n{out}\n{err}", self.args);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails if it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Reads a pipe on a separate thread, so that the program never blocks on output.
struct Reader {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn new(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = bytes.clone();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                sink.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..n]);
            }
        });
        Self { bytes, thread: Some(thread) }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    fn all(&mut self) -> String {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the reader does not panic");
        }
        self.so_far()
    }
}

/// Replaces everything that differs between runs: the world's folder, timestamps, durations, long ids,
/// the program's version.
pub(crate) fn redact(text: &str, root: &Path) -> String {
    let text = text.replace(root.to_str().expect("UTF-8"), "[ROOT]");
    let text = text.replace(env!("CARGO_PKG_VERSION"), "[VERSION]");
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        // A word includes the blanks before it, so that columns stay aligned.
        let line: String = split_words(line).into_iter().map(redact_word).collect();
        lines.push(line.replace("[SECONDS] s", "[TIME]").trim_end().to_owned());
    }
    lines.join("\n")
}

/// Splits a line into runs of characters that may belong to an id, a number or a time, and the rest.
fn split_words(line: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-');
    let mut words = Vec::new();
    let mut start = 0;
    let mut inside = None;
    for (at, c) in line.char_indices() {
        if inside.is_some_and(|inside| inside != is_word(c)) {
            words.push(&line[start..at]);
            start = at;
        }
        inside = Some(is_word(c));
    }
    words.push(&line[start..]);
    words
}

fn redact_word(word: &str) -> String {
    let core = word.trim_end_matches(['.', ':']);
    let tail = &word[core.len()..];
    let redacted = match core {
        _ if is_hex_id(core) => "[ID]",
        _ if is_moment(core) => "[MOMENT]",
        _ if is_decimal(core) => "[SECONDS]",
        _ if is_clock(core) => "[TIME]",
        _ => core,
    };
    format!("{redacted}{tail}")
}

/// Digests, commit ids (10 digits and more) and chunk ids.
fn is_hex_id(word: &str) -> bool {
    let hex = word.bytes().filter(u8::is_ascii_hexdigit).count();
    let only_hex = word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    // A word of letters only (`defaced`) or digits only is not an id.
    only_hex && hex >= 10 && word.bytes().any(|b| b.is_ascii_digit()) && !word.starts_with("20")
}

fn is_moment(word: &str) -> bool {
    let date = word.get(..10).unwrap_or_default().as_bytes();
    date.len() == 10 && date.starts_with(b"20") && date[4] == b'-' && date[7] == b'-'
}

/// A duration in seconds, such as `0.34`; versions have two dots.
fn is_decimal(word: &str) -> bool {
    word.split_once('.').is_some_and(|(whole, part)| {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits(whole) && digits(part)
    })
}

/// `0:04`, `08:00:00`, `15m30s`
fn is_clock(word: &str) -> bool {
    let mut parts = word.strip_suffix(['s', 'm']).unwrap_or(word).split([':', 'h', 'm']);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let first = parts.next().is_some_and(digits);
    let rest: Vec<_> = parts.collect();
    first && !rest.is_empty() && rest.iter().all(|part| part.len() == 2 && digits(part))
}

#[test]
fn redaction_takes_what_differs_and_nothing_else() {
    let root = Path::new("/tmp/x");
    for (text, expected) in [
        ("in /tmp/x/reposync.toml", "in [ROOT]/reposync.toml"),
        ("Done: 12 files updated in 0.34 s.", "Done: 12 files updated in [TIME]."),
        ("took 15m30s", "took [TIME]"),
        ("0:04: project `docs` started", "[TIME]: project `docs` started"),
        ("acme/api (0123456789, new)", "acme/api ([ID], new)"),
        ("2026-01-31T08:00:00Z", "[MOMENT]"),
        ("2026-01-31 08:00:00 UTC", "[MOMENT] [TIME] UTC"),
        ("  1,250 added, port 8080", "  1,250 added, port 8080"),
        ("a decade defaced", "a decade defaced"),
        ("docs/a.md:10-13", "docs/a.md:10-13"),
    ] {
        assert_eq!(redact(text, root), expected);
    }
}
