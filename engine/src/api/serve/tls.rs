//! TLS of the listener: the certificate chain and its key, read again when their files change.

use std::fs::metadata;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::model::{StageError, StageResult};

/// The PEM files of `[api] tls_cert` and `tls_key`.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate chain, the server's own certificate first.
    pub cert: PathBuf,
    /// The private key of the first certificate.
    pub key: PathBuf,
}

/// When a file was last changed, and its size; none where it cannot be read.
type Stamp = Option<(SystemTime, u64)>;

/// The certificate in force.
pub(super) struct Tls {
    files: TlsFiles,
    loaded: Mutex<([Stamp; 2], Arc<ServerConfig>)>,
}

impl Tls {
    /// Reads certificate and key.
    pub(super) fn open(files: TlsFiles) -> StageResult<Self> {
        let loaded = Mutex::new((stamps(&files), read(&files)?));
        Ok(Self { files, loaded })
    }

    /// Accepts one connection with the certificate in force. Files that changed since the last
    /// connection are read first; where they are unusable (one of them is not yet replaced), the
    /// certificate that was read before stays in force.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut loaded = self.loaded.lock();
        let now = stamps(&self.files);
        if loaded.0 != now {
            loaded.0 = now;
            match read(&self.files) {
                Ok(config) => {
                    loaded.1 = config;
                    tracing::info!(cert = %self.files.cert.display(), "read the changed TLS certificate");
                }
                Err(error) => {
                    tracing::warn!(error = %error.one_line(), "the changed TLS certificate is not usable");
                }
            }
        }
        TlsAcceptor::from(Arc::clone(&loaded.1))
    }
}

fn stamps(files: &TlsFiles) -> [Stamp; 2] {
    [&files.cert, &files.key].map(|path| {
        let metadata = metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

fn read(files: &TlsFiles) -> StageResult<Arc<ServerConfig>> {
    let cannot = |key: &str, path: &Path, error: &dyn std::fmt::Display| {
        StageError::local("api", format!("cannot use `{}` of `[api] {key}`: {error}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| cannot("tls_cert", &files.cert, &error))?;
    if chain.is_empty() {
        let error = cannot("tls_cert", &files.cert, &"it holds no certificate");
        return Err(
            error.hint("name a PEM file with the certificate chain, the server's own certificate first")
        );
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| {
        cannot("tls_key", &files.key, &error)
            .hint("name a PEM file with an unencrypted private key (PKCS #8, PKCS #1 or SEC 1)")
    })?;
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|error| {
        cannot("tls_key", &files.key, &error)
            .hint("it must be the private key of the first certificate in `tls_cert`")
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERT: &str = include_str!("../../../../benches/run/tls/localhost.pem");
    const KEY: &str = include_str!("../../../../benches/run/tls/localhost.key.pem");

    fn files(cert: &str, key: &str) -> (tempfile::TempDir, TlsFiles) {
        let folder = tempfile::tempdir().expect("a folder");
        let files = TlsFiles { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        std::fs::write(&files.cert, cert).expect("written");
        std::fs::write(&files.key, key).expect("written");
        (folder, files)
    }

    fn in_force(tls: &Tls) -> Arc<ServerConfig> {
        Arc::clone(tls.acceptor().config())
    }

    #[test]
    fn what_cannot_be_used_names_key_and_file() {
        for (cert, key, named) in
            [("", KEY, "`[api] tls_cert`"), (CERT, "", "`[api] tls_key`"), (CERT, CERT, "`[api] tls_key`")]
        {
            let (_folder, files) = files(cert, key);
            let error = Tls::open(files).err().expect("not usable");
            assert!(error.message.contains(named) && error.message.contains(".pem"), "{error:?}");
        }
    }

    #[test]
    fn changed_files_are_read_again_and_unusable_ones_change_nothing() {
        let (_folder, files) = files(CERT, KEY);
        let tls = Tls::open(files.clone()).expect("usable");
        let first = in_force(&tls);
        assert!(Arc::ptr_eq(&first, &in_force(&tls)), "read once");
        std::fs::write(&files.cert, "half a certificate").expect("written");
        assert!(Arc::ptr_eq(&first, &in_force(&tls)));
        std::fs::write(&files.cert, format!("# renewed\n{CERT}")).expect("written");
        assert!(!Arc::ptr_eq(&first, &in_force(&tls)));
    }
}
