//! Two daemons and eight workers on one state, killed, stopped and continued at random while repositories change at
//! random. No file that stays as it is leaves the search in between; at the end the index is that of a build from nothing.
//!
//! `REPOSYNC_CHAOS_SEED` is the seed of the first history, `REPOSYNC_CHAOS_HISTORIES` their number and
//! `REPOSYNC_CHAOS_STEPS` the number of steps of each.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::support::daemon::Daemon;
use crate::support::git_repo::GitRepo;
use crate::support::openai::Options;
use crate::support::shop::{SHORT, Shop};
use crate::support::world::{Ran, Running};

const TOKEN: &str = "a-token-of-the-tests";
const DAEMONS: usize = 2;
const WORKERS: usize = 8;
const HISTORIES: u64 = 3;
const STEPS: u64 = 120;
const PAGES: u64 = 6;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A sequence of numbers that depends only on its seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).expect("small")
    }
}

/// A daemon or a worker.
enum Process {
    Daemon(Daemon),
    Worker(Running),
}

impl Process {
    fn program(&self) -> &Running {
        match self {
            Self::Daemon(daemon) => &daemon.program,
            Self::Worker(program) => program,
        }
    }

    fn wait(self) -> Ran {
        match self {
            Self::Daemon(daemon) => daemon.program.wait(),
            Self::Worker(program) => program.wait(),
        }
    }
}

struct Chaos {
    shop: Shop,
    random: Random,
    repos: Vec<GitRepo>,
    /// Each with whether it is stopped.
    processes: Vec<(Process, bool)>,
    /// The texts of files that were never touched, by repository and path.
    untouched: BTreeMap<(String, String), String>,
    texts: u64,
    done: Vec<String>,
}

impl Chaos {
    fn begin(seed: u64) -> Option<Self> {
        let slow = Options { latency: Duration::from_millis(50), ..Options::default() };
        let shop = Shop::open("", slow)?;
        shop.config(
            &shop.url,
            &format!("{SHORT}attempts = 100\n[api]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\n"),
        );
        let mut chaos = Self {
            shop,
            random: Random(seed),
            repos: Vec::new(),
            processes: Vec::new(),
            untouched: BTreeMap::new(),
            texts: 0,
            done: Vec::new(),
        };
        for name in NAMES {
            let files: Vec<_> = (0..PAGES).map(|n| (format!("page-{n}.md"), chaos.text())).collect();
            let given: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
            let repo = chaos.shop.services.repository(name, &given);
            chaos.repos.push(repo);
            let untouched = files.into_iter().map(|(path, text)| ((format!("acme/{name}"), path), text));
            chaos.untouched.extend(untouched);
        }
        chaos.shop.apply().wait().exits(0);
        for n in 0..DAEMONS + WORKERS {
            let process = chaos.start(n);
            chaos.processes.push((process, false));
        }
        Some(chaos)
    }

    /// The first ones are daemons.
    fn start(&self, n: usize) -> Process {
        if n < DAEMONS {
            let mut daemon = Daemon::start(&self.shop.services.world);
            daemon.token = Some(TOKEN.to_owned());
            Process::Daemon(daemon)
        } else {
            Process::Worker(self.shop.worker(&format!("worker-{n}")))
        }
    }

    fn text(&mut self) -> String {
        self.texts += 1;
        format!("This is what text {} says.\n", self.texts)
    }

    fn step(&mut self) {
        match self.random.below(10) {
            0..=3 => self.commit(),
            4 => self.kill(),
            5..=6 => self.stop(),
            7 => self.go_on(),
            _ => self.until_something_happens(),
        }
        self.nothing_is_lost();
        self.nobody_shares_a_file();
    }

    /// Writes, removes or moves a page, and asks for a run.
    fn commit(&mut self) {
        let at = self.random.index(NAMES.len());
        let path = format!("page-{}.md", self.random.below(PAGES));
        let text = self.text();
        let (repo, name) = (&self.repos[at], NAMES[at]);
        let is_there = repo.path().join(&path).exists();
        let what = match self.random.below(4) {
            // The last page of a repository stays.
            0 if is_there && repo.git(&["ls-files"]).lines().count() > 2 => {
                repo.git(&["rm", "-q", &path]);
                "remove"
            }
            1 if is_there => {
                repo.git(&["mv", "-f", &path, &format!("moved-{path}")]);
                "move"
            }
            _ => {
                repo.write(&path, text);
                "write"
            }
        };
        self.untouched.remove(&(format!("acme/{name}"), path.clone()));
        self.shop.services.push(name, &self.repos[at]);
        self.done.push(format!("{what} {name}/{path}"));
        let running = self.processes.iter().filter(|(_, is_stopped)| !is_stopped);
        let daemons = running.filter_map(|(process, _)| match process {
            Process::Daemon(daemon) => Some(daemon),
            Process::Worker(_) => None,
        });
        for daemon in daemons {
            // One that is starting or ending may refuse.
            daemon.post("/sync", &json!({ "project": "handbook" }));
        }
    }

    fn kill(&mut self) {
        let n = self.random.index(self.processes.len());
        self.done.push(format!("kill {n}"));
        let (killed, _) = self.processes.remove(n);
        killed.program().signal("KILL");
        // Its files are free when it is gone.
        assert_eq!(killed.wait().code, None, "killed");
        let started = self.start(n);
        self.processes.insert(n, (started, false));
    }

