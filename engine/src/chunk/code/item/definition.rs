//! A definition, and what the language families share to find one.

use std::ops::Range;

use tree_sitter::Node;

/// A definition in the syntax tree.
pub(in crate::chunk::code) struct Item<'t> {
    /// Kind of definition, such as `function` or `class`.
    pub(in crate::chunk::code) kind: &'static str,
    /// Byte range of its name; see [`spelled`].
    pub(in crate::chunk::code) name: Option<Range<usize>>,
    /// The definition itself, without wrappers (decorators, `export`, `template`).
    pub(in crate::chunk::code) definition: Node<'t>,
    /// Its body, if it has one.
    pub(in crate::chunk::code) body: Option<Node<'t>>,
    /// True if it contains other definitions rather than statements.
    pub(in crate::chunk::code) container: bool,
    /// What represents it in the context of its chunks.
    pub(in crate::chunk::code) label: Label,
}

/// What represents a definition in the context of its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chunk::code) enum Label {
    /// Its text up to the body.
    Signature,
    /// Its first line; for languages in which comments may precede the body.
    FirstLine,
    /// Its name; for data, where the text up to the body is little more than quotes.
    Name,
}

pub(super) fn simple<'t>(kind: &'static str, node: Node<'t>, container: bool) -> Item<'t> {
    Item {
        kind,
        name: range(node.child_by_field_name("name")),
        definition: node,
        body: node.child_by_field_name("body"),
        container,
        label: Label::Signature,
    }
}

pub(super) fn range(node: Option<Node<'_>>) -> Option<Range<usize>> {
    node.map(|node| node.byte_range())
}

/// The first child with one of these kinds.
pub(super) fn child<'t>(node: Node<'t>, kinds: &[&str]) -> Option<Node<'t>> {
    let mut cursor = node.walk();
    node.children(&mut cursor).find(|child| kinds.contains(&child.kind()))
}
