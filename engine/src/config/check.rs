//! Checks the values of a stage's settings beyond their types, and makes paths absolute.

use std::path::{Path, PathBuf};

use super::StageKind;
use super::explain::choice;
use super::problem::Problem;
use super::table::Table;
use super::values::{check_globs, check_url, is_date, is_index_name, is_month};
use crate::chunk::WasmSettings;
use crate::embed::{AzureSettings, OpenAiSettings};
use crate::source::GithubSettings;
use crate::store::{PineconeSettings, SqliteSettings};
use serde_json::Value;
use toml::Spanned;
use toml::de::DeValue;

/// Maximum number of texts per request of OpenAI and Azure.
const BATCH_MOST: usize = 2048;
/// Maximum dimension of vectors in Pinecone.
const DIMENSIONS_MOST: u32 = 20_000;
/// Maximum linear memory: what 32-bit WASM can address.
const MEMORY_MOST: u64 = 4 << 30;

/// Checks one stage and makes its paths absolute.
pub(super) fn check_stage(
    kind: &mut StageKind,
    table: &Table<'_>,
    folder: &Path,
    problems: &mut Vec<Problem>,
) {
    let mut on = None;
    match kind {
        StageKind::Github(settings) => github(settings, table, problems),
        StageKind::Git(settings) => {
            for path in &mut settings.alternates {
                check_home(table, "alternates", Some(path), problems);
                *path = absolute(folder, path);
            }
        }
        StageKind::Sentence(settings) => {
            check_globs(table, "match", problems);
            positive(table, problems, "max_chunk_size", &settings.max_chunk_size);
            if settings.max_tokens.is_none() {
                let keys = ["chunk_overlap", "max_chunk_size"];
                overlap(table, problems, keys, settings.chunk_overlap, settings.max_chunk_size);
            }
            tokens(table, problems, settings.max_tokens, settings.overlap_tokens);
        }
        StageKind::Markdown(settings) => {
            check_globs(table, "match", problems);
            positive(table, problems, "max_chunk_size", &settings.max_chunk_size);
            tokens(table, problems, settings.max_tokens, None);
        }
        StageKind::Code(settings) => {
            check_globs(table, "match", problems);
            positive(table, problems, "max_chunk_size", &settings.max_chunk_size);
            tokens(table, problems, settings.max_tokens, None);
        }
        StageKind::Wasm(settings) => wasm(settings, table, folder, problems),
        StageKind::AzureOpenAi(settings) => azure(settings, table, problems),
        StageKind::OpenAi(settings) => openai(settings, table, problems),
        StageKind::Local(settings) => {
            settings.path = settings.path.take().map(|path| absolute(folder, &path));
        }
        StageKind::Pinecone(settings) => pinecone(settings, table, problems),
        StageKind::Sqlite(settings) => {
            not_empty(table, problems, "path", settings.path.as_os_str().is_empty());
            check_home(table, "path", Some(&settings.path), problems);
            settings.path = absolute(folder, &settings.path);
            weights(settings, table, problems);
        }
        StageKind::Slack(settings) => {
            check_url(table, "webhook_url", settings.webhook_url.expose(), problems);
            on = Some(&settings.on);
        }
        StageKind::Webhook(settings) => {
            check_url(table, "url", settings.url.expose(), problems);
            let empty = settings.secret.as_ref().is_some_and(|secret| secret.expose().trim().is_empty());
            not_empty(table, problems, "secret", empty);
            on = Some(&settings.on);
        }
    }
    if on.is_some_and(Vec::is_empty) {
        table.flag(problems, "on", "must name at least one event", "or remove the stage from the pipeline");
    }
}

/// Checks that the files that a stage needs exist.
pub(super) fn check_files(kind: &StageKind, table: &Table<'_>, problems: &mut Vec<Problem>) {
    match kind {
        StageKind::Wasm(settings) if !settings.component.is_file() => table.flag(
            problems,
            "component",
            format!("no such file: `{}`", settings.component.display()),
            "build it with `reposync plugin build` in the plugin's folder, or correct the path (relative to this file)",
        ),
        StageKind::Local(settings) => {
            if let Some(path) = settings.path.as_ref().filter(|path| !path.is_dir()) {
                table.flag(
                    problems,
                    "path",
                    format!("no such folder: `{}`", path.display()),
                    "name a folder with `model.safetensors`, `tokenizer.json` and `config.json`; left out: the model in the program",
                );
            }
        }
        _ => {}
    }
}

