//! The keys that a table may and must have, derived from the JSON Schema of its settings, so that
//! editors and the parser agree.

use std::ops::Range;

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::explain::did_you_mean;
use super::mask::looks_secret;
use super::problem::Problem;

pub(crate) struct Shape {
    pub(crate) root: Value,
    pub(crate) definitions: Map<String, Value>,
}

impl Shape {
    /// The shape of a settings type.
    pub(crate) fn of<T: JsonSchema>() -> Self {
        let mut generator = SchemaGenerator::default();
        let mut root = generator.root_schema_for::<T>().to_value();
        let definitions = match root.as_object_mut().and_then(|root| root.remove("$defs")) {
            Some(Value::Object(definitions)) => definitions,
            _ => Map::new(),
        };
        Self { root, definitions }
    }

    /// Placeholder values for required keys that are missing or invalid.
    pub(crate) fn stand_ins(&self) -> Vec<(String, DeValue<'static>)> {
        let stand_in = |schema: &Value| match schema.get("type").and_then(Value::as_str) {
            Some("array") => DeValue::Array(DeArray::new()),
            _ => DeValue::String("stand-in".into()),
        };
        required(&self.root).map(|(key, schema)| (key.to_owned(), stand_in(self.follow(schema)))).collect()
    }

    /// The keys whose type is a secret.
    pub(crate) fn secret_keys(&self) -> impl Iterator<Item = &str> {
        properties(&self.root).filter(|(_, schema)| self.is_secret(schema)).map(|(key, _)| key)
    }

    fn is_secret(&self, schema: &Value) -> bool {
        let alternatives = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
        let marked = |one: &Value| self.follow(one).get("format").and_then(Value::as_str) == Some("password");
        alternatives.chain([schema]).any(marked)
    }

    /// Reports unknown and missing keys at every depth where the schema is closed, and removes the
    /// unknown ones. Returns the top-level keys with problems.
    pub(crate) fn check_keys(
        &self,
        path: &str,
        header: &Range<usize>,
        table: &mut DeTable<'_>,
        problems: &mut Vec<Problem>,
    ) -> Vec<String> {
        let mut concerned = self.check_object(&self.root, path, header, table, problems);
        for (key, value) in table.iter_mut() {
            let key = key.get_ref().as_ref();
            let before = problems.len();
            if let Some((_, schema)) = properties(&self.root).find(|(name, _)| *name == key) {
                self.descend(schema, &format!("{path}.{key}"), value, problems);
            }
            if problems.len() > before {
                concerned.push(key.to_owned());
            }
        }
        concerned
    }

    fn descend(
        &self,
        schema: &Value,
        path: &str,
        value: &mut Spanned<DeValue<'_>>,
        problems: &mut Vec<Problem>,
    ) {
        let schema = self.follow(schema);
        let span = value.span();
        match value.get_mut() {
            DeValue::Table(table) => {
                let alternatives = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
                let object = alternatives
                    .map(|one| self.follow(one))
                    .chain([schema])
                    .find(|one| one.get("properties").is_some());
                let Some(object) = object else { return };
                self.check_object(object, path, &span, table, problems);
                for (key, value) in table.iter_mut() {
                    let key = key.get_ref().as_ref();
                    if let Some((_, schema)) = properties(object).find(|(name, _)| *name == key) {
                        self.descend(schema, &format!("{path}.{key}"), value, problems);
                    }
                }
            }
            DeValue::Array(items) => {
                let Some(schema) = schema.get("items") else { return };
                for item in items.iter_mut() {
                    self.descend(schema, path, item, problems);
                }
            }
            _ => {}
        }
    }

    /// Checks one table against one object schema. Returns the unknown and missing keys.
    fn check_object(
        &self,
        schema: &Value,
        path: &str,
        header: &Range<usize>,
        table: &mut DeTable<'_>,
        problems: &mut Vec<Problem>,
    ) -> Vec<String> {
        let mut concerned = Vec::new();
        if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
            let known: Vec<&str> = properties(schema).map(|(key, _)| key).collect();
            let unknown: Vec<_> =
                table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())).cloned().collect();
            for key in unknown {
                let name = key.get_ref().as_ref();
                let hint = did_you_mean(name, known.iter().copied()).unwrap_or_else(|| match known.len() {
                    0 => "no keys are allowed here".into(),
                    _ => format!("the keys here are {}", list(&known)),
                });
                problems.push(
                    Problem::at(format!("{path}.{}", quoted(name)), key.span(), "unknown key").hint(hint),
                );
                table.remove(name);
            }
        }
        for (key, schema) in required(schema) {
            if table.contains_key(key) {
                continue;
            }
            let what = self.describe(schema);
            let example =
                if looks_secret(key) { format!("{key} = \"${{NAME}}\"") } else { format!("`{key}`") };
            let hint = match what {
                Some(what) => format!("add {example}: {what}"),
                None => format!("add {example}"),
            };
            problems.push(Problem::at(path, header.clone(), format!("`{key}` is missing")).hint(hint));
            concerned.push(key.to_owned());
        }
        concerned
    }

    fn describe<'s>(&'s self, schema: &'s Value) -> Option<&'s str> {
        let own = schema.get("description").or_else(|| self.follow(schema).get("description"));
        own.and_then(Value::as_str).map(|text| text.split("\n\n").next().unwrap_or(text))
    }

    /// Resolves a reference to a definition.
    fn follow<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|at| at.strip_prefix("#/$defs/"));
        name.and_then(|name| self.definitions.get(name)).unwrap_or(schema)
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

fn required(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).filter_map(|name| {
        let (_, schema) = properties(schema).find(|(key, _)| *key == name)?;
        Some((name, schema))
    })
}

/// Names in backticks, separated by commas.
pub(crate) fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A key as a segment of a path, quoted if it would be ambiguous.
pub(crate) fn quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { key.to_owned() } else { format!("{key:?}") }
}
