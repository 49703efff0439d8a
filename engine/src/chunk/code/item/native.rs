//! Rust, Go and Swift.

use tree_sitter::Node;

use super::definition::{Item, child, range, simple};

pub(super) fn rust<'t>(node: Node<'t>, text: &str) -> Option<Item<'t>> {
    Some(match node.kind() {
        "function_item" | "function_signature_item" => simple("function", node, false),
        "struct_item" => simple("struct", node, false),
        "enum_item" => simple("enum", node, false),
        "union_item" => simple("union", node, false),
        "const_item" | "static_item" => simple("constant", node, false),
        "type_item" => simple("type", node, false),
        "macro_definition" => simple("macro", node, false),
        "trait_item" => simple("trait", node, true),
        "impl_item" => Item { name: range(node.child_by_field_name("type")), ..simple("impl", node, true) },
        "mod_item" => simple("module", node, true),
        "macro_invocation" => return made_by_macro(node, text),
        // A macro call with a trailing semicolon.
        "expression_statement" => return made_by_macro(node.named_child(0)?, text),
        _ => return None,
    })
}

/// The single definition inside a macro call between definitions (`lazy_static! { static ref X …
/// }`). A call with several definitions, or none that can be recognized, has no name.
fn made_by_macro<'t>(node: Node<'t>, text: &str) -> Option<Item<'t>> {
    let between_definitions = |up: Node<'_>| match up.kind() {
        "expression_statement" => up.parent().is_some_and(|up| up.kind() == "source_file"),
        kind => matches!(kind, "source_file" | "declaration_list"),
    };
    if node.kind() != "macro_invocation" || !node.parent().is_some_and(between_definitions) {
        return None;
    }
    let tokens = child(node, &["token_tree"])?;
    let mut cursor = tokens.walk();
    let mut made = None;
    let mut kind = None;
    for token in tokens.children(&mut cursor) {
        kind = match (token.kind(), kind) {
            ("fn", _) => Some("function"),
            ("struct", _) => Some("struct"),
            ("enum", _) => Some("enum"),
            ("static" | "const", _) => Some("constant"),
            ("mutable_specifier", kind) => kind,
            // `static ref X`: the grammar does not treat `ref` as a keyword here.
            ("identifier", kind) if text.get(token.byte_range()) == Some("ref") => kind,
            ("identifier", Some(kind)) if made.is_none() => {
                made = Some((kind, token.byte_range()));
                None
            }
            ("identifier", Some(_)) => return None,
            _ => None,
        };
    }
    let (kind, name) = made?;
    Some(Item { name: Some(name), ..simple(kind, node, false) })
}

pub(super) fn go(node: Node<'_>) -> Option<Item<'_>> {
    Some(match node.kind() {
        "function_declaration" => simple("function", node, false),
        "method_declaration" => simple("method", node, false),
        "type_declaration" => {
            let spec = node.named_child(0)?;
            let kind = match spec.child_by_field_name("type").map(|inner| inner.kind()) {
                Some("struct_type") => "struct",
                Some("interface_type") => "interface",
                _ => "type",
            };
            Item { name: range(spec.child_by_field_name("name")), ..simple(kind, node, false) }
        }
        "const_declaration" => simple("constant", node, false),
        "var_declaration" => simple("variable", node, false),
        _ => return None,
    })
}

pub(super) fn swift(node: Node<'_>) -> Option<Item<'_>> {
    Some(match node.kind() {
        "class_declaration" => {
            let kind = match node.child_by_field_name("declaration_kind").map(|kind| kind.kind()) {
                Some("struct") => "struct",
                Some("enum") => "enum",
                Some("extension") => "extension",
                Some("actor") => "actor",
                _ => "class",
            };
            simple(kind, node, true)
        }
        "protocol_declaration" => simple("protocol", node, true),
        "function_declaration" | "protocol_function_declaration" => simple("function", node, false),
        "init_declaration" => Item { name: None, ..simple("initializer", node, false) },
        "deinit_declaration" => Item { name: None, ..simple("deinitializer", node, false) },
        "subscript_declaration" => Item { name: None, ..simple("subscript", node, false) },
        "property_declaration" => {
            Item { body: Some(child(node, &["computed_property"])?), ..simple("property", node, false) }
        }
        "typealias_declaration" => simple("type", node, false),
        "macro_declaration" => simple("macro", node, false),
        _ => return None,
    })
}
