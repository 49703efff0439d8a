//! The real program stopped at every step of its writing: `strace` counts the system calls that change
//! a file (or make it durable) and kills the program at the n-th of a thread, or fails that and all
//! later ones, for n = 1, 2, … until a run ends unharmed. The program needs no hooks, and no step is
//! missed: taking the lock, creating the ledger, the intents, each write of the store, the ledger's
//! commit, adoption, eviction from the cache, a checkpoint. Also: clocks that jump, and the daemon's
//! schedule under a shifted clock.
//!
//! After each stop the next run must complete the index: `verify` reports no difference, and the index,
//! read directly, equals that of a fresh build. Slow, and needs `strace` and `faketime`: `.ci/long`
//! runs them with `--ignored`; `trouble.rs` is the short form.

use std::fs;
use std::path::Path;

use crate::support::daemon::{API, Daemon};
use crate::support::local::{Index, Local, project};

/// Every system call that changes a file, or makes a change durable.
const CHANGES: &str = "pwrite64,ftruncate,fsync,fdatasync,rename,unlink,mkdir";

/// The scenario to interrupt.
struct Case {
    local: Local,
    /// The expected index at the end.
    wanted: Index,
    /// Paths that are indexed before and wanted after.
    kept: Vec<String>,
    /// Applied to the state before each run.
    spoil: fn(&Local),
}

impl Case {
    /// The state after `prepare` is indexed and `change` is not yet.
    fn new(prepare: fn(&Local), change: fn(&Local), spoil: fn(&Local)) -> Self {
        Self::of(Local::new(), prepare, change, spoil)
    }

    /// The same over another world.
    fn of(local: Local, prepare: fn(&Local), change: fn(&Local), spoil: fn(&Local)) -> Self {
        for n in 0..8 {
            local.repo.write(&format!("docs/page-{n}.md"), format!("What page {n} says, in a few words.\n"));
        }
        local.repo.commit("pages");
        prepare(&local);
        copy(&local.world.path(".reposync"), &local.world.path("before"));
        let before =
            if local.world.path("before/index.db").exists() { paths(&local.index()) } else { Vec::new() };
        change(&local);
        let wanted = local.fresh();
        let kept = paths(&wanted).into_iter().filter(|path| before.contains(path)).collect();
        Self { local, wanted, kept, spoil }
    }

    /// One run under the tracer; true if it was stopped or failed.
    fn interrupted(&self, inject: &str) -> bool {
        let world = &self.local.world;
        drop(fs::remove_dir_all(world.path(".reposync")));
        copy(&world.path("before"), &world.path(".reposync"));
        (self.spoil)(&self.local);
        let calls = inject.split(':').next().unwrap_or_default();
        let (trace, inject) = (format!("trace={calls}"), format!("inject={inject}"));
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        let args = ["apply", "--allow-deletes"];
        let ran = world.start(&mut world.under(&strace, &args), &args).wait();
        let not_begun = ran.stderr.contains("error while loading shared libraries");
        let ended_well = matches!(ran.code, None | Some(0 | 1)) || not_begun;
        assert!(ended_well, "{inject}: {:?}\n{}", ran.code, ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{inject}\n{}", ran.stderr);
        ran.code != Some(0)
    }

    /// Checks what is searchable after a stop, and that the next run completes the index.
    fn converges(&self, what: &str) {
        let local = &self.local;
        if !self.kept.is_empty() {
            let there = paths(&local.index());
            for path in &self.kept {
                assert!(there.contains(path), "{what}: {path} is in no search until the next run");
            }
        }
        local.apply(&["--allow-deletes"]).exits(0);
        local.world.ok(&["verify"]);
        assert!(local.index() == self.wanted, "{what}: the index differs from that of a build from nothing");
        let again = local.apply(&[]).exits(0);
        assert_eq!(again.counts(["vectors_written", "vectors_deleted"]), [0, 0], "{what}");
    }

    /// A kill at every step.
    fn killed_everywhere(&self) {
        let mut nth = 1;
        while self.interrupted(&format!("{CHANGES}:signal=KILL:when={nth}")) {
            self.converges(&format!("killed at change {nth} of a thread"));
            nth += 1;
        }
        assert!(nth > 10, "a run changes files more often than {nth} times");
        self.converges("not killed");
    }

    /// Fails these calls from every step on.
    fn failing_everywhere(&self, calls: &str, error: &str) {
        let mut failed = 0;
        for nth in 1..=40 {
            let inject = format!("{calls}:error={error}:when={nth}+");
            failed += usize::from(self.interrupted(&inject));
            self.converges(&inject);
        }
        assert!(failed > 0, "{calls} never failed with {error}");
    }
}

fn paths(index: &Index) -> Vec<String> {
    let mut paths: Vec<String> =
        index.values().filter_map(|(facts, _, _)| facts["file_path"].as_str().map(str::to_owned)).collect();
    paths.dedup();
    paths
}

fn copy(from: &Path, to: &Path) {
    let Ok(entries) = fs::read_dir(from) else { return };
    fs::create_dir_all(to).expect("a folder");
    for entry in entries {
        let entry = entry.expect("readable");
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
    }
}

fn nothing(_: &Local) {}

fn apply(local: &Local) {
    local.apply(&[]).exits(0);
}

/// Adds, changes, moves and removes files.
fn edit(local: &Local) {
    local.repo.write("docs/new.md", "A page that was not there before.\n");
    local.repo.write("docs/page-0.md", "Page 0 says something else.\n");
    local.repo.write("docs/page-1.md", "Page 1 too. And more than that.\n");
    local.repo.git(&["mv", "docs/page-2.md", "moved.md"]);
    local.repo.git(&["rm", "-q", "docs/page-3.md", "docs/page-4.md"]);
    local.repo.commit("edit");
}

fn lose_the_ledger(local: &Local) {
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        drop(fs::remove_file(local.world.path(&format!(".reposync/{name}"))));
    }
}

