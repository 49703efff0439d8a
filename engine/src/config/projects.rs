//! Reads the tables under `[projects]`.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use toml::de::DeValue;

use super::Project;
use super::pipeline;
use super::raw::RawProject;
use super::stages::Stages;
use super::values::{bad_extension, is_branch, parse_schedule};
use crate::model::{BranchRef, Place, RepoRef};
use crate::registry::StageSettings;
use crate::settings::{Problem, Shape, Table, check_globs};
use crate::source::{Selection, SourceConfig, WrittenRepository};

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
    let source = stages.get(&pipeline.source).and_then(|stage| stage.settings.as_ref());
    let source = source.and_then(StageSettings::source);
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
    if raw.min_mrr.is_some_and(|least| !(0.0..=1.0).contains(&least)) {
        let hint = "a mean reciprocal rank: a number from 0 to 1, such as 0.5";
        table.flag(problems, "min_mrr", "not a mean reciprocal rank", hint);
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
        golden: raw.golden.map(|path| folder.join(path)),
        min_mrr: raw.min_mrr,
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
    source: Option<&dyn SourceConfig>,
    folder: &Path,
    problems: &mut Vec<Problem>,
) -> Selection {
    let (by_owner, by_name) = (table.has("organization"), table.has("repositories"));
    let owner = raw.organization.as_deref().unwrap_or_default();
    if by_owner && by_name {
        let hint = "keep either `organization` or `repositories`; a second project can take the other";
        table.flag(problems, "repositories", "cannot be combined with `organization`", hint);
    } else if let Some(source) = source {
        if by_owner && let Err(why) = source.check_owner(owner) {
            table.flag(problems, "organization", why.message, why.hint);
        } else if !by_owner && !by_name {
            let why = source.nothing_selected();
            problems.push(Problem::at(&table.path, table.header.clone(), why.message).hint(why.hint));
        }
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
    Selection::Owner { owner: owner.to_owned(), keyword: raw.filter_keyword.clone() }
}

fn named(
    repositories: &[WrittenRepository],
    spans: &[Range<usize>],
    table: &Table<'_>,
    source: Option<&dyn SourceConfig>,
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
    let Some(source) = source else { return Vec::new() };
    let mut out = Vec::new();
    let mut names = HashSet::new();
    for (written, span) in repositories.iter().zip(spans) {
        let mut flag = |message: String, hint: String| {
            table.flag_at(problems, key, span.clone(), message, hint);
        };
        match source.repository(written, folder) {
            Ok(repo) => {
                if !names.insert(source.comparable(&repo.name)) {
                    let message = format!("a second repository named `{}`", repo.name);
                    flag(message, source.on_same_name().to_owned());
                }
                out.push(repo);
            }
            Err(why) => flag(why.message, why.hint),
        }
    }
    out
}
