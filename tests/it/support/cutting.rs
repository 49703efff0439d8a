//! A proxy in front of a test's PostgreSQL server that counts the answers of the server, and cuts the connection,
//! withholds an answer, or falls silent at a chosen one. An answer is all messages to a statement, or to a client that
//! connects: with a part of them a client can do no more than without them.

use std::io::{self, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The name of a server's socket in its folder.
const SOCKET: &str = ".s.PGSQL.5432";
/// First words of a client that asks for encryption before it begins.
const ASKS_FOR_ENCRYPTION: [u32; 2] = [80_877_103, 80_877_104];
/// The type of the message that ends an answer.
const READY: u8 = b'Z';
/// The type of a message that somebody has sent to all who listen.
const NOTIFICATION: u8 = b'A';

/// What happens, once, at an answer of the server. The answers on all connections are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Never,
    /// The connection breaks when this one is delivered.
    After(usize),
    /// This one is not delivered, although the server has done its work; then the connection breaks.
    Answer(usize),
    /// From this one on nothing passes on any connection, in either direction, until [`Cutting::end`].
    Silence(usize),
}

/// The running proxy; it stops when dropped.
pub(crate) struct Cutting {
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
}

struct Shared {
    server: PathBuf,
    state: Mutex<State>,
    moved: Condvar,
}

struct State {
    cut: Cut,
    seen: usize,
    has_cut: bool,
    is_silent: bool,
    is_stopped: bool,
    /// Both ends of every connection.
    open: Vec<UnixStream>,
}

/// What becomes of an answer.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Delivered,
    DeliveredLast,
    Withheld,
    /// The connection has ended meanwhile.
    Ended,
}

impl Cutting {
    /// In front of the server with this address.
    pub(crate) fn start(url: &str) -> Self {
        let (_, rest) = url.split_once('@').expect("a user");
        let server = rest.split('/').next().expect("a folder").replace("%2F", "/");
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join(SOCKET)).expect("a socket");
        let state = State {
            cut: Cut::Never,
            seen: 0,
            has_cut: false,
            is_silent: false,
            is_stopped: false,
            open: Vec::new(),
        };
        let server = PathBuf::from(server).join(SOCKET);
        let shared = Arc::new(Shared { server, state: Mutex::new(state), moved: Condvar::new() });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if serving.lock().is_stopped {
                    return;
                }
                if let Ok(client) = client {
                    serving.accept(client);
                }
            }
        });
        Self { folder, shared }
    }

    /// The address of a database through it.
    pub(crate) fn url(&self, url: &str) -> String {
        let (user, rest) = url.split_once('@').expect("a user");
        let database = rest.rsplit('/').next().expect("a name");
        format!("{user}@{}/{database}", self.folder.path().to_string_lossy().replace('/', "%2F"))
    }

    /// Counts from the beginning, and does this at the next answer of that number.
    pub(crate) fn arm(&self, cut: Cut) {
        let mut state = self.shared.lock();
        (state.cut, state.seen, state.has_cut) = (cut, 0, false);
    }

    /// The number of answers since the last [`Cutting::arm`].
    pub(crate) fn seen(&self) -> usize {
        self.shared.lock().seen
    }

    /// Whether the chosen answer has come.
    pub(crate) fn has_cut(&self) -> bool {
        self.shared.lock().has_cut
    }

    /// Ends silence: every connection breaks, and new ones work.
    pub(crate) fn end(&self) {
        let mut state = self.shared.lock();
        (state.is_silent, state.cut) = (false, Cut::Never);
        for stream in state.open.drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
        drop(state);
        self.shared.moved.notify_all();
    }
}

impl Drop for Cutting {
    fn drop(&mut self) {
        self.shared.lock().is_stopped = true;
        self.end();
        // Wakes the accepting thread.
        drop(UnixStream::connect(self.folder.path().join(SOCKET)));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves a connection in two threads.
    fn accept(self: &Arc<Self>, client: UnixStream) {
        let Ok(server) = UnixStream::connect(&self.server) else { return };
        let again = |stream: &UnixStream| stream.try_clone().expect("a second handle");
        self.lock().open.extend([again(&client), again(&server)]);
        let (asking, answered) = (again(&client), again(&server));
        let shared = Arc::clone(self);
        thread::spawn(move || {
            drop(shared.questions(&asking, &server));
            end(&asking, &server);
        });
        let shared = Arc::clone(self);
        thread::spawn(move || {
            drop(shared.answers(&answered, &client));
            end(&answered, &client);
        });
    }

    /// From the client to the server.
    fn questions(&self, mut client: &UnixStream, mut server: &UnixStream) -> io::Result<()> {
        // The first message has no type; encryption is refused.
        loop {
            let mut head = [0; 8];
            client.read_exact(&mut head)?;
            let word = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
            if ASKS_FOR_ENCRYPTION.contains(&word) {
                client.write_all(b"N")?;
                continue;
            }
            self.until_not_silent();
            server.write_all(&head)?;
            break;
        }
        let mut buffer = [0; 16 << 10];
        loop {
            match client.read(&mut buffer)? {
                0 => return Ok(()),
                n if self.until_not_silent() => server.write_all(&buffer[..n])?,
                _ => return Ok(()),
            }
        }
    }

    /// From the server to the client.
    fn answers(&self, server: &UnixStream, mut client: &UnixStream) -> io::Result<()> {
        let mut server = BufReader::new(server);
        // Of the answer that is under way.
        let mut fate = None;
        loop {
            // The type, and the length with itself.
            let mut message = vec![0; 5];
            server.read_exact(&mut message)?;
            let length = u32::from_be_bytes([message[1], message[2], message[3], message[4]]);
            message.resize(1 + usize::try_from(length).expect("small"), 0);
            server.read_exact(&mut message[5..])?;
            // What the server sends unasked belongs to no answer.
            if message[0] == NOTIFICATION && fate.is_none() {
                client.write_all(&message)?;
                continue;
            }
            let own = *fate.get_or_insert_with(|| self.fate());
            if own == Fate::Ended {
                return Ok(());
            }
            if own != Fate::Withheld {
                client.write_all(&message)?;
            }
            if message[0] == READY {
                if own != Fate::Delivered {
                    return Ok(());
                }
                fate = None;
            }
        }
    }

    /// Counts an answer of the server.
    fn fate(&self) -> Fate {
        let mut state = self.lock();
        state.seen += 1;
        let fate = match state.cut {
            Cut::After(n) if n == state.seen => Fate::DeliveredLast,
            Cut::Answer(n) if n == state.seen => Fate::Withheld,
            Cut::Silence(n) if n == state.seen => {
                state.is_silent = true;
                Fate::Ended
            }
            _ => Fate::Delivered,
        };
        state.has_cut |= fate != Fate::Delivered;
        drop(state);
        if self.until_not_silent() { fate } else { Fate::Ended }
    }

    /// Waits while the proxy is silent; false: it was, and the connection has ended.
    fn until_not_silent(&self) -> bool {
        let state = self.lock();
        let was_silent = state.is_silent;
        drop(self.moved.wait_while(state, |state| state.is_silent));
        !was_silent
    }
}

fn end(one: &UnixStream, other: &UnixStream) {
    drop(one.shutdown(Shutdown::Both));
    drop(other.shutdown(Shutdown::Both));
}
