//! The listeners: bound before any work starts, so that a port in use is reported at once. One thread with a
//! separate runtime serves them, so that runs do not delay probes.

mod connections;
mod exchange;
mod lively;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle as Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{App, Metrics, probe, routes};
use crate::daemon::{Handle, Listening};
use crate::model::{ErrorKind, StageError, StageResult};
use connections::{Connections, Guest, Limits};
use lively::Lively;
use tls::Tls;

pub(super) use connections::Caller;
pub use tls::TlsFiles;

/// Connections of `[api] listen` without an authorized request.
const LIMITS: Limits = Limits { per_address: 32, in_all: 512 };
/// Connections of `[api] probe_listen`.
const PROBE_LIMITS: Limits = Limits { per_address: 32, in_all: 128 };
/// Time for the head of a request, for a TLS handshake, and for an idle connection to send another
/// request.
const HEAD: Duration = Duration::from_secs(10);
/// Bytes of a request's head, and of what is read ahead of a body.
const BUFFER: usize = 64 << 10;
/// Time for answers that are under way when the daemon ends.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// Pause after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(200);
/// Threads for questions that read the ledger, which answers one at a time.
const LEDGER_READERS: usize = 4;

/// Where and how the API is served.
#[derive(Debug, Clone)]
pub struct Listen {
    /// `[api] listen`.
    pub listen: SocketAddr,
    /// `[api] probe_listen`.
    pub probe: Option<SocketAddr>,
    /// `[api] tls_cert` and `tls_key`; none: plain HTTP.
    pub tls: Option<TlsFiles>,
}

/// The bound listeners.
pub struct Server {
    listener: std::net::TcpListener,
    probe: Option<std::net::TcpListener>,
    tls: Option<Tls>,
    listening: Listening,
}

/// The API while it serves.
pub struct Serving(oneshot::Receiver<io::Result<()>>);

/// Binds the addresses and reads the certificate.
pub async fn bind(listen: Listen) -> StageResult<Server> {
    let tls = listen.tls.map(Tls::open).transpose()?;
    let (listener, address) = bind_one("listen", listen.listen).await?;
    let (probe, probe_address) = match listen.probe {
        Some(probe) => {
            let (listener, address) = bind_one("probe_listen", probe).await?;
            (Some(listener), Some(address))
        }
        None => (None, None),
    };
    let listening = Listening { listen: address, probe: probe_address, tls: tls.is_some() };
    Ok(Server { listener, probe, tls, listening })
}

async fn bind_one(key: &str, listen: SocketAddr) -> StageResult<(std::net::TcpListener, SocketAddr)> {
    let bound = async {
        // Taken out of this runtime: another one serves it.
        let listener = TcpListener::bind(listen).await?.into_std()?;
        let address = listener.local_addr()?;
        io::Result::Ok((listener, address))
    };
    bound.await.map_err(|error| {
        StageError::local("api", format!("cannot listen on {listen}"))
            .caused_by(error)
            .hint(format!("end the program that listens there, or set another address with `[api] {key}`"))
    })
}

impl Server {
    /// Where it listens: the port that was assigned where port 0 was asked for.
    pub fn listening(&self) -> Listening {
        self.listening
    }

    /// Serves on a separate thread until the daemon shuts down. Work that reads sources, calls services or
    /// computes runs on the calling runtime.
    pub fn start(self, handle: Handle, metrics: Arc<Metrics>) -> StageResult<Serving> {
        raise_descriptor_limit();
        let app = App::new(handle.clone(), metrics, self.listening.tls, Runtime::current());
        let serve = move || -> io::Result<()> {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(LEDGER_READERS)
                .thread_name("api-ledger")
                .build()?;
            let served = runtime.block_on(async {
                let probe = async {
                    let Some(listener) = self.probe else { return Ok(()) };
                    let router = probe::routes(app.clone());
                    serve(listener, None, Connections::new(PROBE_LIMITS), router, &handle).await
                };
                let router = routes::routes(app.clone());
                let api = serve(self.listener, self.tls, Connections::new(LIMITS), router, &handle);
                tokio::try_join!(api, probe).map(drop)
            });
            // Ledger calls that are still running have no receiver any more.
            runtime.shutdown_background();
            served
        };
        let (end, ended) = oneshot::channel();
        thread::Builder::new()
            .name("api".into())
            .spawn(move || drop(end.send(serve())))
            .map_err(|error| StageError::local("api", "cannot start a thread").caused_by(error))?;
        Ok(Serving(ended))
    }
}

impl Serving {
    /// Waits for the end: the daemon's, or that of a fault which leaves the daemon deaf.
    pub async fn ended(self) -> StageResult<()> {
        match self.0.await {
            Ok(served) => {
                served.map_err(|error| StageError::local("api", "cannot serve the API").caused_by(error))
            }
            Err(_) => Err(StageError::new("api", ErrorKind::Bug, "the thread of the API panicked")),
        }
    }
}

/// Serves a listener until the daemon is about to end.
async fn serve(
    listener: std::net::TcpListener,
    tls: Option<Tls>,
    connections: Connections,
    router: Router,
    handle: &Handle,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = handle.stopping() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Fails on a connection that is gone already, which reading will show.
                drop(stream.set_nodelay(true));
                let guest = connections.admit(peer.ip());
                let acceptor = tls.as_ref().map(Tls::acceptor);
                let (router, handle) = (router.clone(), handle.clone());
                tasks.spawn(async move { connection(stream, acceptor, guest, router, &handle).await });
                // A head that came with the connection is read before the next newcomer.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                // Descriptors run out, or the client is gone: neither ends the API.
                tracing::warn!(%error, "cannot accept a connection");
                connections.shed();
                sleep(PAUSE).await;
            }
        }
        while tasks.try_join_next().is_some() {}
    }
    drop(listener);
    // Event streams have no end of their own.
    let last = async { while tasks.join_next().await.is_some() {} };
    drop(timeout(LAST_ANSWERS, last).await);
    Ok(())
}

