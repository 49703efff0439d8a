//! What the definitions of each language look like in its syntax tree.

use tree_sitter::Node;

use super::syntax::Syntax;

/// A definition in the tree.
pub(super) struct Item<'t> {
    /// What it is: `function`, `class`, …
    pub(super) kind: &'static str,
    /// Where its name stands.
    pub(super) name: Option<Node<'t>>,
    /// The definition itself, without what wraps it (decorators, `export`, `template`).
    pub(super) definition: Node<'t>,
    /// Its body, where it has one.
    pub(super) body: Option<Node<'t>>,
    /// True when it holds other definitions rather than statements.
    pub(super) container: bool,
}

/// True for what belongs to the definition that follows: comments, attributes, access labels.
pub(super) fn is_lead(kind: &str) -> bool {
    matches!(
        kind,
        "comment"
            | "line_comment"
            | "block_comment"
            | "attribute_item"
            | "decorator"
            | "access_specifier"
            | "attribute_declaration"
    )
}

/// The definition that a node is, or wraps.
pub(super) fn item(syntax: Syntax, node: Node<'_>) -> Option<Item<'_>> {
    match syntax {
        Syntax::Rust => rust(node),
        Syntax::Python => python(node),
        Syntax::JavaScript | Syntax::TypeScript | Syntax::Tsx => javascript(node),
        Syntax::Go => go(node),
        Syntax::Java => java(node),
        Syntax::C | Syntax::Cpp => c(node),
    }
}

fn simple<'t>(kind: &'static str, node: Node<'t>, container: bool) -> Item<'t> {
    Item {
        kind,
        name: node.child_by_field_name("name"),
        definition: node,
        body: node.child_by_field_name("body"),
        container,
    }
}

fn rust(node: Node<'_>) -> Option<Item<'_>> {
    Some(match node.kind() {
        "function_item" | "function_signature_item" => simple("function", node, false),
        "struct_item" => simple("struct", node, false),
        "enum_item" => simple("enum", node, false),
        "union_item" => simple("union", node, false),
        "const_item" | "static_item" => simple("constant", node, false),
        "type_item" => simple("type", node, false),
        "macro_definition" => simple("macro", node, false),
        "trait_item" => simple("trait", node, true),
        "impl_item" => Item { name: node.child_by_field_name("type"), ..simple("impl", node, true) },
        "mod_item" => simple("module", node, true),
        _ => return None,
    })
}

fn python(node: Node<'_>) -> Option<Item<'_>> {
    Some(match node.kind() {
        "function_definition" => simple("function", node, false),
        "class_definition" => simple("class", node, true),
        "decorated_definition" => return python(node.child_by_field_name("definition")?),
        _ => return None,
    })
}

fn javascript(node: Node<'_>) -> Option<Item<'_>> {
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

/// `const name = value`, `object.name = value`: a function or class where the value is one.
fn assigned<'t>(node: Node<'t>, name: Node<'t>, value: Option<Node<'t>>) -> Item<'t> {
    let kind = match value.map(|value| value.kind()) {
        Some("arrow_function" | "function_expression" | "generator_function") => "function",
        Some("class") => "class",
        _ => "variable",
    };
    let body =
        if kind == "variable" { None } else { value.and_then(|value| value.child_by_field_name("body")) };
    Item { kind, name: Some(name), definition: node, body, container: kind == "class" }
}

fn go(node: Node<'_>) -> Option<Item<'_>> {
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
            Item { name: spec.child_by_field_name("name"), ..simple(kind, node, false) }
        }
        "const_declaration" => simple("constant", node, false),
        "var_declaration" => simple("variable", node, false),
        _ => return None,
    })
}

fn java(node: Node<'_>) -> Option<Item<'_>> {
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

fn c(node: Node<'_>) -> Option<Item<'_>> {
    Some(match node.kind() {
        "function_definition" => Item { name: declared_name(node), ..simple("function", node, false) },
        "struct_specifier" => simple("struct", node, true),
        "class_specifier" => simple("class", node, true),
        "union_specifier" => simple("union", node, false),
        "enum_specifier" => simple("enum", node, false),
        "namespace_definition" => simple("namespace", node, true),
        "type_definition" => Item { name: declared_name(node), ..simple("type", node, false) },
        "preproc_def" | "preproc_function_def" => simple("macro", node, false),
        "concept_definition" => simple("concept", node, false),
        "template_declaration" => {
            return (0..node.named_child_count())
                .filter_map(|at| node.named_child(u32::try_from(at).ok()?))
                .find_map(c);
        }
        _ => return None,
    })
}

/// The name inside a C declarator: `*(*name)(int)`.
fn declared_name(node: Node<'_>) -> Option<Node<'_>> {
    let mut inner = node.child_by_field_name("declarator")?;
    // Declarators nest as deep as the source says; names this deep are nobody's.
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
