//! The listener: bound before anything is begun, so that a taken port is told at once; slow and
//! silent clients are let go.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

use super::{App, Metrics, routes};
use crate::daemon::Handle;
use crate::model::{StageError, StageResult};

/// Connections at once; more wait.
const CONNECTIONS: usize = 512;
/// A connection on which nothing moves for so long is closed. Event streams have a sign of life
/// more often than that.
const SILENCE: Duration = Duration::from_secs(60);
/// What is being answered at the end has so long.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// A bound listener.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

/// Binds the address of `[api] listen`.
pub async fn bind(listen: SocketAddr) -> StageResult<Server> {
    let bound = async {
        let listener = TcpListener::bind(listen).await?;
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

    /// Serves until the daemon is about to end.
    pub async fn serve(self, handle: Handle, metrics: Arc<Metrics>) {
        let app = App { handle: handle.clone(), metrics, listen: self.address };
        let listener = Bounded { listener: self.listener, free: Arc::new(Semaphore::new(CONNECTIONS)) };
        let ending = handle.clone();
        let serving = axum::serve(listener, routes::routes(app))
            .with_graceful_shutdown(async move { ending.stopping().await });
        let overdue = async {
            handle.stopping().await;
            sleep(LAST_ANSWERS).await;
        };
        tokio::select! {
            result = serving => {
                if let Err(error) = result {
                    tracing::error!(%error, "the API ended");
                }
            }
            // Event streams have no end of their own.
            () = overdue => {}
        }
    }
}

/// Accepts so many connections at once.
struct Bounded {
    listener: TcpListener,
    free: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Lively;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Lively, SocketAddr) {
        loop {
            let permit = Arc::clone(&self.free).acquire_owned().await;
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    // Fails on a connection that is gone already, which reading will show.
                    drop(stream.set_nodelay(true));
                    let silence = Box::pin(sleep(SILENCE));
                    return (Lively { stream, silence, _permit: permit.ok() }, address);
                }
                Err(error) => {
                    // Descriptors run out, or the client is gone: neither ends the API.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when nothing moves on it.
struct Lively {
    stream: TcpStream,
    silence: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Lively {
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

impl AsyncRead for Lively {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let moved = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.judge(cx, moved)
    }
}

impl AsyncWrite for Lively {
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
