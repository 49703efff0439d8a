//! Walks a syntax tree and collects units: stretches of whole lines that should not be cut.

use tree_sitter::Node;

use super::super::lines::Lines;
use super::item::{self, Item, Label};
use super::syntax::Syntax;

/// A stretch of lines; it ends where the next unit starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unit {
    /// Its first line, from 0.
    pub(super) line: usize,
    pub(super) role: Role,
    /// Index of the enclosing definition.
    pub(super) owner: Option<usize>,
    /// Depth in the tree; a cut before a shallow unit is better.
    pub(super) depth: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A whole definition.
    Item(usize),
    /// The beginning of a definition whose parts follow as separate units.
    Head(usize),
    /// Anything else: imports, statements, unattached comments.
    Loose,
}

/// A definition.
#[derive(Debug)]
pub(super) struct Symbol {
    pub(super) kind: &'static str,
    pub(super) name: String,
    /// Its signature in one line.
    pub(super) label: String,
    pub(super) parent: Option<usize>,
    /// True if it contains definitions rather than statements.
    pub(super) container: bool,
}

/// The result of a walk.
pub(super) struct Outline {
    /// See [`Syntax::is_data`].
    pub(super) data: bool,
    pub(super) units: Vec<Unit>,
    pub(super) symbols: Vec<Symbol>,
}

/// Maximum depth of the walk; deeper nodes are cut by lines.
const MAX_DEPTH: usize = 64;

/// Maximum number of characters in a signature.
const LABEL_CHARS: usize = 160;

/// Walks a tree once, top down; descends only into nodes that do not fit.
pub(super) fn outline(syntax: Syntax, root: Node<'_>, lines: &Lines<'_>) -> Outline {
    let found = Outline { data: syntax.is_data(), units: Vec::new(), symbols: Vec::new() };
    let mut walk = Walk { syntax, lines, found, free: 0 };
    // A small data file is one chunk, because its keys belong together.
    if !walk.found.data || !lines.fit(0..lines.count()) {
        walk.children(root, None, 0);
    }
    walk.found
}

struct Walk<'a> {
    syntax: Syntax,
    lines: &'a Lines<'a>,
    found: Outline,
    /// The first line that no unit covers yet.
    free: usize,
}

/// Comments and attributes waiting for their definition: lines from..=to.
#[derive(Clone, Copy)]
struct Lead {
    from: usize,
    to: usize,
}

