//! Reading commands work where nothing can be written: on read-only media, and in another user's folder.

#![cfg(unix)]

use std::os::unix::fs::symlink;

use crate::support::local::{Local, project};

/// Makes SQLite find the ledger, the cache and the index like on a read-only medium: the files beside
/// them cannot be made. (Permissions do not hold for root, and mounting is for root alone.)
fn close(local: &Local) {
    for file in ["state.db", "cache.db", "index.db"] {
        symlink("/nowhere/at-all", local.world.path(&format!(".reposync/{file}-shm"))).expect("a link");
    }
}

#[test]
fn reading_commands_need_nothing_that_is_writable() {
    let local = Local::applied();
    local.repo.write("new.md", "A file that is not indexed yet.\n").commit("second");
    close(&local);
    // A log that cannot be written, as a file stands where its folder should be.
    local.config(&project("[engine]\nlog_dir = \"reposync.toml/logs\""));
    assert!(local.world.ok(&["status"]).stdout.contains("docs: complete"));
    assert!(local.world.ok(&["history"]).stdout.contains("apply"));
    assert!(local.world.ok(&["query", "where do I start?"]).stdout.contains("guide/start.md"));
    let verified = local.world.ok(&["verify"]);
    assert!(verified.stdout.contains("Ledger and store agree"), "{}", verified.stdout);
    let plan = local.world.ok(&["plan", "--json"]).json();
    assert_eq!(plan["projects"][0]["repositories"][0]["files"][0]["path"], "new.md");
    // The vector cache is read as well: what it holds is not counted as a cost.
    assert_eq!(plan["projects"][0]["estimate"]["texts_to_embed"], 1, "{plan}");
    // What writes says what is wrong.
    let refused = local.world.run(&["apply"]).exits(1);
    assert!(refused.stderr.contains("state.db"), "{}", refused.stderr);
}
