//! Turns the text of the file into a [`Config`]: parses, substitutes, reads and checks it,
//! collecting all problems.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::api::read_api;
use super::costs::check_costs;
use super::limits::check_limits;
use super::places::check_shared;
use super::problems::{Problems, line_of};
use super::raw::RawEngine;
use super::stages::Stages;
use super::state_place::{self, CachePlace, DEFAULT_FOLDER, StatePlace};
use super::values::is_name;
use super::{Api, Config, EngineSettings, FileText, projects, registries, tokens, workers};
use crate::chunk::component::default_compiled_cache;
use crate::chunk::secrets::SecretRules;
use crate::model::register_secrets;
use crate::settings::{
    Checker, Env, Found, Problem, SecretFolders, Shape, Surroundings, Table, absolute, did_you_mean, list,
    quoted,
};
use crate::stage::Role;

/// The name of the file that is searched for.
pub const FILE_NAME: &str = "reposync.toml";

/// The allowed range of `[engine].timeout`.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// The allowed range of `[engine].history`.
const HISTORIES: RangeInclusive<Duration> =
    Duration::from_secs(3600)..=Duration::from_secs(36_500 * 24 * 3600);

/// The parts of the file that the caller uses. References (`${…}`) and files need to resolve only
/// in these.
#[derive(Clone)]
pub struct Need {
    /// Names of selected projects; empty: every enabled project.
    pub projects: Vec<String>,
    /// The roles whose stages are used. If empty, projects are only looked up by name.
    pub roles: &'static [Role],
    /// Stages that are used even if no project uses them.
    pub stages: Vec<String>,
    /// True if `[api]` is used.
    pub api: bool,
    /// Looks up an environment variable.
    pub env: Arc<Env>,
    /// Folders from which `${file:…}` may read, in addition to the configuration's own and the
    /// platform's.
    pub secrets_dirs: Vec<PathBuf>,
    /// False: references stay unresolved, and no variable or file is read. The result is only good
    /// for checks.
    pub resolve: bool,
    /// True if secrets that are too short are problems.
    pub strict: bool,
    /// Replaces `state` of `[engine]`.
    pub state: Option<StatePlace>,
    /// Replace `component` and `sha256` of these stages.
    pub components: Vec<GivenComponent>,
}

/// A component that a process is given, instead of what the file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenComponent {
    /// The stage.
    pub stage: String,
    /// Its file; `None`: it is fetched from the address in the text.
    pub file: Option<PathBuf>,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
}

impl Need {
    /// Every enabled project, without `[api]`, with the environment of this process.
    pub fn enabled() -> Self {
        Self {
            projects: Vec::new(),
            roles: Role::ALL,
            stages: Vec::new(),
            api: false,
            env: Arc::new(|name| std::env::var(name).ok()),
            secrets_dirs: Vec::new(),
            resolve: true,
            strict: false,
            state: None,
            components: Vec::new(),
        }
    }

    /// These projects, or every enabled one if empty.
    pub fn selected(projects: &[String]) -> Self {
        Self { projects: projects.to_vec(), ..Self::enabled() }
    }

    /// Restricts the roles of stages. A search, for example, needs no source and no chunkers.
    #[must_use]
    pub fn only(self, roles: &'static [Role]) -> Self {
        Self { roles, ..self }
    }

    /// Adds a stage that no project need use. Of the projects' stages none is needed.
    #[must_use]
    pub fn only_stage(self, name: &str) -> Self {
        Self { roles: &[], stages: vec![name.to_owned()], ..self }
    }

    /// Adds `[api]`, for the daemon.
    #[must_use]
    pub fn with_api(self) -> Self {
        Self { api: true, ..self }
    }

    /// Sets the folders for secrets.
    #[must_use]
    pub fn with_secrets_dirs(self, folders: &[PathBuf]) -> Self {
        Self { secrets_dirs: folders.to_vec(), ..self }
    }

    /// Leaves references unresolved, for files that must not get secrets.
    #[must_use]
    pub fn without_references(self) -> Self {
        Self { resolve: false, ..self }
    }

    /// Makes secrets that are too short problems.
    #[must_use]
    pub fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// Replaces what the file says of the state and of components, for a process that is given them.
    #[must_use]
    pub fn with_given(self, state: StatePlace, components: Vec<GivenComponent>) -> Self {
        Self { state: Some(state), components, ..self }
    }

