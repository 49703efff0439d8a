//! A TCP proxy before a server, which can cut its open connections as proxies and load balancers do.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A running proxy. It ends with the process of the tests.
pub(crate) struct Relay {
    address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    /// Starts one before a server.
    pub(crate) fn of(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let address = listener.local_addr().expect("bound");
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let connections = Arc::clone(&open);
        thread::spawn(move || {
            for front in listener.incoming().flatten() {
                let Ok(back) = TcpStream::connect(server) else { continue };
                let copy = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
                locked(&connections).push(copy(&front));
                pass(copy(&front), copy(&back));
                pass(back, front);
            }
        });
        Self { address, open }
    }

    /// The address at which clients reach the server.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all open connections.
    pub(crate) fn cut(&self) {
        for stream in locked(&self.open).drain(..) {
            // It may have ended before.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

/// Copies what arrives on a connection to another one until the first one ends.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        drop(io::copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Both));
    });
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
