//! The command line itself: help, usage errors, exit codes, streams. The output of individual commands
//! is tested with their features.

use std::process::Stdio;

use crate::support::world::World;

const COMMANDS: [&str; 17] = [
    "init",
    "validate",
    "schema",
    "plan",
    "apply",
    "daemon",
    "worker",
    "queue",
    "reload",
    "status",
    "history",
    "query",
    "explain",
    "verify",
    "plugin",
    "completions",
    "man",
];

#[test]
fn help_shows_commands_examples_and_exit_codes() {
    insta::assert_snapshot!(World::new().ok(&["--help"]).redacted());
}

#[test]
fn every_command_has_help() {
    let world = World::new();
    for command in COMMANDS {
        let help = world.ok(&[command, "--help"]);
        assert!(help.stdout.contains(&format!("Usage: reposync {command}")), "{}", help.stdout);
        assert!(help.stderr.is_empty(), "{}", help.stderr);
    }
}

#[test]
fn help_of_plan_and_apply() {
    let world = World::new();
    insta::assert_snapshot!("help_plan", world.ok(&["plan", "--help"]).redacted());
    insta::assert_snapshot!("help_apply", world.ok(&["apply", "--help"]).redacted());
}

#[test]
fn the_version_goes_to_stdout() {
    insta::assert_snapshot!(World::new().ok(&["--version"]).redacted(), @"
    exit: 0
    --- stdout
    reposync [VERSION]
    ");
}

#[test]
fn usage_errors_exit_with_two() {
    let world = World::new();
    insta::assert_snapshot!(world.run(&["aply"]).redacted(), @"
    exit: 2
    --- stderr
    error: unrecognized subcommand 'aply'

      tip: a similar subcommand exists: 'apply'

    Usage: reposync [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(world.run(&["query"]).redacted(), @"
    exit: 2
    --- stderr
    error: the following required arguments were not provided:
      <WORDS>...

    Usage: reposync query <WORDS>...

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(world.run(&["query", "x", "--top-k", "0"]).redacted(), @"
    exit: 2
    --- stderr
    error: invalid value '0' for '--top-k <N>': must be at least 1

    For more information, try '--help'.
    ");
    for args in [
        &["apply", "plan.json", "--project", "docs"][..],
        &["apply", "plan.json", "--full"],
        &["status", "-v", "-q"],
        &["history", "--limit", "many"],
        &["plugin"],
        &[],
    ] {
        world.run(args).exits(2);
    }
}

#[test]
fn a_missing_configuration_is_reported_with_a_remedy() {
    let world = World::new();
    insta::assert_snapshot!(world.run(&["plan"]).redacted(), @"
    exit: 2
    --- stderr
    error: no reposync.toml in this folder or a parent folder
     |
     = hint: create one with `reposync init`, or pass `--config FILE`

    1 problem in reposync.toml
    ");
    insta::assert_snapshot!(world.run(&["apply", "--config", "other.toml"]).redacted(), @"
    exit: 2
    --- stderr
    error: cannot read the file: No such file or directory (os error 2)
     |
     = hint: create one with `reposync init`, or pass `--config FILE`

    1 problem in [ROOT]/other.toml
    ");
}

#[test]
fn an_invalid_file_exits_with_two() {
    let world = World::new();
    world.config("[engine]\nconcurency = 8\n");
    for command in ["validate", "plan", "apply", "daemon", "status", "history", "verify"] {
        let ran = world.run(&[command]).exits(2);
        assert!(ran.stdout.is_empty(), "{}", ran.stdout);
        assert!(ran.stderr.contains("concurency") && ran.stderr.contains("concurrency"), "{}", ran.stderr);
    }
}

/// With `--detailed-exitcode`, 2 would mean that there are changes.
#[test]
fn with_detailed_exitcode_every_error_exits_with_one() {
    let world = World::new();
    world.run(&["plan", "--detailed-exitcode"]).exits(1);
    world.run(&["plan", "--detailed-exitcode", "--nonsense"]).exits(1);
    world.config("nonsense = 1");
    world.run(&["plan", "--detailed-exitcode"]).exits(1);
}

#[test]
fn an_empty_query_is_refused_before_anything_is_read() {
    insta::assert_snapshot!(World::new().run(&["query", "  "]).redacted(), @"
    exit: 2
    --- stderr
    error: the query is empty

    hint: describe what to look for
    ");
}

#[test]
fn a_saved_plan_must_be_one() {
    let world = World::new();
    insta::assert_snapshot!(world.run(&["apply", "plan.json"]).redacted(), @"
    exit: 2
    --- stderr
    error: cannot read the plan `plan.json`: No such file or directory (os error 2)
    ");
    world.write("plan.json", "{\"version\": 1}");
    insta::assert_snapshot!(world.run(&["apply", "plan.json"]).redacted(), @"
    exit: 1
    --- stderr
    error: stage `plan`: `plan.json` is no plan that this version of RepoSync saved

    hint: make a new plan with `reposync plan --out FILE`
    ");
}

#[test]
fn the_file_is_found_upwards() {
    let world = World::new();
    world.config("nonsense = 1").write("deep/down/keep", "");
    let mut command = world.command(&["plan"]);
    let output = command.current_dir(world.path("deep/down")).output().expect("the built program");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nonsense"));
}

/// `reposync … | head`: a closed pipe is not an error.
#[test]
fn a_closed_stdout_is_no_failure() {
    let world = World::new();
    for args in [&["completions", "bash"][..], &["plugin", "wit"], &["--help"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = world.command(args).stdout(Stdio::from(writer)).output().expect("the built program");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{args:?}");
    }
}

/// A full disk behind `>` is an error.
#[cfg(target_os = "linux")]
#[test]
fn a_full_stdout_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("the device");
    let world = World::new();
    let mut command = world.command(&["completions", "bash"]);
    let output = command.stdout(Stdio::from(full)).output().expect("the built program");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "));
}

#[test]
fn nothing_is_coloured_but_on_a_terminal() {
    let world = World::new();
    world.config("nonsense = 1");
    let mut command = world.command(&["plan"]);
    let output = command.env_remove("NO_COLOR").env("TERM", "xterm-256color").output().expect("runs");
    assert!(!output.stderr.is_empty() && !output.stderr.contains(&0x1b));
}

#[test]
fn colour_can_be_forced_and_forbidden() {
    let coloured = |set: &[(&str, &str)], args: &[&str]| {
        let world = World::new();
        world.config("nonsense = 1");
        let mut command = world.command(args);
        command.env_remove("NO_COLOR").envs(set.iter().copied());
        command.output().expect("runs").stderr.contains(&0x1b)
    };
    assert!(coloured(&[("CLICOLOR_FORCE", "1")], &["plan"]));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], &["plan"]));
    assert!(coloured(&[("NO_COLOR", "1")], &["plan", "--color", "always"]));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1")], &["--color=never", "plan"]));
    // Usage errors, too.
    assert!(coloured(&[], &["plan", "--color=always", "--nonsense"]));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1")], &["plan", "--color=never", "--nonsense"]));
}

#[test]
fn completions_are_scripts_that_ask_the_program() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = world.ok(&["completions", shell]).stdout;
        assert!(script.contains("COMPLETE") && script.contains("reposync"), "{shell} {script}");
    }
}

#[test]
fn the_shell_is_told_commands_options_and_projects() {
    let world = World::new();
    world.config("[projects.handbook]\nnonsense = 1\n[projects.code]\n");
    let complete = |words: &[&str]| {
        let mut command = world.command(&[&["--", "reposync"], words].concat());
        let output = command
            .env("COMPLETE", "bash")
            .env("_CLAP_COMPLETE_INDEX", words.len().to_string())
            .env("_CLAP_COMPLETE_COMP_TYPE", "9")
            .env("_CLAP_COMPLETE_SPACE", "true")
            .env("_CLAP_IFS", "\n")
            .output()
            .expect("runs");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let words: Vec<String> =
            String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim().to_owned()).collect();
        words
    };
    assert_eq!(complete(&["verif"]), ["verify"]);
    assert!(complete(&["plan", "--detailed"]).contains(&"--detailed-exitcode".to_owned()));
    for command in ["plan", "apply", "query", "verify", "explain", "history"] {
        let mut names = complete(&[command, "--project", ""]);
        names.sort();
        assert_eq!(names, ["code", "handbook"], "{command}");
    }
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let world = World::new();
    world.ok(&["man", "pages/man1"]);
    for command in COMMANDS {
        let page = world.read(&format!("pages/man1/reposync-{command}.1"));
        assert!(page.contains(".TH") && page.contains("SYNOPSIS"), "{command}");
    }
    assert!(world.read("pages/man1/reposync.1").contains("Exit codes"));
    world.write("file", "");
    let refused = world.run(&["man", "file/man1"]).exits(1);
    assert!(refused.stderr.contains("cannot write manual pages into `file/man1`"), "{}", refused.stderr);
}

#[test]
fn the_contract_of_components_is_in_the_program() {
    let wit = World::new().ok(&["plugin", "wit"]).stdout;
    assert!(wit.contains("package reposync:chunker"), "{wit}");
}

#[test]
fn what_init_writes_is_valid_and_never_overwritten() {
    let world = World::new();
    world.repo("handbook").commit("first");
    insta::assert_snapshot!(world.ok(&["init"]).redacted(), @r#"
    exit: 0
    --- stdout
    Wrote reposync.toml. It indexes the repository at `handbook`. Next:

      reposync plan      what would be done, and what it costs
      reposync apply     do it
      reposync query "how does it work?"

    Keep `.reposync/` (ledger, cache, index) out of Git.
    "#);
    let written = world.read("reposync.toml");
    insta::assert_snapshot!(world.ok(&["validate"]).redacted(), @"
    exit: 0
    --- stdout
    [ROOT]/reposync.toml is valid: 1 project, 6 stages in use
    ");
    assert!(world.ok(&["validate", "--show"]).stdout.contains("handbook"));
    insta::assert_snapshot!(world.run(&["init"]).exits(1).redacted(), @"
    exit: 1
    --- stderr
    error: `[ROOT]/reposync.toml` already exists; it is not changed

    hint: `reposync plan` shows what would be done, `reposync apply` does it; for another file, run `reposync init` in the folder of what you want to index
    ");
    assert_eq!(world.read("reposync.toml"), written);
}

#[test]
fn the_schema_is_one() {
    let schema = World::new().ok(&["schema"]).json();
    assert!(schema["properties"]["projects"].is_object(), "{schema}");
}

#[test]
fn a_missing_variable_is_named_before_anything_is_asked() {
    let text = "[stages.team]\nkind = \"slack\"\nwebhook_url = \"${TEAM_URL}\"\n";
    let project = "[projects.p]\npipeline = [\"team\"]\n";
    let world = World::new();
    world.config(&format!("{text}{project}"));
    let ran = world.run(&["plan"]).exits(2);
    assert!(ran.stderr.contains("TEAM_URL"), "{}", ran.stderr);
    let world = World::new().env("TEAM_URL", "https://hooks.example/secret");
    world.config(&format!("{text}{project}"));
    let ran = world.run(&["plan"]).exits(2);
    assert!(!ran.stderr.contains("TEAM_URL") && !ran.stderr.contains("secret"), "{}", ran.stderr);
}
