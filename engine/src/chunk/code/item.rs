//! Recognizes the definitions of each language in its syntax tree. One module per language family.

mod c;
mod data;
mod definition;
mod javascript;
mod jvm;
mod native;
pub(super) mod reserved;
mod script;
mod web;

use tree_sitter::Node;

pub(super) use definition::{Item, Label};

use super::syntax::Syntax;

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
