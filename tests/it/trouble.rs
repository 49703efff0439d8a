//! Machine failures: kills at any moment, a full disk, a folder that cannot be written, a clock that
//! jumps. The next run completes the index: `verify` reports no difference, and the index, read
//! directly, equals that of a fresh build. `torture.rs` is the exhaustive form.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::time::Instant;

use rusqlite::Connection;

use crate::support::local::{Local, project};
use crate::support::services::Services;

/// A repository of enough files for several batches and commits.
fn local() -> Local {
    with_pages(Local::new())
}

fn with_pages(local: Local) -> Local {
    for n in 0..40 {
        local.repo.write(&format!("docs/page-{n}.md"), page(n, "first"));
    }
    local.repo.commit("pages");
    local
}

fn page(n: usize, words: &str) -> String {
    format!("Page {n} in its {words} words.\n\nAnd what else page {n} says, in {words} words too.\n")
}

/// Changes, moves and removes a few files, different ones in each round.
fn edit(local: &Local, round: usize) {
    for n in 0..4 {
        local.repo.write(&format!("docs/page-{n}.md"), page(n, &format!("round {round}")));
    }
    let (from, to) = if round.is_multiple_of(2) { ("docs", "manual") } else { ("manual", "docs") };
    let of = |folder: &str| format!("{folder}/moved.md");
    if local.repo.path().join(of(from)).exists() {
        local.repo.git(&["rm", "-q", "--cached", &of(from)]);
        std::fs::remove_file(local.repo.path().join(of(from))).expect("a file");
    }
    local.repo.write(&of(to), "What is moved from one folder to another.\n");
    local.repo.commit("edit");
}

/// The next run completes the index, and the one after it has nothing to do.
#[track_caller]
fn converges(local: &Local) {
    local.apply(&[]).exits(0);
    local.world.ok(&["verify"]);
    local.assert_as_fresh();
    let again = local.apply(&[]).exits(0);
    assert_eq!(again.counts(["vectors_written", "vectors_deleted"]), [0, 0]);
}

#[test]
fn killed_at_random_moments() {
    let local = local();
    let began = Instant::now();
    local.apply(&[]).exits(0);
    let whole = began.elapsed();
    let mut random = std::process::id();
    let mut killed = 0;
    for round in 0..12_u32 {
        edit(&local, round as usize);
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let running = local.world.spawn(&["apply"]);
        // Kills after a growing delay, starting at zero. The test does not depend on the speed of the
        // machine.
        let latest = whole.mul_f64(f64::from(round) / 12.0);
        std::thread::sleep(latest.mul_f64(f64::from(random >> 8) / f64::from(1 << 24)));
        running.signal("KILL");
        killed += usize::from(running.wait().code.is_none());
        if round % 4 == 3 {
            converges(&local);
        }
    }
    assert!(killed > 0, "no run was still running when it was to be killed");
}

/// A limit on file sizes stops writes midway, as a full disk does, without needing privileges. With
/// `SIGXFSZ` ignored the write fails; otherwise the process is killed.
#[test]
fn a_disk_that_is_full() {
    for (signal, codes) in [("trap '' XFSZ;", &[Some(0), Some(1)][..]), ("", &[Some(0), Some(1), None])] {
        let local = local();
        let mut failed = 0;
        for (round, blocks) in ["0", "1", "40", "150", "300", "600", "1000", "1500"].iter().enumerate() {
            edit(&local, round);
            let limited = format!("{signal} ulimit -f {blocks}; exec \"$@\"");
            let mut command = local.world.under(&["sh", "-c", &limited, "sh"], &["apply"]);
            let ran = local.world.start(&mut command, &["apply"]).wait();
            assert!(codes.contains(&ran.code), "{blocks} blocks: {:?}\n{}", ran.code, ran.stderr);
            assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
            failed += usize::from(ran.code != Some(0));
            if round % 2 == 1 {
                converges(&local);
            }
        }
        assert!(failed >= 3, "the limit stopped only {failed} runs");
    }
}

