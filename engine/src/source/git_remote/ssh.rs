//! Git over ssh, through the program `ssh`.
//!
//! It runs without any configuration of the user or the system: key and host keys are those of the stage, so no
//! agent, no proxy command and no other identity is used. It never asks, so a key needs no passphrase.

use std::path::PathBuf;
use std::process::Stdio;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use url::Url;

use super::pkt::{FLUSH, Pkt, PktReader};
use crate::model::StageError;
use crate::net::{
    CallError, CallFailure, ServiceRequest, Transport, TransportBody, TransportError, host_of, one_line,
};

/// Bytes of what `ssh` says that are kept for an error.
const MOST_SAID: usize = 4096;
/// Bytes read at a time.
const PIECE: usize = 64 << 10;
/// Characters of a server's words in a message.
const WORDS: usize = 300;
/// What servers say of a repository that is not there.
const NOT_FOUND: [&str; 4] =
    ["not found", "could not be found", "does not exist", "does not appear to be a git repository"];

/// Carries requests to `git-upload-pack` on a host. A request without a body is answered with what the server
/// says first; the answer to a request with a body is what the server says to that.
pub(super) struct SshTransport {
    pub(super) stage: String,
    /// The file with the private key.
    pub(super) key: PathBuf,
    /// The file with the keys of hosts.
    pub(super) known_hosts: PathBuf,
}

#[async_trait]
impl Transport for SshTransport {
    async fn send(&self, request: &ServiceRequest) -> Result<http::Response<TransportBody>, TransportError> {
        let mut session = self.start(&request.url)?;
        let Some(first) =
            session.first(request.longest).await.map_err(|error| self.broken(request, error))?
        else {
            let failed = session.failure().await;
            return self.explain(&request.url, failed);
        };
        let body = match &request.body {
            None => {
                session.say(FLUSH).await;
                Full::new(first).map_err(|never| match never {}).boxed_unsync()
            }
            Some(body) => {
                session.say(body).await;
                let (transport, url) = (self.parts(), request.url.clone());
                let pieces = stream::unfold(Some(session), move |session| {
                    let (transport, url) = (transport.parts(), url.clone());
                    async move {
                        let mut session = session?;
                        match session.piece().await {
                            Ok(Some(piece)) => Some((Ok(Frame::data(piece)), Some(session))),
                            Ok(None) => {
                                let failed = session.failure().await;
                                failed.code.filter(|code| *code != 0)?;
                                Some((Err(transport.error(&url, &failed)), None))
                            }
                            Err(_) => Some((Err(TransportError::Unreadable), None)),
                        }
                    }
                });
                StreamBody::new(pieces).boxed_unsync()
            }
        };
        Ok(http::Response::new(body))
    }
}

impl SshTransport {
    fn parts(&self) -> Self {
        Self { stage: self.stage.clone(), key: self.key.clone(), known_hosts: self.known_hosts.clone() }
    }

    fn start(&self, url: &Url) -> Result<Session, TransportError> {
        for (key, what, path) in
            [("ssh_key", "key", &self.key), ("known_hosts", "host keys", &self.known_hosts)]
        {
            if let Err(error) = std::fs::File::open(path) {
                let message = format!("cannot read the {what} `{}`", path.display());
                let hint = format!("check `{key}` of the stage, and who may read the file");
                let error = StageError::misconfigured(&self.stage, message).caused_by(error).hint(hint);
                return Err(failed(CallFailure::Refused, error));
            }
        }
        let mut command = self.command(url);
        let child = command.spawn().map_err(|error| {
            let error = StageError::misconfigured(&self.stage, "cannot start the program `ssh`")
                .caused_by(error)
                .hint("install OpenSSH's client, or use an https:// address with a token");
            failed(CallFailure::Refused, error)
        })?;
        Session::of(child).ok_or(TransportError::Unreadable)
    }

