//! PgBouncer in front of a test's PostgreSQL server, in transaction mode: each transaction may get another connection.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long it may take to start.
const START: Duration = Duration::from_secs(30);
/// Part of the name of its socket.
const PORT: u16 = 6432;

/// A running PgBouncer, which ends when dropped.
pub(crate) struct PgBouncer {
    child: Child,
    folder: tempfile::TempDir,
}

impl PgBouncer {
    /// In front of the server with this address; none, with a word of it, where the program is missing.
    pub(crate) fn start(url: &str) -> Option<Self> {
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"];
        let Some(program) = program.iter().map(PathBuf::from).find(|path| path.is_file()) else {
            let required = std::env::var("REPOSYNC_POSTGRES_TESTS").is_ok_and(|value| value == "required");
            assert!(!required, "`REPOSYNC_POSTGRES_TESTS=required`, but PgBouncer is not installed");
            drop(writeln!(std::io::stderr(), "skipped: no PgBouncer found"));
            return None;
        };
        let (user, rest) = url.trim_start_matches("postgres://").split_once('@').expect("a user");
        let host = rest.split('/').next().expect("a host").replace("%2F", "/");
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("users"), format!("\"{user}\" \"\"\n")).expect("written");
        let settings = format!(
            "[databases]\n* = host={host}\n[pgbouncer]\nunix_socket_dir = {}\nlisten_port = {PORT}\n\
             auth_type = trust\nauth_file = {}\npool_mode = transaction\n\
             default_pool_size = 3\nserver_reset_query = DISCARD ALL\nserver_reset_query_always = 1\n",
            folder.path().display(),
            path("users").display()
        );
        std::fs::write(path("settings"), settings).expect("written");
        let id = Command::new("id").arg("-u").output().expect("the `id` program").stdout;
        let mut command = if id.trim_ascii() == b"0" {
            let given = Command::new("chown").args(["-R", "postgres"]).arg(folder.path()).status();
            assert!(given.expect("the `chown` program").success(), "PgBouncer refuses to run as root");
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let log = std::fs::File::create(path("log")).expect("a log");
        let child = command
            .arg(path("settings"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it runs");
        let mut started = Self { child, folder };
        let (began, socket) = (Instant::now(), started.folder.path().join(format!(".s.PGSQL.{PORT}")));
        while UnixStream::connect(&socket).is_err() {
            let log = || std::fs::read_to_string(started.folder.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < START, "PgBouncer did not start: {}", log());
            if let Ok(Some(status)) = started.child.try_wait() {
                panic!("PgBouncer ended ({status}): {}", log());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Some(started)
    }

    /// The address of a database through it.
    pub(crate) fn url(&self, url: &str) -> String {
        let (user, rest) = url.split_once('@').expect("a user");
        let database = rest.rsplit('/').next().expect("a name");
        let folder = self.folder.path().to_string_lossy().replace('/', "%2F");
        format!("{user}@{folder}:{PORT}/{database}")
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
