//! The JSON Schema of the file, generated from the types that read it.

use serde_json::{Map, Value, json};

use super::raw::{RawApi, RawEngine, RawProject};
use super::registries::RawRegistry;
use super::workers::RawWorkers;
use crate::chunk::secrets::SecretRules;
use crate::registry::KINDS;
use crate::settings::Shape;

/// The schema of `reposync.toml` for completion and validation in editors: closed lists of keys,
/// descriptions, defaults.
pub fn schema() -> Value {
    let mut definitions = Map::new();
    let mut define = |name: &str, shape: Shape| {
        let mut root = shape.root;
        definitions.extend(shape.definitions);
        if let Some(root) = root.as_object_mut() {
            root.remove("$schema");
            root.remove("title");
        }
        definitions.insert(name.to_owned(), root);
        json!({ "$ref": format!("#/$defs/{name}") })
    };
    let engine = define("engine", Shape::of::<RawEngine>());
    let api = define("api", Shape::of::<RawApi>());
    let workers = define("workers", Shape::of::<RawWorkers>());
    let secrets = define("secrets", Shape::of::<SecretRules>());
    let registry = define("registry", Shape::of::<RawRegistry>());
    let project = define("project", Shape::of::<RawProject>());
    let stages: Vec<Value> = KINDS
        .iter()
        .map(|kind| {
            let mut shape = (kind.shape)();
            with_kind(&mut shape.root, kind.name);
            let of_kind = json!({ "properties": { "kind": { "const": kind.name } }, "required": ["kind"] });
            // Not `oneOf`: where nothing matches, an editor would show the errors of every kind.
            json!({ "if": of_kind, "then": define(&format!("stage-{}", kind.name), shape) })
        })
        .collect();
    let kinds: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    let names = json!({ "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" });
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "reposync.toml",
        "description": "Configuration of RepoSync: stages, and projects that use them.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "engine": engine,
            "stages": {
                "description": "Named stages; `kind` selects what each does.",
                "type": "object",
                "propertyNames": names,
                "additionalProperties": {
                    "type": "object",
                    "properties": { "kind": { "description": "What the stage does.", "enum": kinds } },
                    "required": ["kind"],
                    "allOf": stages,
                },
            },
            "projects": {
                "description": "What is indexed, through which stages, into which namespace.",
                "type": "object",
                "propertyNames": names,
                "additionalProperties": project,
            },
            "secrets": secrets,
            "registries": {
                "description": "Logins of the registries from which components come, by host.",
                "type": "object",
                "additionalProperties": registry,
            },
            "api": api,
            "workers": workers,
        },
        "$defs": definitions,
    });
    tidy(&mut schema);
    schema
}

/// Makes editors validate the `config` of stages that use this component against its schema.
pub fn add_component(schema: &mut Value, file: &str, mut config: Value) {
    let Some(definitions) = schema.get_mut("$defs").and_then(Value::as_object_mut) else { return };
    let taken = definitions.keys().filter(|name| name.starts_with("component-")).count();
    let name = format!("component-{}", taken + 1);
    let place = format!("#/$defs/{name}");
    rebase(&mut config, &place);
    if let Some(config) = config.as_object_mut() {
        config.remove("$schema");
        config.remove("$id");
    }
    definitions.insert(name, config);
    let Some(stage) = definitions.get_mut("stage-wasm").and_then(Value::as_object_mut) else { return };
    let rule = json!({
        "if": { "properties": { "component": { "const": file } }, "required": ["component"] },
        "then": { "properties": { "config": { "$ref": place } } },
    });
    if let Value::Array(rules) = stage.entry("allOf").or_insert_with(|| json!([])) {
        rules.push(rule);
    }
}

/// Makes references within a schema relative to its new position.
fn rebase(schema: &mut Value, place: &str) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::String(reference) if key == "$ref" => {
                        if let Some(pointer) = reference.strip_prefix('#') {
                            *reference = format!("{place}{pointer}");
                        }
                    }
                    value => rebase(value, place),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rebase(item, place)),
        _ => {}
    }
}

/// Adds the key `kind`, which is read before the settings.
fn with_kind(root: &mut Value, name: &str) {
    let about = root.get("description").cloned().unwrap_or_default();
    let Some(root) = root.as_object_mut() else { return };
    let kind = json!({ "const": name, "description": about });
    let mut properties = Map::from_iter([("kind".to_owned(), kind)]);
    if let Some(Value::Object(own)) = root.remove("properties") {
        properties.extend(own);
    }
    root.insert("properties".into(), properties.into());
    root.insert("additionalProperties".into(), false.into());
    let mut required = vec![Value::from("kind")];
    if let Some(Value::Array(own)) = root.remove("required") {
        required.extend(own);
    }
    root.insert("required".into(), required.into());
}

/// Removes null (TOML has none) and integer widths, which do not concern users. Descriptions are
/// cut to their first paragraph; the rest is for developers.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.remove("format");
            if object.get("default") == Some(&Value::Null) {
                object.remove("default");
            }
            if let Some(Value::String(text)) = object.get_mut("description") {
                *text = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
            }
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|one| one != "null");
                if let [one] = types.as_slice() {
                    let one = one.clone();
                    object.insert("type".into(), one);
                }
            }
            if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
                choices.retain(|one| *one != json!({ "type": "null" }));
                if let [Value::Object(one)] = choices.as_slice() {
                    let one = one.clone();
                    object.remove("anyOf");
                    for (key, value) in one {
                        object.entry(key).or_insert(value);
                    }
                }
            }
            object.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}
