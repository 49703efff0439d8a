//! `reposync init`: writes a starter `reposync.toml` for the current folder.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::config::{self, FILE_NAME};
use crate::state_folder;

use super::context::Context;
use super::error::{CommandError, CommandResult};
use super::exit::Exit;

/// The schema for editors, which the first line of the starter file names.
const SCHEMA: &str = ".reposync/schema.json";

/// Runs the command.
pub(super) fn run(context: &Context) -> CommandResult {
    let folder = std::env::current_dir()?;
    if folder.join(FILE_NAME).exists() {
        let message = format!("`{}` already exists; it is not changed", folder.join(FILE_NAME).display());
        let hint = "`reposync plan` shows what would be done, `reposync apply` does it; for another file, run \
            `reposync init` in the folder of what you want to index";
        return Err(CommandError::new(Exit::Failed, anyhow::Error::msg(message)).hint(hint));
    }
    context.out.data(&init(&folder)?)?;
    Ok(Exit::Done)
}

/// Writes the starter file and describes what it will index. Never overwrites a file.
fn init(folder: &Path) -> anyhow::Result<String> {
    let path = folder.join(FILE_NAME);
    let folder =
        std::fs::canonicalize(folder).with_context(|| format!("cannot open `{}`", folder.display()))?;
    let repositories = repositories(&folder);
    let text = starter(&project_name(&folder), &repositories);
    write_schema(&folder)?;
    let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("`{}` already exists; it is not changed", path.display());
        }
        Err(error) => return Err(error).with_context(|| format!("cannot write `{}`", path.display())),
    };
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write `{}`", path.display()))?;
    let what = match repositories.as_slice() {
        [] => "Set `organization` in it to yours, then:".to_owned(),
        [one] if one == "." => "It indexes this repository. Next:".to_owned(),
        [one] => format!("It indexes the repository at `{one}`. Next:"),
        many => format!("It indexes the {} repositories below this folder. Next:", many.len()),
    };
    Ok(format!(
        "Wrote {FILE_NAME}. {what}\n\n  reposync plan      what would be done, and what it costs\n  reposync apply     do it\n  reposync query \"how does it work?\"\n\nKeep `.reposync/` (ledger, cache, index) out of Git.\n"
    ))
}

/// Writes the schema for editors into the state folder, which Git ignores.
fn write_schema(folder: &Path) -> anyhow::Result<()> {
    let path = folder.join(SCHEMA);
    let schema = format!("{:#}\n", config::schema());
    state_folder::make(path.parent().expect("below a folder"))
        .and_then(|()| std::fs::write(&path, schema))
        .with_context(|| format!("cannot write `{}`", path.display()))
}

