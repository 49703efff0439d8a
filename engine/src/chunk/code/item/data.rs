//! HCL, TOML and JSON: blocks, tables and keys.

use tree_sitter::Node;

use super::definition::{Item, Label, child, range, simple};

/// A block, named by its labels (`aws_instance.web`), or by its type if it has none.
pub(super) fn hcl<'t>(node: Node<'t>, text: &str) -> Option<Item<'t>> {
    if node.kind() != "block" {
        return None;
    }
    let block_type = node.named_child(0)?;
    let mut cursor = node.walk();
    let mut labels = node
        .named_children(&mut cursor)
        .skip(1)
        .take_while(|child| matches!(child.kind(), "string_lit" | "identifier"));
    let first = labels.next();
    let last = labels.last().or(first);
    let name = match (first, last) {
        (Some(first), Some(last)) => first.start_byte()..last.end_byte(),
        _ => block_type.byte_range(),
    };
    let kind = match text.get(block_type.byte_range()) {
        Some("resource") => "resource",
        Some("data") => "data",
        Some("module") => "module",
        Some("variable") => "variable",
        Some("output") => "output",
        Some("provider") => "provider",
        _ => "block",
    };
    Some(Item { name: Some(name), body: child(node, &["body"]), ..simple(kind, node, false) })
}

pub(super) fn toml(node: Node<'_>) -> Option<Item<'_>> {
    let name = || child(node, &["bare_key", "dotted_key", "quoted_key"]);
    match node.kind() {
        "table" | "table_array_element" => Some(Item { kind: "table", ..key(node, name()?, None) }),
        "pair" => Some(key(node, name()?, None)),
        _ => None,
    }
}

pub(super) fn json(node: Node<'_>) -> Option<Item<'_>> {
    if node.kind() != "pair" {
        return None;
    }
    let value = node.child_by_field_name("value");
    let body = value.filter(|value| matches!(value.kind(), "object" | "array"));
    Some(key(node, node.child_by_field_name("key")?, body))
}

fn key<'t>(node: Node<'t>, name: Node<'t>, body: Option<Node<'t>>) -> Item<'t> {
    Item {
        kind: "key",
        name: range(Some(name)),
        definition: node,
        body,
        container: false,
        label: Label::Name,
    }
}
