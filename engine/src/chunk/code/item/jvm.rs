//! Java, Kotlin, Scala, and C#, which has a similar syntax.

use tree_sitter::Node;

use super::definition::{Item, child, range, simple};

pub(super) fn java(node: Node<'_>) -> Option<Item<'_>> {
    Some(match node.kind() {
        "class_declaration" => simple("class", node, true),
        "interface_declaration" => simple("interface", node, true),
        "enum_declaration" => simple("enum", node, true),
        "record_declaration" => simple("record", node, true),
        "annotation_type_declaration" => simple("annotation", node, true),
        "method_declaration" => simple("method", node, false),
        "constructor_declaration" | "compact_constructor_declaration" => simple("constructor", node, false),
        _ => return None,
    })
}

pub(super) fn kotlin(node: Node<'_>) -> Option<Item<'_>> {
    let body = child(node, &["class_body", "enum_class_body", "function_body", "block"]);
    let with_body = |kind, container| Item { body, ..simple(kind, node, container) };
    Some(match node.kind() {
        "class_declaration" if child(node, &["interface"]).is_some() => with_body("interface", true),
        "class_declaration" if child(node, &["enum_class_body"]).is_some() => with_body("enum", true),
        "class_declaration" => with_body("class", true),
        "object_declaration" | "companion_object" => with_body("object", true),
        "function_declaration" => with_body("function", false),
        "secondary_constructor" => with_body("constructor", false),
        "type_alias" => Item { name: range(child(node, &["identifier"])), ..simple("type", node, false) },
        _ => return None,
    })
}

pub(super) fn scala(node: Node<'_>) -> Option<Item<'_>> {
    Some(match node.kind() {
        "class_definition" => simple("class", node, true),
        "object_definition" | "package_object" => simple("object", node, true),
        "trait_definition" => simple("trait", node, true),
        "enum_definition" => simple("enum", node, true),
        "function_definition" | "function_declaration" => simple("function", node, false),
        "type_definition" => simple("type", node, false),
        "given_definition" => simple("given", node, false),
        _ => return None,
    })
}

pub(super) fn csharp(node: Node<'_>) -> Option<Item<'_>> {
    Some(match node.kind() {
        "namespace_declaration" => simple("namespace", node, true),
        "class_declaration" => simple("class", node, true),
        "interface_declaration" => simple("interface", node, true),
        "struct_declaration" => simple("struct", node, true),
        "record_declaration" => simple("record", node, true),
        "enum_declaration" => simple("enum", node, true),
        "method_declaration" => simple("method", node, false),
        "constructor_declaration" => simple("constructor", node, false),
        "destructor_declaration" => simple("destructor", node, false),
        "operator_declaration" | "conversion_operator_declaration" => {
            Item { name: None, ..simple("operator", node, false) }
        }
        "property_declaration" => {
            let accessors = node.child_by_field_name("accessors");
            Item { body: accessors, ..simple("property", node, false) }
        }
        "indexer_declaration" => {
            let accessors = node.child_by_field_name("accessors");
            Item { name: None, body: accessors, ..simple("indexer", node, false) }
        }
        "delegate_declaration" => simple("delegate", node, false),
        "local_function_statement" => simple("function", node, false),
        _ => return None,
    })
}
