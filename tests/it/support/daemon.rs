//! The daemon as the real program, and an HTTP client that can also send malformed requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::local::{Local, project};
use super::world::{Ran, Running, World};

/// `[api]` on a free port.
pub(crate) const API: &str = "[api]\nlisten = \"127.0.0.1:0\"\n";

pub(crate) struct Daemon {
    pub(crate) program: Running,
    record: PathBuf,
    address: SocketAddr,
    /// Sent as bearer token; set to the daemon's generated token if there is one.
    pub(crate) token: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.head, self.body))
    }

    /// The error code of the answer, which must have the API's error form.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        let json = self.json();
        assert!(json["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{json}");
        json["error"]["code"].as_str().expect("a code").to_owned()
    }
}

impl Daemon {
    /// A daemon over a local project whose first run has ended.
    #[track_caller]
    pub(crate) fn of_local() -> (Local, Self) {
        let local = Local::new();
        local.config(&project(API));
        let mut daemon = Self::start(&local.world);
        daemon.until_runs(1);
        (local, daemon)
    }

    /// Starts the daemon of a world and waits until it serves.
    #[track_caller]
    pub(crate) fn start(world: &World) -> Self {
        Self::start_with(world, Vec::new())
    }

    /// The same with additional environment variables.
    #[track_caller]
    pub(crate) fn start_with(world: &World, environment: Vec<(String, String)>) -> Self {
        Self::start_file(world, "reposync.toml", environment)
    }

    /// The same with the file at this path.
    #[track_caller]
    pub(crate) fn start_file(world: &World, file: &str, environment: Vec<(String, String)>) -> Self {
        let arguments = ["daemon", "--config", file];
        let mut program = world.start(world.command(&arguments).envs(environment), &arguments);
        let id = program.id();
        let folder = world.path(file).parent().expect("a folder").join(".reposync");
        // Of a state in a file, or in a database, which can have two.
        let records =
            ["state.db.daemon", "postgres.daemon", "postgres.daemon2"].map(|name| folder.join(name));
        let found = || records.iter().find(|record| read(record, id).is_some()).cloned();
        program.until("the daemon's record", |_| found().is_some());
        let record = found().expect("just found");
        let address = read(&record, id).expect("just read");
        let token = own_token(world);
        let daemon = Self { program, record, address, token };
        // It listens before it serves; with TLS the test checks for itself.
        let record = std::fs::read_to_string(&daemon.record).expect("a record");
        if !record.contains("\"tls\":true") {
            assert_eq!(daemon.get("/health").status, 200);
        }
        daemon
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same daemon, addressed by its probe listener.
    #[track_caller]
    pub(crate) fn probe(&self, path: &str) -> Answer {
        let record = std::fs::read_to_string(&self.record).expect("a record");
        let record: Value = serde_json::from_str(&record).expect("JSON");
        let probe: SocketAddr = record["probe"].as_str().expect("a listener").parse().expect("an address");
        let mut stream = TcpStream::connect(probe).expect("the daemon listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
        let head = format!("GET {path} HTTP/1.1\r\nHost: {probe}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        answer(&mut stream)
    }

    /// A connection on which this was sent and which then stays silent.
    #[track_caller]
    pub(crate) fn half(&self, sent: &str) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(sent.as_bytes()).expect("sent");
        stream
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the daemon listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
        stream
    }

    /// Sends one request over a new connection, with the token unless `headers` contain
    /// `Authorization`.
    #[track_caller]
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {}\r\n", self.address));
        }
        let has_own = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        if let (Some(token), false) = (&self.token, has_own) {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut stream = self.connect();
        // A server that refuses early does not read the whole request.
        drop(stream.write_all(&[head.as_bytes(), body].concat()));
        answer(&mut stream)
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    #[track_caller]
    pub(crate) fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [("Content-Type", "application/json")];
        self.request(method, path, &headers, body.to_string().as_bytes())
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, body)
    }

