//! A PostgreSQL server in a network namespace of its own, reached over virtual cables that can be cut: packets are
//! lost in both directions, and no connection is closed. Clients use TLS, as they must over a network.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::postgres::{Postgres, Setup, installed, place};
use super::tls_front::{CERTIFICATE, KEY, pem};

/// Addresses for measurements, which no network routes.
const NETWORK: u32 = u32::from_be_bytes([198, 18, 0, 0]);
/// Networks of four addresses, of which a cable takes one.
const NETWORKS: u32 = 1 << 15;
/// Networks for the cables of one process.
const OF_A_PROCESS: u32 = 16;
/// A hardware address that no interface has.
const NOWHERE: &str = "02:00:00:00:00:01";

/// The server in a namespace of its own. Both end with the process of the tests.
pub(crate) struct Island {
    pub(crate) server: Postgres,
    cables: AtomicU32,
}

/// A cable to the server.
pub(crate) struct Cable {
    island: &'static Island,
    /// The names of the interfaces, this one first, and their addresses.
    ends: [End; 2],
}

struct End {
    name: String,
    address: String,
}

impl Island {
    /// The island of this process; none, with a word of it, where this user may not make one.
    pub(crate) fn start() -> Option<&'static Self> {
        static ISLAND: OnceLock<Option<Island>> = OnceLock::new();
        ISLAND.get_or_init(Self::make).as_ref()
    }

    fn make() -> Option<Self> {
        if let Err(why) = output(&["unshare", "--net", "ip", "link", "add", "type", "veth"]) {
            let required = std::env::var("REPOSYNC_NETWORK_TESTS").is_ok_and(|value| value == "required");
            assert!(!required, "`REPOSYNC_NETWORK_TESTS=required`, but: {why}");
            // Not captured by the test harness: a skipped test must not look like a passed one.
            drop(writeln!(std::io::stderr(), "skipped: no network namespace: {why}"));
            return None;
        }
        let setup = Setup {
            under: &["unshare", "--net"],
            settings: &["listen_addresses=*", "ssl=on"],
            files: &[
                ("server.crt", pem(CERTIFICATE)),
                ("server.key", pem(KEY)),
                ("pg_hba.conf", "hostssl all all all trust\n".to_owned()),
            ],
        };
        let server = Postgres::run(place("REPOSYNC_TEST_POSTGRES", installed)?, &setup);
        Some(Self { server, cables: AtomicU32::new(0) })
    }

    /// Lays a cable to the server.
    pub(crate) fn cable(&'static self) -> Cable {
        let number = self.cables.fetch_add(1, Ordering::Relaxed);
        assert!(number < OF_A_PROCESS, "more cables than networks");
        let network = NETWORK + (std::process::id() * OF_A_PROCESS + number) % NETWORKS * 4;
        let end = |side: u32| End {
            name: format!("rs{:x}n{number}{}", std::process::id(), if side == 1 { "a" } else { "b" }),
            address: std::net::Ipv4Addr::from(network + side).to_string(),
        };
        let cable = Cable { island: self, ends: [end(1), end(2)] };
        let [here, there] = &cable.ends;
        let namespace = self.server.shell.id().to_string();
        run(&["ip", "link", "add", &here.name, "type", "veth", "peer", &there.name, "netns", &namespace]);
        for (side, end) in cable.ends.iter().enumerate() {
            cable.ip(side, &["address", "add", &format!("{}/30", end.address), "dev", &end.name]);
            cable.ip(side, &["link", "set", &end.name, "up"]);
        }
        cable
    }
}

impl Cable {
    /// The address of a database over this cable.
    pub(crate) fn url(&self, url: &str) -> String {
        let (user, rest) = url.split_once('@').expect("a user");
        let database = rest.rsplit('/').next().expect("a name");
        format!("{user}@localhost/{database}?hostaddr={}", self.ends[1].address)
    }

    /// From now on everything that is sent goes nowhere.
    pub(crate) fn cut(&self) {
        for (side, other) in [(0, 1), (1, 0)] {
            let (end, other) = (&self.ends[side].name, &self.ends[other].address);
            self.ip(side, &["neigh", "replace", other, "lladdr", NOWHERE, "nud", "permanent", "dev", end]);
        }
    }

    /// What is sent arrives again.
    pub(crate) fn mend(&self) {
        for (side, other) in [(0, 1), (1, 0)] {
            self.ip(side, &["neigh", "del", &self.ends[other].address, "dev", &self.ends[side].name]);
        }
    }

    /// Runs `ip` at an end: 0 is here, 1 is the island.
    fn ip(&self, side: usize, args: &[&str]) {
        let namespace = self.island.server.shell.id().to_string();
        let there = ["nsenter", "--net", "--target", &namespace];
        run(&[if side == 0 { &[] } else { &there[..] }, &["ip"], args].concat());
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // The server may have ended, and its end with it.
        drop(output(&["ip", "link", "del", &self.ends[0].name]));
    }
}

fn run(words: &[&str]) {
    output(words).unwrap_or_else(|why| panic!("{why}"));
}

/// What is wrong, if a command fails.
fn output(words: &[&str]) -> Result<(), String> {
    let mut command = Command::new(words[0]);
    let done = command.args(&words[1..]).stdin(Stdio::null()).output();
    let done = done.map_err(|error| format!("`{}`: {error}", words[0]))?;
    let why = String::from_utf8_lossy(&done.stderr);
    if done.status.success() { Ok(()) } else { Err(format!("`{}`: {}", words.join(" "), why.trim())) }
}
