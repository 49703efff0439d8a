//! Reads the tables under `[projects]`.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use toml::de::DeValue;

use super::check::{NOT_EXPANDED, absolute, begins_at_home};
use super::pipeline;
use super::problem::Problem;
use super::raw::{RawProject, RawRepository};
use super::shape::Shape;
use super::stages::Stages;
use super::table::Table;
use super::values::{bad_extension, check_globs, is_branch, is_full_name, is_owner, parse_schedule};
use super::{Project, StageKind};
use crate::model::{BranchRef, Place, RepoRef};
use crate::source::Selection;

/// Reads a project, as far as possible.
pub(super) fn read(
    name: &str,
    table: &mut Table<'_>,
    stages: &Stages<'_>,
    folder: &Path,
    problems: &mut Vec<Problem>,
) -> Option<Project> {
    let raw: RawProject = table.read(&Shape::of::<RawProject>(), problems)?;
    let pipeline = pipeline::split(table, stages, problems);
    let source = stages.get(&pipeline.source).and_then(|stage| stage.kind.as_ref());
    let selection = selection(&raw, table, source, folder, problems);
    let namespace = raw.namespace.unwrap_or_else(|| name.to_owned());
    if !Place::is_namespace(&namespace) {
        let hint = "1 to 512 printable ASCII characters";
        table.flag(problems, "namespace", "not a namespace", hint);
    }
    if raw.branch.as_deref().is_some_and(|branch| !is_branch(branch)) {
        let hint = "a branch or a tag (\"main\", \"v1.0\"), or a whole reference (\"refs/heads/main\"); \
                    left out: each repository's default branch";
        table.flag(problems, "branch", "not a branch's name", hint);
    }
    if let Some(Err(why)) = raw.schedule.as_deref().map(parse_schedule) {
        let hint = "minute, hour, day, month, weekday, in UTC: \"0 8 * * *\" is every day at 08:00";
        table.flag(problems, "schedule", why, hint);
    }
    if raw.max_cost.is_some_and(|cost| !cost.is_finite() || cost < 0.0) {
        let hint = "an amount, at least 0, such as 5.0, in the currency of `price_per_million_tokens`";
        table.flag(problems, "max_cost", "not a price", hint);
    }
    check_globs(table, "exclude_patterns", problems);
    check_extensions(table, problems);
    Some(Project {
        name: name.to_owned(),
        source: pipeline.source,
        chunkers: pipeline.chunkers,
        embedder: pipeline.embedder,
        store: pipeline.store,
        notifiers: pipeline.notifiers,
        selection,
        branch: raw.branch.map_or(BranchRef::Default, BranchRef::Named),
        namespace,
        allowed_extensions: raw
            .allowed_extensions
            .map(|all| all.iter().map(|one| one.to_lowercase()).collect()),
        exclude_patterns: raw.exclude_patterns,
        schedule: raw.schedule,
        secrets: raw.secrets,
        max_cost: raw.max_cost,
        enabled: raw.enabled,
    })
}

fn check_extensions(table: &Table<'_>, problems: &mut Vec<Problem>) {
    let key = "allowed_extensions";
    for (span, text) in table.texts(key) {
        if let Some(mut hint) = bad_extension(text) {
            if table.replaced_at(&span) {
                hint = "write it like \".md\"".into();
            }
            table.flag_at(problems, key, span, "not an extension", hint);
        }
    }
    if table.value(key).and_then(DeValue::as_array).is_some_and(|items| items.is_empty()) {
        table.flag(problems, key, "an empty list matches no file", "leave it out for every text file");
    }
}

fn selection(
    raw: &RawProject,
    table: &Table<'_>,
    source: Option<&StageKind>,
    folder: &Path,
    problems: &mut Vec<Problem>,
) -> Selection {
    let local = matches!(source, Some(StageKind::Git(_)));
    let (by_owner, by_name) = (table.has("organization"), table.has("repositories"));
    if by_owner && by_name {
        let hint = "keep either `organization` or `repositories`; a second project can take the other";
        table.flag(problems, "repositories", "cannot be combined with `organization`", hint);
    } else if by_owner && local {
        let hint = "name folders instead: repositories = [\"../handbook\"]";
        table.flag(problems, "organization", "kind `git` has no organizations", hint);
    } else if !by_owner && !by_name && source.is_some() {
        let (message, hint) = if local {
            ("`repositories` is missing", "add repositories = [\".\"]: paths relative to this file")
        } else {
            (
                "`organization` or `repositories` is missing",
                "add organization = \"acme\" or repositories = [\"acme/handbook\"]",
            )
        };
        problems.push(Problem::at(&table.path, table.header.clone(), message).hint(hint));
    }
    if by_name && table.has("filter_keyword") {
        let hint = "leave it out, or use `organization`";
        table.flag(problems, "filter_keyword", "narrows an organization, not named repositories", hint);
    }
    if let Some(keyword) = &raw.filter_keyword
        && keyword.trim().is_empty()
    {
        table.flag(
            problems,
            "filter_keyword",
            "must not be empty",
            "leave it out to select every repository",
        );
    }
    if let Some(repositories) = &raw.repositories {
        let spans = table.item_spans("repositories");
        return Selection::Named(named(repositories, &spans, table, source, folder, problems));
    }
    if raw.organization.as_deref().is_some_and(|owner| !is_owner(owner)) {
        let hint = "the name alone, as in https://github.com/NAME";
        table.flag(problems, "organization", "not a name of an organization or a user", hint);
    }
    Selection::Owner {
        owner: raw.organization.clone().unwrap_or_default(),
        keyword: raw.filter_keyword.clone(),
    }
}

fn named(
    repositories: &[RawRepository],
    spans: &[Range<usize>],
    table: &Table<'_>,
    source: Option<&StageKind>,
    folder: &Path,
    problems: &mut Vec<Problem>,
) -> Vec<RepoRef> {
    let key = "repositories";
    if repositories.is_empty() {
        table.flag(
            problems,
            key,
            "must name at least one repository",
            "to index nothing, set enabled = false",
        );
    }
    let mut out = Vec::new();
    let mut names = HashSet::new();
    for (repository, span) in repositories.iter().zip(spans) {
        let mut flag = |message: &str, hint: &str| table.flag_at(problems, key, span.clone(), message, hint);
        let repo = match (repository, source) {
            (RawRepository::Plain(path), Some(StageKind::Git(_))) => local(path, None, folder),
            (RawRepository::Named(one), Some(StageKind::Git(_))) => {
                local(&one.path, one.name.as_deref(), folder)
            }
            (RawRepository::Plain(name), Some(_)) if is_full_name(name) => {
                Ok(RepoRef { name: name.clone(), key: String::new() })
            }
            (RawRepository::Plain(_), Some(_)) => {
                Err(("not a repository's name", "write it like \"acme/handbook\""))
            }
            (RawRepository::Named(_), Some(_)) => {
                Err(("a path and a name are for kind `git`", "write it like \"acme/handbook\""))
            }
            (_, None) => continue,
        };
        match repo {
            Ok(repo) => {
                // Names on GitHub are case-insensitive.
                let same = if repo.key.is_empty() { repo.name.to_lowercase() } else { repo.name.clone() };
                if !names.insert(same) {
                    let hint = if repo.key.is_empty() {
                        "leave one out"
                    } else {
                        "give one another name: { path = \"…\", name = \"…\" }"
                    };
                    flag(&format!("a second repository named `{}`", repo.name), hint);
                }
                out.push(repo);
            }
            Err((message, hint)) => flag(message, hint),
        }
    }
    out
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