    /// Waits until a condition holds while the daemon runs.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let started = Instant::now();
        while !holds(self) {
            assert!(started.elapsed() < Duration::from_secs(60), "no {what}\n{}", self.program.stderr());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A project's entry of `/projects`.
    #[track_caller]
    pub(crate) fn project(&self, name: &str) -> Value {
        let projects = self.get("/projects").is(200).json();
        let mut all = projects["projects"].as_array().expect("projects").iter();
        all.find(|one| one["project"] == name).unwrap_or_else(|| panic!("no {name} in {projects}")).clone()
    }

    /// Waits until a project is in this state.
    #[track_caller]
    pub(crate) fn until_state(&mut self, project: &str, state: &str) {
        let what = format!("{project} that is {state}");
        self.until(&what, |daemon| daemon.project(project)["state"] == state);
    }

    /// The runs, newest first.
    #[track_caller]
    pub(crate) fn runs(&self) -> Vec<Value> {
        self.get("/runs?limit=1000").is(200).json()["runs"].as_array().expect("runs").clone()
    }

    /// Finished runs of a project, newest first.
    #[track_caller]
    pub(crate) fn runs_of(&self, project: &str) -> Vec<Value> {
        let mut runs = self.runs();
        runs.retain(|run| run["status"] == "finished" && run["report"]["projects"][0]["project"] == project);
        runs
    }

    /// Waits until this many runs of a project have finished.
    #[track_caller]
    pub(crate) fn until_runs_of(&mut self, project: &str, n: usize) {
        let what = format!("{n} ended runs of {project}");
        self.until(&what, |daemon| daemon.runs_of(project).len() == n);
    }

    /// Triggers of the finished runs, oldest first.
    #[track_caller]
    pub(crate) fn triggers(&self) -> Vec<String> {
        let mut runs = self.runs();
        runs.reverse();
        runs.retain(|run| run["status"] == "finished");
        runs.iter().map(|run| run["trigger"].as_str().expect("a trigger").to_owned()).collect()
    }

    /// Waits until this many runs have finished and none is active.
    #[track_caller]
    pub(crate) fn until_runs(&mut self, n: usize) {
        self.until(&format!("{n} finished runs"), |daemon| {
            let runs = daemon.runs();
            runs.len() >= n && runs.iter().all(|run| run["status"] == "finished")
        });
    }

    /// Waits for the end of a run.
    #[track_caller]
    pub(crate) fn until_ended(&mut self, run: &str) -> Value {
        let path = format!("/runs/{run}");
        self.until("the run's end", |daemon| daemon.get(&path).is(200).json()["status"] == "finished");
        self.get(&path).json()
    }

    /// The value of a counter or gauge in `/metrics`; `name` includes the labels.
    #[track_caller]
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let text = self.get("/metrics").is(200).body;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let number = line.unwrap_or_else(|| panic!("no {series} in\n{text}"));
        number.trim_end_matches(".0").parse().expect("a whole number")
    }

    /// Number of reloads with this outcome.
    #[track_caller]
    pub(crate) fn reloads(&self, outcome: &str) -> u64 {
        self.metric(&format!("reposync_config_reloads_total{{outcome=\"{outcome}\"}}"))
    }

    /// Stops it as a service manager would.
    #[track_caller]
    pub(crate) fn stop(self) -> Ran {
        self.program.signal("TERM");
        self.program.wait()
    }

    /// Kills it.
    pub(crate) fn kill(self) {
        self.program.signal("KILL");
        drop(self.program.wait());
        assert!(self.record.exists(), "a killed daemon leaves its record");
    }
}

/// The token generated by a daemon of this world; `None` if the configuration has one.
pub(crate) fn own_token(world: &World) -> Option<String> {
    let text = std::fs::read_to_string(world.path(".reposync/state.db.token")).ok()?;
    Some(text.trim_end().to_owned())
}

pub(crate) fn status_line(stream: &mut TcpStream) -> String {
    let mut line = String::new();
    // A truncated line fails the test that reads it.
    drop(BufReader::new(stream).read_line(&mut line));
    line
}

/// The address at which the daemon of this process listens.
fn read(record: &PathBuf, process: u32) -> Option<SocketAddr> {
    let record: Value = serde_json::from_str(&std::fs::read_to_string(record).ok()?).ok()?;
    if record["process"] != process {
        return None; // of a daemon before
    }
    record["listen"].as_str()?.parse().ok()
}

/// Reads an answer until the connection ends; a reset after the answer is allowed.
pub(crate) fn answer(stream: &mut TcpStream) -> Answer {
    answer_from(stream)
}

/// The same for another kind of stream.
pub(crate) fn answer_from(stream: &mut impl Read) -> Answer {
    let mut bytes = Vec::new();
    // Bytes received before a reset are kept. (A single `read` ends early on a signal, such as the end
    // of another test's program.)
    drop(stream.read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
