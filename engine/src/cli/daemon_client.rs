//! A client of the daemon that serves a ledger on this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Client, RequestBuilder};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use crate::config::Api;
use crate::daemon::{ApiToken, DaemonRecord};
use crate::model::Secret;
use crate::net::install_tls_provider;

/// Maximum response in bytes: every problem of a file with some hundreds of projects.
pub(super) const LONGEST_ANSWER: usize = 4 << 20;

/// Time-out of a response. A reload may compile components.
const ANSWER: Duration = Duration::from_secs(120);

/// Sends requests to the daemon with the token of the file, or the daemon's generated token.
pub(super) struct DaemonClient {
    http: Client,
    address: SocketAddr,
    scheme: &'static str,
    /// `[api] token`.
    token: Option<Secret>,
    /// The path of the ledger; the daemon's generated token is stored next to it.
    state: PathBuf,
}

impl DaemonClient {
    /// A client of the daemon that wrote the record. `api` is from the file, as far as it could be
    /// read. With TLS the daemon must present the certificate of `[api] tls_cert`: it is addressed
    /// by IP, which certificates do not name.
    pub(super) fn new(api: Option<&Api>, record: &DaemonRecord) -> anyhow::Result<Self> {
        let mut address = record.api.listen;
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        install_tls_provider();
        // The daemon is on this machine, so no proxy applies.
        let mut builder = Client::builder().no_proxy().timeout(ANSWER);
        if record.api.tls {
            let tls = api.and_then(|api| api.tls.as_ref());
            let tls =
                tls.context("the daemon speaks TLS, but the file has no `[api] tls_cert`; restart it")?;
            builder = builder.tls_backend_preconfigured(pinned(&tls.cert)?);
        }
        let scheme = if record.api.tls { "https" } else { "http" };
        let token = api.and_then(|api| api.token.clone());
        Ok(Self { http: builder.build()?, address, scheme, token, state: record.state.local().to_owned() })
    }

    /// The address that requests are sent to.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A GET request without the token.
    pub(super) fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(self.url(path))
    }

    /// A POST request with the token.
    pub(super) fn post(&self, path: &str) -> RequestBuilder {
        self.authorized(self.http.post(self.url(path)))
    }

    /// A GET request with the token.
    pub(super) fn get_authorized(&self, path: &str) -> RequestBuilder {
        self.authorized(self.http.get(self.url(path)))
    }

    /// The address of a path of the daemon.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match self.token.clone().or_else(|| self.own_token()) {
            Some(token) => request.bearer_auth(token.expose()),
            // The daemon's error response says which token it expects.
            None => request,
        }
    }

    /// The daemon's generated token. Read for each request, since the daemon may create it between
    /// retries.
    fn own_token(&self) -> Option<Secret> {
        ApiToken::read(&self.state).unwrap_or_else(|error| {
            let file = ApiToken::path(&self.state);
            tracing::warn!(file = %file.display(), %error, "cannot read the daemon's token");
            None
        })
    }
}

/// A TLS configuration that accepts only the first certificate of the file.
fn pinned(cert: &Path) -> anyhow::Result<ClientConfig> {
    let expected = CertificateDer::from_pem_file(cert)
        .with_context(|| format!("failed to read `{}` of `[api] tls_cert`", cert.display()))?;
    let provider = Arc::new(crypto::ring::default_provider());
    let verifier = Pinned { expected, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

/// Accepts a single certificate regardless of its names. The handshake proves that the server has
/// its key.
#[derive(Debug)]
struct Pinned {
    expected: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *end_entity == self.expected {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::General("the server's certificate is not that of `[api] tls_cert`".into()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