/// Serves a connection, behind TLS where there is an acceptor.
async fn connection(
    stream: TcpStream,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    guest: Guest,
    router: Router,
    handle: &Handle,
) {
    let stream = Lively::new(stream);
    let Some(acceptor) = acceptor else {
        return answer(stream, guest, router, handle.stopping()).await;
    };
    let accepted = tokio::select! {
        accepted = timeout(HEAD, acceptor.accept(stream)) => accepted,
        () = guest.closed() => return,
        () = handle.stopping() => return,
    };
    // A handshake that fails or takes too long is the client's affair.
    if let Ok(Ok(stream)) = accepted {
        answer(stream, guest, router, handle.stopping()).await;
    }
}

/// Answers the requests of a connection; the one in hand is the last when the daemon is to end.
async fn answer<S>(stream: S, guest: Guest, router: Router, stopping: impl Future<Output = ()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (leftovers, unread) = mpsc::unbounded_channel();
    let caller = guest.caller().clone();
    let service = service_fn(move |request| exchange::answer(router.clone(), &caller, &leftovers, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection, stopping);
    let discarding = exchange::discard(unread);
    tokio::pin!(discarding);
    let mut is_last = false;
    loop {
        tokio::select! {
            // An error on a connection is its client's affair.
            _ended = connection.as_mut() => return,
            () = discarding.as_mut() => return,
            () = guest.closed() => return,
            () = stopping.as_mut(), if !is_last => {
                is_last = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Raises the soft limit of open files to the hard one: the connections that the API may hold are more
/// than the usual soft limit of 1,024, and runs need descriptors as well.
#[cfg(target_os = "linux")]
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
}

#[cfg(not(target_os = "linux"))]
fn raise_descriptor_limit() {}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::net::Ipv4Addr;

    use axum::body::Bytes;
    use axum::routing::post;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use super::lively::SILENCE;
    use super::*;

    fn connect() -> (DuplexStream, JoinHandle<()>) {
        let (client, server) = duplex(1024);
        let router = Router::new().route("/", post(async |body: Bytes| body.len().to_string()));
        let guest = Connections::new(LIMITS).admit(Ipv4Addr::LOCALHOST.into());
        (client, tokio::spawn(answer(Lively::new(server), guest, router, pending())))
    }

    /// Sends `bytes` bytes, one every ten seconds; ends early if they are not accepted.
    async fn drip(client: &mut DuplexStream, bytes: usize) {
        for _ in 0..bytes {
            if client.write_all(b"x").await.is_err() {
                return;
            }
            sleep(Duration::from_secs(10)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_in_has_its_time() {
        let (mut client, served) = connect();
        let began = Instant::now();
        client.write_all(b"POST / HTTP/1.1\r\nx: ").await.expect("sent");
        drip(&mut client, 100).await;
        served.await.expect("no panic");
        assert!(began.elapsed() < HEAD + Duration::from_secs(20), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_connection_and_progress_does_not() {
        let (mut client, served) = connect();
        client.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n").await.expect("sent");
        drip(&mut client, 9).await;
        let mut answer = vec![0; 512];
        let n = client.read(&mut answer).await.expect("an answer");
        assert!(String::from_utf8_lossy(&answer[..n]).ends_with("\r\n\r\n9"));

        let began = Instant::now();
        client.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n1").await.expect("sent");
        served.await.expect("no panic");
        assert!(began.elapsed() >= SILENCE && began.elapsed() < SILENCE * 2, "{:?}", began.elapsed());
    }

    /// Sends a request whose body is not awaited, and reads what is answered.
    async fn refused(client: &mut DuplexStream, head: &str, body: &[u8]) -> String {
        client.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = vec![0; 4096];
        let n = client.read(&mut answer).await.expect("an answer");
        client.write_all(body).await.expect("what follows is read and thrown away");
        String::from_utf8_lossy(&answer[..n]).into_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_needs_no_body_does_not_wait_for_it() {
        let (mut client, _served) = connect();
        let (head, body) =
            ("POST /none HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n", vec![b'x'; 100_000]);
        let answer = refused(&mut client, head, &body).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        // The connection serves on.
        let answer = refused(&mut client, "GET /none HTTP/1.1\r\nhost: x\r\n\r\n", b"").await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_nobody_needs_has_its_bounds() {
        let (mut client, served) = connect();
        let head = "POST /none HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n";
        let answer = refused(&mut client, head, b"x").await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        served.await.expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_to_make_room_ends() {
        let (mut client, server) = duplex(1024);
        let limits = Limits { per_address: 1, in_all: 1 };
        let connections = Connections::new(limits);
        let guest = connections.admit(Ipv4Addr::LOCALHOST.into());
        let served = tokio::spawn(answer(server, guest, Router::new(), pending()));
        client.write_all(b"GET / HT").await.expect("sent");
        let _newcomer = connections.admit(Ipv4Addr::LOCALHOST.into());
        served.await.expect("no panic");
        assert_eq!(client.read(&mut [0; 8]).await.expect("the end"), 0);
    }
}