fn github(settings: &GithubSettings, table: &Table<'_>, problems: &mut Vec<Problem>) {
    if let Some(url) = check_url(table, "api_url", &settings.api_url, problems)
        && matches!(url.host_str(), Some("github.com" | "www.github.com"))
    {
        let hint = "use \"https://api.github.com\", or \"https://HOST/api/v3\" for Enterprise Server";
        table.flag(problems, "api_url", "this is the web site, not the API", hint);
    }
    let app = ["app_id", "installation_id", "private_key"];
    let (given, missing): (Vec<&str>, Vec<&str>) = app.into_iter().partition(|key| table.has(key));
    if let Some(first) = given.first() {
        if !missing.is_empty() {
            let message = format!("a GitHub App also needs {}", choice(&missing).replace(" or ", " and "));
            table.flag(problems, first, message, "`app_id`, `installation_id` and `private_key` go together");
        }
        if table.has("token") {
            let hint = "keep either `token` or the GitHub App's three keys";
            table.flag(problems, "token", "a token and a GitHub App exclude each other", hint);
        }
    }
    if let Some(token) = &settings.token {
        not_empty(table, problems, "token", token.expose().trim().is_empty());
    }
    if let Some(key) = &settings.private_key
        && !key.expose().trim_start().starts_with("-----BEGIN")
    {
        let hint = "write private_key = \"${file:PATH}\" with the path of the App's .pem file";
        table.flag(problems, "private_key", "not a PEM key", hint);
    }
}

fn wasm(settings: &mut WasmSettings, table: &Table<'_>, folder: &Path, problems: &mut Vec<Problem>) {
    check_globs(table, "match", problems);
    not_empty(table, problems, "component", settings.component.as_os_str().is_empty());
    settings.component = absolute(folder, &settings.component);
    if let Some(digest) = &mut settings.sha256 {
        digest.make_ascii_lowercase();
        if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let hint =
                "64 hexadecimal digits, as `sha256sum FILE` or `reposync plugin inspect FILE` prints them";
            table.flag(problems, "sha256", "not a SHA-256 digest", hint);
        }
    }
    positive(table, problems, "memory", &settings.memory.0);
    positive(table, problems, "output", &settings.output.0);
    positive(table, problems, "deadline", &settings.deadline.0.as_millis());
    if settings.memory.0 > MEMORY_MOST {
        table.flag(problems, "memory", "more than a component can address", "at most \"4 GiB\"");
    }
    if let Some(value) = table.value("config") {
        json_able(value, table, problems);
    }
    settings.shown_config.clone_from(&settings.config);
    if let Some(DeValue::Table(entries)) = table.value("config") {
        for (key, value) in entries {
            if let Some(shown) = settings.shown_config.get_mut(key.get_ref().as_ref()) {
                write_back(shown, value, table);
            }
        }
    }
}

/// Restores the references in a component's config as written in the file.
fn write_back(shown: &mut Value, value: &Spanned<DeValue<'_>>, table: &Table<'_>) {
    match (shown, value.get_ref()) {
        (Value::Array(shown), DeValue::Array(items)) => {
            shown.iter_mut().zip(items.iter()).for_each(|(shown, item)| write_back(shown, item, table));
        }
        (Value::Object(shown), DeValue::Table(entries)) => {
            for (key, value) in entries {
                if let Some(shown) = shown.get_mut(key.get_ref().as_ref()) {
                    write_back(shown, value, table);
                }
            }
        }
        (shown, _) => {
            if let Some(written) = table.written_at(&value.span()) {
                *shown = written.into();
            }
        }
    }
}

/// A component's config is passed as JSON, which has no dates and no infinite numbers.
fn json_able(value: &DeValue<'_>, table: &Table<'_>, problems: &mut Vec<Problem>) {
    let mut bad = |what, hint| table.flag(problems, "config", format!("JSON has no {what}"), hint);
    match value {
        DeValue::Datetime(_) => bad("dates", "write the date in quotes"),
        DeValue::Float(number) if !number.as_str().parse::<f64>().is_ok_and(f64::is_finite) => {
            bad("infinite numbers", "write a finite number");
        }
        DeValue::Array(items) => items.iter().for_each(|item| json_able(item.get_ref(), table, problems)),
        DeValue::Table(entries) => {
            entries.iter().for_each(|(_, value)| json_able(value.get_ref(), table, problems));
        }
        _ => {}
    }
}