    /// Replaces the environment.
    #[must_use]
    pub fn with_env(self, env: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { env: Arc::new(env), ..self }
    }
}

/// Reads and checks the file, and registers its secrets for masking.
pub fn load(path: &Path, need: &Need) -> Result<Config, Problems> {
    let alone =
        |message: String, hint: &str| Problems::new(path, "", vec![Problem::new("", message).hint(hint)]);
    let bytes = std::fs::read(path).map_err(|error| {
        alone(
            format!("cannot read the file: {error}"),
            "create one with `reposync init`, or pass `--config FILE`",
        )
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = line_of(error.as_bytes(), at);
        alone(format!("not UTF-8 text (line {line})"), "save it as UTF-8")
    })?;
    load_text(path, &text, need)
}

/// Reads and checks a text as if it were the file at `path`, and registers its secrets for masking.
pub fn load_text(path: &Path, text: &str, need: &Need) -> Result<Config, Problems> {
    let found = Found::default();
    let config = parse(path, text, need, &found);
    register_secrets(found.take());
    config
}

/// Checks a text as if it were the file at `path`.
pub fn parse_str(path: &Path, text: &str, need: &Need) -> Result<Config, Problems> {
    parse(path, text, need, &Found::default())
}

fn parse(path: &Path, text: &str, need: &Need, found: &Found) -> Result<Config, Problems> {
    let mut problems = Vec::new();
    let config = resolve(path, text, need, found, &mut problems);
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        config => Err(Problems::new(path, text, problems).salvaging(config)),
    }
}

type NamedTable<'i> = (String, Range<usize>, DeTable<'i>);

fn resolve(
    path: &Path,
    text: &str,
    need: &Need,
    found: &Found,
    problems: &mut Vec<Problem>,
) -> Option<Config> {
    let mut root = root_table(text, problems)?;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    let secrets = SecretFolders::new(&folder, &need.secrets_dirs, &*need.env);
    let around = Surroundings {
        env: &*need.env,
        folder: &folder,
        secrets: &secrets,
        resolve: need.resolve,
        strict: need.strict,
        found,
    };

    replace(&mut root, need);
    let engine = fixed_table(&mut root, "engine", around, problems);
    let has_workers = root.contains_key("workers");
    let workers = fixed_table(&mut root, "workers", around, problems);
    let tokens = token_tables(&mut root, problems);
    let tokens = tokens::read(tokens, need.api, around, problems);
    let api = fixed_table(&mut root, "api", around, problems);
    let secret_rules = fixed_table(&mut root, "secrets", around, problems);
    let registries = take_table(&mut root, "registries", problems).unwrap_or_default();
    let registries = registries::read(registries, around, problems);
    let stage_tables = named_tables(&mut root, "stages", problems);
    let project_tables = named_tables(&mut root, "projects", problems);
    for (key, _) in &root {
        let known = ["engine", "stages", "projects", "secrets", "registries", "workers", "api"];
        let name = key.get_ref().as_ref();
        let hint = did_you_mean(name, known).unwrap_or_else(|| format!("the tables are {}", list(&known)));
        problems.push(Problem::at(quoted(name), key.span(), "unknown key").hint(hint));
    }

    let engine = read_engine(engine, need.state.clone(), around, problems);
    let api = read_api(api, tokens, &folder, need.api, problems);
    if need.api {
        check_shared_state(engine.as_ref(), api.as_ref(), problems);
    }
    let is_file = engine.as_ref().is_some_and(|engine| engine.state.file().is_some());
    let workers = workers::read(workers, has_workers, is_file, problems);
    let secrets = read_secrets(secret_rules, problems);
    let stages = Stages::read(stage_tables, around, problems);
    if let Some(engine) = &engine {
        stages.check_files_apart(engine.state.file(), &engine.cache, problems);
    }
    let mut all = Vec::new();
    for (name, header, table) in project_tables {
        let mut table = Table::new(format!("projects.{}", quoted(&name)), header, table, around, problems);
        if let Some(project) = projects::read(&name, &mut table, &stages, &folder, problems) {
            all.push((project, table));
        }
    }
    check_selected(&need.projects, &all, problems);
    check_shared(&all, &stages, problems);
    check_costs(&all, &stages, problems);

    let is_used = |project: &super::Project| match need.projects.as_slice() {
        [] => project.enabled,
        names => names.contains(&project.name),
    };
    let used: BTreeSet<&str> = all
        .iter()
        .filter(|(project, _)| is_used(project))
        .flat_map(|(project, _)| project.stages_of(need.roles))
        .chain(need.stages.iter().map(String::as_str))
        .collect();
    let enabled: BTreeSet<&str> =
        all.iter().filter(|(project, _)| project.enabled).flat_map(|(project, _)| project.stages()).collect();
    for (project, table) in &all {
        if is_used(project) && !need.roles.is_empty() {
            problems.extend(table.unresolved.iter().cloned());
        }
    }
    stages.check_in_use(&|name| used.contains(name), &folder, problems);
    let components =
        used.iter().filter_map(|name| stages.get(name)?.settings.as_ref()?.chunker()?.component());
    let registries = registries::in_use(registries, components, need.resolve, problems);
    let stages = stages.into_ready(&|name| used.contains(name) || enabled.contains(name), &folder);
    let projects = all.into_iter().map(|(project, _)| project).collect();
    Some(Config {
        path,
        engine: engine?,
        stages,
        projects,
        secrets: secrets?,
        registries,
        api: api?,
        workers: workers?,
        text: FileText(text.into()),
    })
}

