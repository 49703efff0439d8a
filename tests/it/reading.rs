//! Read-only commands build only the stages they need and work on read-only media.

use crate::support::daemon::{API, Daemon};
use crate::support::local::{Local, STAGES, project};

/// Makes SQLite treat the ledger, the cache and the index as on read-only media: the journal files
/// cannot be created. (Permissions do not bind root, and mounting needs root.)
#[cfg(unix)]
fn close(local: &Local) {
    for file in ["state.db", "cache.db", "index.db"] {
        let link = local.world.path(&format!(".reposync/{file}-shm"));
        std::os::unix::fs::symlink("/nowhere/at-all", link).expect("a link");
    }
}

#[cfg(unix)]
#[test]
fn reading_commands_need_nothing_that_is_writable() {
    let local = Local::paid_and_applied();
    local.repo.write("new.md", "The readme says what it is about.\n").commit("second");
    close(&local);
    // The log cannot be written, because a file is in the place of its folder.
    local.config(&format!("[engine]\nlog_dir = \"reposync.toml/logs\"\n{}", project("")));
    assert!(local.world.ok(&["status"]).stdout.contains("docs: "));
    assert!(local.world.ok(&["history"]).stdout.contains("apply"));
    assert!(local.world.ok(&["query", "where do I start?"]).stdout.contains("guide/start.md"));
    let verified = local.world.ok(&["verify"]);
    assert!(verified.stdout.contains("Ledger and store agree"), "{}", verified.stdout);
    let plan = local.world.ok(&["plan", "--json"]).json();
    let project = &plan["projects"][0];
    assert_eq!(project["repositories"][0]["files"][0]["path"], "new.md");
    // The vector cache is read too: cached texts are not counted as a cost.
    let estimate = &project["estimate"];
    assert_eq!((&estimate["texts"], &estimate["texts_cached"]), (&0.into(), &1.into()), "{plan}");
    // Commands that write report the error.
    local.config(&crate::support::local::project(""));
    let refused = local.world.run(&["apply"]).exits(1);
    assert!(refused.stderr.contains("state.db"), "{}", refused.stderr);
}

#[test]
fn what_a_reading_command_does_not_use_may_be_missing() {
    let local = Local::applied();
    // Neither the component nor the variables exist.
    local.config(&format!(
        "{STAGES}
[stages.notes]
kind = \"wasm\"
component = \"plugins/missing.wasm\"
[stages.hub]
kind = \"github\"
token = \"${{NO_SUCH_TOKEN}}\"
[stages.team]
kind = \"slack\"
webhook_url = \"${{NO_SUCH_HOOK}}\"
[projects.docs]
pipeline = [\"hub\", \"notes\", \"prose\", \"model\", \"index\", \"team\"]
organization = \"acme\"
"
    ));
    assert!(local.world.ok(&["query", "where do I start?"]).stdout.contains("guide/start.md"));
    assert!(local.world.ok(&["status"]).stdout.contains("docs: "));
    assert!(local.world.ok(&["history"]).stdout.contains("apply"));
    assert!(local.world.ok(&["verify"]).stdout.contains("Ledger and store agree"));
    // These commands need all stages.
    for command in [&["plan"][..], &["apply"], &["verify", "--repair"]] {
        let refused = local.world.run(command).exits(2);
        for missing in ["missing.wasm", "NO_SUCH_TOKEN", "NO_SUCH_HOOK"] {
            assert!(refused.stderr.contains(missing), "{command:?} {}", refused.stderr);
        }
    }
}

#[test]
fn with_a_daemon_a_refused_file_ends_no_reading_command() {
    let local = Local::new();
    local.config(&project(API));
    let mut daemon = Daemon::start(&local.world);
    daemon.until_runs(1);
    local.config("[projects.docs]\nnonsense = 1\n");
    daemon.until("the refusal", |daemon| daemon.reloads("refused") > 0);
    for (command, shown) in [
        (&["status"][..], "docs: current"),
        (&["history"], "start"),
        (&["query", "where do I start?"], "guide/start.md"),
        (&["verify"], "Ledger and store agree"),
    ] {
        let ran = local.world.ok(command);
        assert!(ran.stdout.contains(shown), "{command:?} {}", ran.stdout);
        assert!(ran.stderr.contains("the file is refused:"), "{command:?} {}", ran.stderr);
    }
    // Without a daemon there is no valid configuration.
    daemon.stop();
    for command in [&["status"][..], &["history"], &["query", "x"], &["verify"]] {
        let ran = local.world.run(command).exits(2);
        assert!(ran.stderr.contains("nonsense"), "{command:?} {}", ran.stderr);
    }
}
