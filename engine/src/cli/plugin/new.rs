//! `plugin new`: creates a project that builds and passes its own test without changes.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::args::{Language, NewArgs};
use super::template;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::Exit;

/// Runs the command.
pub(super) fn run(context: &Context, args: &NewArgs) -> CommandResult {
    let name = checked(&args.name)?;
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(name));
    if !is_free(&folder)? {
        return Err(CommandError::invalid(format!("`{}` is not empty", folder.display()))
            .hint("name another folder with `--dir`"));
    }
    let files = template::files(name, args.lang);
    for (path, text) in &files {
        write(&folder.join(path), text)?;
    }
    context.out.message(&advice(name, &folder, args.lang, files.len()));
    Ok(Exit::Done)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, text))
        .with_context(|| format!("failed to write `{}`", path.display()))
}

/// True if the project can be created: the folder is missing or empty.
fn is_free(folder: &Path) -> io::Result<bool> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error),
    }
}

/// Checks that a name is valid for the tools of every language: lower-case letters, digits and
/// single dashes.
fn checked(name: &str) -> Result<&str, CommandError> {
    let letters = name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
    let shaped =
        name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.ends_with('-') && !name.contains("--");
    if letters && shaped && name.len() <= 60 {
        return Ok(name);
    }
    Err(CommandError::invalid(format!("`{name}` is not a valid name for a chunker"))
        .hint("use lower-case letters, digits and dashes, starting with a letter, such as `meeting-notes`"))
}

fn advice(name: &str, folder: &Path, language: Language, files: usize) -> String {
    let tools = match language {
        Language::Rust => "rustup target add wasm32-unknown-unknown",
        Language::Js => "npm install",
        Language::Python => "python -m venv .venv && .venv/bin/pip install -r requirements.txt",
        Language::C => "apt-get install clang lld wasi-libc libclang-rt-dev-wasm32",
    };
    format!(
        "wrote {files} files to `{}`\n\nnext:\n  cd {}\n  {tools}\n  reposync plugin build\n  \
         reposync plugin test {name}.wasm fixtures/example.txt\n",
        folder.display(),
        folder.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_all_tools_take() {
        for name in ["a", "notes", "meeting-notes", "k8s"] {
            assert!(checked(name).is_ok(), "{name}");
        }
        let long = "a".repeat(61);
        for name in ["", "-a", "a-", "a--b", "A", "1a", "a b", "a/b", "ä", "a_b", ".", &long] {
            assert!(checked(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_folder_with_something_in_it_is_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(is_free(dir.path()).expect("readable"));
        assert!(is_free(&dir.path().join("new")).expect("readable"));
        let file = dir.path().join("file");
        std::fs::write(&file, "").expect("written");
        assert!(!is_free(dir.path()).expect("readable"));
        assert!(!is_free(&file).expect("readable"));
    }

    #[test]
    fn what_to_do_next() {
        insta::assert_snapshot!(advice("notes", Path::new("notes"), Language::Js, 9), @"
        wrote 9 files to `notes`

        next:
          cd notes
          npm install
          reposync plugin build
          reposync plugin test notes.wasm fixtures/example.txt
        ");
    }
}
