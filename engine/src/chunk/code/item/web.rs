//! HTML and CSS.

use tree_sitter::Node;

use super::definition::{Item, Label, child, range, simple};

/// An element with an `id`, a script, or a style sheet.
pub(super) fn html<'t>(node: Node<'t>, text: &str) -> Option<Item<'t>> {
    match node.kind() {
        "script_element" => Some(Item { body: child(node, &["raw_text"]), ..simple("script", node, false) }),
        "style_element" => Some(Item { body: child(node, &["raw_text"]), ..simple("style", node, false) }),
        "element" => {
            let start = child(node, &["start_tag", "self_closing_tag"])?;
            let mut cursor = start.walk();
            let id = start.named_children(&mut cursor).find(|attribute| {
                let name = attribute.named_child(0).and_then(|name| text.get(name.byte_range()));
                attribute.kind() == "attribute" && name.is_some_and(|name| name.eq_ignore_ascii_case("id"))
            })?;
            let value = id.named_child(1)?;
            let value = if value.kind() == "attribute_value" { value } else { value.named_child(0)? };
            let name = range(Some(value));
            Some(Item { name, label: Label::Name, ..simple("element", node, true) })
        }
        _ => None,
    }
}

pub(super) fn css(node: Node<'_>) -> Option<Item<'_>> {
    let body = child(node, &["block", "keyframe_block_list"]);
    let item = |kind, name, container| Item { name: range(name), body, ..simple(kind, node, container) };
    Some(match node.kind() {
        "rule_set" => item("rule", child(node, &["selectors"]), false),
        "keyframes_statement" => item("keyframes", child(node, &["keyframes_name"]), false),
        "media_statement" | "supports_statement" => item("condition", None, true),
        "at_rule" => item("rule", child(node, &["at_keyword"]), false),
        _ => return None,
    })
}