/// All state is readable and none writable: nothing is done, and the error says so.
#[test]
fn a_folder_that_cannot_be_written() {
    let local = local();
    local.apply(&[]).exits(0);
    let before = local.index();
    edit(&local, 0);
    let state = local.world.path(".reposync");
    let modes = |folder: u32, file: u32| {
        for entry in std::fs::read_dir(&state).expect("the state") {
            let path = entry.expect("readable").path();
            if path.is_file() {
                std::fs::set_permissions(path, Permissions::from_mode(file)).expect("ours");
            }
        }
        std::fs::set_permissions(&state, Permissions::from_mode(folder)).expect("ours");
    };
    modes(0o555, 0o444);
    // Permissions do not bind root: run as another user.
    let program = local.world.path("reposync");
    std::fs::copy(env!("CARGO_BIN_EXE_reposync"), &program).expect("a copy");
    std::fs::set_permissions(local.world.path(""), Permissions::from_mode(0o755)).expect("ours");
    let is_superuser = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    for args in [&["apply"][..], &["apply", "--full"]] {
        let mut command = local.world.under(&["env"], args);
        if is_superuser {
            command.uid(65_534);
        }
        let ran = local.world.start(&mut command, args).wait().exits(1);
        assert!(ran.stderr.contains("hint:"), "{}", ran.stderr);
    }
    modes(0o755, 0o644);
    assert_eq!(local.index(), before);
    converges(&local);
}

/// The clock may jump between two runs: every time in the ledger is moved.
#[test]
fn a_clock_that_jumps() {
    let services = Services::start();
    let repo = services.with_pages("api", 6);
    services.apply(&[]).exits(0);
    for (round, moment) in ["1971-02-03T04:05:06.000Z", "2999-02-03T04:05:06.000Z"].iter().enumerate() {
        assert!(set_times(&services.world.path(".reposync/state.db"), moment) > 3);
        repo.write("docs/page-0.md", format!("Page 0 after jump {round}.\n"));
        services.push("api", &repo);
        let run = services.apply(&[]).exits(0);
        assert_eq!(run.counts(["vectors_written", "vectors_deleted"]), [1, 1], "{moment}");
        services.world.ok(&["verify"]);
        services.assert_as_fresh();
        assert!(set_times(&services.world.path(".reposync/state.db"), moment) > 3);
        let again = services.apply(&[]).exits(0);
        assert_eq!(again.counts(["vectors_written", "vectors_deleted"]), [0, 0], "{moment}");
        services.world.ok(&["status"]);
        services.world.ok(&["history"]);
    }
}

/// Sets every column of the ledger that holds a time; returns the number of columns.
fn set_times(ledger: &std::path::Path, moment: &str) -> usize {
    let db = Connection::open(ledger).expect("a ledger");
    let mut columns = db
        .prepare("SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table' AND c.name LIKE '%\\_at' ESCAPE '\\'")
        .expect("the schema");
    let columns: Vec<(String, String)> = columns
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .expect("names");
    for (table, column) in &columns {
        db.execute(&format!("UPDATE {table} SET {column} = ?1 WHERE {column} IS NOT NULL"), [moment])
            .expect("set");
    }
    columns.len()
}

/// The cache keeps reaching its size limit, so that kills hit evictions as well. A limit on file sizes
/// kills the run while it writes.
#[test]
fn killed_while_the_cache_is_full() {
    let local = with_pages(Local::paid());
    local.config(&format!("[engine]\ncache_size = \"64 KiB\"\n{}", project("")));
    local.apply(&[]).exits(0);
    let mut killed = 0;
    for (round, blocks) in ["1", "40", "80", "150", "200", "300", "400"].iter().enumerate() {
        edit(&local, round);
        let limited = format!("ulimit -f {blocks}; exec \"$@\"");
        let mut command = local.world.under(&["sh", "-c", &limited, "sh"], &["apply"]);
        killed += usize::from(local.world.start(&mut command, &["apply"]).wait().code.is_none());
    }
    assert!(killed > 0, "the limit killed no run");
    converges(&local);
}
