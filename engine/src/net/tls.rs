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

/// The configuration of outgoing connections, with ALPN for HTTP/2 and HTTP/1.1. The system's certificates
/// are read once per process (20 million instructions); the result does not depend on a stage.
pub(super) fn client_config() -> Result<ClientConfig, rustls::Error> {
    static CONFIG: OnceLock<ClientConfig> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    install_tls_provider();
    let mut config = ClientConfig::builder().with_platform_verifier()?.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(CONFIG.get_or_init(|| config).clone())
}
