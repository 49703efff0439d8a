//! A real PostgreSQL server for the tests of one process, on a socket, with a database for each test. The unit tests
//! of the engine use it too.

use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The server's superuser, which needs no password on the socket.
const USER: &str = "reposync";
/// How long the server may take to start.
const START: Duration = Duration::from_secs(60);
/// Runs the server until the standard input ends, which it does with the tests' process however that ends; then
/// removes its folder. $1: the program, $2: the folder; then the program's further arguments.
const RUN: &str = r#"program=$1 folder=$2; shift 2
"$program" -D "$folder/data" -k "$folder" -c listen_addresses= -c fsync=off -c full_page_writes=off \
    -c max_connections=300 -c shared_buffers=64MB -c jit=off "$@" >"$folder/log" 2>&1 </dev/null &
server=$!
cat >/dev/null
kill -QUIT $server; wait $server; rm -rf "$folder""#;

/// A running server.
pub(crate) struct Postgres {
    bin: PathBuf,
    folder: PathBuf,
    databases: AtomicU32,
    /// Its standard input stays open while the process lives.
    pub(crate) shell: Child,
}

/// How a server differs from the others of the tests.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    /// What starts it, as root: a program with its arguments.
    pub(crate) under: &'a [&'a str],
    /// Its settings, such as `fsync=on`.
    pub(crate) settings: &'a [&'a str],
    /// Files in its folder of data, which only the server's user may read; what is there already is continued.
    pub(crate) files: &'a [(&'a str, String)],
}

impl Postgres {
    /// The server of this process: of the installation in the folder `REPOSYNC_TEST_POSTGRES`, or the system's own;
    /// none, with a word of it, where there is none.
    pub(crate) fn start() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
        SERVER.get_or_init(|| Self::find("REPOSYNC_TEST_POSTGRES", installed)).as_ref()
    }

    /// A server of the installation in the folder that a variable names, or else of the given one; none, with a word
    /// of it, where there is neither.
    pub(crate) fn find(variable: &str, installed: impl FnOnce() -> Option<PathBuf>) -> Option<Self> {
        Some(Self::run(place(variable, installed)?, &Setup::default()))
    }

    /// A server of the programs in a folder.
    pub(crate) fn run(bin: PathBuf, setup: &Setup<'_>) -> Self {
        let folder = tempfile::Builder::new().prefix("pg").tempdir().expect("a temporary folder").keep();
        let user = Unprivileged::new(&folder);
        user.reaches(&bin);
        let initdb = user
            .command(&bin.join("initdb"))
            .args([
                "--username",
                USER,
                "--auth",
                "trust",
                "--encoding",
                "UTF8",
                "--no-locale",
                "--no-sync",
                "-D",
            ])
            .arg(folder.join("data"))
            .stdout(Stdio::null())
            .output()
            .expect("`initdb` runs");
        assert!(initdb.status.success(), "{}", String::from_utf8_lossy(&initdb.stderr));
        for (name, text) in setup.files {
            user.append(&folder.join("data").join(name), text);
        }
        let shell = user
            .command_under(setup.under, Path::new("sh"))
            .args(["-c", RUN, "sh"])
            .args([&bin.join("postgres"), &folder])
            .args(setup.settings.iter().flat_map(|setting| ["-c", setting]))
            .stdin(Stdio::piped())
            .spawn()
            .expect("`sh` runs");
        let mut server = Self { bin, folder, databases: AtomicU32::new(0), shell };
        let began = Instant::now();
        while !server.answers() {
            let has_ended = server.shell.try_wait().expect("a child").is_some();
            let log = || std::fs::read_to_string(server.folder.join("log")).unwrap_or_default();
            assert!(!has_ended && began.elapsed() < START, "the server did not start: {}", log());
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Creates a database; returns its address.
    pub(crate) fn database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
        self.url(&name)
    }

    /// The address of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        let folder = self.folder.to_string_lossy().replace('/', "%2F");
        format!("postgres://{USER}@{folder}/{database}")
    }

    /// What a statement answers in a database, given by its name or address: a line for each row, with `|` between
    /// columns.
    pub(crate) fn sql(&self, database: &str, statement: &str) -> String {
        let name = database.rsplit('/').next().expect("a name");
        let output = self.psql(name, statement);
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
    }

    fn answers(&self) -> bool {
        self.psql("postgres", "SELECT 1").status.success()
    }

    fn psql(&self, database: &str, statement: &str) -> std::process::Output {
        Command::new(self.bin.join("psql"))
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                USER,
                "-d",
                database,
                "-c",
                statement,
                "-h",
            ])
            .arg(&self.folder)
            .output()
            .expect("`psql` runs")
    }
}

/// The programs of the installation in the folder that a variable names, or else of the given one; none, with a word of
/// it, where there is neither.
pub(crate) fn place(variable: &str, installed: impl FnOnce() -> Option<PathBuf>) -> Option<PathBuf> {
    let given = env::var_os(variable).map(|folder| Path::new(&folder).join("bin"));
    let found = given.or_else(installed);
    if found.is_none() {
        let required = env::var("REPOSYNC_POSTGRES_TESTS").is_ok_and(|value| value == "required");
        assert!(!required, "`REPOSYNC_POSTGRES_TESTS=required`, but `{variable}` is not set");
        // Not captured by the test harness: a skipped test must not look like a passed one.
        drop(writeln!(
            std::io::stderr(),
            "skipped: no PostgreSQL found; set `{variable}` to an installation"
        ));
    }
    found
}

/// The newest installation of Debian's packages, or the one on the path.
pub(crate) fn installed() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    versions.sort();
    let on_path =
        env::var_os("PATH").into_iter().flat_map(|path| env::split_paths(&path).collect::<Vec<_>>());
    versions.into_iter().rev().chain(on_path).find(|bin| bin.join("initdb").is_file())
}

/// The user who runs the server, which refuses to run as root: another one then.
struct Unprivileged {
    as_other: bool,
}

impl Unprivileged {
    fn new(folder: &Path) -> Self {
        let id = Command::new("id").arg("-u").output().expect("the `id` program").stdout;
        let as_other = id.trim_ascii() == b"0";
        if as_other {
            let given =
                Command::new("chown").arg("postgres").arg(folder).status().expect("the `chown` program");
            assert!(given.success(), "the tests run as root, and there is no user `postgres` for the server");
        }
        Self { as_other }
    }

    /// Panics if the user may not enter the folder of the installation.
    fn reaches(&self, bin: &Path) {
        let mut test = self.command(Path::new("test"));
        let reached = test.arg("-x").arg(bin.join("initdb")).status().expect("the `test` program");
        assert!(reached.success(), "the user `postgres`, who runs the server, cannot run {}", bin.display());
    }

    fn command(&self, program: &Path) -> Command {
        self.command_under(&[], program)
    }

    /// The same, started by another program.
    fn command_under(&self, under: &[&str], program: &Path) -> Command {
        let other: &[&str] = if self.as_other {
            &["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        } else {
            &[]
        };
        let mut words = under.iter().chain(other).map(Path::new).chain([program]);
        let mut command = Command::new(words.next().expect("the program at least"));
        command.args(words).current_dir("/");
        command
    }

    /// Appends to a file that only this user may read.
    fn append(&self, file: &Path, text: &str) {
        let mut append = self.command(Path::new("sh"));
        let append = append.args(["-c", "umask 077; cat >>\"$1\"", "sh"]).arg(file).stdin(Stdio::piped());
        let mut child = append.spawn().expect("`sh` runs");
        child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
        assert!(child.wait().expect("a child").success(), "{}", file.display());
    }
}
