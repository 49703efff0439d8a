//! A real OCI registry (Debian's `docker-registry`) on a loopback port, and pushing to it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Client, Method};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// A user of a registry with a login, and its password.
pub(crate) const USER: &str = "ann";
pub(crate) const PASSWORD: &str = "correct horse";

/// The password as `htpasswd -B` writes it.
const HTPASSWD: &str = "ann:$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n";

/// A running registry; it stops when dropped.
pub(crate) struct Registry {
    child: Child,
    pub(crate) host: String,
    login: bool,
    _folder: tempfile::TempDir,
}

impl Registry {
    /// Starts one; none, with a word of it, where this machine has no `docker-registry`.
    pub(crate) fn start(login: bool) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        let mut config = format!(
            "version: 0.1\nlog: {{ level: info, formatter: json }}\nhttp: {{ addr: '127.0.0.1:0' }}\n\
             storage: {{ filesystem: {{ rootdirectory: '{}' }} }}\n",
            at("data").display()
        );
        if login {
            std::fs::write(at("htpasswd"), HTPASSWD).expect("a file");
            config.push_str(&format!(
                "auth: {{ htpasswd: {{ realm: tests, path: '{}' }} }}\n",
                at("htpasswd").display()
            ));
        }
        std::fs::write(at("config.yml"), config).expect("a file");
        let started = Command::new("docker-registry")
            .arg("serve")
            .arg(at("config.yml"))
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = started else {
            // Not captured by the test harness: a skipped test must not look like a passed one.
            drop(writeln!(
                std::io::stderr(),
                "skipped: there is no `docker-registry` (Debian: docker-registry)"
            ));
            return None;
        };
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let mut host = None;
        let mut line = String::new();
        while host.is_none() && log.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            host = line.split_once("listening on ").map(|(_, rest)| {
                rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect()
            });
            line.clear();
        }
        // The rest of the log must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Some(Self { child, host: host.expect("it listens"), login, _folder: folder })
    }

    /// Stores a component under `NAME:TAG`.
    pub(crate) fn push(&self, name: &str, tag: &str, component: &[u8]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            drop(rustls::crypto::ring::default_provider().install_default());
            let client = Client::builder().no_proxy().build().expect("a client");
            let config = self.blob(&client, name, b"{}").await;
            let layer = self.blob(&client, name, component).await;
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": { "mediaType": "application/vnd.wasm.config.v0+json", "digest": config, "size": 2 },
                "layers": [{ "mediaType": "application/wasm", "digest": layer, "size": component.len() }],
            });
            let url = format!("http://{}/v2/{name}/manifests/{tag}", self.host);
            let put = self.request(&client, Method::PUT, &url).body(manifest.to_string());
            let put = put.header(CONTENT_TYPE, "application/vnd.oci.image.manifest.v1+json");
            let answer = put.send().await.expect("an answer");
            assert_eq!(answer.status(), 201, "{:?}", answer.text().await);
        });
    }

    async fn blob(&self, client: &Client, name: &str, bytes: &[u8]) -> String {
        let url = format!("http://{}/v2/{name}/blobs/uploads/", self.host);
        let begun = self.request(client, Method::POST, &url).send().await.expect("an answer");
        let location = begun.headers()[LOCATION].to_str().expect("text").to_owned();
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
        let mark = if location.contains('?') { '&' } else { '?' };
        let put = self.request(client, Method::PUT, &format!("{location}{mark}digest={digest}"));
        let answer = put.body(bytes.to_vec()).send().await.expect("an answer");
        assert_eq!(answer.status(), 201, "{:?}", answer.text().await);
        digest
    }

    fn request(&self, client: &Client, method: Method, url: &str) -> reqwest::RequestBuilder {
        let request = client.request(method, url);
        if self.login { request.basic_auth(USER, Some(PASSWORD)) } else { request }
    }

    /// The folder of the program's own cache in a world.
    pub(crate) fn cache(root: &Path) -> std::path::PathBuf {
        root.join(".cache/reposync/components/downloads")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
