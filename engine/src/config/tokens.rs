//! Reads and checks `[api.tokens.NAME]`: API tokens that may do and see a part.

use std::collections::BTreeSet;
use std::ops::Range;

use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use toml::de::{DeTable, DeValue};

use super::values::is_name;
use crate::model::{Access, ApiScope, Secret};
use crate::settings::{Problem, Shape, Surroundings, Table, choice, did_you_mean, quoted};

/// Names that the audit log uses for callers without a token of the file.
const RESERVED: [&str; 6] = ["api", "local", "webhook", "schedule", "edit", "unknown"];
/// Allowed range of `requests_per_minute`.
const RATES: std::ops::RangeInclusive<u32> = 1..=60_000;

/// The digest of a token, by which tokens are kept and compared.
pub type TokenDigest = [u8; 32];

/// `[api.tokens.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedToken {
    /// Its name.
    pub name: String,
    /// The digest of its value.
    pub digest: TokenDigest,
    /// Globs of projects, as written; `None`: all projects.
    pub projects: Option<Vec<String>>,
    /// Globs of repositories, as written; `None`: all repositories.
    pub repositories: Option<Vec<String>>,
    /// What both globs match.
    pub access: Access,
    /// What it may do.
    pub scopes: BTreeSet<ApiScope>,
    /// Maximum number of requests in a minute; `None`: unlimited.
    pub requests_per_minute: Option<u32>,
}

/// The digest of a token's value.
pub fn token_digest(value: &[u8]) -> TokenDigest {
    Sha256::digest(value).into()
}

/// A token of the API that may do and see a part.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawToken {
    /// Its value, which requests carry as bearer.
    token: Secret,
    /// The projects that it may see: names or globs. Default: all projects.
    #[serde(default)]
    projects: Option<Vec<String>>,
    /// The repositories of these projects that it may see: names or globs. Default: all repositories.
    #[serde(default)]
    repositories: Option<Vec<String>>,
    /// What it may do: `query`, `read`, `sync`, `write`, `admin`. Default: `["query", "read"]`.
    #[serde(default)]
    scopes: Option<Vec<String>>,
    /// Maximum number of requests in any minute. Default: unlimited.
    #[serde(default)]
    requests_per_minute: Option<u32>,
}