    /// The command line. Values of the configuration are passed as options; the host follows `--`.
    fn command(&self, url: &Url) -> Command {
        let mut command = Command::new("ssh");
        command.env_clear();
        for name in ["PATH", "SystemRoot"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.args(["-F", "none", "-T", "-x", "-a"]);
        let mut option = |name: &str, value: &str| {
            command.arg("-o").arg(format!("{name}={value}"));
        };
        for (name, value) in [
            ("BatchMode", "yes"),
            ("StrictHostKeyChecking", "yes"),
            ("UpdateHostKeys", "no"),
            ("GlobalKnownHostsFile", "none"),
            ("VerifyHostKeyDNS", "no"),
            ("IdentitiesOnly", "yes"),
            ("IdentityAgent", "none"),
            ("PreferredAuthentications", "publickey"),
            ("PasswordAuthentication", "no"),
            ("KbdInteractiveAuthentication", "no"),
            ("ClearAllForwardings", "yes"),
            ("PermitLocalCommand", "no"),
            ("ProxyCommand", "none"),
            ("ControlMaster", "no"),
            ("ControlPath", "none"),
            ("ConnectTimeout", "10"),
            ("ServerAliveInterval", "15"),
            ("LogLevel", "ERROR"),
        ] {
            option(name, value);
        }
        // Quoted: a blank would separate two files.
        option("IdentityFile", &format!("\"{}\"", self.key.display()));
        option("UserKnownHostsFile", &format!("\"{}\"", self.known_hosts.display()));
        if let Some(port) = url.port() {
            command.arg("-p").arg(port.to_string());
        }
        let user = if url.username().is_empty() { "git" } else { url.username() };
        let user = percent_encoding::percent_decode_str(user).decode_utf8_lossy();
        command.arg("-l").arg(&*user).arg("--").arg(host(url)).arg(upload_pack(url));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    fn broken(&self, request: &ServiceRequest, error: std::io::Error) -> TransportError {
        let message = format!("{} sent an answer that cannot be read", request.host);
        failed(CallFailure::InvalidAnswer, StageError::transient(&self.stage, message).caused_by(error))
    }

    /// A repository that is not there is an answer, as it is over HTTP; everything else is an error.
    fn explain(&self, url: &Url, ended: Ended) -> Result<http::Response<TransportBody>, TransportError> {
        let said = ended.said.to_lowercase();
        if ended.code != Some(255) && NOT_FOUND.iter().any(|words| said.contains(words)) {
            let body = Full::new(Bytes::from(ended.said)).map_err(|never| match never {}).boxed_unsync();
            let mut response = http::Response::new(body);
            *response.status_mut() = StatusCode::NOT_FOUND;
            return Ok(response);
        }
        Err(self.error(url, &ended))
    }

    fn error(&self, url: &Url, ended: &Ended) -> TransportError {
        let host = host_of(url);
        let (said, words) = (ended.said.to_lowercase(), one_line(&ended.said, WORDS));
        let misconfigured = |message: String| StageError::misconfigured(&self.stage, message);
        let cause = || anyhow::anyhow!("ssh: {words}");
        let key = self.key.display();
        if said.contains("host key verification failed") || said.contains("identification has changed") {
            let message =
                format!("{host} does not show a key that `{}` holds for it", self.known_hosts.display());
            let hint =
                "ask who runs the server for its host key; one that has changed unannounced may be an attack";
            return failed(CallFailure::Credentials, misconfigured(message).caused_by(cause()).hint(hint));
        }
        if said.contains("unprotected private key") || said.contains("bad permissions") {
            let message = format!("`ssh` refuses the key `{key}`: others can read it");
            let hint = format!("`chmod 600 {key}`");
            return failed(CallFailure::Credentials, misconfigured(message).hint(hint));
        }
        if said.contains("load key") || said.contains("identity file") {
            let message = format!("`ssh` cannot read the key `{key}`");
            let hint = "`ssh_key` names a private key without a passphrase, such as `ssh-keygen -N '' -f FILE` makes";
            return failed(CallFailure::Credentials, misconfigured(message).caused_by(cause()).hint(hint));
        }
        if said.contains("permission denied") && ended.code == Some(255) {
            let message = format!("{host} does not accept the key `{key}`");
            let hint = "add the public key to the server, for instance as a deploy key that can read";
            return failed(CallFailure::Credentials, misconfigured(message).caused_by(cause()).hint(hint));
        }
        if matches!(ended.code, Some(255) | None) {
            let error = StageError::transient(&self.stage, format!("the connection to {host} failed"));
            return failed(CallFailure::Connection, error.caused_by(cause()));
        }
        let error = StageError::refused(&self.stage, format!("{host} refuses: {words}"));
        failed(
            CallFailure::Refused,
            error.hint("check the address of the repository and what the key may read"),
        )
    }
}

fn failed(failure: CallFailure, error: StageError) -> TransportError {
    TransportError::Failed(Box::new(CallError::new(failure, error)))
}

/// The host as `ssh` takes it: an IPv6 address without brackets.
fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_matches(['[', ']'])
}

/// The command for the shell of the server.
fn upload_pack(url: &Url) -> String {
    let path = percent_encoding::percent_decode_str(url.path()).decode_utf8_lossy();
    // `/~user/…` is below a user's home.
    let path = if path.starts_with("/~") { &path[1..] } else { &path };
    let quoted = path.trim_end_matches('/').replace('\'', r"'\''").replace('!', r"'\!'");
    format!("git-upload-pack '{quoted}'")
}

/// How `ssh` ended, and what it said.
struct Ended {
    code: Option<i32>,
    said: String,
}

/// A running `ssh`; killed when dropped.
struct Session {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    stderr: Option<ChildStderr>,
    said: Vec<u8>,
    buffer: BytesMut,
}

impl Session {
    fn of(mut child: Child) -> Option<Self> {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take()?, child.stderr.take());
        Some(Self { child, stdin, stdout, stderr, said: Vec::new(), buffer: BytesMut::new() })
    }