/// The repositories to index: the one that contains the folder, otherwise those directly below it,
/// as paths relative to the folder.
fn repositories(folder: &Path) -> Vec<String> {
    for (depth, above) in folder.ancestors().enumerate() {
        if is_repository(above) {
            let up = vec![".."; depth].join("/");
            return vec![if up.is_empty() { ".".to_owned() } else { up }];
        }
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut below: Vec<String> = entries
        .filter(|entry| is_repository(&entry.path()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    below.sort();
    below
}

/// True for a work tree or a bare repository.
fn is_repository(folder: &Path) -> bool {
    let bare =
        || folder.join("HEAD").is_file() && folder.join("objects").is_dir() && folder.join("refs").is_dir();
    folder.join(".git").exists() || bare()
}

/// A valid project name derived from the folder's.
fn project_name(folder: &Path) -> String {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let name: String = name.trim_matches('-').chars().take(64).collect();
    if name.is_empty() { "docs".into() } else { name }
}

/// The text of the file. Without repositories: GitHub, with a placeholder.
fn starter(project: &str, repositories: &[String]) -> String {
    let (source, selection) = if repositories.is_empty() {
        (
            "[stages.github]\nkind = \"github\"\n# token = \"${GITHUB_TOKEN}\"        # for private repositories\n",
            "organization = \"your-organization\"   # or repositories = [\"owner/name\"]\n".to_owned(),
        )
    } else {
        let paths: Vec<String> = repositories.iter().map(|path| format!("{path:?}")).collect();
        (
            "[stages.checkout]\nkind = \"git\"                      # local repositories; commits only, never uncommitted changes\n",
            format!("repositories = [{}]\n", paths.join(", ")),
        )
    };
    let source_name = if repositories.is_empty() { "github" } else { "checkout" };
    format!(
        r#"#:schema ./{SCHEMA}
# RepoSync: which repositories are indexed, and through which stages.
# The line above is for editors; `reposync schema > {SCHEMA}` updates what it names.
# Every key: docs/config.md. Defaults: `reposync validate --show`.

{source}
# Chunkers: the first one of the pipeline that matches takes the file.
[stages.markdown]
kind = "markdown"                 # Markdown files, by heading

[stages.code]
kind = "code"                     # code, configuration, data: by syntax or by lines

[stages.prose]
kind = "sentence"                 # every other text: .txt, .rst, .adoc, unknown names
max_chunk_size = 1000             # characters
chunk_overlap = 200
normalize_whitespace = false      # keep indentation: code blocks, tables, lists

[stages.model]
kind = "local"                    # the model in the program: no account, no network

[stages.index]
kind = "sqlite"                   # one file: .reposync/index.db

[projects.{project}]
pipeline = ["{source_name}", "markdown", "code", "prose", "model", "index"]
{selection}exclude_patterns = ["**/node_modules/**", "**/target/**", "*.lock", "package-lock.json"]
# allowed_extensions = [".md", ".rst"]   # left out: every text file
# schedule = "0 8 * * *"                 # for `reposync daemon`: every day at 08:00 UTC
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Need, load, parse_str};
    use crate::source::Selection;

    #[test]
    fn the_starter_is_valid_with_and_without_a_repository() {
        for repositories in [vec![], vec![".".to_owned()], vec!["a \"b\"".to_owned(), "c".to_owned()]] {
            let text = starter("docs", &repositories);
            let need = Need::enabled().with_env(|_| None);
            let config = parse_str(Path::new("/example/reposync.toml"), &text, &need);
            let config = config.unwrap_or_else(|problems| panic!("{problems}"));
            assert_eq!(config.projects.len(), 1);
        }
    }

    #[test]
    fn it_finds_the_repository_and_never_overwrites() {
        let root = tempfile::tempdir().expect("a folder");
        let deep = root.path().join("My Repo/docs");
        std::fs::create_dir_all(&deep).expect("made");
        std::fs::create_dir(root.path().join("My Repo/.git")).expect("made");
        let said = init(&deep).expect("written");
        assert!(said.contains("the repository at `..`"), "{said}");
        let path = deep.join(FILE_NAME);
        let config = load(&path, &Need::enabled().with_env(|_| None)).expect("valid");
        let Selection::Named(repositories) = &config.projects[0].selection else { panic!("named") };
        assert_eq!(repositories[0].name, "My Repo");
        // Editors find the schema by the first line; Git does not see it.
        let text = std::fs::read_to_string(&path).expect("read");
        let named = text.lines().next().and_then(|line| line.strip_prefix("#:schema ")).expect("a schema");
        let schema = std::fs::read_to_string(deep.join(named)).expect("written");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&schema).expect("JSON"), config::schema());
        assert!(deep.join(".reposync/.gitignore").exists());

        std::fs::write(&path, "mine").expect("written");
        let error = init(&deep).expect_err("it is there");
        assert!(error.to_string().contains("already exists"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "mine");
    }

    #[test]
    fn a_folder_of_checkouts_and_an_empty_one() {
        let root = tempfile::tempdir().expect("a folder");
        assert_eq!(repositories(root.path()), Vec::<String>::new());
        for name in ["b/.git", "a/.git", "c"] {
            std::fs::create_dir_all(root.path().join(name)).expect("made");
        }
        assert_eq!(repositories(root.path()), ["a", "b"]);
        for (folder, name) in [("/x/My Repo", "my-repo"), ("/", "docs"), ("/x/--", "docs"), ("/x/ä", "docs")]
        {
            assert_eq!(project_name(Path::new(folder)), name);
        }
    }
}