#[test]
#[ignore = "long: .ci/long"]
fn a_first_run_killed_at_every_step() {
    Case::new(nothing, nothing, nothing).killed_everywhere();
}

#[test]
#[ignore = "long: .ci/long"]
fn a_later_run_killed_at_every_step() {
    Case::new(apply, edit, nothing).killed_everywhere();
}

#[test]
#[ignore = "long: .ci/long"]
fn a_move_to_another_namespace_killed_at_every_step() {
    Case::new(apply, |local| local.config(&project("namespace = \"elsewhere\"")), nothing)
        .killed_everywhere();
}

/// No ledger knows the store, and the store's content is out of date.
#[test]
#[ignore = "long: .ci/long"]
fn an_adoption_killed_at_every_step() {
    Case::new(apply, edit, lose_the_ledger).killed_everywhere();
}

/// Every vector put into the cache evicts another.
#[test]
#[ignore = "long: .ci/long"]
fn a_full_cache_killed_at_every_step() {
    fn prepare(local: &Local) {
        local.config(&format!("[engine]\ncache_size = \"1 KiB\"\n{}", project("")));
        apply(local);
    }
    Case::of(Local::paid(), prepare, edit, nothing).killed_everywhere();
}

#[test]
#[ignore = "long: .ci/long"]
fn a_disk_that_is_full_from_any_step_on() {
    Case::new(apply, edit, nothing).failing_everywhere("pwrite64,ftruncate,mkdir", "ENOSPC");
    Case::new(nothing, nothing, nothing).failing_everywhere("pwrite64,ftruncate,mkdir", "ENOSPC");
}

#[test]
#[ignore = "long: .ci/long"]
fn a_disk_that_fails_from_any_step_on() {
    Case::new(apply, edit, nothing).failing_everywhere("pwrite64,fsync,fdatasync", "EIO");
    Case::new(apply, edit, nothing).failing_everywhere("pread64", "EIO");
}

/// A clock that is a year ahead in one run, and a year behind in the next.
#[test]
#[ignore = "long: .ci/long"]
fn runs_with_a_jumping_clock() {
    let local = Local::new();
    for (round, offset) in ["+400d", "-400d", "+0d", "-1h", "+30y"].iter().enumerate() {
        local.repo.write("README.md", format!("The readme of round {round}.\n")).commit("edit");
        let faketime = ["faketime", "--exclude-monotonic", "-f", offset];
        for args in [&["apply"][..], &["verify"], &["status"], &["history"]] {
            local.world.start(&mut local.world.under(&faketime, args), args).wait().exits(0);
        }
        local.assert_as_fresh();
    }
}

/// A daemon whose clock is a few seconds before its daily time, and that is killed and started again
/// three days later.
#[test]
#[ignore = "long: .ci/long"]
fn a_daily_time_that_comes_and_three_that_were_missed() {
    let preload = std::process::Command::new("faketime")
        .args(["-m", "--exclude-monotonic", "-f", "+0d", "printenv", "LD_PRELOAD"])
        .output()
        .expect("the `faketime` program");
    let preload = String::from_utf8(preload.stdout).expect("a path");
    let Local { world, repo, .. } = Local::new();
    let at = |moment: &str| {
        vec![
            ("LD_PRELOAD".to_owned(), preload.trim().to_owned()),
            ("FAKETIME".to_owned(), format!("@{moment}")),
            ("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()),
        ]
    };
    world.config(&project(&format!("schedule = \"0 8 * * *\"\n{API}")));
    let mut daemon = Daemon::start_with(&world, at("2026-01-31 07:59:57"));
    daemon.until("the daily run", |daemon| daemon.triggers() == ["start", "schedule"]);
    assert_eq!(daemon.project("docs")["next_run"], "2026-02-01T08:00:00Z");
    daemon.kill();
    repo.write("new.md", "A new page.\n").commit("second");
    let mut daemon = Daemon::start_with(&world, at("2026-02-03 12:00:00"));
    daemon.until("the run at the start", |daemon| daemon.triggers().len() == 3);
    assert_eq!(daemon.triggers(), ["start", "schedule", "start"]);
    assert_eq!(daemon.project("docs")["next_run"], "2026-02-04T08:00:00Z");
    daemon.stop().exits(0);
    world.ok(&["verify"]);
}
