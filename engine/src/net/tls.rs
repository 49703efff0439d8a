//! TLS of all outgoing connections: ring, the system's trusted certificates.

use std::sync::{Once, OnceLock};

use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt;

/// Makes ring the process's TLS provider, once.
pub fn install_tls_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that a provider is installed already.
        drop(rustls::crypto::ring::default_provider().install_default());
    });
}

/// The configuration of outgoing HTTP connections, with ALPN for HTTP/2 and HTTP/1.1.
pub(super) fn http_config() -> Result<ClientConfig, rustls::Error> {
    let mut config = client_config()?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The configuration of outgoing connections, without ALPN. The system's certificates are read once per process
/// (20 million instructions); the result does not depend on a stage.
pub(crate) fn client_config() -> Result<ClientConfig, rustls::Error> {
    static CONFIG: OnceLock<ClientConfig> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    install_tls_provider();
    let config = ClientConfig::builder().with_platform_verifier()?.with_no_client_auth();
    Ok(CONFIG.get_or_init(|| config).clone())
}
