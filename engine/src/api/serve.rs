//! The listener: bound before anything is begun, so that a taken port is told at once; slow and
//! silent clients are let go. It is served by a thread and a runtime of its own: what runs keep busy
//! is not what answers a probe.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle as Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep};

use super::{App, Metrics, routes};
use crate::daemon::Handle;
use crate::model::{ErrorKind, StageError, StageResult};

/// Connections at once; more wait.
const CONNECTIONS: usize = 512;
/// A request's head takes so long at most, however busily its bytes drip in; so does a connection
/// that is kept for another request and has none.
const HEAD: Duration = Duration::from_secs(30);
/// A connection on which nothing moves for so long is closed. Event streams have a sign of life
/// more often than that.
const SILENCE: Duration = Duration::from_secs(60);
/// What is being answered at the end has so long.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// Questions that read the ledger at once: it answers one at a time, others are on their way.
const LEDGER_READERS: usize = 4;

/// A bound listener.
pub struct Server {
    listener: std::net::TcpListener,
    address: SocketAddr,
}

/// The API while it serves.
pub struct Serving(oneshot::Receiver<io::Result<()>>);

/// Binds the address of `[api] listen`.
pub async fn bind(listen: SocketAddr) -> StageResult<Server> {
    let bound = async {
        // Given back: the runtime that is to serve it is another one.
        let listener = TcpListener::bind(listen).await?.into_std()?;
        let address = listener.local_addr()?;
        io::Result::Ok(Server { listener, address })
    };
    bound.await.map_err(|error| {
        StageError::local("api", format!("cannot listen on {listen}"))
            .caused_by(error)
            .hint("end what listens there, or set another address with `[api] listen`")
    })
}

impl Server {
    /// Where it listens: the port that was given where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to serve, on a thread of its own, until the daemon is about to end. What reads sources,
    /// asks services or computes is left to the runtime that this is called in.
    pub fn start(self, handle: Handle, metrics: Arc<Metrics>) -> StageResult<Serving> {
        let app = App { handle, metrics, listen: self.address, workers: Runtime::current() };
        let serve = move || -> io::Result<()> {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(LEDGER_READERS)
                .thread_name("api-ledger")
                .build()?;
            let served = runtime.block_on(serve(self.listener, app));
            // What the ledger has not answered by now, nobody waits for any more.
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

/// Serves until the daemon is about to end.
async fn serve(listener: std::net::TcpListener, app: App) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let handle = app.handle.clone();
    let router = routes::routes(app);
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = handle.stopping() => break,
            accepted = accept(&listener, &free) => accepted,
        };
        match accepted {
            Ok(stream) => {
                let handle = handle.clone();
                let stopping = async move { handle.stopping().await };
                connections.spawn(answer(stream, router.clone(), stopping));
            }
            Err(error) => {
                // Descriptors run out, or the client is gone: neither ends the API.
                tracing::warn!(%error, "cannot accept a connection");
                sleep(Duration::from_millis(200)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    // Event streams have no end of their own.
    let last = async { while connections.join_next().await.is_some() {} };
    drop(tokio::time::timeout(LAST_ANSWERS, last).await);
    Ok(())
}

/// The next connection, once there is room for it.
async fn accept(listener: &TcpListener, free: &Arc<Semaphore>) -> io::Result<Lively<TcpStream>> {
    let permit = Arc::clone(free).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // Fails on a connection that is gone already, which reading will show.
    drop(stream.set_nodelay(true));
    Ok(Lively::new(stream, permit))
}

/// Answers the requests of a connection; the one in hand is the last when the daemon is to end.
async fn answer<S>(stream: Lively<S>, router: Router, stopping: impl Future<Output = ()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // What goes wrong on a connection is its client's affair.
    tokio::select! {
        ended = connection.as_mut() => drop(ended),
        () = stopping => {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        }
    }
}

/// A connection that ends when nothing moves on it.
struct Lively<S> {
    stream: S,
    silence: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl<S> Lively<S> {
    fn new(stream: S, permit: OwnedSemaphorePermit) -> Self {
        Self { stream, silence: Box::pin(sleep(SILENCE)), _permit: permit }
    }

    /// What came of an attempt to move bytes: progress starts the silence anew, none for too long is
    /// an error.
    fn judge<T>(&mut self, cx: &mut Context<'_>, moved: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            self.silence.as_mut().reset(Instant::now() + SILENCE);
            return moved;
        }
        match self.silence.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lively<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let moved = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.judge(cx, moved)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lively<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, moved)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::body::Bytes;
    use axum::routing::post;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;

    fn connect() -> (DuplexStream, JoinHandle<()>) {
        let (client, server) = duplex(1024);
        let router = Router::new().route("/", post(async |body: Bytes| body.len().to_string()));
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("one");
        (client, tokio::spawn(answer(Lively::new(server, permit), router, pending())))
    }

    /// Sends so many bytes, one in ten seconds; ends early where nobody takes them.
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
}