/// Puts what the process is given in the place of what the text says, which need not be there for it.
fn replace<'i>(root: &mut DeTable<'i>, need: &'i Need) {
    if need.state.is_some()
        && let Some(DeValue::Table(engine)) = root.get_mut("engine").map(Spanned::get_mut)
    {
        engine.remove("state");
        engine.remove("postgres");
    }
    let Some(DeValue::Table(stages)) = root.get_mut("stages").map(Spanned::get_mut) else { return };
    for given in &need.components {
        let Some(stage) = stages.get_mut(given.stage.as_str()) else { continue };
        if let Some(file) = &given.file {
            put(stage, "component", file.to_string_lossy());
        }
        put(stage, "sha256", given.sha256.as_str().into());
    }
}

fn put<'i>(table: &mut Spanned<DeValue<'i>>, key: &'static str, value: Cow<'i, str>) {
    if let DeValue::Table(table) = table.get_mut() {
        table.insert(unplaced(key), Spanned::new(0..0, DeValue::String(value)));
    }
}

/// A key that is not in the text.
fn unplaced(name: &'static str) -> Spanned<DeString<'static>> {
    Spanned::new(0..0, DeString::from(name))
}

/// Parses the text into a table. Reports every syntax error.
fn root_table<'i>(text: &'i str, problems: &mut Vec<Problem>) -> Option<DeTable<'i>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut last_line = None;
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let start = span.start.min(text.len());
        // Further errors on the same line are usually consequences of the first.
        let line = line_of(text.as_bytes(), start);
        if last_line.replace(line) != Some(line) {
            problems.push(Problem::at("", span, format!("invalid TOML: {}", error.message().trim())));
        }
    }
    if !problems.is_empty() {
        return None;
    }
    let root = root.into_inner();
    if root.is_empty() {
        // Most likely an editor has not finished saving. It must not be read as a wish to index
        // nothing.
        problems.push(Problem::new("", "the file is empty").hint("create one with `reposync init`"));
        return None;
    }
    Some(root)
}

/// The tables under `[api.tokens]`. They are taken before `[api]` is read: references are replaced once.
fn token_tables<'i>(root: &mut DeTable<'i>, problems: &mut Vec<Problem>) -> DeTable<'i> {
    match root.get_mut("api").map(Spanned::get_mut) {
        Some(DeValue::Table(api)) => {
            match api.remove("tokens").map(|value| (value.span(), value.into_inner())) {
                Some((_, DeValue::Table(tokens))) => tokens,
                Some((span, _)) => {
                    let problem = Problem::at("api.tokens", span, "expected a table");
                    problems.push(problem.hint("write [api.tokens.NAME] and its keys below"));
                    DeTable::new()
                }
                None => DeTable::new(),
            }
        }
        _ => DeTable::new(),
    }
}