/// Reads the tokens. Unresolved references are problems only if `[api]` is `needed`.
pub(super) fn read(
    tables: DeTable<'_>,
    needed: bool,
    around: Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<NamedToken> {
    let mut tables: Vec<_> =
        tables.into_iter().map(|(key, value)| (key.span(), key.into_inner(), value.into_inner())).collect();
    tables.sort_by_key(|(header, ..)| header.start);
    let mut tokens: Vec<NamedToken> = Vec::new();
    for (header, name, value) in tables {
        let path = format!("api.tokens.{}", quoted(&name));
        check_name(&name, &path, &header, problems);
        let DeValue::Table(table) = value else {
            problems.push(Problem::at(&path, header, "expected a table").hint(format!("write [{path}]")));
            continue;
        };
        let mut table = Table::new(path, header, table, around, problems);
        let Some(raw) = table.read::<RawToken>(&Shape::of::<RawToken>(), problems) else { continue };
        if needed {
            problems.append(&mut table.unresolved);
        }
        let Some(token) = checked(&name, &table, raw, problems) else { continue };
        if let Some(other) = tokens.iter().find(|other| other.digest == token.digest) {
            let message = format!("has the same value as `api.tokens.{}`", quoted(&other.name));
            table.flag(problems, "token", message, "give each token a value of its own");
        }
        tokens.push(token);
    }
    tokens
}

/// Reports a token whose value is also that of `[api] token`, which may do everything.
pub(super) fn check_apart(
    table: &Table<'_>,
    token: Option<&Secret>,
    tokens: &[NamedToken],
    problems: &mut Vec<Problem>,
) {
    let digest =
        token.filter(|_| table.sound(&["token"])).map(|token| token_digest(token.expose().as_bytes()));
    if let Some(other) = tokens.iter().find(|other| Some(other.digest) == digest) {
        let message = format!("has the same value as `api.tokens.{}`", quoted(&other.name));
        table.flag(problems, "token", message, "give each token a value of its own");
    }
}

fn check_name(name: &str, path: &str, header: &Range<usize>, problems: &mut Vec<Problem>) {
    if !is_name(name) {
        let hint = "at most 64 letters, digits, `-`, `_` and `.`, with a letter or digit in front";
        problems.push(Problem::at(path, header.clone(), "not a valid name").hint(hint));
    } else if RESERVED.contains(&name) {
        let hint = format!(
            "{} have a meaning in the audit log",
            RESERVED.map(|name| format!("`{name}`")).join(", ")
        );
        problems.push(Problem::at(path, header.clone(), "a reserved name").hint(hint));
    }
}

fn checked(name: &str, table: &Table<'_>, raw: RawToken, problems: &mut Vec<Problem>) -> Option<NamedToken> {
    if !table.sound(&["token"]) {
        return None;
    }
    if raw.token.expose().trim().is_empty() {
        table.flag(problems, "token", "must not be empty", "name a variable: \"${NAME}\"");
        return None;
    }
    for (key, what) in [("projects", "project"), ("repositories", "repository")] {
        check_globs(table, key, what, problems);
    }
    let (projects, repositories) = (raw.projects, raw.repositories);
    let access = Access::new(projects.as_deref(), repositories.as_deref()).ok()?;
    if raw.requests_per_minute.is_some_and(|rate| !RATES.contains(&rate)) {
        table.flag(problems, "requests_per_minute", "outside 1 to 60000", "leave it out for no limit");
    }
    Some(NamedToken {
        name: name.to_owned(),
        digest: token_digest(raw.token.expose().as_bytes()),
        projects,
        repositories,
        access,
        scopes: scopes(table, raw.scopes.is_some(), problems),
        requests_per_minute: raw.requests_per_minute,
    })
}

fn check_globs(table: &Table<'_>, key: &str, what: &str, problems: &mut Vec<Problem>) {
    for (span, pattern) in table.texts(key) {
        if let Err((_, why)) = Access::new(Some(&[pattern.to_owned()]), None) {
            let hint = format!("write the name of a {what}, or a glob such as \"acme-*\"");
            table.flag_at(problems, key, span, format!("not a glob: {why}"), hint);
        }
    }
    if table.value(key).and_then(DeValue::as_array).is_some_and(|items| items.is_empty()) {
        table.flag(problems, key, format!("an empty list matches no {what}"), "leave it out for all of them");
    }
}

fn scopes(table: &Table<'_>, given: bool, problems: &mut Vec<Problem>) -> BTreeSet<ApiScope> {
    if !given {
        return BTreeSet::from([ApiScope::Query, ApiScope::Read]);
    }
    let known = ApiScope::ALL.map(ApiScope::as_str);
    let mut scopes = BTreeSet::new();
    for (span, text) in table.texts("scopes") {
        if let Ok(scope) = text.parse() {
            scopes.insert(scope);
            continue;
        }
        let hint = did_you_mean(text, known).unwrap_or_else(|| format!("a scope is {}", choice(&known)));
        table.flag_at(problems, "scopes", span, "an unknown scope", hint);
    }
    if table.texts("scopes").is_empty() {
        let hint = "leave it out for `query` and `read`";
        table.flag(problems, "scopes", "an empty list allows nothing", hint);
    }
    scopes
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Need, parse_str, unmatched_globs};

    fn file(tokens: &str) -> String {
        format!(
            "[stages.local]\nkind = \"git\"\n[stages.prose]\nkind = \"sentence\"\n[stages.model]\nkind = \"local\"\n\
             [stages.index]\nkind = \"sqlite\"\n[projects.handbook]\n\
             pipeline = [\"local\", \"prose\", \"model\", \"index\"]\nrepositories = [\"docs\"]\n{tokens}"
        )
    }

    fn lines(label: &str, problems: &[Problem]) -> String {
        let hint = |problem: &Problem| problem.hint.clone().unwrap_or_default();
        let line = |problem: &Problem| format!("{label}{} ({})", problem.one_line(), hint(problem));
        problems.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The problems, one per line.
    fn problems(tokens: &str) -> String {
        let need = Need::enabled().with_api().strict().with_env(|_| None);
        match parse_str(Path::new("/example/reposync.toml"), &file(tokens), &need) {
            Ok(config) => lines("warning: ", &unmatched_globs(&config)),
            Err(problems) => lines("", problems.list()),
        }
    }

    #[test]
    fn a_token_is_read_with_its_defaults() {
        let need = Need::enabled().with_api().with_env(|_| None);
        let text = file("[api.tokens.ci]\ntoken = \"correct horse\"\n");
        let config = parse_str(Path::new("/example/reposync.toml"), &text, &need).expect("valid");
        let [token] = config.api.tokens.as_slice() else { panic!("one token") };
        assert_eq!(token.digest, token_digest(b"correct horse"));
        assert_eq!(token.scopes, BTreeSet::from([ApiScope::Query, ApiScope::Read]));
        assert!(token.access.is_whole() && token.requests_per_minute.is_none());
        assert!(!format!("{config:?}").contains("correct horse"));
    }

    #[test]
    fn mistakes_are_reported_with_what_to_do() {
        let all = "[api]\ntoken = \"correct horse\"\n[api.tokens.ci]\ntoken = \"correct horse\"\nscopes = [\"reed\", \"root\"]\n\
                   projects = [\"a[\"]\nrequests_per_minute = 0\n[api.tokens.local]\ntoken = \"battery staple\"\nscopes = []\n\
                   repositories = []\n[api.tokens.two]\ntoken = \"battery staple\"\n[api.tokens.none]\ntoken = \" \"\n\
                   [api.tokens.lost]\ntoken = \"${LOST}\"\n[api.tokens.short]\ntoken = \"short\"\n[api.tokens.bare]\n";
        insta::assert_snapshot!(problems(all));
    }

    #[test]
    fn globs_that_match_nothing_are_warnings() {
        let text = "[api.tokens.ci]\ntoken = \"correct horse\"\nprojects = [\"handbok\", \"hand*\"]\nrepositories = [\"acme/*\"]\n";
        insta::assert_snapshot!(problems(text));
    }

    #[test]
    fn a_named_token_allows_listening_beyond_loopback() {
        let text = "[api]\nlisten = \"0.0.0.0:8080\"\n[api.tokens.ci]\ntoken = \"correct horse\"\n";
        assert_eq!(problems(text), "");
    }
}
