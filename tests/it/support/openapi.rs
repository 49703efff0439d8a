//! Checks requests and answers against the services' own OpenAPI files, so that a fake cannot drift
//! from its service. It contains nothing specific to a service.
//!
//! The files lie outside the repository (`../shared/specs`, or where `REPOSYNC_SPECS` says); where
//! they are missing, nothing is checked.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

/// One OpenAPI 3.0 or 3.1 document.
pub(crate) struct Spec {
    name: String,
    document: Value,
    draft: Draft,
    /// Path prefixes of the servers (`/openai/v1`), including the empty one.
    prefixes: Vec<String>,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// The operation of a request: its position in the document, and the path's parameters.
struct Operation<'a> {
    pointer: String,
    value: &'a Value,
    shared_parameters: Option<&'a Value>,
    path_values: Vec<(String, String)>,
}

static LOADED: LazyLock<Mutex<HashMap<String, Option<&'static Spec>>>> = LazyLock::new(Mutex::default);

impl Spec {
    /// Loads a file of the specification folder by its name (`github-rest.openapi.json`), once per
    /// process. If it is missing, prints a line and returns `None`.
    pub(crate) fn load(name: &str) -> Option<&'static Self> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        *loaded.entry(name.to_owned()).or_insert_with(|| {
            let path = folder().join(name);
            let Ok(text) = std::fs::read_to_string(&path) else {
                // Not captured by the test harness: a skipped check must not look like a passed one.
                drop(writeln!(
                    std::io::stderr(),
                    "skipped: no {}; nothing is checked against it",
                    path.display()
                ));
                return None;
            };
            let document = match path.extension().and_then(|extension| extension.to_str()) {
                Some("yaml") => serde_yaml_ng::from_str(&text).expect("YAML"),
                _ => serde_json::from_str(&text).expect("JSON"),
            };
            Some(&*Box::leak(Box::new(Self::new(name, document))))
        })
    }

    fn new(name: &str, mut document: Value) -> Self {
        let version = document["openapi"].as_str().expect("an OpenAPI 3 document").to_owned();
        let draft = if version.starts_with("3.0") {
            replace_nullable(&mut document);
            Draft::Draft4
        } else {
            Draft::Draft202012
        };
        let servers = document["servers"].as_array().map_or(&[] as &[Value], Vec::as_slice);
        let mut prefixes: Vec<String> =
            servers.iter().filter_map(|s| s["url"].as_str()).map(path_of_server).collect();
        prefixes.push(String::new());
        Self { name: name.to_owned(), document, draft, prefixes, validators: Mutex::default() }
    }

    /// Checks a request: the operation exists; its path and query parameters are known, complete and of
    /// the right type; its JSON body matches the schema. `path` has no query; `body` may be empty.
    pub(crate) fn check_request(
        &self,
        method: &str,
        path: &str,
        query: Option<&str>,
        body: &[u8],
    ) -> Result<(), String> {
        let what = format!("{method} {path}");
        let operation = self.operation(method, path)?;
        let parameters = self.parameters(&operation);
        let given: Vec<(String, String)> =
            url::form_urlencoded::parse(query.unwrap_or("").as_bytes()).into_owned().collect();
        for (place, values) in [("query", &given), ("path", &operation.path_values)] {
            for (name, text) in values {
                let Some((pointer, _)) = parameters.get(&(place.to_owned(), name.clone())) else {
                    return Err(format!("{what}: unknown {place} parameter `{name}`"));
                };
                let text = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
                self.check_text(&format!("{what}: {place} parameter `{name}`"), pointer, &text)?;
            }
        }
        for ((place, name), (_, parameter)) in &parameters {
            let required = parameter["required"] == json!(true) && place == "query";
            if required && !given.iter().any(|(present, _)| present == name) {
                return Err(format!("{what}: query parameter `{name}` is missing"));
            }
        }
        let (pointer, declared) =
            self.resolved(format!("{}/requestBody", operation.pointer), &operation.value["requestBody"]);
        if body.is_empty() {
            return match declared["required"] {
                Value::Bool(true) => Err(format!("{what}: a body is required")),
                _ => Ok(()),
            };
        }
        if declared["content"]["application/json"]["schema"].is_null() {
            return Err(format!("{what}: no JSON body is declared"));
        }
        self.check_json(
            &format!("{what}: body"),
            &format!("{pointer}/content/application~1json/schema"),
            body,
        )
    }

    /// Checks an answer. An undeclared status passes if it is an error (specifications never list all
    /// of them); a declared JSON body must match its schema.
    pub(crate) fn check_response(
        &self,
        method: &str,
        path: &str,
        status: u16,
        content_type: &str,
        body: &[u8],
    ) -> Result<(), String> {
        let what = format!("{method} {path}: answer {status}");
        let operation = self.operation(method, path)?;
        let responses = &operation.value["responses"];
        let range = format!("{}XX", status / 100);
        let Some(key) = [status.to_string().as_str(), range.as_str(), "default"]
            .into_iter()
            .find_map(|key| responses.get(key).map(|_| key.to_owned()))
        else {
            return if status >= 400 { Ok(()) } else { Err(format!("{what} is not declared")) };
        };
        let (pointer, declared) =
            self.resolved(format!("{}/responses/{key}", operation.pointer), &responses[&key]);
        let media = content_type.split(';').next().unwrap_or("").trim();
        let schema = &declared["content"][media]["schema"];
        if schema.is_null() {
            // Vendor media types (raw blobs, bare ids) and answers without body are not specified.
            let described = media == "application/json" && declared.get("content").is_some();
            return if described { Err(format!("{what}: no JSON is declared")) } else { Ok(()) };
        }
        let pointer = format!("{pointer}/content/{}/schema", escape(media));
        if media == "application/json" { self.check_json(&what, &pointer, body) } else { Ok(()) }
    }

    fn operation(&self, method: &str, path: &str) -> Result<Operation<'_>, String> {
        let paths = self.document["paths"].as_object().expect("a document with paths");
        let method = method.to_ascii_lowercase();
        for prefix in &self.prefixes {
            let Some(rest) = path.strip_prefix(prefix.as_str()) else { continue };
            // The template with the most literal segments wins, as OpenAPI requires.
            let best = paths
                .iter()
                .filter(|(_, item)| item.get(&method).is_some())
                .filter_map(|(template, item)| Some((template, item, match_template(template, rest)?)))
                .max_by_key(|(template, _, values)| template.split('/').count() - values.len());
            if let Some((template, item, path_values)) = best {
                return Ok(Operation {
                    pointer: format!("#/paths/{}/{method}", escape(template)),
                    value: &item[&method],
                    shared_parameters: item.get("parameters"),
                    path_values,
                });
            }
        }
        Err(format!("{}: no operation for {method} {path}", self.name))
    }

    /// The operation's parameters by location and name, each with the pointer to its schema.
    fn parameters(&self, operation: &Operation<'_>) -> HashMap<(String, String), (String, Value)> {
        let item = operation.pointer.rsplit_once('/').expect("a path item above").0;
        let lists = [
            (format!("{item}/parameters"), operation.shared_parameters),
            (format!("{}/parameters", operation.pointer), operation.value.get("parameters")),
        ];
        let mut parameters = HashMap::new();
        for (base, list) in lists {
            for (i, parameter) in list.and_then(Value::as_array).into_iter().flatten().enumerate() {
                let (pointer, parameter) = self.resolved(format!("{base}/{i}"), parameter);
                let text = |key: &str| parameter[key].as_str().expect("a parameter").to_owned();
                let schema = (format!("{pointer}/schema"), parameter.clone());
                parameters.insert((text("in"), text("name")), schema);
            }
        }
        parameters
    }

    /// Resolves a chain of `$ref`.
    fn resolved<'a>(&'a self, mut pointer: String, mut value: &'a Value) -> (String, &'a Value) {
        while let Some(target) = value.get("$ref").and_then(Value::as_str) {
            target.clone_into(&mut pointer);
            value = self.document.pointer(&target[1..]).expect("a reference inside the document");
        }
        (pointer, value)
    }

    /// A parameter is valid as text or as the JSON value it spells.
    fn check_text(&self, what: &str, pointer: &str, text: &str) -> Result<(), String> {
        let as_text = Value::String(text.to_owned());
        let as_json = serde_json::from_str(text).unwrap_or(Value::Null);
        let list = json!([as_text]);
        let validator = self.validator(pointer);
        if [&as_text, &as_json, &list].into_iter().any(|value| validator.is_valid(value)) {
            return Ok(());
        }
        Err(format!("{what}: `{text}` is not as declared"))
    }

    fn check_json(&self, what: &str, pointer: &str, body: &[u8]) -> Result<(), String> {
        let value: Value =
            serde_json::from_slice(body).map_err(|error| format!("{what}: no JSON: {error}"))?;
        let problems: Vec<String> = self
            .validator(pointer)
            .iter_errors(&value)
            .take(5)
            .map(|error| format!("{} at `{}`", shortened(&error.to_string()), error.instance_path()))
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(format!("{what}: {}", problems.join("; "))) }
    }

    fn validator(&self, pointer: &str) -> Arc<Validator> {
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let validator = validators.entry(pointer.to_owned()).or_insert_with(|| {
            // The schema refers to other parts of the document, so the whole document is passed.
            let mut schema = self.document.as_object().expect("a document").clone();
            schema.insert("$ref".into(), json!(pointer.replace('{', "%7B").replace('}', "%7D")));
            let schema = Value::Object(schema);
            Arc::new(
                jsonschema::options()
                    .with_draft(self.draft)
                    .should_validate_formats(false)
                    .build(&schema)
                    .unwrap_or_else(|error| panic!("{} {pointer}: {error}", self.name)),
            )
        });
        Arc::clone(validator)
    }
}

