//! A small HTTP/1.1 server on a loopback port for fakes of services: it records every exchange and can
//! fail as networks and services do, which a regular server cannot. It uses threads, so it works with
//! or without an async runtime. It contains nothing specific to a service.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

/// One request, read whole.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Still percent-encoded, without the query.
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The first header of a name (in lower case).
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }

    /// The query's parameters, decoded.
    pub(crate) fn parameters(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.query.as_deref().unwrap_or("").as_bytes()).into_owned().collect()
    }

    /// The first parameter of a name.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.parameters().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Path and query.
    pub(crate) fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// The body; null if it is not JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The whole request, to search for a text.
    pub(crate) fn everything(&self) -> String {
        format!("{} {:?} {}", self.target(), self.headers, String::from_utf8_lossy(&self.body))
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// An answer without body.
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// An answer with a body of this type.
    pub(crate) fn of(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into(), ..Self::default() }.with("content-type", content_type)
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::of(status, "application/json; charset=utf-8", body.to_string())
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self::of(status, "text/plain; charset=utf-8", body)
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The first header of a name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }

    pub(crate) fn content_type(&self) -> &str {
        self.header("content-type").unwrap_or_default()
    }
}

fn first<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_str())
}

/// How a call fails.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The call succeeds. Placeholder, so that a later call fails.
    None,
    /// This answer instead of the service's; the handler does not run.
    Answer(Response),
    /// The connection is closed without an answer; the handler does not run.
    Reset,
    /// There is never an answer; the handler does not run.
    Hang,
    /// The handler runs and the answer is sent once the gate is open.
    Gate(Gate),
    /// The handler runs, and the connection breaks in the middle of the answer's body.
    Truncated,
    /// The handler runs, and the connection breaks before the answer.
    AnswerLost,
    /// The handler runs, and there is never an answer.
    AnswerHeld,
    /// A success whose body announces a terabyte, and begins; nothing is done.
    Terabyte,
}

impl Fault {
    /// A status with a short text.
    pub(crate) fn status(status: u16) -> Self {
        Self::Answer(Response::text(status, "a fault of the fake"))
    }

    /// An HTML page with status 200, as a proxy sends it.
    pub(crate) fn html() -> Self {
        Self::Answer(Response::of(200, "text/html", "<html><body>Please log in</body></html>"))
    }

    /// Adds a header.
    pub(crate) fn with(self, name: &str, value: impl Into<String>) -> Self {
        match self {
            Self::Answer(response) => Self::Answer(response.with(name, value)),
            other => other,
        }
    }
}

/// Blocks calls until a test opens it. Clones are the same gate.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Debug, Default)]
struct GateState {
    reached: bool,
    open: bool,
}

impl Gate {
    /// Waits until a call is blocked at the gate.
    #[track_caller]
    pub(crate) fn until_reached(&self) {
        let (state, moved) = &*self.0;
        let patience = Duration::from_secs(60);
        let (state, _) =
            moved.wait_timeout_while(locked(state), patience, |it| !it.reached).expect("not poisoned");
        assert!(state.reached, "no call has reached the gate");
    }

    /// Opens the gate for blocked and future calls.
    pub(crate) fn open(&self) {
        locked(&self.0.0).open = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let (state, moved) = &*self.0;
        let mut state = locked(state);
        state.reached = true;
        moved.notify_all();
        drop(moved.wait_while(state, |it| !it.open).expect("not poisoned"));
    }
}

/// A request and its outcome.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) request: Request,
    /// The status; `None` if no complete answer was sent.
    pub(crate) status: Option<u16>,
}

impl Deref for Exchange {
    type Target = Request;

    fn deref(&self) -> &Request {
        &self.request
    }
}

/// A running server; it stops when dropped.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

type Handler = dyn Fn(&Request) -> Response + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    seen: Mutex<Vec<Exchange>>,
    /// A part of `METHOD path`, the remaining number of such calls to fail, and how.
    faults: Mutex<Vec<(String, usize, Fault)>>,
    stopped: AtomicBool,
    /// The number of requests in progress, and its maximum.
    at_once: Mutex<(usize, usize)>,
}

