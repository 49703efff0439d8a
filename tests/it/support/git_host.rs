//! A host of Git repositories: the real `git http-backend` behind the small server, with basic authentication.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::git_repo::GitRepo;
use super::http::{Exchange, Request, Response, Server};

/// How a host behaves.
#[derive(Debug, Default)]
struct Ways {
    /// `USER:PASSWORD` that it asks for.
    credentials: Option<String>,
    /// It knows the old protocol only.
    old: bool,
}

/// A host; its repositories lie in a temporary folder.
pub(crate) struct GitHost {
    pub(crate) server: Server,
    folder: tempfile::TempDir,
    ways: Arc<Mutex<Ways>>,
}

impl GitHost {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ways = Arc::new(Mutex::new(Ways::default()));
        let (root, asked) = (folder.path().to_owned(), Arc::clone(&ways));
        let server = Server::start(move |request| {
            let ways = asked.lock().unwrap_or_else(PoisonError::into_inner);
            let expected = ways.credentials.as_ref().map(|both| format!("Basic {}", STANDARD.encode(both)));
            if expected.is_some() && request.header("authorization") != expected.as_deref() {
                return Response::text(401, "who are you?").with("www-authenticate", "Basic realm=\"git\"");
            }
            backend(&root, request, ways.old)
        });
        Self { server, folder, ways }
    }

    /// Asks for these credentials from now on.
    pub(crate) fn demand(&self, user: &str, password: &str) {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner).credentials =
            Some(format!("{user}:{password}"));
    }

    /// Speaks the old protocol from now on.
    pub(crate) fn speak_the_old_protocol(&self) {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner).old = true;
    }

    /// An empty repository that leaves out objects on request, as hosts do. What is committed is served at once.
    pub(crate) fn repo(&self, path: &str) -> GitRepo {
        let repo = GitRepo::at(&self.folder.path().join(path));
        repo.git(&["config", "uploadpack.allowFilter", "true"]);
        repo
    }

    /// Where the repositories lie.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// What was asked since the last call.
    pub(crate) fn asked(&self) -> Asked {
        Asked::of(&self.server.take_requests())
    }
}

/// Requests to a host, by what they ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// First requests, which tell what a server can do.
    pub(crate) first: usize,
    /// Lists of references.
    pub(crate) ls_refs: usize,
    /// Packs.
    pub(crate) fetches: usize,
}

impl Asked {
    fn of(requests: &[Exchange]) -> Self {
        let mut asked = Self::default();
        for request in requests {
            let body = String::from_utf8_lossy(&request.body);
            match request.method.as_str() {
                "GET" => asked.first += 1,
                _ if body.contains("command=ls-refs") => asked.ls_refs += 1,
                _ => asked.fetches += 1,
            }
        }
        asked
    }
}

/// Answers a request by the program `git http-backend`, as a web server does through CGI.
fn backend(root: &Path, request: &Request, old: bool) -> Response {
    let mut command = Command::new("git");
    command
        .arg("http-backend")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", percent_encoding::percent_decode_str(&request.path).decode_utf8_lossy().as_ref())
        .env("QUERY_STRING", request.query.as_deref().unwrap_or_default())
        .env("CONTENT_TYPE", request.header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env_remove("GIT_PROTOCOL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(protocol) = request.header("git-protocol").filter(|_| !old) {
        command.env("GIT_PROTOCOL", protocol);
    }
    let mut child = command.spawn().expect("the `git` program");
    let mut input = child.stdin.take().expect("piped");
    let body = request.body.clone();
    let writing = std::thread::spawn(move || drop(input.write_all(&body)));
    let output = child.wait_with_output().expect("it ends").stdout;
    writing.join().expect("no panic");
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").expect("headers");
    let mut response = Response { status: 200, body: output[end + 4..].to_vec(), ..Response::default() };
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").expect("a header");
        match name {
            "Status" => response.status = value[..3].parse().expect("a status"),
            _ => response = response.with(name, value),
        }
    }
    response
}