/// The folder of the specifications; `REPOSYNC_SPECS` overrides it.
pub(crate) fn folder() -> PathBuf {
    std::env::var_os("REPOSYNC_SPECS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/specs"), PathBuf::from)
}

/// Parameters that may contain slashes.
const LONG_PARAMETERS: [&str; 4] = ["ref", "path", "basehead", "branch"];

/// `https://{host}/openai` and `{endpoint}/openai` -> `/openai`.
fn path_of_server(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or(String::new(), |at| rest[at..].trim_end_matches('/').to_owned())
}

/// Matches `/repos/{owner}/{repo}` and returns the parameters' values, still percent-encoded. The last
/// parameter may span several segments, if its name is in the list above.
fn match_template(template: &str, path: &str) -> Option<Vec<(String, String)>> {
    let templates: Vec<&str> = template.trim_start_matches('/').split('/').collect();
    let mut segments: Vec<String> = path.strip_prefix('/')?.split('/').map(str::to_owned).collect();
    let named = |part: &str| part.strip_prefix('{').and_then(|p| p.strip_suffix('}')).map(str::to_owned);
    let long = |part: &str| named(part).is_some_and(|name| LONG_PARAMETERS.contains(&name.as_str()));
    if segments.len() > templates.len() && templates.last().is_some_and(|last| long(last)) {
        let tail = segments.split_off(templates.len() - 1).join("/");
        segments.push(tail);
    }
    if segments.len() != templates.len() {
        return None;
    }
    let mut values = Vec::new();
    for (part, segment) in templates.into_iter().zip(segments) {
        match named(part) {
            Some(name) if !segment.is_empty() => values.push((name, segment)),
            None if part == segment => {}
            _ => return None,
        }
    }
    Some(values)
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= 200 {
        text.to_owned()
    } else {
        text.chars().take(200).chain(['…']).collect()
    }
}

