//! The reference of the API, from the OpenAPI document.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde_json::{Map, Value, json};

use super::failure::PageResult;
use super::layout;
use super::visitor::Visitor;
use crate::api::openapi;

/// The page.
pub(super) async fn page(visitor: Visitor) -> PageResult {
    let document = json!(openapi::document());
    let mut tags: BTreeMap<&str, Vec<(&str, &str, &Value)>> = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let tag = operation["tags"][0].as_str().unwrap_or("other");
            tags.entry(tag).or_default().push((method, path, operation));
        }
    }
    let main = html! {
        div.head {
            div.title { h1 { "API" } }
            span.muted { "Send " code { "Authorization: Bearer TOKEN" } ". As a document: " code { "GET /openapi.json" } }
        }
        @for (tag, operations) in &tags {
            section.card {
                header { h2 { (tag) } }
                ul.items {
                    @for (method, path, operation) in operations { li { (shown(&document, method, path, operation)) } }
                }
            }
        }
    };
    Ok(layout::page(&visitor, "API", "/console/docs", &main))
}

fn shown(document: &Value, method: &str, path: &str, operation: &Value) -> Markup {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let parameters =
        parameters.map(|one| (text(&one["name"]), one["required"] == true, text(&one["description"])));
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    let fields = fields(document, body);
    let responses: Map<String, Value> = operation["responses"].as_object().cloned().unwrap_or_default();
    html! {
        details id={ (method) "-" (path) } {
            summary {
                code { span.method { (method.to_uppercase()) } (path) } " "
                span.muted { (text(&operation["summary"])) }
            }
            @if operation["description"].is_string() { p { (text(&operation["description"])) } }
            dl.facts {
                @for (name, required, about) in parameters {
                    dt { code { (name) } @if required { " *" } } dd { (about) }
                }
                @for (name, required, about) in fields {
                    dt { code { (name) } @if required { " *" } } dd { (about) }
                }
                @for (status, response) in &responses {
                    dt { (status) } dd.muted { (text(&response["description"])) }
                }
            }
        }
    }
}

/// The fields of a body: name, whether it is required, and what it is.
fn fields(document: &Value, schema: &Value) -> Vec<(String, bool, String)> {
    let named = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/components/schemas/"));
    let schema = named.map_or(schema, |name| &document["components"]["schemas"][name]);
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let properties = schema["properties"].as_object().into_iter().flatten();
    let field = |(name, property): (&String, &Value)| {
        let about = property["description"].as_str().unwrap_or_default().to_owned();
        (name.clone(), required.iter().any(|one| one == name), about)
    };
    properties.map(field).collect()
}
