//! Repeated `/health` requests as a probe sends them: without a token, each over a new connection, from
//! a plain thread, so that no async runtime adds to the measured time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Pause between two requests.
const PAUSE: Duration = Duration::from_millis(5);

/// Probes until it is stopped.
pub(crate) struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Probe {
    /// Starts probing the daemon at this address (`host:port`).
    pub(crate) fn start(address: &str) -> Self {
        let (address, stop) = (address.to_owned(), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut times = Vec::new();
            while !told.load(Ordering::Relaxed) {
                times.push(ask(&address));
                thread::sleep(PAUSE);
            }
            times
        });
        Self { stop, thread }
    }

    /// The time of each answer, from connecting to its last byte.
    pub(crate) fn stop(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the daemon answers")
    }
}

fn ask(address: &str) -> Duration {
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).expect("the daemon listens");
    let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    began.elapsed()
}