fn fixed_table<'i>(
    root: &mut DeTable<'i>,
    key: &str,
    around: Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Table<'i> {
    let header = root.get_key_value(key).map_or(0..0, |(key, _)| key.span());
    let table = take_table(root, key, problems).unwrap_or_default();
    Table::new(key.to_owned(), header, table, around, problems)
}

/// The tables under `[stages]` or `[projects]`, in the order of the file.
fn named_tables<'i>(root: &mut DeTable<'i>, key: &str, problems: &mut Vec<Problem>) -> Vec<NamedTable<'i>> {
    let mut out = Vec::new();
    for (name, value) in take_table(root, key, problems).unwrap_or_default() {
        let header = name.span();
        let name = name.into_inner().into_owned();
        let path = format!("{key}.{}", quoted(&name));
        if !is_name(&name) {
            let hint = "at most 64 letters, digits, `-`, `_` and `.`, with a letter or digit in front";
            problems.push(Problem::at(&path, header.clone(), "not a valid name").hint(hint));
        }
        match value.into_inner() {
            DeValue::Table(table) => out.push((name, header, table)),
            _ => problems.push(
                Problem::at(&path, header, "expected a table")
                    .hint(format!("write [{path}] and its keys below")),
            ),
        }
    }
    out.sort_by_key(|(_, header, _)| header.start);
    out
}

fn take_table<'i>(root: &mut DeTable<'i>, key: &str, problems: &mut Vec<Problem>) -> Option<DeTable<'i>> {
    let value = root.remove(key)?;
    let span = Spanned::span(&value);
    if let DeValue::Table(table) = value.into_inner() {
        return Some(table);
    }
    problems.push(Problem::at(key, span, "expected a table").hint(format!("write [{key}]")));
    None
}

