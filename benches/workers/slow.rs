//! A relay in front of the test's PostgreSQL server that answers later, as over a network.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

/// The name of a server's socket in its folder.
const SOCKET: &str = ".s.PGSQL.5432";

/// A relay; it ends with the process.
pub(crate) struct Slow {
    folder: tempfile::TempDir,
}

impl Slow {
    /// In front of the server with this address. What a client sends arrives after `delay`; answers are not delayed, so
    /// that this is the round trip.
    pub(crate) fn start(url: &str, delay: Duration) -> Self {
        let (_, rest) = url.split_once('@').expect("a user");
        let server = format!("{}/{SOCKET}", rest.split('/').next().expect("a folder").replace("%2F", "/"));
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join(SOCKET)).expect("a socket");
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = UnixStream::connect(&server).expect("the server listens");
                let again = |stream: &UnixStream| stream.try_clone().expect("a second handle");
                let (asking, answered) = (again(&client), again(&server));
                thread::spawn(move || pass(&asking, &server, delay));
                thread::spawn(move || pass(&answered, &client, Duration::ZERO));
            }
        });
        Self { folder }
    }

    /// The address of a database through it.
    pub(crate) fn url(&self, url: &str) -> String {
        let (user, rest) = url.split_once('@').expect("a user");
        let database = rest.rsplit('/').next().expect("a name");
        format!("{user}@{}/{database}", self.folder.path().to_string_lossy().replace('/', "%2F"))
    }
}

fn pass(mut from: &UnixStream, mut to: &UnixStream, delay: Duration) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        thread::sleep(delay);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    // Either end may be gone.
    drop(to.shutdown(std::net::Shutdown::Write));
}
