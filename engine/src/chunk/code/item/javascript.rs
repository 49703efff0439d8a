//! JavaScript and TypeScript.

use tree_sitter::Node;

use super::definition::{Item, Label, simple};

pub(super) fn javascript(node: Node<'_>) -> Option<Item<'_>> {
    Some(match node.kind() {
        "function_declaration" | "generator_function_declaration" | "function_signature" => {
            simple("function", node, false)
        }
        "method_definition" | "abstract_method_signature" => simple("method", node, false),
        "class_declaration" | "abstract_class_declaration" => simple("class", node, true),
        "interface_declaration" => simple("interface", node, false),
        "type_alias_declaration" => simple("type", node, false),
        "enum_declaration" => simple("enum", node, false),
        "internal_module" | "module" => simple("namespace", node, true),
        "lexical_declaration" | "variable_declaration" if node.named_child_count() == 1 => {
            let declarator = node.named_child(0)?;
            assigned(node, declarator.child_by_field_name("name")?, declarator.child_by_field_name("value"))
        }
        "public_field_definition" | "field_definition" => {
            let name = node.child_by_field_name("name").or_else(|| node.child_by_field_name("property"))?;
            let item = assigned(node, name, node.child_by_field_name("value"));
            if item.kind == "variable" {
                return None;
            }
            item
        }
        "expression_statement" => {
            let inner = node.named_child(0)?;
            match inner.kind() {
                "assignment_expression" => {
                    let item = assigned(
                        node,
                        inner.child_by_field_name("left")?,
                        inner.child_by_field_name("right"),
                    );
                    if item.kind == "variable" {
                        return None;
                    }
                    item
                }
                "internal_module" => return javascript(inner),
                _ => return None,
            }
        }
        "export_statement" => {
            let declaration =
                node.child_by_field_name("declaration").or_else(|| node.child_by_field_name("value"))?;
            return javascript(declaration);
        }
        "ambient_declaration" => {
            return (0..node.named_child_count())
                .filter_map(|at| node.named_child(u32::try_from(at).ok()?))
                .find_map(javascript);
        }
        _ => return None,
    })
}

/// `const name = value`, `object.name = value`: a function or class if the value is one.
fn assigned<'t>(node: Node<'t>, name: Node<'t>, value: Option<Node<'t>>) -> Item<'t> {
    let kind = match value.map(|value| value.kind()) {
        Some("arrow_function" | "function_expression" | "generator_function") => "function",
        Some("class") => "class",
        _ => "variable",
    };
    let body =
        if kind == "variable" { None } else { value.and_then(|value| value.child_by_field_name("body")) };
    let name = Some(name.byte_range());
    let container = kind == "class";
    Item { kind, name, definition: node, body, container, label: Label::Signature }
}
