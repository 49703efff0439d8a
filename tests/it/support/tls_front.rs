//! TLS in front of a plain server, with the certificate for `localhost` that an authority of the tests signed.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A running front; it stops when dropped.
pub(crate) struct TlsFront {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

/// The names of the files with the certificate and its key.
pub(crate) const CERTIFICATE: &str = "localhost.pem";
pub(crate) const KEY: &str = "localhost.key.pem";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/run/tls").join(name)
}

/// The content of such a file.
pub(crate) fn pem(name: &str) -> String {
    std::fs::read_to_string(file(name)).expect("a PEM file")
}

impl TlsFront {
    /// Starts one before the server at `http://ADDRESS`.
    pub(crate) fn of(url: &str) -> Self {
        let behind = url.strip_prefix("http://").expect("a plain server").to_owned();
        let chain = CertificateDer::pem_file_iter(file(CERTIFICATE)).expect("a file");
        let chain = chain.collect::<Result<Vec<_>, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_file(file(KEY)).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener =
            runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a loopback port");
        let address = listener.local_addr().expect("bound");
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                tokio::spawn(async move {
                    let Ok(mut front) = acceptor.accept(stream).await else { return };
                    let Ok(mut back) = TcpStream::connect(behind).await else { return };
                    drop(copy_bidirectional(&mut front, &mut back).await);
                });
            }
        });
        Self { address, _runtime: runtime }
    }

    /// `https://localhost:PORT`
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// The authority's certificate, for `SSL_CERT_FILE`.
    pub(crate) fn authority() -> String {
        file("authority.pem").display().to_string()
    }
}
