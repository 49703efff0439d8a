//! What `kind = "git"` declares: repositories are folders, and how it is built.

use std::path::Path;
use std::sync::Arc;

use super::GitSource;
use super::settings::GitSettings;
use crate::model::{RepoRef, StageResult};
use crate::settings::{NOT_EXPANDED, Objection, absolute, begins_at_home};
use crate::source::{Source, SourceConfig, SourceContext, WrittenRepository};

impl SourceConfig for GitSettings {
    fn build(&self, context: SourceContext) -> StageResult<Arc<dyn Source>> {
        let source = GitSource::new(context.stage.stage).with_limits(context.limits, context.max_file_bytes);
        let source = source.with_alternates(self.alternates.clone());
        Ok(Arc::new(source.with_runtime(context.stage.runtime).with_cancel(context.stage.cancel)))
    }

    fn is_local(&self) -> bool {
        true
    }

    fn check_owner(&self, _owner: &str) -> Result<(), Objection> {
        let hint = "name folders instead: repositories = [\"../handbook\"]";
        Err(Objection::new("kind `git` has no organizations", hint))
    }

    fn nothing_selected(&self) -> Objection {
        let hint = "add repositories = [\".\"]: paths relative to this file";
        Objection::new("`repositories` is missing", hint)
    }

    fn repository(&self, written: &WrittenRepository, folder: &Path) -> Result<RepoRef, Objection> {
        let found = match written {
            WrittenRepository::Plain(path) => local(path, None, folder),
            WrittenRepository::Named(one) => match (&one.path, &one.url) {
                (Some(path), None) => local(path, one.name.as_deref(), folder),
                _ => Err((
                    "kind `git` takes a `path`, and no `url`",
                    "a server's repositories need kind `git-remote`",
                )),
            },
        };
        found.map_err(|(message, hint)| Objection::new(message, hint))
    }

    fn comparable(&self, name: &str) -> String {
        name.to_owned()
    }

    fn on_same_name(&self) -> &'static str {
        "give one another name: { path = \"…\", name = \"…\" }"
    }
}

/// A local repository, named after its canonical folder without `.git` and identified by its path.
/// A missing folder is not a problem here: the run reports it.
fn local(path: &str, name: Option<&str>, folder: &Path) -> Result<RepoRef, (&'static str, &'static str)> {
    if path.is_empty() {
        return Err(("an empty path", "write \".\" for the folder of this file"));
    }
    if begins_at_home(Path::new(path)) {
        return Err(NOT_EXPANDED);
    }
    let path = absolute(folder, Path::new(path));
    let path = std::fs::canonicalize(&path).unwrap_or(path);
    let unnamed = ("the name cannot be taken from its folder", "give it one: { path = \"…\", name = \"…\" }");
    let name = match name {
        Some(name) => name.to_owned(),
        None => folder_name(&path).ok_or(unnamed)?,
    };
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        return Err(("not a name for a repository", "give it a visible name"));
    }
    let key = path.to_str().ok_or(("its path is not UTF-8", "rename the folder"))?.to_owned();
    Ok(RepoRef { name, key })
}

/// A folder's name without `.git`. For the `.git` folder of a work tree, the work tree's name.
fn folder_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    match name.strip_suffix(".git").unwrap_or(name) {
        "" => path.parent()?.file_name()?.to_str().map(str::to_owned),
        name => Some(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_repositories_are_named_by_their_canonical_folder() {
        let root = tempfile::tempdir().expect("a folder");
        let root = std::fs::canonicalize(root.path()).expect("it exists");
        for folder in ["work/.git", "bare.git"] {
            std::fs::create_dir_all(root.join(folder)).expect("made");
        }
        for (path, name, expected) in [
            ("work", None, "work"),
            ("./work/../work/", None, "work"),
            ("work/.git", None, "work"),
            ("bare.git", None, "bare"),
            ("not/there.git", None, "there"),
            ("work", Some("other"), "other"),
        ] {
            let repo = local(path, name, &root).unwrap_or_else(|error| panic!("{path}: {error:?}"));
            assert_eq!(repo.name, expected, "{path}");
            assert!(Path::new(&repo.key).is_absolute());
        }
        assert_eq!(local("work/..", None, &root).expect("named").key, root.to_str().expect("UTF-8"));
        for (path, name) in [("", None), ("/", None), ("work", Some(" ")), ("work", Some("a\nb"))] {
            assert!(local(path, name, &root).is_err(), "{path} {name:?}");
        }
    }
}