impl Walk<'_> {
    fn children(&mut self, node: Node<'_>, owner: Option<usize>, depth: usize) {
        let mut cursor = node.walk();
        if !cursor.goto_first_child() {
            return;
        }
        let mut lead: Option<Lead> = None;
        loop {
            let child = cursor.node();
            let (first, last) = self.rows(child);
            if last < self.free {
                // Another unit covers its lines.
            } else if item::is_lead(self.syntax, child) && first >= self.free {
                // A blank line separates a licence or section title from a doc comment.
                lead = match lead {
                    Some(waiting) if waiting.to + 1 >= first => Some(Lead { to: last, ..waiting }),
                    Some(waiting) => {
                        self.push(waiting.from, Role::Loose, owner, depth);
                        Some(Lead { from: first, to: last })
                    }
                    None => Some(Lead { from: first, to: last }),
                };
            } else if child.is_named() {
                let start = match lead.take() {
                    Some(waiting) if waiting.to + 1 >= first => waiting.from,
                    Some(waiting) => {
                        self.push(waiting.from, Role::Loose, owner, depth);
                        first
                    }
                    None => first,
                };
                self.place(child, start, last, owner, depth);
                self.free = self.free.max(last + 1);
            } else {
                // Braces and commas end the item before them.
                if let Some(waiting) = lead.take() {
                    self.push(waiting.from, Role::Loose, owner, depth);
                }
                self.free = last + 1;
            }
            if !cursor.goto_next_sibling() {
                break;
            }
        }
        if let Some(waiting) = lead {
            self.push(waiting.from, Role::Loose, owner, depth);
            self.free = self.free.max(waiting.to + 1);
        }
    }

    /// Creates units for one node on the lines `start..=last`.
    fn place(&mut self, node: Node<'_>, start: usize, last: usize, owner: Option<usize>, depth: usize) {
        let size = self.lines.size(start..last + 1);
        let fits = size <= self.lines.ruler.max || depth >= MAX_DEPTH;
        // Data that fits is one unit; in code, the contents of a wrapper have names of their own.
        let opens = !fits || (!self.found.data && depth < MAX_DEPTH);
        if opens && item::is_wrapper(self.syntax, node) {
            if self.free <= start && start < self.row(node) {
                self.push(start, Role::Loose, owner, depth);
            }
            self.children(node, owner, depth + 1);
            return;
        }
        if start < self.free {
            // It starts on a covered line, so do not cut here, but maybe inside.
            if !fits {
                self.children(node, owner, depth + 1);
            }
            return;
        }
        let Some(item) = item::item(self.syntax, node, self.lines.ruler.text) else {
            self.push(start, Role::Loose, owner, depth);
            if !fits {
                self.free = self.row(node) + 1;
                self.children(node, owner, depth + 1);
            }
            return;
        };
        let symbol = self.symbol(&item, owner);
        // In a large container, each member describes itself better than the container does.
        let whole = fits && !(item.container && item.body.is_some() && size > self.lines.ruler.max / 2);
        if whole {
            self.push(start, Role::Item(symbol), owner, depth);
            return;
        }
        self.push(start, Role::Head(symbol), owner, depth);
        self.free = self.row(item.definition) + 1;
        self.children(item.body.unwrap_or(item.definition), Some(symbol), depth + 1);
    }

    fn push(&mut self, line: usize, role: Role, owner: Option<usize>, depth: usize) {
        self.found.units.push(Unit { line, role, owner, depth });
    }

    fn symbol(&mut self, item: &Item<'_>, parent: Option<usize>) -> usize {
        let text = self.lines.ruler.text;
        let within_type = parent.is_some_and(|parent| {
            !matches!(
                self.found.symbols[parent].kind,
                "module"
                    | "namespace"
                    | "function"
                    | "method"
                    | "constructor"
                    | "initializer"
                    | "property"
                    | "block"
            )
        });
        let kind = if item.kind == "function" && within_type { "method" } else { item.kind };
        let name = item.name.clone().and_then(|range| text.get(range)).map(one_line).unwrap_or_default();
        let name = item::spelled(self.syntax, kind, &name);
        let label = match item.label {
            Label::Signature => label(text, item),
            Label::FirstLine => {
                let definition = text.get(item.definition.byte_range()).unwrap_or_default();
                let line = definition.lines().next().unwrap_or_default();
                one_line(line.strip_suffix(" do").unwrap_or(line))
            }
            Label::Name => name.clone(),
        };
        self.found.symbols.push(Symbol { kind, name, label, parent, container: item.container });
        self.found.symbols.len() - 1
    }

    /// First uncovered line and last line of a node.
    fn rows(&self, node: Node<'_>) -> (usize, usize) {
        let end = node.end_position();
        let first = self.row(node);
        // A node that ends with a newline does not extend into the next line.
        let last = if end.column == 0 && end.row > first { end.row - 1 } else { end.row };
        (first, last.min(self.lines.count().saturating_sub(1)))
    }

    fn row(&self, node: Node<'_>) -> usize {
        node.start_position().row.min(self.lines.count().saturating_sub(1))
    }
}

/// The signature of a definition: its text up to the body, in one line, without annotations.
fn label(text: &str, item: &Item<'_>) -> String {
    let node = item.definition;
    // In Python a comment may occur between the colon and the body.
    let mut cursor = node.walk();
    let mut colon = None;
    for child in node.children(&mut cursor).take_while(|child| Some(*child) != item.body) {
        match child.kind() {
            ":" => colon = Some(child),
            "comment" => {}
            _ => colon = None,
        }
    }
    let end = colon.or(item.body).map_or(node.end_byte(), |after| after.start_byte());
    let mut start = node.start_byte();
    let mut cursor = node.walk();
    for child in node.children(&mut cursor) {
        match child.kind() {
            "modifiers" => {
                let mut cursor = child.walk();
                let annotations = child
                    .children(&mut cursor)
                    .filter(|child| child.kind().ends_with("annotation") || child.kind() == "attribute");
                if let Some(last) = annotations.last() {
                    start = last.end_byte();
                }
                break;
            }
            "attribute_list" | "annotation" | "attribute" => start = child.end_byte(),
            _ => break,
        }
    }
    let signature = text.get(start..end).unwrap_or_default().trim_start();
    let signature = match item.body {
        Some(_) => signature,
        // Constants, types and prototypes: use the first line.
        None => signature.lines().next().unwrap_or_default(),
    };
    one_line(signature.trim_end().trim_end_matches(['{', ':', '(', '[', '=']))
}

/// Collapses white space and truncates to a readable length.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    let mut chars = 0;
    for word in text.split_whitespace() {
        chars += word.chars().count() + 1;
        if chars > LABEL_CHARS && !line.is_empty() {
            line.push_str(" …");
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().take(LABEL_CHARS));
    }
    line
}
