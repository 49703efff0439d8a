//! Local Git repositories and configurations over them, without any service.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Calls in flight to each service.
pub(crate) const CONCURRENCY: u64 = 8;
/// The stage of the built-in model.
pub(crate) const BUILT_IN: &str = "kind = \"local\"";

/// Repositories of small files, all in one project, with the built-in model.
pub(crate) fn in_one_project(repositories: usize, files: usize) -> TempDir {
    let folder = small(repositories, files);
    let names: Vec<String> = (0..repositories).map(|n| format!("\"repo-{n}.git\"")).collect();
    let projects = [("docs".to_owned(), names.join(", "))];
    write(folder.path(), &configuration("sentence", "", BUILT_IN, &projects));
    folder
}

/// The same repositories, each in a separate project.
pub(crate) fn in_a_project_each(repositories: usize, files: usize) -> TempDir {
    let folder = small(repositories, files);
    write(folder.path(), &configuration("sentence", "", BUILT_IN, &projects(repositories)));
    folder
}

/// Projects, each with one of the repositories.
pub(crate) fn projects(repositories: usize) -> Vec<(String, String)> {
    (0..repositories).map(|n| (format!("project-{n}"), format!("\"repo-{n}.git\""))).collect()
}

fn small(repositories: usize, files: usize) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for n in 0..repositories {
        let pages = (0..files).map(|file| (format!("docs/page-{file}.md"), page(n, file)));
        commit(&folder.path().join(format!("repo-{n}.git")), pages);
    }
    folder
}

/// A file of one chunk.
pub(crate) fn page(repository: usize, file: usize) -> String {
    format!(
        "# Page {file} of {repository}\n\nWhat page {file} of repository {repository} says is said in a few words, \
         which no other page says. It is long enough for a chunk, and short enough for one.\n"
    )
}

pub(crate) fn write(folder: &Path, configuration: &str) {
    std::fs::write(folder.join("reposync.toml"), configuration).expect("a file");
}

/// Projects (name, repositories) with one chunker and one embedder.
pub(crate) fn configuration(kind: &str, more: &str, embedder: &str, projects: &[(String, String)]) -> String {
    let mut text = format!(
        "[engine]\nconcurrency = {CONCURRENCY}\n\n[stages.local]\nkind = \"git\"\n\n[stages.chunks]\nkind = \"{kind}\"\n{more}\n\n\
         [stages.model]\n{embedder}\n\n[stages.index]\nkind = \"sqlite\"\n"
    );
    for (name, repositories) in projects {
        text.push_str(&format!(
            "\n[projects.{name}]\npipeline = [\"local\", \"chunks\", \"model\", \"index\"]\nrepositories = [{repositories}]\n"
        ));
    }
    text
}

/// Creates a bare repository with one commit of these files.
pub(crate) fn commit(path: &Path, files: impl Iterator<Item = (String, String)>) {
    std::fs::create_dir(path).expect("a folder");
    let made = git(path, &["init", "--quiet", "--bare", "--template=", "--initial-branch=main"]).status();
    assert!(made.expect("the `git` program").success());
    import(path, "", files);
}

/// Commits one more state of these files; the others stay as they are.
pub(crate) fn commit_again(path: &Path, files: impl Iterator<Item = (String, String)>) {
    import(path, "from refs/heads/main^0\n", files);
}

fn import(path: &Path, parent: &str, files: impl Iterator<Item = (String, String)>) {
    let mut import =
        git(path, &["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().expect("the `git` program");
    let mut stream = std::io::BufWriter::new(import.stdin.take().expect("piped"));
    let mut send = |text: &str| stream.write_all(text.as_bytes()).expect("git reads on");
    send("commit refs/heads/main\ncommitter Ada <ada@example.com> 1767225600 +0000\ndata 4\nmore\n");
    send(parent);
    for (path, text) in files {
        send(&format!("M 100644 inline {path}\ndata {}\n{text}\n", text.len()));
    }
    drop(stream);
    assert!(import.wait().expect("a child").success(), "git fast-import");
}

fn git(path: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(path).args(args);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command
}