/// OpenAPI 3.0 says `nullable` where JSON Schema says "or null".
fn replace_nullable(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(replace_nullable),
        Value::Object(map) => {
            map.values_mut().for_each(replace_nullable);
            if map.get("nullable") == Some(&json!(true)) {
                map.remove("nullable");
                let schema = Value::Object(std::mem::take(map));
                *map = Map::from_iter([("anyOf".to_owned(), json!([schema, { "type": "null" }]))]);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn github() -> Option<&'static Spec> {
        Spec::load("github-rest.openapi.json")
    }

    #[test]
    fn requests_are_checked() {
        let Some(spec) = github() else { return };
        let check = |method, path, query| spec.check_request(method, path, query, b"");
        assert_eq!(check("GET", "/orgs/acme/repos", Some("per_page=100&page=2&type=all")), Ok(()));
        assert_eq!(check("GET", "/repos/a/b/git/trees/main", Some("recursive=1")), Ok(()));
        assert_eq!(check("GET", "/repos/a/b/tarball/feature/x", None), Ok(()));
        for (path, query, why) in [
            ("/orgs/acme/repos", "perpage=1", "unknown query parameter `perpage`"),
            ("/orgs/acme/repos", "type=odd", "`odd` is not as declared"),
            ("/orgs/acme/repos", "page=x", "`x` is not as declared"),
            ("/orgs/acme/rebos", "", "no operation"),
            ("/repos/a/b/git/tree/main", "", "no operation"),
            ("/search/repositories", "", "`q` is missing"),
        ] {
            let error = check("GET", path, Some(query)).expect_err(path);
            assert!(error.contains(why), "{error}");
        }
        assert!(check("DELETE", "/repos/a/b", None).is_err());
    }

    #[test]
    fn answers_are_checked() {
        let Some(spec) = github() else { return };
        let check = |status, body: &str| {
            spec.check_response(
                "GET",
                "/repos/a/b/git/blobs/1",
                status,
                "application/json; charset=utf-8",
                body.as_bytes(),
            )
        };
        let blob =
            r#"{"content":"","encoding":"base64","url":"https://h/x","sha":"1","size":null,"node_id":"n"}"#;
        assert_eq!(check(200, blob), Ok(()));
        assert!(check(200, &blob.replace("null", "\"3\"")).is_err());
        assert!(check(200, "{}").is_err());
        assert!(check(200, "<html>").is_err());
        assert!(check(201, blob).is_err());
        assert_eq!(check(502, "<html>"), Ok(()));
    }

    #[test]
    fn yaml_and_server_prefixes_are_read() {
        if let Some(spec) = Spec::load("pinecone-db_data-2026-04.oas.yaml") {
            let body = br#"{"vectors":[{"id":"a","values":[0.5]}],"namespace":"n"}"#;
            assert_eq!(spec.check_request("POST", "/vectors/upsert", None, body), Ok(()));
            assert!(spec.check_request("POST", "/vectors/upsert", None, br#"{"vectors":[{}]}"#).is_err());
        }
        if let Some(spec) = Spec::load("azure-openai-embeddings-2024-10-21.openapi.json") {
            let path = "/openai/deployments/ada/embeddings";
            let body = br#"{"input":["a","b"]}"#;
            assert_eq!(spec.check_request("POST", path, Some("api-version=2024-10-21"), body), Ok(()));
            assert!(spec.check_request("POST", path, None, body).is_err());
            assert!(spec.check_request("POST", path, Some("api-version=2024-10-21"), b"").is_err());
        }
        if let Some(spec) = Spec::load("openai-embeddings.openapi.json") {
            let body = br#"{"input":"a","model":"text-embedding-3-small","encoding_format":"base64"}"#;
            assert_eq!(spec.check_request("POST", "/v1/embeddings", None, body), Ok(()));
            assert!(spec.check_request("POST", "/v1/embeddings", None, br#"{"input":"a"}"#).is_err());
        }
    }
}
