//! Validates a stage's `config` against the JSON Schema that its component declares. The schema is
//! untrusted: it must not refer to other documents, and its evaluation cost is bounded before it is
//! used.

use jsonschema::PatternOptions;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

use super::config_json::ConfigProblem;
use super::said::one_line;

/// Maximum number of problems reported.
const MAX_PROBLEMS: usize = 50;

/// Maximum number of subschemas that may apply to one value. Without a bound, a few lines of nested
/// references take exponential time.
const MAX_APPLIED: usize = 200;

/// Returns the problems of a configuration; the error says why the schema cannot be used.
pub(super) fn check(schema: &Value, config: &Map<String, Value>) -> Result<Vec<ConfigProblem>, String> {
    bounded(schema)?;
    let validator = jsonschema::options()
        .offline()
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
        .map_err(|error| one_line(&error.to_string()))?;
    let config = Value::Object(config.clone());
    Ok(validator.iter_errors(&config).take(MAX_PROBLEMS).flat_map(|error| problems(&error)).collect())
}

/// Converts a validation error to problems with their locations. Values may be secrets and are
/// masked.
fn problems(error: &jsonschema::ValidationError<'_>) -> Vec<ConfigProblem> {
    let at = error.instance_path().to_string();
    let problem = |code: &str, pointer: String, message: String| ConfigProblem {
        error: true,
        code: code.to_owned(),
        message: one_line(&message),
        pointer: Some(pointer),
    };
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => unexpected
            .iter()
            .map(|key| {
                let step = key.replace('~', "~0").replace('/', "~1");
                problem(
                    "unknown-key",
                    format!("{at}/{step}"),
                    "is not a key that the component accepts".to_owned(),
                )
            })
            .collect(),
        ValidationErrorKind::Required { property } => {
            let key = property.as_str().map_or_else(|| property.to_string(), str::to_owned);
            vec![problem("missing-key", at, format!("`{key}` is missing"))]
        }
        _ => vec![problem("schema", at, error.masked_with("the value").to_string())],
    }
}

/// Rejects a schema with external references, or whose evaluation cost is not bounded by its size.
fn bounded(schema: &Value) -> Result<(), String> {
    let mut open = vec![schema];
    while let Some(node) = open.pop() {
        let Some(object) = node.as_object() else { continue };
        if !std::ptr::eq(node, schema) && object.contains_key("$id") {
            return Err("it has a `$id` below its root".to_owned());
        }
        for keyword in ["$dynamicRef", "$recursiveRef"] {
            if object.contains_key(keyword) {
                return Err(format!("it uses `{keyword}`"));
            }
        }
        applied(node, schema, &mut Vec::new(), &mut 0)?;
        open.extend(children(object));
    }
    Ok(())
}

/// Keywords whose subschemas apply to the same value.
const IN_PLACE: [&str; 8] = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"];

/// All other keywords that contain subschemas.
const INSIDE: [&str; 13] = [
    "properties",
    "patternProperties",
    "additionalProperties",
    "propertyNames",
    "items",
    "prefixItems",
    "additionalItems",
    "contains",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
    "$defs",
    "definitions",
];

/// Keywords that contain a map of subschemas.
const MAPS: [&str; 5] = ["properties", "patternProperties", "dependentSchemas", "$defs", "definitions"];

fn children(object: &Map<String, Value>) -> Vec<&Value> {
    IN_PLACE.iter().chain(&INSIDE).flat_map(|keyword| subschemas(object, keyword)).collect()
}

fn subschemas<'a>(object: &'a Map<String, Value>, keyword: &str) -> Vec<&'a Value> {
    match object.get(keyword) {
        Some(Value::Array(list)) => list.iter().collect(),
        Some(Value::Object(map)) if MAPS.contains(&keyword) => map.values().collect(),
        Some(one @ Value::Object(_)) => vec![one],
        _ => Vec::new(),
    }
}