fn azure(settings: &AzureSettings, table: &Table<'_>, problems: &mut Vec<Problem>) {
    check_url(table, "endpoint", &settings.endpoint, problems);
    not_empty(table, problems, "deployment", settings.deployment.trim().is_empty());
    if settings.api_version.as_deref().is_some_and(|version| !is_date(version)) {
        let hint = "write it like \"2024-10-21\"; leave it out for the v1 form";
        table.flag(problems, "api_version", "not a dated API version", hint);
    }
    match (table.has("api_key"), table.has("bearer_token")) {
        (true, true) => {
            let hint = "keep either `api_key` or `bearer_token`";
            table.flag(problems, "bearer_token", "a key and a bearer token exclude each other", hint);
        }
        (false, false) => problems.push(
            Problem::at(&table.path, table.header.clone(), "`api_key` or `bearer_token` is missing")
                .hint("add api_key = \"${AZURE_OPENAI_API_KEY}\""),
        ),
        _ => {}
    }
    for (key, secret) in [("api_key", &settings.api_key), ("bearer_token", &settings.bearer_token)] {
        not_empty(
            table,
            problems,
            key,
            secret.as_ref().is_some_and(|secret| secret.expose().trim().is_empty()),
        );
    }
    service(table, problems, settings.batch_size, settings.dimensions, settings.price_per_million_tokens);
    rates(table, problems, settings.requests_per_minute, settings.tokens_per_minute);
}

fn openai(settings: &OpenAiSettings, table: &Table<'_>, problems: &mut Vec<Problem>) {
    let url = check_url(table, "base_url", &settings.base_url, problems);
    not_empty(table, problems, "model", settings.model.trim().is_empty());
    if let Some(key) = &settings.api_key {
        not_empty(table, problems, "api_key", key.expose().trim().is_empty());
    }
    if !table.has("api_key") && url.is_some_and(|url| url.host_str() == Some("api.openai.com")) {
        problems.push(
            Problem::at(
                &table.path,
                table.header.clone(),
                "`api_key` is missing: api.openai.com requires it",
            )
            .hint("add api_key = \"${OPENAI_API_KEY}\", or name another server with `base_url`"),
        );
    }
    positive(table, problems, "max_input_tokens", &settings.max_input_tokens);
    service(table, problems, settings.batch_size, settings.dimensions, settings.price_per_million_tokens);
    rates(table, problems, settings.requests_per_minute, settings.tokens_per_minute);
}

fn weights(settings: &SqliteSettings, table: &Table<'_>, problems: &mut Vec<Problem>) {
    let weights = [("vector_weight", settings.vector_weight), ("text_weight", settings.text_weight)];
    for (key, _) in weights.iter().filter(|(_, weight)| !weight.is_finite() || *weight < 0.0) {
        table.flag(
            problems,
            key,
            "not a weight",
            "a number, at least 0; 1 is the default, 0 leaves the ranking out",
        );
    }
    if weights.iter().all(|(_, weight)| *weight == 0.0) {
        table.flag(
            problems,
            "text_weight",
            "one of the weights must be more than zero",
            "leave one of them out for the default, 1",
        );
    }
}

fn pinecone(settings: &PineconeSettings, table: &Table<'_>, problems: &mut Vec<Problem>) {
    check_url(table, "api_url", &settings.api_url, problems);
    if let Some(host) = &settings.host {
        check_url(table, "host", host, problems);
    }
    not_empty(table, problems, "api_key", settings.api_key.expose().trim().is_empty());
    if !is_index_name(&settings.index) {
        let hint = "1 to 45 lower-case letters, digits and `-`, with a letter or digit at both ends";
        table.flag(problems, "index", "not a name of a Pinecone index", hint);
    }
    if !is_month(&settings.api_version) {
        table.flag(problems, "api_version", "not an API version", "write it like \"2026-04\"");
    }
    for (key, good, message, hint) in [
        (
            "cloud",
            is_cloud as fn(&str) -> bool,
            "not one of the allowed values",
            "use `aws`, `gcp` or `azure`",
        ),
        ("region", is_filled, "empty", "such as \"us-east-1\""),
    ] {
        if let Some(value) = table.inner("create", key)
            && value.get_ref().as_str().is_some_and(|text| !good(text))
        {
            table.flag_at(problems, "create", value.span(), format!("`{key}` is {message}"), hint);
        }
    }
}