impl Server {
    /// Starts a server on a free loopback port; `handler` answers.
    pub(crate) fn start(handler: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            seen: Mutex::default(),
            faults: Mutex::default(),
            stopped: AtomicBool::new(false),
            at_once: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    /// A server that accepts every request and never answers.
    pub(crate) fn silent() -> Self {
        let server = Self::start(|_| Response::status(500));
        server.fail_times("", usize::MAX, Fault::Hang);
        server
    }

    /// Its address: `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes the next call whose `METHOD path` contains `on` fail. Faults are used up in order.
    pub(crate) fn fail(&self, on: &str, fault: Fault) {
        self.fail_times(on, 1, fault);
    }

    /// The same for `times` calls; `usize::MAX`: until [`Server::heal`].
    pub(crate) fn fail_times(&self, on: &str, times: usize, fault: Fault) {
        locked(&self.shared.faults).push((on.to_owned(), times, fault));
    }

    /// Removes all faults.
    pub(crate) fn heal(&self) {
        locked(&self.shared.faults).clear();
    }

    /// Number of calls that are still to fail.
    pub(crate) fn faults_left(&self) -> usize {
        locked(&self.shared.faults).iter().map(|(_, times, _)| times).sum()
    }

    /// Number of requests that are being answered, which includes those at a closed gate.
    pub(crate) fn at_once(&self) -> usize {
        locked(&self.shared.at_once).0
    }

    /// The highest number of requests at once.
    pub(crate) fn most_at_once(&self) -> usize {
        locked(&self.shared.at_once).1
    }

    /// All requests until now.
    pub(crate) fn requests(&self) -> Vec<Exchange> {
        locked(&self.shared.seen).clone()
    }

    /// The requests since the last call.
    pub(crate) fn take_requests(&self) -> Vec<Exchange> {
        std::mem::take(&mut *locked(&self.shared.seen))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the accepting thread.
        drop(TcpStream::connect(self.address));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much of an answer is sent before the connection is closed.
enum Reply {
    Whole(Response),
    Half(Response),
    Nothing,
    Never,
    Terabyte,
}

impl Shared {
    /// Serves one connection until it ends; an error means that the client disconnected.
    fn serve(&self, mut stream: TcpStream) {
        let Ok(reading) = stream.try_clone() else { return };
        let _delayed = stream.set_nodelay(true);
        let mut reader = BufReader::new(reading);
        while let Some(request) = read_request(&mut reader) {
            if self.stopped.load(Ordering::Relaxed) {
                break;
            }
            let bodiless = request.method == "HEAD";
            self.begin();
            let reply = self.reply(&request);
            locked(&self.at_once).0 -= 1;
            let status = match &reply {
                Reply::Whole(response) => Some(response.status),
                _ => None,
            };
            locked(&self.seen).push(Exchange { request, status });
            let sent = match reply {
                Reply::Whole(response) => write_response(&mut stream, &response, bodiless, usize::MAX),
                Reply::Half(response) => {
                    drop(write_response(&mut stream, &response, bodiless, response.body.len() / 2));
                    break;
                }
                Reply::Nothing => break,
                Reply::Terabyte => {
                    let head = format!("HTTP/1.1 200 Fake\r\ncontent-length: {}\r\n\r\n[", 1_u64 << 40);
                    drop(stream.write_all(head.as_bytes()));
                    break;
                }
                Reply::Never => {
                    while !self.stopped.load(Ordering::Relaxed) && still_open(&stream) {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    break;
                }
            };
            if sent.is_err() {
                break;
            }
        }
        drop(stream.shutdown(Shutdown::Both));
    }

    fn begin(&self) {
        let mut at_once = locked(&self.at_once);
        at_once.0 += 1;
        at_once.1 = at_once.1.max(at_once.0);
    }

    fn reply(&self, request: &Request) -> Reply {
        let answer = || (self.handler)(request);
        match self.fault(request) {
            Fault::None => Reply::Whole(answer()),
            Fault::Answer(response) => Reply::Whole(response),
            Fault::Reset => Reply::Nothing,
            Fault::Hang => Reply::Never,
            Fault::Gate(gate) => {
                gate.pass();
                Reply::Whole(answer())
            }
            Fault::Truncated => Reply::Half(answer()),
            Fault::AnswerLost => {
                answer();
                Reply::Nothing
            }
            Fault::AnswerHeld => {
                answer();
                Reply::Never
            }
            Fault::Terabyte => Reply::Terabyte,
        }
    }

    fn fault(&self, request: &Request) -> Fault {
        let what = format!("{} {}", request.method, request.path);
        let mut faults = locked(&self.faults);
        let Some(at) = faults.iter().position(|(on, _, _)| what.contains(on.as_str())) else {
            return Fault::None;
        };
        let fault = faults[at].2.clone();
        match faults[at].1 {
            usize::MAX => {}
            2.. => faults[at].1 -= 1,
            _ => drop(faults.remove(at)),
        }
        fault
    }
}

fn still_open(stream: &TcpStream) -> bool {
    let mut byte = [0];
    if stream.set_nonblocking(true).is_err() {
        return false;
    }
    match stream.peek(&mut byte) {
        Ok(n) => n > 0,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (target, None),
    };
    let mut request = Request { method, path, query, headers, body: Vec::new() };
    if let Some(length) = request.header("content-length") {
        let mut body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        request.body = body;
    } else if request.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            if size == 0 {
                break;
            }
            request.body.extend_from_slice(&chunk[..size]);
        }
    }
    Some(request)
}

fn write_response(
    writer: &mut TcpStream,
    response: &Response,
    bodiless: bool,
    most: usize,
) -> std::io::Result<()> {
    let mut head = vec![format!("HTTP/1.1 {} Fake", response.status)];
    head.extend(response.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    let bodiless = bodiless || response.status == 304 || response.status == 204;
    if !bodiless {
        head.push(format!("content-length: {}", response.body.len()));
    }
    let mut bytes = (head.join("\r\n") + "\r\n\r\n").into_bytes();
    if !bodiless {
        bytes.extend_from_slice(&response.body[..response.body.len().min(most)]);
    }
    writer.write_all(&bytes)?;
    writer.flush()
}