/// Counts the subschemas that apply to the same value as `node`, following references.
fn applied<'a>(
    node: &'a Value,
    root: &'a Value,
    followed: &mut Vec<&'a str>,
    count: &mut usize,
) -> Result<(), String> {
    *count += 1;
    if *count > MAX_APPLIED {
        return Err(format!("more than {MAX_APPLIED} of its subschemas apply to one value"));
    }
    let Some(object) = node.as_object() else { return Ok(()) };
    for keyword in IN_PLACE {
        for one in subschemas(object, keyword) {
            applied(one, root, followed, count)?;
        }
    }
    let Some(reference) = object.get("$ref") else { return Ok(()) };
    let reference = reference.as_str().ok_or("a `$ref` is not a string")?;
    let shown = one_line(reference);
    if followed.contains(&reference) {
        return Err(format!("the reference `{shown}` is circular"));
    }
    let target = reference
        .strip_prefix('#')
        .and_then(|pointer| root.pointer(pointer))
        .ok_or_else(|| format!("the reference `{shown}` does not resolve inside the schema"))?;
    followed.push(reference);
    applied(target, root, followed, count)?;
    followed.pop();
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(schema: &Value, config: Value) -> Vec<String> {
        let Value::Object(config) = config else { panic!("an object") };
        let mut found: Vec<_> =
            check(schema, &config).expect("a good schema").iter().map(ToString::to_string).collect();
        found.sort();
        found
    }

    fn refused(schema: &Value) -> String {
        check(schema, &Map::new()).expect_err("refused")
    }

    #[test]
    fn problems_name_their_place_and_no_value() {
        let schema = json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["owner"],
            "properties": {
                "owner": { "type": "string" },
                "level": { "type": "integer", "minimum": 1, "maximum": 6 },
                "marks": { "type": "array", "items": { "$ref": "#/$defs/mark" } },
                "style": { "enum": ["atx", "setext"] },
            },
            "$defs": { "mark": { "type": "object", "properties": { "text": { "pattern": "^#+$" } } } },
        });
        assert_eq!(found(&schema, json!({ "owner": "x", "level": 2, "marks": [{ "text": "##" }] })), [""; 0]);
        let wrong = json!({
            "level": 9, "marks": [{ "text": "#" }, { "text": "hunter2" }], "style": "hunter2", "levle": 1, "a/b": 1,
        });
        insta::assert_snapshot!(found(&schema, wrong).join("\n"), @r#"
        `config.a/b`: is not a key that the component accepts
        `config.level`: the value is greater than the maximum of 6
        `config.levle`: is not a key that the component accepts
        `config.marks.1.text`: the value does not match "^#+$"
        `config.style`: the value is not one of "atx" or "setext"
        `config`: `owner` is missing
        "#);
    }

    #[test]
    fn a_schema_that_cannot_be_used_is_refused() {
        let doubling: Map<String, Value> = (0..40)
            .map(|n| {
                let next = json!({ "$ref": format!("#/$defs/{}", n + 1) });
                (n.to_string(), json!({ "allOf": [next, next] }))
            })
            .chain([("40".to_owned(), json!(true))])
            .collect();
        for (schema, why) in [
            (json!({ "type": 3 }), "is not valid"),
            (json!({ "properties": { "a": { "pattern": "(" } } }), "is not"),
            (json!({ "$ref": "https://example.com/x.json" }), "does not resolve inside the schema"),
            (json!({ "$ref": "#/$defs/none" }), "does not resolve inside the schema"),
            (json!({ "$ref": "#" }), "is circular"),
            (json!({ "properties": { "a": { "allOf": [{ "$ref": "#/properties/a" }] } } }), "is circular"),
            (json!({ "$ref": "#/$defs/0", "$defs": doubling }), "more than 200 of its subschemas"),
            (json!({ "$defs": { "a": { "$id": "b" } } }), "it has a `$id` below its root"),
            (json!({ "$dynamicRef": "#a" }), "it uses `$dynamicRef`"),
        ] {
            let refused = refused(&schema);
            assert!(refused.contains(why), "{why}: {refused}");
        }
    }

    #[test]
    fn a_schema_may_describe_trees() {
        let schema = json!({
            "properties": { "child": { "$ref": "#" }, "name": { "type": "string" } },
            "additionalProperties": false,
        });
        assert_eq!(found(&schema, json!({ "child": { "child": { "name": "x" } } })), [""; 0]);
        assert_eq!(found(&schema, json!({ "child": { "child": { "name": 1 } } })).len(), 1);
    }
}
