//! A real `sshd` on a loopback port: one process for each connection, as the user who runs the tests, with its
//! own keys.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A running server; it stops when dropped.
pub(crate) struct Sshd {
    address: SocketAddr,
    folder: tempfile::TempDir,
    user: String,
    connections: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl Sshd {
    /// Starts it; none, with a word of it, where this machine has no `sshd`.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = program() else {
            // Not captured by the test harness: a skipped test must not look like a passed one.
            drop(writeln!(
                std::io::stderr(),
                "skipped: there is no `sshd` (Debian: openssh-server), or no folder /run/sshd for it"
            ));
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["host", "client", "stranger"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
                .arg(folder.path().join(name))
                .status();
            assert!(made.expect("the `ssh-keygen` program").success());
        }
        let at = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\nLogLevel QUIET\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nSetEnv PATH={}\n",
            at("host"),
            at("client.pub"),
            std::env::var("PATH").expect("a path")
        );
        std::fs::write(folder.path().join("sshd_config"), config).expect("a file");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let address = listener.local_addr().expect("bound");
        let (connections, stopped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, ended, config) = (Arc::clone(&connections), Arc::clone(&stopped), at("sshd_config"));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                counted.fetch_add(1, Ordering::Relaxed);
                serve(&program, &config, stream);
            }
        });
        let user = Command::new("id").arg("-un").output().expect("the `id` program").stdout;
        let user = String::from_utf8(user).expect("text").trim().to_owned();
        let sshd = Self { address, folder, user, connections, stopped };
        sshd.write_known_hosts("known_hosts", "host");
        sshd.write_known_hosts("other_hosts", "stranger");
        Some(sshd)
    }

    fn write_known_hosts(&self, file: &str, key: &str) {
        let key = std::fs::read_to_string(self.folder.path().join(format!("{key}.pub"))).expect("a key");
        let line = format!("[127.0.0.1]:{} {key}", self.address.port());
        std::fs::write(self.folder.path().join(file), line).expect("a file");
    }

    /// `ssh://USER@127.0.0.1:PORT`
    pub(crate) fn url(&self) -> String {
        format!("ssh://{}@{}", self.user, self.address)
    }

    /// A file: `client` is the key that the server accepts, `stranger` one that it does not; `known_hosts` holds the
    /// server's key, `other_hosts` another.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Connections since the last call.
    pub(crate) fn connections(&self) -> usize {
        self.connections.swap(0, Ordering::Relaxed)
    }
}

impl Sshd {
    /// Stops serving; the files stay.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the accepting thread.
        drop(TcpStream::connect(self.address));
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(program: &Path, config: &str, stream: TcpStream) {
    use std::os::fd::OwnedFd;
    let writing = stream.try_clone().expect("a second handle");
    let child = Command::new(program)
        .args(["-i", "-f", config])
        .stdin(Stdio::from(OwnedFd::from(stream)))
        .stdout(Stdio::from(OwnedFd::from(writing)))
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.expect("it was found");
    std::thread::spawn(move || drop(child.wait()));
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    let program = folders.map(|folder| folder.join("sshd")).find(|program| program.is_file())?;
    // As root it needs its run-time folder, which a service manager usually creates.
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    (!root || Path::new("/run/sshd").is_dir()).then_some(program)
}
