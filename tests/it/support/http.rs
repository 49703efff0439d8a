//! A small HTTP/1.1 server on a loopback port that can also misbehave, which a proper one cannot.
//! It has threads of its own, so that it serves any test, with or without a runtime. Knows no service.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// One request, read whole.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The first header of a name (in lower case).
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_str())
    }

    /// The value of a query parameter, decoded.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let query = self.query.as_deref()?.as_bytes();
        url::form_urlencoded::parse(query).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// One answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// An answer of a status, without body.
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// A JSON answer.
    pub(crate) fn json(status: u16, value: &serde_json::Value) -> Self {
        let body = value.to_string().into_bytes();
        Self { status, body, ..Self::default() }.with("content-type", "application/json; charset=utf-8")
    }

    /// With a header.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The first header of a name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_str())
    }
}

/// What happens on the wire.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// An answer.
    Answer(Response),
    /// Half of an answer's body, then the connection ends.
    Half(Response),
    /// The connection ends without an answer.
    Reset,
    /// Nothing ever comes.
    Hang,
}

/// A running server; it stops when dropped.
pub(crate) struct Server {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl Server {
    /// Starts a server on a free loopback port.
    pub(crate) fn start(handle: impl Fn(Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let address = listener.local_addr().expect("bound");
        let stopped = Arc::new(AtomicBool::new(false));
        let (handle, stop) = (Arc::new(handle), Arc::clone(&stopped));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (handle, stop) = (Arc::clone(&handle), Arc::clone(&stop));
                std::thread::spawn(move || serve(stream, &*handle, &stop));
            }
        });
        Self { address, stopped }
    }

    /// Its address: `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the accepting thread.
        drop(TcpStream::connect(self.address));
    }
}

/// Serves one connection until it ends; an error is the client's going away.
fn serve(stream: TcpStream, handle: &dyn Fn(Request) -> Reply, stopped: &AtomicBool) {
    let Ok(reading) = stream.try_clone() else { return };
    let mut reader = BufReader::new(reading);
    let mut writer = stream;
    while let Some(request) = read_request(&mut reader) {
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        let bodiless = request.method == "HEAD";
        let sent = match handle(request) {
            Reply::Answer(response) => write_response(&mut writer, &response, bodiless, usize::MAX),
            Reply::Half(response) => {
                let half = response.body.len() / 2;
                drop(write_response(&mut writer, &response, bodiless, half));
                break;
            }
            Reply::Reset => break,
            Reply::Hang => {
                while !stopped.load(Ordering::Relaxed) && still_open(&writer) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                break;
            }
        };
        if sent.is_err() {
            break;
        }
    }
    drop(writer.shutdown(Shutdown::Both));
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
    let mut head = vec![format!("HTTP/1.1 {} X", response.status)];
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
