//! The API with TLS: it uses the certificate of the configuration, and requests without TLS fail.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::daemon::{Answer, Daemon, answer, answer_from};
use crate::support::local::{Local, project};

/// A certificate for `localhost`, its key, and the authority that signed it.
fn file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/run/tls");
    std::fs::read_to_string(folder.join(name)).expect("a PEM file")
}

const TLS: &str = "[api]\nlisten = \"127.0.0.1:0\"\nprobe_listen = \"127.0.0.1:0\"\ntoken = \"correct horse\"\n\
                   tls_cert = \"tls/cert.pem\"\ntls_key = \"tls/key.pem\"\n";

fn local() -> Local {
    let local = Local::new();
    local.world.write("tls/cert.pem", file("localhost.pem"));
    local.world.write("tls/key.pem", file("localhost.key.pem"));
    local.config(&project(TLS));
    local
}

/// GET as a client that trusts the authority.
fn get(daemon: &Daemon, path: &str) -> Answer {
    let authority = CertificateDer::from_pem_slice(file("authority.pem").as_bytes()).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(authority).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let session = ClientConnection::new(Arc::new(config), name).expect("a session");
    let mut stream = StreamOwned::new(session, daemon.connect());
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer correct horse\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    answer_from(&mut stream)
}

#[test]
fn the_api_and_reload_speak_tls_and_a_renewed_certificate_is_taken_up() {
    let local = local();
    let daemon = Daemon::start(&local.world);
    assert_eq!(get(&daemon, "/projects").is(200).json()["projects"][0]["project"], "docs");
    // Without TLS only the probe listener answers.
    let mut plain: TcpStream = daemon.half("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(answer(&mut plain).status, 0);
    daemon.probe("/health").is(200);
    // The command line connects by address, which the certificate does not name.
    local.world.ok(&["reload"]);
    // Replacing only one file changes nothing; with both, the daemon uses them without a restart.
    local.world.write("tls/cert.pem", "not yet");
    get(&daemon, "/health").is(200);
    local.world.write("tls/cert.pem", format!("# renewed\n{}", file("localhost.pem")));
    get(&daemon, "/health").is(200);
    let log = daemon.program.stderr();
    assert!(log.contains("not usable") && log.contains("read the changed TLS certificate"), "{log}");
    daemon.stop().exits(0);
}

#[test]
fn an_unusable_certificate_is_reported_before_the_daemon_starts() {
    let local = local();
    local.world.write("tls/key.pem", file("localhost.pem"));
    let ran = local.world.run(&["daemon"]).exits(1);
    assert!(ran.stderr.contains("tls/key.pem") && ran.stderr.contains("`[api] tls_key`"), "{}", ran.stderr);
    assert!(!local.world.path(".reposync/state.db").exists());
}
