//! Splits YAML by indentation. The maintained grammar overflows its scanner's buffer on files
//! nested deeper than 253 levels, which aborts the process; and YAML templates (`{{ … }}`) are not
//! valid YAML.

use super::super::lines::Lines;
use super::walk::{Outline, Role, Symbol, Unit, one_line};

/// Maximum depth; deeper nodes are cut by lines.
const MAX_DEPTH: usize = 64;

/// Units of whole keys and list items; a key is a definition. Comments belong to what follows them.
pub(super) fn outline(lines: &Lines<'_>) -> Outline {
    let mut found = Outline { data: true, units: Vec::new(), symbols: Vec::new() };
    // A small file is one chunk, because its keys belong together.
    if !lines.fit(0..lines.count()) {
        let nodes = nodes(lines);
        Emit { lines, nodes: &nodes, found: &mut found }.level(0, nodes.len(), None, 0);
    }
    found
}

/// A key, a list item, or the start of a document, on its own line.
#[derive(Debug, PartialEq, Eq)]
struct Node<'a> {
    /// Its first line, including the comments in front of it.
    line: usize,
    /// Twice the column, plus one for a list item, which may be at the same column as its key.
    level: usize,
    /// The key; `None` for other nodes.
    name: Option<&'a str>,
}

/// The nodes of a document, in order. A node's children are the nodes after it with a higher level.
fn nodes<'a>(lines: &Lines<'a>) -> Vec<Node<'a>> {
    let mut nodes = Vec::new();
    // Lines indented deeper than this are the text of a block scalar.
    let mut scalar: Option<usize> = None;
    let mut comment: Option<usize> = None;
    for line in 0..lines.count() {
        let text = lines.text(line).trim_end();
        let body = text.trim_start_matches(' ');
        let indent = text.len() - body.len();
        if body.is_empty() || scalar.is_some_and(|above| indent > above) {
            comment = None;
            continue;
        }
        scalar = None;
        if body.starts_with('#') {
            comment.get_or_insert(line);
            continue;
        }
        let start = comment.take().unwrap_or(line);
        if indent == 0 && (body == "---" || body.starts_with("--- ") || body == "...") {
            nodes.push(Node { line: start, level: 0, name: None });
            continue;
        }
        let mut rest = body;
        while let Some(item) = rest.strip_prefix('-').filter(|item| item.is_empty() || item.starts_with(' '))
        {
            rest = item.trim_start_matches(' ');
        }
        let column = text.len() - rest.len();
        let key = key(rest);
        if rest.len() < body.len() {
            nodes.push(Node { line: start, level: 2 * indent + 3, name: None });
        } else if let Some((name, _)) = key {
            nodes.push(Node { line: start, level: 2 * indent + 2, name: Some(name) });
        }
        let value = key.map_or(rest, |(_, value)| value);
        if opens_text(value) {
            // The text of a scalar in a list is indented deeper than the last dash.
            scalar = Some(if key.is_some() { column } else { column.saturating_sub(2).max(indent) });
        }
    }
    nodes
}

/// A key and the text after its colon.
fn key(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = match text.chars().next()? {
        quote @ ('"' | '\'') => {
            let end = text[1..].find(quote)? + 2;
            (&text[1..end - 1], &text[end..])
        }
        '#' | '&' | '*' | '!' | '|' | '>' | '%' | '@' | '`' | '{' | '}' | '[' | ']' | ',' | ':' => {
            return None;
        }
        _ => {
            let colon = text.match_indices(':').map(|(at, _)| at).find(|&at| ends_key(&text[at + 1..]))?;
            if text[..colon].contains(" #") {
                return None;
            }
            text.split_at(colon)
        }
    };
    let value = rest.trim_start_matches(' ').strip_prefix(':').filter(|value| ends_key(value))?;
    Some((name.trim_end(), value))
}

/// True if this text may follow the colon of a key.
fn ends_key(text: &str) -> bool {
    text.is_empty() || text.starts_with([' ', '\t'])
}

/// True for a value that starts a block scalar: `|`, `>-`, `!!str |2`.
fn opens_text(value: &str) -> bool {
    let value = value.split(" #").next().unwrap_or_default();
    let last = value.split_ascii_whitespace().last().unwrap_or_default();
    last.strip_prefix(['|', '>']).is_some_and(|rest| rest.bytes().all(|byte| b"0123456789+-".contains(&byte)))
}

struct Emit<'a> {
    lines: &'a Lines<'a>,
    nodes: &'a [Node<'a>],
    found: &'a mut Outline,
}

impl Emit<'_> {
    /// Creates units for the nodes `from..to`, and for the children of nodes that do not fit.
    fn level(&mut self, from: usize, to: usize, owner: Option<usize>, depth: usize) {
        let mut at = from;
        while at < to {
            let node = &self.nodes[at];
            let within =
                self.nodes[at + 1..to].iter().take_while(|inner| inner.level > node.level && node.level > 0);
            let end = at + 1 + within.count();
            let last = self.nodes.get(end).map_or(self.lines.count(), |next| next.line);
            let inner = end > at + 1 && depth < MAX_DEPTH && !self.lines.fit(node.line..last);
            let symbol = node.name.map(|name| {
                let name = one_line(name);
                self.found.symbols.push(Symbol {
                    kind: "key",
                    label: name.clone(),
                    name,
                    parent: owner,
                    container: false,
                });
                self.found.symbols.len() - 1
            });
            let role = match symbol {
                Some(symbol) if inner => Role::Head(symbol),
                Some(symbol) => Role::Item(symbol),
                None => Role::Loose,
            };
            self.found.units.push(Unit {
                line: node.line,
                role,
                owner,
                depth: depth + usize::from(node.level > 0),
            });
            if inner {
                self.level(at + 1, end, symbol.or(owner), depth + 1);
            }
            at = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::size::Size;
    use super::*;

    #[test]
    fn nodes_are_keys_and_items() {
        let text = "# doc\n# more\na: 1\nb:\n- x: 1\n  y: |\n    k: text\n\n    more\n  z: 2\n-   - deep\n---\n\"c d\": >-  # folded\n text: no\ne f: g # h: i\nhttp://x\n{{ if }}\n'k': v\n? k\n";
        let size = Size::chars(10);
        let ruler = size.ruler(text);
        let lines = Lines::new(&ruler);
        let found: Vec<(usize, usize, Option<&str>)> =
            nodes(&lines).into_iter().map(|node| (node.line, node.level, node.name)).collect();
        assert_eq!(
            found,
            [
                (0, 2, Some("a")),
                (3, 2, Some("b")),
                (4, 3, None),
                (5, 6, Some("y")),
                (9, 6, Some("z")),
                (10, 3, None),
                (11, 0, None),
                (12, 2, Some("c d")),
                (14, 2, Some("e f")),
                (17, 2, Some("k")),
            ]
        );
    }
}