    /// The next piece of standard output; none at its end. Standard error is read meanwhile, so that
    /// it never fills up.
    async fn piece(&mut self) -> std::io::Result<Option<Bytes>> {
        self.buffer.reserve(PIECE);
        let mut words = [0; 1024];
        loop {
            let heard = async {
                match &mut self.stderr {
                    Some(stderr) => stderr.read(&mut words).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                read = self.stdout.read_buf(&mut self.buffer) => {
                    return Ok((read? > 0).then(|| self.buffer.split().freeze()));
                }
                heard = heard => match heard {
                    Ok(n @ 1..) => keep(&mut self.said, &words[..n]),
                    Ok(0) | Err(_) => self.stderr = None,
                },
            }
        }
    }

    /// What the server says first, whole; none where it ends before that.
    async fn first(&mut self, most: usize) -> std::io::Result<Option<Bytes>> {
        let mut lines = PktReader::default();
        let mut first = BytesMut::new();
        while let Some(piece) = self.piece().await? {
            first.extend_from_slice(&piece);
            if first.len() > most {
                return Err(std::io::Error::other(format!("it has more than {most} bytes")));
            }
            lines.push(&piece);
            loop {
                match lines.next() {
                    // What is not the protocol is reported by whoever reads it.
                    Ok(Some(Pkt::Flush)) | Err(_) => return Ok(Some(first.freeze())),
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                }
            }
        }
        Ok(None)
    }

    /// Sends the last that there is to say. That the other end has gone shows in what it says.
    async fn say(&mut self, bytes: &[u8]) {
        if let Some(mut stdin) = self.stdin.take() {
            drop(stdin.write_all(bytes).await);
            drop(stdin.shutdown().await);
        }
    }

    /// Waits for the end.
    async fn failure(&mut self) -> Ended {
        if let Some(mut stderr) = self.stderr.take() {
            let mut words = [0; 1024];
            while let Ok(n @ 1..) = stderr.read(&mut words).await {
                keep(&mut self.said, &words[..n]);
            }
        }
        let code = self.child.wait().await.ok().and_then(|status| status.code());
        Ended { code, said: String::from_utf8_lossy(&self.said).into_owned() }
    }
}

fn keep(said: &mut Vec<u8>, words: &[u8]) {
    let room = MOST_SAID.saturating_sub(said.len());
    said.extend_from_slice(&words[..words.len().min(room)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transport() -> SshTransport {
        SshTransport { stage: "lab".into(), key: "/keys/a b".into(), known_hosts: "/keys/known".into() }
    }

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn the_command_line_uses_no_configuration_and_ends_options_before_the_host() {
        let command = transport().command(&url("ssh://me@host:2222/srv/it's%20here!.git"));
        let words: Vec<_> =
            command.as_std().get_args().map(|word| word.to_str().expect("text").to_owned()).collect();
        assert_eq!(words[..2], ["-F", "none"]);
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "ProxyCommand=none",
            "IdentityAgent=none",
            "IdentityFile=\"/keys/a b\"",
            "UserKnownHostsFile=\"/keys/known\"",
        ] {
            assert!(words.contains(&option.to_owned()), "{option}: {words:?}");
        }
        let last = ["-p", "2222", "-l", "me", "--", "host", r"git-upload-pack '/srv/it'\''s here'\!'.git'"];
        assert_eq!(words[words.len() - last.len()..], last);
        assert_eq!(upload_pack(&url("ssh://host/~me/a.git/")), "git-upload-pack '~me/a.git'");
        assert_eq!(host(&url("ssh://[::1]:22/a")), "::1");
    }

    #[test]
    fn what_ssh_says_is_an_error_with_a_remedy() {
        use crate::model::ErrorKind;
        let explain = |code: i32, said: &str| {
            let ended = Ended { code: Some(code), said: said.to_owned() };
            match transport().explain(&url("ssh://git@host/a"), ended) {
                Ok(response) => Err(response.status()),
                Err(TransportError::Failed(error)) => Ok(error.error),
                Err(other) => panic!("{other:?}"),
            }
        };
        for (code, said, expected) in [
            (
                255,
                "@@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @@@\nHost key verification failed.",
                "host does not show a key",
            ),
            (
                255,
                "No ED25519 host key is known for host and you have requested strict checking.\nHost key verification failed.",
                "host does not show a key",
            ),
            (255, "git@host: Permission denied (publickey).", "host does not accept the key"),
            (
                255,
                "WARNING: UNPROTECTED PRIVATE KEY FILE!\ngit@host: Permission denied (publickey).",
                "`ssh` refuses the key",
            ),
            (
                255,
                "Load key \"/keys/a b\": invalid format\nPermission denied (publickey).",
                "`ssh` cannot read the key",
            ),
        ] {
            let error = explain(code, said).expect("an error");
            assert!(error.message.starts_with(expected), "{}", error.message);
            assert_eq!(error.kind, ErrorKind::Misconfigured, "{said}");
            assert!(error.hint.is_some());
        }
        let error = explain(255, "ssh: connect to host host port 22: Connection refused").expect("an error");
        assert!(matches!(error.kind, ErrorKind::Transient { .. }), "{error:?}");
        assert!(error.one_line().contains("Connection refused"));
        let error = explain(1, "remote: You are not allowed").expect("an error");
        assert_eq!(error.kind, ErrorKind::Refused);
        let absent = explain(128, "fatal: '/a' does not appear to be a git repository");
        assert_eq!(absent.expect_err("an answer"), StatusCode::NOT_FOUND);
    }
}