    fn stop(&mut self) {
        let n = self.random.index(self.processes.len());
        self.done.push(format!("stop {n}"));
        self.processes[n].0.program().signal("STOP");
        self.processes[n].1 = true;
    }

    /// Lets one that is stopped go on.
    fn go_on(&mut self) {
        let stopped: Vec<usize> = (0..self.processes.len()).filter(|n| self.processes[*n].1).collect();
        if !stopped.is_empty() {
            let n = stopped[self.random.index(stopped.len())];
            self.goes_on(n);
        }
    }

    fn goes_on(&mut self, n: usize) {
        self.done.push(format!("continue {n}"));
        self.processes[n].0.program().signal("CONT");
        self.processes[n].1 = false;
    }

    /// Waits until services are called a few times, or nothing is left to do.
    fn until_something_happens(&mut self) {
        for range in [0..DAEMONS, DAEMONS..self.processes.len()] {
            if range.clone().all(|n| self.processes[n].1) {
                self.goes_on(range.start);
            }
        }
        let calls = |chaos: &Self| {
            let services = &chaos.shop.services;
            services.ada.calls().len() + services.pinecone.server.requests().len()
        };
        let wanted = calls(self) + 1 + self.random.index(4);
        let began = std::time::Instant::now();
        while calls(self) < wanted && !self.is_quiet() {
            assert!(began.elapsed() < Duration::from_secs(120), "nothing happens\n{}", self.story());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether the index holds what the repositories hold.
    fn is_quiet(&self) -> bool {
        let held = self.held();
        let wanted = NAMES.iter().zip(&self.repos).flat_map(|(name, repo)| {
            let files = repo.git(&["ls-files"]);
            let file = |path: &str| {
                let text = std::fs::read_to_string(repo.path().join(path)).expect("a text");
                ((format!("acme/{name}"), path.to_owned()), text.trim().to_owned())
            };
            files.lines().map(file).collect::<Vec<_>>()
        });
        wanted.collect::<BTreeMap<_, _>>() == held
    }

    /// The texts in the index, by repository and path.
    fn held(&self) -> BTreeMap<(String, String), String> {
        let records = self.shop.services.index().into_values();
        let of = |metadata: &serde_json::Map<String, serde_json::Value>, key: &str| {
            metadata[key].as_str().expect(key).trim().to_owned()
        };
        records
            .map(|(_, facts)| ((of(&facts, "repository"), of(&facts, "file_path")), of(&facts, "text")))
            .collect()
    }

    /// Panics unless files without a change are in the index.
    fn nothing_is_lost(&self) {
        let held = self.held();
        for (file, text) in &self.untouched {
            let found = held.get(file).map(String::as_str);
            assert_eq!(found, Some(text.trim()), "{file:?} left the search\n{}", self.story());
        }
    }

    /// Panics if two of those who hold leases are writing one file.
    fn nobody_shares_a_file(&self) {
        let shared = self.shop.sql(
            "SELECT repository, file_path FROM intents JOIN leases USING (epoch) WHERE until > now()
             GROUP BY repository, file_path HAVING count(DISTINCT epoch) > 1",
        );
        assert_eq!(shared, "", "written by two\n{}", self.story());
    }

    /// Everything goes on until the index is whole; then all processes end, and nothing is left to do.
    fn end(mut self) {
        for n in 0..self.processes.len() {
            if self.processes[n].1 {
                self.goes_on(n);
            }
        }
        self.commit();
        let began = std::time::Instant::now();
        while !self.is_quiet() {
            assert!(began.elapsed() < Duration::from_secs(120), "the index is not whole\n{}", self.story());
            std::thread::sleep(Duration::from_millis(50));
        }
        let processes = std::mem::take(&mut self.processes);
        for (process, _) in &processes {
            process.program().signal("TERM");
        }
        for (process, _) in processes {
            process.wait().exits(0);
        }
        // As if time had passed.
        self.shop.sql("UPDATE suspects SET look_at = now()");
        let world = &self.shop.services.world;
        world.run(&["apply", "--wait"]).exits(0);
        self.shop.assert_right();
        let again = self.shop.services.apply(&[]).exits(0);
        assert_eq!(again.counts(["vectors_written", "vectors_deleted"]), [0, 0], "{}", self.story());
    }

    fn story(&self) -> String {
        let mut story = format!("{}\n", self.done.join(", "));
        for (n, (process, is_stopped)) in self.processes.iter().enumerate() {
            let log = process.program().stderr();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(15)..].join("\n");
            story.push_str(&format!("--- {n}{}\n{last}\n", if *is_stopped { " (stopped)" } else { "" }));
        }
        story
    }
}

/// A number in the environment.
fn given(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
#[ignore = "long: .ci/long"]
fn processes_that_are_killed_and_stopped_at_random_end_with_the_index_of_a_fresh_build() {
    let first = given("REPOSYNC_CHAOS_SEED", 1);
    for seed in first..first + given("REPOSYNC_CHAOS_HISTORIES", HISTORIES) {
        let Some(mut chaos) = Chaos::begin(seed) else { return };
        for _ in 0..given("REPOSYNC_CHAOS_STEPS", STEPS) {
            chaos.step();
        }
        chaos.end();
    }
}
