//! The programs of `docs/consumers.md` run as they stand there, against a real daemon.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::daemon::Daemon;
use crate::support::python::python;

/// The code blocks of a language in the page, each with its heading.
fn blocks(language: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/consumers.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let (mut heading, mut blocks) = (String::new(), Vec::new());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut heading);
        } else if let Some(found) = line.strip_prefix("```") {
            let code: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            if found == language {
                blocks.push((heading.clone(), code.join("\n")));
            }
        }
    }
    blocks
}

fn run(program: &Path, flag: &str, code: &str, daemon: &Daemon) -> Output {
    let mut command = Command::new(program);
    command.args([flag, code]).env("REPOSYNC_URL", format!("http://{}", daemon.address()));
    command.env("REPOSYNC_TOKEN", daemon.token.as_deref().expect("its own"));
    command.output().unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

#[track_caller]
fn finds(heading: &str, output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{heading}: {error}");
    assert!(
        text.contains("guide/start.md") && text.contains("Start here and read on."),
        "{heading}: {text} {error}"
    );
}

#[test]
fn the_programs_of_the_page_find_the_file() {
    let (_local, mut daemon) = Daemon::of_local();
    daemon.until_runs(1);
    let python_blocks = blocks("python");
    let headings: Vec<&str> = python_blocks.iter().map(|(heading, _)| heading.as_str()).collect();
    assert_eq!(headings, ["Plain HTTP", "LangChain", "LlamaIndex"]);
    let packages = ["requests==2.34.2", "langchain-core==1.8.3", "llama-index-core==0.14.25"];
    if let Some(python) = python("consumers", &packages) {
        for (heading, code) in &python_blocks {
            finds(heading, &run(&python, "-c", code, &daemon));
        }
    }
    // A system without curl has nothing to try.
    if Command::new("curl").arg("--version").output().is_ok_and(|output| output.status.success()) {
        let shell = blocks("sh");
        assert_eq!(shell.len(), 1);
        for (heading, code) in &shell {
            finds(heading, &run(Path::new("sh"), "-c", code, &daemon));
        }
    }
}
