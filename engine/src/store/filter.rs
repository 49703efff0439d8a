//! Pinecone's metadata filters, for stores that evaluate filters themselves.

use std::cmp::Ordering::{self, Equal, Greater, Less};

use serde_json::{Map, Value};

use crate::model::{ErrorKind, StageError, StageResult};

/// Maximum nesting of `$and` and `$or`, so that a filter cannot overflow the stack.
const MAX_DEPTH: usize = 32;

/// A parsed filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(pub(super) Node);

/// A node of a filter's tree.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Test { key: String, test: Test },
}

/// A condition on the value of one field.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    In(Vec<Value>),
    NotIn(Vec<Value>),
    Compare { holds: &'static [Ordering], number: f64 },
    Exists(bool),
}

impl Filter {
    /// The filter of a query. Without one every record passes.
    pub fn of(stage: &str, filter: Option<&Value>) -> StageResult<Self> {
        let Some(filter) = filter else {
            return Ok(Self(Node::All(Vec::new())));
        };
        Self::parse(filter).map_err(|why| {
            StageError::new(stage, ErrorKind::BadInput, format!("the query's filter: {why}"))
                .hint("write it like {\"project\": {\"$eq\": \"handbook\"}}; operators: $eq $ne $in $nin $gt $gte $lt $lte $exists $and $or")
        })
    }

    /// Parses a filter. The error says in a few words what is wrong.
    pub fn parse(filter: &Value) -> Result<Self, String> {
        object(filter, 0).map(Self)
    }

    /// True if the filter passes every record.
    pub fn is_empty(&self) -> bool {
        self.0 == Node::All(Vec::new())
    }

    /// Whether records pass of which only the fields in `known` are known, a field that is absent there
    /// being unknown; `None`: it depends on other fields.
    pub fn decide(&self, known: &Map<String, Value>) -> Option<bool> {
        self.0.decide(known)
    }

    /// True if a record with this metadata passes.
    ///
    /// `$eq` and `$in` match a list if they match any of its entries. An absent field equals
    /// nothing, so of the operators only `$ne`, `$nin` and `$exists: false` match it.
    pub fn matches(&self, metadata: &Map<String, Value>) -> bool {
        self.0.matches(metadata)
    }
}

impl Node {
    fn matches(&self, metadata: &Map<String, Value>) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.matches(metadata)),
            Self::Any(nodes) => nodes.iter().any(|node| node.matches(metadata)),
            Self::Test { key, test } => test.passes(metadata.get(key)),
        }
    }
}

impl Node {
    fn decide(&self, known: &Map<String, Value>) -> Option<bool> {
        match self {
            Self::All(nodes) => decided(nodes, known, false),
            Self::Any(nodes) => decided(nodes, known, true),
            Self::Test { key, test } => known.get(key).map(|value| test.passes(Some(value))),
        }
    }
}

/// The answer of nodes of which one that gives `deciding` decides; `None` where one is unknown and none
/// decides.
fn decided(nodes: &[Node], known: &Map<String, Value>, deciding: bool) -> Option<bool> {
    let mut all_known = true;
    for node in nodes {
        match node.decide(known) {
            Some(answer) if answer == deciding => return Some(deciding),
            Some(_) => {}
            None => all_known = false,
        }
    }
    all_known.then_some(!deciding)
}

impl Test {
    fn passes(&self, value: Option<&Value>) -> bool {
        match self {
            Self::In(wanted) => is_any_of(value, wanted),
            Self::NotIn(unwanted) => !is_any_of(value, unwanted),
            Self::Exists(wanted) => value.is_some() == *wanted,
            Self::Compare { holds, number } => value
                .and_then(Value::as_f64)
                .and_then(|value| value.partial_cmp(number))
                .is_some_and(|ordering| holds.contains(&ordering)),
        }
    }
}

fn is_any_of(value: Option<&Value>, wanted: &[Value]) -> bool {
    let is_wanted = |value: &Value| wanted.iter().any(|wanted| same(value, wanted));
    match value {
        Some(Value::Array(entries)) => entries.iter().any(is_wanted),
        Some(value) => is_wanted(value),
        None => false,
    }
}

/// Equality as in the stores: all numbers are floating point.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.partial_cmp(&b) == Some(Equal),
        _ => a == b,
    }
}

fn object(filter: &Value, depth: usize) -> Result<Node, String> {
    let Value::Object(entries) = filter else {
        return Err(format!("{} is not an object", shown(filter)));
    };
    if depth > MAX_DEPTH {
        return Err("it is nested too deeply".into());
    }
    let mut nodes = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        match key.as_str() {
            "$and" => nodes.push(Node::All(branches(key, value, depth)?)),
            "$or" => nodes.push(Node::Any(branches(key, value, depth)?)),
            _ if key.starts_with('$') => return Err(format!("`{key}` is not known outside a field")),
            _ => field(key, value, &mut nodes)?,
        }
    }
    Ok(Node::All(nodes))
}

fn branches(operator: &str, value: &Value, depth: usize) -> Result<Vec<Node>, String> {
    match value {
        Value::Array(branches) if !branches.is_empty() => {
            branches.iter().map(|branch| object(branch, depth + 1)).collect()
        }
        _ => Err(format!("`{operator}` takes a list of filters")),
    }
}

