//! A small HTTP/1.1 server that fakes of services are built on: it records every request and can
//! be told to fail the way networks and services do. Knows no service.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Still percent-encoded, without the query.
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_str())
    }

    /// The query's parameters, decoded.
    pub(crate) fn parameters(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.query.as_deref().unwrap_or("").as_bytes()).into_owned().collect()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// What a fake answers.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::of(status, "application/json", body.to_string().into_bytes())
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self::of(status, "text/plain; charset=utf-8", body.as_bytes().to_vec())
    }

    pub(crate) fn of(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        Self { status, headers: vec![("content-type".into(), content_type.into())], body }
    }

    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn content_type(&self) -> &str {
        self.headers.iter().find(|(name, _)| name == "content-type").map_or("", |(_, value)| value)
    }
}

/// How a call fails.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It does not: counts off a call, so that a later one fails.
    None,
    /// This answer instead of the service's; nothing is done.
    Instead(Answer),
    /// The connection is closed without an answer; nothing is done.
    Reset,
    /// Never an answer; nothing is done.
    Hang,
    /// It is done, and the connection breaks in the middle of the answer.
    Truncated,
    /// It is done, and the connection breaks before the answer.
    AnswerLost,
    /// It is done, and never answered.
    AnswerHeld,
}

impl Fault {
    /// A status with a short text, and a `Retry-After` where one is given.
    pub(crate) fn status(status: u16, retry_after: Option<&str>) -> Self {
        let answer = Answer::text(status, "the fake was told to fail");
        Self::Instead(match retry_after {
            Some(seconds) => answer.with_header("retry-after", seconds),
            None => answer,
        })
    }

    /// A page with status 200, as a proxy would send it.
    pub(crate) fn html() -> Self {
        Self::Instead(Answer::of(200, "text/html", b"<html><body>please log in</body></html>".to_vec()))
    }
}

type Handler = dyn Fn(&Seen) -> Answer + Send + Sync;

/// The server; it ends when this is dropped.
pub(crate) struct Server {
    /// `http://127.0.0.1:PORT`
    pub(crate) url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    handler: Box<Handler>,
    seen: Mutex<Vec<Seen>>,
    /// A part of the path, and how the next call to such a path fails.
    faults: Mutex<VecDeque<(String, Fault)>>,
}

impl Server {
    /// Starts on a free port; `handler` answers.
    pub(crate) async fn start(handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared =
            Arc::new(Shared { handler: Box::new(handler), seen: Mutex::default(), faults: Mutex::default() });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { url, shared, task }
    }

    /// The next call to a path that contains `path` fails so. Faults are used up in their order.
    pub(crate) fn fail(&self, path: &str, fault: Fault) {
        locked(&self.shared.faults).push_back((path.to_owned(), fault));
    }

    /// Faults that were not met yet.
    pub(crate) fn faults_left(&self) -> usize {
        locked(&self.shared.faults).len()
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        locked(&self.shared.seen).clone()
    }

    /// The requests since the last call of this.
    pub(crate) fn take_requests(&self) -> Vec<Seen> {
        std::mem::take(&mut *locked(&self.shared.seen))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

/// Serves one connection until it ends.
async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await {
        locked(&shared.seen).push(request.clone());
        let fault = {
            let mut faults = locked(&shared.faults);
            let at = faults.iter().position(|(path, _)| request.path.contains(path.as_str()));
            at.and_then(|at| faults.remove(at)).map(|(_, fault)| fault)
        };
        let sent = match fault {
            None | Some(Fault::None) => stream.write_all(&encoded(&(shared.handler)(&request))).await,
            Some(Fault::Instead(answer)) => stream.write_all(&encoded(&answer)).await,
            Some(Fault::Reset) => return,
            Some(Fault::Hang) => return until_closed(&mut stream).await,
            Some(Fault::AnswerHeld) => {
                (shared.handler)(&request);
                return until_closed(&mut stream).await;
            }
            Some(Fault::Truncated) => {
                let mut bytes = encoded(&(shared.handler)(&request));
                bytes.truncate(bytes.len() - 1);
                let _closed = stream.write_all(&bytes).await;
                return;
            }
            Some(Fault::AnswerLost) => {
                (shared.handler)(&request);
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Waits until the client gives up.
async fn until_closed(stream: &mut TcpStream) {
    while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
}

/// None at the end of the connection. What belongs to the next request stays in `buffer`.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?);
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, value)| value.parse().expect("a length"));
    let end = head_end + 4 + length;
    while buffer.len() < end {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer[head_end + 4..end].to_vec();
    buffer.drain(..end);
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (target.to_owned(), None),
    };
    Some(Seen { method, path, query, headers, body })
}

fn encoded(answer: &Answer) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {} Fake\r\ncontent-length: {}\r\n", answer.status, answer.body.len());
    for (name, value) in &answer.headers {
        for part in [name, ": ", value, "\r\n"] {
            bytes.push_str(part);
        }
    }
    bytes.push_str("\r\n");
    let mut bytes = bytes.into_bytes();
    bytes.extend_from_slice(&answer.body);
    bytes
}
