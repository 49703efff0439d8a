//! Python, Ruby, PHP and the shell.

use tree_sitter::Node;

use super::definition::{Item, Label, simple};

pub(super) fn python(node: Node<'_>) -> Option<Item<'_>> {
    Some(match node.kind() {
        "function_definition" => simple("function", node, false),
        "class_definition" => simple("class", node, true),
        "decorated_definition" => return python(node.child_by_field_name("definition")?),
        _ => return None,
    })
}

pub(super) fn ruby(node: Node<'_>) -> Option<Item<'_>> {
    Some(match node.kind() {
        "module" => simple("module", node, true),
        "class" | "singleton_class" => simple("class", node, true),
        "method" | "singleton_method" => simple("function", node, false),
        // Named blocks: `describe Cart do`, `it "adds" do`, `task :build do`.
        "call" => {
            let block = node.child_by_field_name("block").filter(|block| block.kind() == "do_block")?;
            let first = node.child_by_field_name("arguments")?.named_child(0)?;
            if !matches!(first.kind(), "string" | "simple_symbol" | "constant" | "scope_resolution") {
                return None;
            }
            let body = block.child_by_field_name("body");
            Item {
                name: Some(first.byte_range()),
                body,
                label: Label::FirstLine,
                ..simple("block", node, true)
            }
        }
        _ => return None,
    })
}

pub(super) fn php(node: Node<'_>) -> Option<Item<'_>> {
    Some(match node.kind() {
        "namespace_definition" => simple("namespace", node, true),
        "class_declaration" => simple("class", node, true),
        "interface_declaration" => simple("interface", node, true),
        "trait_declaration" => simple("trait", node, true),
        "enum_declaration" => simple("enum", node, true),
        "method_declaration" => simple("method", node, false),
        "function_definition" => simple("function", node, false),
        _ => return None,
    })
}

pub(super) fn bash(node: Node<'_>) -> Option<Item<'_>> {
    (node.kind() == "function_definition").then(|| simple("function", node, false))
}
