//! Clients that never finish: webhook deliveries whose body stops, and request heads that stay
//! incomplete.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{Footprint, Process};

/// Announced and sent bytes of each delivery.
const ANNOUNCED: usize = 25 << 20;
const SENT: usize = 24 << 20;
/// How long the clients hold their connections: longer than the daemon waits for a body.
const HELD: Duration = Duration::from_secs(12);
/// Interval between measurements of the daemon's memory.
const PAUSE: Duration = Duration::from_millis(20);

/// The effect of a storm on the daemon.
pub(crate) struct Storm {
    pub(crate) before: Footprint,
    /// Peak resident memory in MiB.
    pub(crate) peak_mib: f64,
    pub(crate) after: Footprint,
    /// Deliveries that were refused, and deliveries that timed out.
    pub(crate) busy: f64,
    pub(crate) timeout: f64,
}

/// Starts all clients at once and measures the daemon until some time after they left.
pub(crate) async fn storm(daemon: &Process, deliveries: usize, heads: usize) -> Storm {
    let before = daemon.footprint();
    let address = daemon.address().to_owned();
    let clients = thread::spawn(move || {
        let began = Instant::now();
        let sending: Vec<_> = (0..deliveries)
            .map(|_| {
                let address = address.clone();
                thread::spawn(move || deliver(&address))
            })
            .collect();
        let half: Vec<_> =
            (0..heads).map(|_| connect(&address, b"GET /health HTTP/1.1\r\nHost: x")).collect();
        let held: Vec<_> = sending.into_iter().map(|client| client.join().expect("a client")).collect();
        thread::sleep(HELD.saturating_sub(began.elapsed()));
        drop((half, held));
    });
    let mut peak_mib = before.resident_mib;
    while !clients.is_finished() {
        peak_mib = peak_mib.max(daemon.footprint().resident_mib);
        tokio::time::sleep(PAUSE).await;
    }
    clients.join().expect("the clients");
    let refused =
        async |outcome| daemon.metric(&format!("reposync_webhooks_total{{outcome=\"{outcome}\"}}")).await;
    let (busy, timeout) = (refused("busy").await, refused("timeout").await);
    Storm { before, peak_mib, after: daemon.footprint(), busy, timeout }
}

fn connect(address: &str, sent: &[u8]) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).expect("the daemon listens");
    stream.write_all(sent).ok()?;
    Some(stream)
}

/// Sends a delivery with a well-formed signature and a body that stops before its end.
fn deliver(address: &str) -> Option<TcpStream> {
    let head = format!(
        "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nX-GitHub-Event: push\r\n\
         X-Hub-Signature-256: sha256={}\r\nContent-Length: {ANNOUNCED}\r\n\r\n",
        "0".repeat(64)
    );
    let mut stream = connect(address, head.as_bytes())?;
    let part = vec![b'x'; 64 << 10];
    for _ in 0..SENT / part.len() {
        // Fails if the daemon refused it.
        stream.write_all(&part).ok()?;
    }
    Some(stream)
}
