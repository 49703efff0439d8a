//! Recognizes the definitions of each language in its syntax tree. One module per language family.

mod c;
mod data;
mod javascript;
mod jvm;
mod native;
pub(super) mod reserved;
mod script;
mod web;

use std::ops::Range;

use tree_sitter::Node;

use super::syntax::Syntax;

/// A definition in the syntax tree.
pub(super) struct Item<'t> {
    /// Kind of definition, such as `function` or `class`.
    pub(super) kind: &'static str,
    /// Byte range of its name; see [`spelled`].
    pub(super) name: Option<Range<usize>>,
    /// The definition itself, without wrappers (decorators, `export`, `template`).
    pub(super) definition: Node<'t>,
    /// Its body, if it has one.
    pub(super) body: Option<Node<'t>>,
    /// True if it contains other definitions rather than statements.
    pub(super) container: bool,
    /// What represents it in the context of its chunks.
    pub(super) label: Label,
}

/// What represents a definition in the context of its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    /// Its text up to the body.
    Signature,
    /// Its first line; for languages in which comments may precede the body.
    FirstLine,
    /// Its name; for data, where the text up to the body is little more than quotes.
    Name,
}

/// True for nodes that belong to the definition that follows: comments, attributes, access labels,
/// and a macro call in front of a body.
pub(super) fn is_lead(syntax: Syntax, node: Node<'_>) -> bool {
    match node.kind() {
        "comment"
        | "line_comment"
        | "block_comment"
        | "attribute_item"
        | "decorator"
        | "access_specifier"
        | "attribute_declaration" => true,
        "expression_statement" => matches!(syntax, Syntax::C | Syntax::Cpp) && c::is_macro_head(node),
        _ => false,
    }
}

/// True for a node that only wraps others; the walk treats its children as siblings of the node.
pub(super) fn is_wrapper(syntax: Syntax, node: Node<'_>) -> bool {
    match syntax {
        Syntax::Json => node.kind() == "object" && node.parent().is_some_and(|up| up.kind() == "document"),
        Syntax::Hcl => node.kind() == "body",
        _ => false,
    }
}

/// The definition that a node is or wraps. A keyword is never a name: a definition with such a name
/// is a statement that the parser has misread.
pub(super) fn item<'t>(syntax: Syntax, node: Node<'t>, text: &str) -> Option<Item<'t>> {
    let item = match syntax {
        Syntax::Rust => native::rust(node, text),
        Syntax::Go => native::go(node),
        Syntax::Swift => native::swift(node),
        Syntax::Python => script::python(node),
        Syntax::Ruby => script::ruby(node),
        Syntax::Php => script::php(node),
        Syntax::Bash => script::bash(node),
        Syntax::JavaScript | Syntax::TypeScript | Syntax::Tsx => javascript::javascript(node),
        Syntax::Java => jvm::java(node),
        Syntax::Kotlin => jvm::kotlin(node),
        Syntax::Scala => jvm::scala(node),
        Syntax::CSharp => jvm::csharp(node),
        Syntax::C | Syntax::Cpp => c::c(node, text),
        Syntax::Hcl => data::hcl(node, text),
        Syntax::Toml => data::toml(node),
        Syntax::Json => data::json(node),
        Syntax::Html => web::html(node, text),
        Syntax::Css => web::css(node),
    }?;
    let name = item.name.clone().and_then(|range| text.get(range));
    name.is_none_or(|name| !reserved::is_reserved(syntax, name)).then_some(item)
}

/// A name as users write it: keys without quotes, block labels and macro arguments joined with
/// dots.
pub(super) fn spelled(syntax: Syntax, kind: &str, name: &str) -> String {
    let bare = |word: &str| word.trim_matches(['"', '\'']).to_owned();
    match syntax {
        Syntax::Hcl => name.split_whitespace().map(bare).collect::<Vec<_>>().join("."),
        Syntax::Json | Syntax::Toml => bare(name),
        Syntax::Ruby if kind == "block" => name.trim_matches(['"', '\'', ':']).to_owned(),
        Syntax::C | Syntax::Cpp if name.starts_with('"') => bare(name),
        Syntax::C | Syntax::Cpp if c::are_arguments(name) => {
            name.split(',').map(str::trim).collect::<Vec<_>>().join(".")
        }
        _ => name.to_owned(),
    }
}

fn simple<'t>(kind: &'static str, node: Node<'t>, container: bool) -> Item<'t> {
    Item {
        kind,
        name: range(node.child_by_field_name("name")),
        definition: node,
        body: node.child_by_field_name("body"),
        container,
        label: Label::Signature,
    }
}

fn range(node: Option<Node<'_>>) -> Option<Range<usize>> {
    node.map(|node| node.byte_range())
}

/// The first child with one of these kinds.
fn child<'t>(node: Node<'t>, kinds: &[&str]) -> Option<Node<'t>> {
    let mut cursor = node.walk();
    node.children(&mut cursor).find(|child| kinds.contains(&child.kind()))
}