fn field(key: &str, value: &Value, nodes: &mut Vec<Node>) -> Result<(), String> {
    let mut add = |test| nodes.push(Node::Test { key: key.to_owned(), test });
    let Value::Object(operators) = value else {
        add(Test::In(vec![scalar(key, value)?]));
        return Ok(());
    };
    if operators.is_empty() {
        return Err(format!("`{key}` has no operator"));
    }
    for (operator, operand) in operators {
        let number = |holds| match operand.as_f64() {
            Some(number) => Ok(Test::Compare { holds, number }),
            None => Err(format!("`{operator}` of `{key}` takes a number, not {}", shown(operand))),
        };
        add(match operator.as_str() {
            "$eq" => Test::In(vec![scalar(key, operand)?]),
            "$ne" => Test::NotIn(vec![scalar(key, operand)?]),
            "$in" => Test::In(scalars(key, operator, operand)?),
            "$nin" => Test::NotIn(scalars(key, operator, operand)?),
            "$gt" => number(&[Greater])?,
            "$gte" => number(&[Greater, Equal])?,
            "$lt" => number(&[Less])?,
            "$lte" => number(&[Less, Equal])?,
            "$exists" => match operand {
                Value::Bool(wanted) => Test::Exists(*wanted),
                other => {
                    return Err(format!("`$exists` of `{key}` takes true or false, not {}", shown(other)));
                }
            },
            unknown => return Err(format!("`{unknown}` of `{key}` is not an operator")),
        });
    }
    Ok(())
}

fn scalar(key: &str, value: &Value) -> Result<Value, String> {
    match value {
        Value::String(_) | Value::Number(_) | Value::Bool(_) => Ok(value.clone()),
        other => {
            Err(format!("`{key}` is compared with a text, a number, true or false, not {}", shown(other)))
        }
    }
}

fn scalars(key: &str, operator: &str, value: &Value) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(values) => values.iter().map(|value| scalar(key, value)).collect(),
        other => Err(format!("`{operator}` of `{key}` takes a list, not {}", shown(other))),
    }
}

/// A value's type for a message, since the value itself may be long.
fn shown(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn filters_pass_what_they_say() {
        let Value::Object(metadata) = json!({"project": "p", "line": 12, "big": 2.5, "flag": true, "tags": ["a", "b"], "it's \"x\"": "y"})
        else {
            unreachable!("an object was written")
        };
        for (filter, passes) in [
            (json!({}), true),
            (json!({"project": "p"}), true),
            (json!({"project": "q"}), false),
            (json!({"project": {"$eq": "p"}, "line": 12}), true),
            (json!({"project": "p", "line": 13}), false),
            (json!({"line": {"$gt": 11, "$lt": 13}}), true),
            (json!({"line": {"$gte": 12, "$lte": 12.0}}), true),
            (json!({"line": {"$gt": 12}}), false),
            (json!({"line": 12.0}), true),
            (json!({"project": {"$gt": 1}}), false),
            (json!({"flag": true}), true),
            (json!({"flag": {"$ne": true}}), false),
            (json!({"tags": "a"}), true),
            (json!({"tags": {"$in": ["c", "b"]}}), true),
            (json!({"tags": {"$nin": ["c", "b"]}}), false),
            (json!({"tags": {"$nin": []}}), true),
            (json!({"project": {"$in": []}}), false),
            (json!({"absent": {"$ne": "p"}}), true),
            (json!({"absent": {"$exists": false}, "flag": {"$exists": true}}), true),
            (json!({"$or": [{"project": "q"}, {"line": 12}]}), true),
            (json!({"$and": [{"project": "q"}, {"line": 12}]}), false),
            (json!({"$and": [{"$or": [{"big": {"$lt": 3}}]}, {"flag": true}]}), true),
            (json!({"it's \"x\"": "y"}), true),
        ] {
            let parsed = Filter::parse(&filter).unwrap_or_else(|why| panic!("{filter}: {why}"));
            assert_eq!(parsed.matches(&metadata), passes, "{filter}");
        }
    }

    #[test]
    fn some_fields_may_decide() {
        let Value::Object(known) = json!({"project": "p"}) else { unreachable!("an object was written") };
        for (filter, decided) in [
            (json!({}), Some(true)),
            (json!({"project": "p"}), Some(true)),
            (json!({"project": "q", "line": 1}), Some(false)),
            (json!({"project": "p", "line": 1}), None),
            (json!({"$or": [{"project": "p"}, {"line": 1}]}), Some(true)),
            (json!({"$or": [{"project": "q"}, {"line": 1}]}), None),
            (json!({"$or": [{"project": "q"}, {"project": "r"}]}), Some(false)),
        ] {
            assert_eq!(Filter::parse(&filter).expect("a filter").decide(&known), decided, "{filter}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let deep = (0..100).fold(json!({"a": 1}), |inner, _| json!({"$and": [inner]}));
        for (filter, why) in [
            (json!([]), "a list is not an object"),
            (json!({"$not": {"a": 1}}), "`$not` is not known outside a field"),
            (json!({"a": {"$regex": "x"}}), "`$regex` of `a` is not an operator"),
            (json!({"a": {"b": "x"}}), "`b` of `a` is not an operator"),
            (json!({"a": {}}), "`a` has no operator"),
            (json!({"a": null}), "`a` is compared with a text, a number, true or false, not null"),
            (json!({"a": {"$in": "x"}}), "`$in` of `a` takes a list, not a text"),
            (json!({"a": {"$gt": "x"}}), "`$gt` of `a` takes a number, not a text"),
            (json!({"a": {"$exists": 1}}), "`$exists` of `a` takes true or false, not a number"),
            (json!({"$or": []}), "`$or` takes a list of filters"),
            (json!({"$and": {"a": 1}}), "`$and` takes a list of filters"),
            (deep, "it is nested too deeply"),
        ] {
            assert_eq!(Filter::parse(&filter), Err(why.to_owned()));
        }
    }
}
