//! C and C++.

use std::ops::Range;

use tree_sitter::Node;

use super::definition::{Item, range, simple};
use super::reserved::is_reserved;
use crate::chunk::code::syntax::Syntax;

pub(super) fn c<'t>(node: Node<'t>, text: &str) -> Option<Item<'t>> {
    Some(match node.kind() {
        "function_definition" => function(node, text)?,
        "struct_specifier" => simple("struct", node, true),
        "class_specifier" => simple("class", node, true),
        "union_specifier" => simple("union", node, false),
        "enum_specifier" => simple("enum", node, false),
        "namespace_definition" => simple("namespace", node, true),
        "type_definition" => Item { name: range(declared_name(node)), ..simple("type", node, false) },
        "preproc_def" | "preproc_function_def" => simple("macro", node, false),
        "concept_definition" => simple("concept", node, false),
        "template_declaration" => {
            let mut cursor = node.walk();
            return node.named_children(&mut cursor).find_map(|child| c(child, text));
        }
        "compound_statement" => {
            let head = node.prev_named_sibling().filter(|&head| is_macro_head(head))?;
            let (macro_name, arguments) = macro_call(head)?;
            let is_macro = text.get(macro_name.byte_range()).is_some_and(is_macro_name);
            // Not a macro: a function without a return type, and this is its name.
            let name = if is_macro { argument_name(arguments, text) } else { range(Some(macro_name)) };
            Item { name, body: Some(node), ..simple("function", head, false) }
        }
        _ => return None,
    })
}

fn function<'t>(node: Node<'t>, text: &str) -> Option<Item<'t>> {
    let name = declared_name(node)?;
    let Some(declared) = node.child_by_field_name("type") else {
        return Some(Item { name: made_by_macro(name, text), ..simple("function", node, false) });
    };
    // The grammar reads `class EXPORT Name : Base {` as a function with return type `class EXPORT`.
    let class = match declared.kind() {
        "class_specifier" => Some("class"),
        "struct_specifier" => Some("struct"),
        _ => None,
    };
    if let Some(kind) = class
        && name.kind() == "identifier"
        && node.child_by_field_name("declarator") == Some(name)
        && declared.child_by_field_name("body").is_none()
    {
        return Some(Item { name: range(Some(name)), ..simple(kind, node, true) });
    }
    let curried =
        name.parent().and_then(|up| up.parent()).is_some_and(|up| up.kind() == "function_declarator");
    let name = if curried { made_by_macro(name, text) } else { range(Some(name)) };
    Some(Item { name, ..simple("function", node, false) })
}

/// The name inside a C declarator: `*(*name)(int)`.
fn declared_name(node: Node<'_>) -> Option<Node<'_>> {
    let mut inner = node.child_by_field_name("declarator")?;
    // Declarators can nest arbitrarily deep; real code stays far below this limit.
    for _ in 0..16 {
        if inner.kind() == "reference_declarator" || inner.kind() == "parenthesized_declarator" {
            inner = inner.named_child(0)?;
        } else if let Some(next) = inner.child_by_field_name("declarator") {
            inner = next;
        } else {
            break;
        }
    }
    Some(inner)
}

/// The name of a definition without a type, or with two parameter lists. For a macro (`TEST(Suite,
/// Case) {`, `BENCHMARK_F(Suite, Case)(State& s) {`) it comes from the arguments, else from the
/// declarator (constructors and destructors).
fn made_by_macro(name: Node<'_>, text: &str) -> Option<Range<usize>> {
    let parameters = name.parent().and_then(|up| up.child_by_field_name("parameters"));
    let is_macro = text.get(name.byte_range()).is_some_and(is_macro_name);
    let member = name.parent().and_then(|up| up.parent()).and_then(|definition| definition.parent());
    // Inside a class it is a constructor.
    let member = member.is_some_and(|up| up.kind() == "field_declaration_list");
    match parameters.filter(|_| is_macro && !member) {
        Some(parameters) => argument_name(parameters, text).or_else(|| range(Some(name))),
        None => range(Some(name)),
    }
}

/// `DEFINE(name, …)` without a semicolon, between definitions: the body follows it.
pub(super) fn is_macro_head(node: Node<'_>) -> bool {
    let between_definitions = |up: Node<'_>| {
        matches!(up.kind(), "translation_unit" | "declaration_list") || up.kind().starts_with("preproc_")
    };
    let ended = || node.child(node.child_count().saturating_sub(1));
    node.kind() == "expression_statement"
        && ended().is_some_and(|last| last.kind() != ";" || last.is_missing())
        && macro_call(node).is_some()
        && node.next_named_sibling().is_some_and(|next| next.kind() == "compound_statement")
        && node.parent().is_some_and(between_definitions)
}

/// The name of a macro and its arguments, if the statement is a macro call.
fn macro_call(node: Node<'_>) -> Option<(Node<'_>, Node<'_>)> {
    let mut call = node.named_child(0)?;
    // `DEFUN (…) (parameters)` parses as a call of a call.
    while let Some(function) =
        call.child_by_field_name("function").filter(|_| call.kind() == "call_expression")
    {
        if function.kind() == "identifier" {
            return Some((function, call.child_by_field_name("arguments")?));
        }
        call = function;
    }
    None
}

/// The name from the arguments of a macro: the first string, or both of two plain words, or the
/// first of several words. Keywords are skipped.
fn argument_name(arguments: Node<'_>, text: &str) -> Option<Range<usize>> {
    let mut cursor = arguments.walk();
    let words: Vec<Node<'_>> = arguments.named_children(&mut cursor).take(3).collect();
    let plain = |node: &&Node<'_>| {
        let word = text.get(node.byte_range()).unwrap_or_default();
        is_word(word) && !is_reserved(Syntax::Cpp, word)
    };
    match words.as_slice() {
        [first, ..] if first.kind() == "string_literal" => {
            let content = first.named_child(0)?;
            let word = text.get(content.byte_range())?;
            if is_reserved(Syntax::Cpp, word) {
                return words.get(1).filter(plain).map(Node::byte_range);
            }
            Some(content.byte_range())
        }
        [first, second] if plain(&first) && plain(&second) => Some(first.start_byte()..second.end_byte()),
        words => words.iter().find(plain).map(Node::byte_range),
    }
}

/// True for macro arguments that form a name: `Suite, Case`.
pub(super) fn are_arguments(name: &str) -> bool {
    name.split_once(',').is_some_and(|(first, second)| is_word(first.trim()) && is_word(second.trim()))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// True for names written like a macro: `TEST_F`, `SYSCALL_DEFINE3`.
fn is_macro_name(name: &str) -> bool {
    name.len() >= 3
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}