fn is_cloud(text: &str) -> bool {
    ["aws", "gcp", "azure"].contains(&text)
}

fn is_filled(text: &str) -> bool {
    !text.trim().is_empty()
}

fn service(
    table: &Table<'_>,
    problems: &mut Vec<Problem>,
    batch: usize,
    dimensions: Option<u32>,
    price: Option<f64>,
) {
    if !(1..=BATCH_MOST).contains(&batch) {
        table.flag(
            problems,
            "batch_size",
            "outside 1 to 2048",
            "the service takes at most 2048 texts in a request",
        );
    }
    if dimensions.is_some_and(|n| !(1..=DIMENSIONS_MOST).contains(&n)) {
        table.flag(problems, "dimensions", "outside 1 to 20000", "such as 1536 for text-embedding-3-small");
    }
    if price.is_some_and(|price| !price.is_finite() || price < 0.0) {
        table.flag(problems, "price_per_million_tokens", "not a price", "a number, at least 0, such as 0.02");
    }
}

fn rates(table: &Table<'_>, problems: &mut Vec<Problem>, requests: Option<u32>, tokens: Option<u32>) {
    for (key, rate) in [("requests_per_minute", requests), ("tokens_per_minute", tokens)] {
        if rate == Some(0) {
            table.flag(
                problems,
                key,
                "must be more than zero",
                "leave it out to go as fast as the service allows",
            );
        }
    }
}

fn tokens(table: &Table<'_>, problems: &mut Vec<Problem>, most: Option<usize>, shared: Option<usize>) {
    match (most, shared) {
        (Some(most), shared) => {
            positive(table, problems, "max_tokens", &most);
            overlap(table, problems, ["overlap_tokens", "max_tokens"], shared.unwrap_or(0), most);
        }
        (None, Some(_)) if table.sound(&["max_tokens"]) => {
            let hint = "add `max_tokens`, or use `chunk_overlap` with `max_chunk_size`";
            table.flag(problems, "overlap_tokens", "has no effect without `max_tokens`", hint);
        }
        (None, _) => {}
    }
}

fn overlap(table: &Table<'_>, problems: &mut Vec<Problem>, keys: [&str; 2], shared: usize, most: usize) {
    let [shared_key, most_key] = keys;
    if shared < most || most == 0 || !table.sound(&keys) {
        return;
    }
    if table.has(shared_key) {
        let message = format!("must be less than `{most_key}` ({most})");
        table.flag(problems, shared_key, message, "a tenth to a fifth of the size is usual");
    } else {
        let message = format!("must be more than `{shared_key}`, which is {shared} by default");
        table.flag(problems, most_key, message, format!("add a smaller `{shared_key}`"));
    }
}

fn positive<N: Default + PartialEq>(table: &Table<'_>, problems: &mut Vec<Problem>, key: &str, value: &N) {
    if *value == N::default() {
        table.flag(problems, key, "must be more than zero", "leave it out for the default");
    }
}

fn not_empty(table: &Table<'_>, problems: &mut Vec<Problem>, key: &str, empty: bool) {
    if empty {
        table.flag(problems, key, "must not be empty", "fill it in, or leave it out where it has a default");
    }
}

/// Reports a path that starts with `~`, which only shells expand.
pub(super) fn check_home(table: &Table<'_>, key: &str, path: Option<&Path>, problems: &mut Vec<Problem>) {
    if path.is_some_and(begins_at_home) {
        table.flag(problems, key, NOT_EXPANDED.0, NOT_EXPANDED.1);
    }
}

/// True for `~`, `~/…` and `~name/…`.
pub(super) fn begins_at_home(path: &Path) -> bool {
    path.components().next().is_some_and(|first| first.as_os_str().as_encoded_bytes().starts_with(b"~"))
}

/// The problem and hint for such a path.
pub(super) const NOT_EXPANDED: (&str, &str) =
    ("`~` is not expanded here", "write \"${HOME}/…\", or the whole path; a folder of that name is \"./~\"");

/// Makes a path absolute, relative to the folder of the file.
pub(super) fn absolute(folder: &Path, path: &Path) -> PathBuf {
    let joined = folder.join(path);
    std::path::absolute(&joined).unwrap_or(joined)
}