fn read_engine(
    mut table: Table<'_>,
    state: Option<StatePlace>,
    around: Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Option<EngineSettings> {
    let folder = around.folder;
    let raw: RawEngine = table.read(&Shape::of::<RawEngine>(), problems)?;
    problems.append(&mut table.unresolved);
    for (key, path) in [
        ("state", Some(&raw.state)),
        ("cache", Some(&raw.cache)),
        ("compiled_cache", raw.compiled_cache.as_ref()),
        ("log_dir", raw.log_dir.as_ref()),
    ] {
        if path.is_some_and(|path| path.as_os_str().is_empty()) {
            table.flag(problems, key, "must not be empty", "leave it out for the default");
        }
    }
    if !(1..=1000).contains(&raw.concurrency) {
        table.flag(problems, "concurrency", "outside 1 to 1000", "8 is the default");
    }
    if !TIMEOUTS.contains(&raw.timeout.0) {
        table.flag(problems, "timeout", "outside 100ms to 1h", "\"60s\" is the default");
    }
    if !HISTORIES.contains(&raw.history.0) {
        table.flag(problems, "history", "outside 1h to 36500 days", "\"90 days\" is the default");
    }
    if raw.retries > 100 {
        table.flag(problems, "retries", "outside 0 to 100", "5 is the default");
    }
    let sizes =
        [("max_file_bytes", raw.max_file_bytes), ("cache_size", raw.cache_size), ("memory", raw.memory)];
    for (key, size) in sizes {
        if size.0 == 0 {
            table.flag(problems, key, "must be more than zero", "leave it out for the default");
        }
    }
    if raw.max_file_bytes.0 > 1 << 30 {
        table.flag(problems, "max_file_bytes", "more than chunkers support", "at most \"1 GiB\"");
    }
    if !(0.0..=1.0).contains(&raw.max_delete_ratio) {
        let hint = "a share from 0 to 1: 0.5 withholds removals beyond half of a project's vectors";
        table.flag(problems, "max_delete_ratio", "outside 0 to 1", hint);
    }
    if !(0.0..=1.0).contains(&raw.max_new_texts_ratio) {
        let hint = "a share from 0 to 1: 0.5 withholds runs that embed more than half of a project's chunks";
        table.flag(problems, "max_new_texts_ratio", "outside 0 to 1", hint);
    }
    check_limits(&table, &raw.limits, problems);
    for (key, path) in
        [("state", Some(&raw.state)), ("cache", Some(&raw.cache)), ("log_dir", raw.log_dir.as_ref())]
    {
        if let Some(path) = path {
            Checker::new(&table, folder, problems).home(key, path);
        }
    }
    let found = |password| around.found.add([password]);
    let state = if let Some(given) = state {
        given
    } else {
        let env = |name: &str| (around.env)(name);
        state_place::read(&table, &raw.state, raw.postgres, (folder, &env), found, problems)?
    };
    let machine = state.machine_folder().filter(|_| raw.cache == Path::new(DEFAULT_FOLDER));
    let cache = machine.map_or_else(|| absolute(folder, &raw.cache), Path::to_owned);
    if state.file().is_some_and(|state| state == cache || state == cache.join("cache.db")) {
        table.flag(problems, "state", "this is the vector cache's file", "give the ledger a file of its own");
    }
    Some(EngineSettings {
        vector_cache: match (raw.vector_cache, &state) {
            (Some(CachePlace::State), StatePlace::File(_)) => {
                let hint = "it is for a state in a PostgreSQL database; leave it out";
                table.flag(problems, "vector_cache", "the state is a file", hint);
                CachePlace::Local
            }
            (Some(place), _) => place,
            (None, StatePlace::Postgres(_)) => CachePlace::State,
            (None, StatePlace::File(_)) => CachePlace::Local,
        },
        state,
        cache,
        compiled_cache: match &raw.compiled_cache {
            Some(path) => Some(absolute(folder, path)),
            None => default_compiled_cache(&|name| (around.env)(name)),
        },
        cache_size: raw.cache_size,
        concurrency: raw.concurrency,
        memory: raw.memory,
        timeout: raw.timeout,
        retries: raw.retries,
        max_file_bytes: raw.max_file_bytes,
        max_delete_ratio: raw.max_delete_ratio,
        max_new_texts_ratio: raw.max_new_texts_ratio,
        prune: raw.prune,
        history: raw.history,
        log_dir: raw.log_dir.map(|path| absolute(folder, &path)),
        limits: raw.limits,
    })
}

/// A token that the daemon generates is a file of one machine, and several daemons may serve a database.
fn check_shared_state(engine: Option<&EngineSettings>, api: Option<&Api>, problems: &mut Vec<Problem>) {
    if let (Some(engine), Some(api)) = (engine, api)
        && engine.state.file().is_none()
        && api.token.is_none()
        && api.tokens.is_empty()
    {
        let hint = "for example `token = \"${REPOSYNC_TOKEN}\"`";
        problems.push(Problem::new("api.token", "needed with a state in PostgreSQL").hint(hint));
    }
}

fn read_secrets(mut table: Table<'_>, problems: &mut Vec<Problem>) -> Option<SecretRules> {
    let rules: SecretRules = table.read(&Shape::of::<SecretRules>(), problems)?;
    problems.append(&mut table.unresolved);
    let hint = "a regular expression of the `regex` crate, which has no look-around and no back-references";
    if let Some(error) = rules.allow.iter().find_map(|pattern| regex::Regex::new(pattern).err()) {
        table.flag(problems, "allow", error.to_string(), hint);
    }
    for rule in &rules.rules {
        if let Err(error) = regex::Regex::new(&rule.pattern) {
            table.flag(problems, "rules", format!("rule `{}`: {error}", rule.id), hint);
        }
        if rule.id.trim().is_empty() || rule.keywords.iter().any(|word| word.trim().is_empty()) {
            table.flag(problems, "rules", "an empty id or keyword", "give it a name; leave `keywords` out");
        }
    }
    Some(rules)
}

/// Reports `--project` names that no project has.
fn check_selected(names: &[String], all: &[(super::Project, Table<'_>)], problems: &mut Vec<Problem>) {
    for name in names {
        if !all.iter().any(|(project, _)| project.name == *name) {
            let known: Vec<&str> = all.iter().map(|(project, _)| project.name.as_str()).collect();
            let hint = did_you_mean(name, known.iter().copied()).unwrap_or_else(|| match known.len() {
                0 => "the file defines no projects".into(),
                _ => format!("the projects are {}", list(&known)),
            });
            problems.push(Problem::new("--project", format!("no project is named `{name}`")).hint(hint));
        }
    }
}
