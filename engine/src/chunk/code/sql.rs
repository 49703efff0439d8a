//! Splits SQL of any dialect into statements; only the statement boundaries matter. A grammar for
//! one dialect fails on the others, and the maintained one would pin a build dependency of all
//! grammars to an old version.

use std::ops::Range;

use super::super::lines::Lines;
use super::walk::{Outline, Role, Symbol, Unit, one_line};

/// Maximum number of unclosed dollar quotes searched for to the end of the file. Bounds the work on
/// hostile files.
const UNCLOSED: usize = 16;

/// Units of whole statements; `CREATE …` is a definition. Comments belong to the statement that
/// follows.
pub(super) fn outline(lines: &Lines<'_>) -> Outline {
    let text = lines.ruler.text;
    let mut found = Outline { data: false, units: Vec::new(), symbols: Vec::new() };
    let mut free = 0;
    for statement in statements(text) {
        let line = lines.line_of(statement.start);
        if line >= free {
            let role = definition(&text[statement.clone()]).map_or(Role::Loose, |symbol| {
                found.symbols.push(symbol);
                Role::Item(found.symbols.len() - 1)
            });
            found.units.push(Unit { line, role, owner: None, depth: 0 });
        }
        free = lines.line_of(statement.end - 1) + 1;
    }
    found
}

/// The symbol that a statement defines, if any.
fn definition(statement: &str) -> Option<Symbol> {
    let mut words = Words { text: statement, at: 0 };
    let start = words.peek()?.start;
    if !words.next_is("create") {
        return None;
    }
    let kind = loop {
        let word = words.next()?;
        let word = statement[word].to_ascii_lowercase();
        match word.as_str() {
            "table" => break "table",
            "view" => break "view",
            "function" => break "function",
            "procedure" | "proc" => break "procedure",
            "trigger" => break "trigger",
            "index" => break "index",
            "type" => break "type",
            "sequence" => break "sequence",
            "schema" => break "schema",
            "database" => break "database",
            "policy" => break "policy",
            "domain" => break "domain",
            "extension" => break "extension",
            "package" => break "package",
            "role" | "user" => break "role",
            _ if word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_=@`'%.".contains(&byte)) => {}
            _ => return None,
        }
        // Only clauses like `OR REPLACE DEFINER = … ALGORITHM = … SQL SECURITY INVOKER` may precede
        // the object.
        if words.at > 200 {
            return None;
        }
    };
    while ["if", "not", "exists", "concurrently", "body"].iter().any(|word| words.next_is(word)) {}
    let mut name = String::new();
    let mut end = words.at;
    if let Some(first) = words.next().filter(|word| is_identifier(&statement[word.clone()])) {
        name.push_str(bare(&statement[first.clone()]));
        end = first.end;
        // Accept `schema . table` as well as `schema.table`.
        while words.next_is(".") {
            let Some(part) = words.next() else { break };
            name = format!("{name}.{}", bare(&statement[part.clone()]));
            end = part.end;
        }
    }
    // The name of an index is optional: `CREATE INDEX ON table (…)`.
    if kind == "index" && name.eq_ignore_ascii_case("on") {
        name.clear();
    }
    let line = statement[end..].lines().next().unwrap_or_default();
    let signature = &statement[start..end + line.len()];
    let label = one_line(signature.trim_end_matches(|c: char| c.is_whitespace() || c == '(' || c == ';'));
    Some(Symbol { kind, name: one_line(&name), label, parent: None, container: false })
}

fn is_identifier(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphanumeric() || "_\"`[#@".contains(c))
}

fn bare(word: &str) -> &str {
    word.trim_matches(['"', '`', '[', ']'])
}

/// Iterates over words, quoted names and punctuation of a statement, skipping comments.
struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl Words<'_> {
    fn next(&mut self) -> Option<Range<usize>> {
        let word = self.peek()?;
        self.at = word.end;
        Some(word)
    }

    /// Consumes the next word if it equals `word`.
    fn next_is(&mut self, word: &str) -> bool {
        let next = self.peek().filter(|next| self.text[next.clone()].eq_ignore_ascii_case(word));
        if let Some(next) = &next {
            self.at = next.end;
        }
        next.is_some()
    }

    fn peek(&self) -> Option<Range<usize>> {
        let bytes = self.text.as_bytes();
        let mut at = self.at;
        loop {
            match *bytes.get(at)? {
                b'-' if bytes[at..].starts_with(b"--") => at = line_end(bytes, at),
                b'/' if bytes[at..].starts_with(b"/*") => at = after(bytes, at + 2, b"*/"),
                byte if byte.is_ascii_whitespace() => at += 1,
                _ => break,
            }
        }
        let end = match bytes[at] {
            quote @ (b'"' | b'`') => after(bytes, at + 1, &[quote]),
            b'[' => after(bytes, at + 1, b"]"),
            byte if is_word(byte) => {
                bytes[at..].iter().position(|&byte| !is_word(byte)).map_or(bytes.len(), |len| at + len)
            }
            _ => at + 1,
        };
        Some(at..end)
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || b"_$#@".contains(&byte)
}

/// All statements, each with the comments in front of it and without surrounding white space.
/// Together they contain everything except white space.
fn statements(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut scan = Scan { bytes, at: 0, depth: 0, routine: Routine::Unknown, unclosed: 0 };
    while let Some(blanks) = bytes[scan.at..].iter().position(|byte| !byte.is_ascii_whitespace()) {
        let start = scan.at + blanks;
        scan.at = start;
        scan.statement();
        found.push(start..scan.at);
    }
    found
}

/// Whether a statement may contain a body of statements.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Routine {
    Unknown,
    /// The statement begins with `CREATE`.
    Maybe,
    Yes,
    No,
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Nesting depth of `BEGIN` and `CASE` in a routine.
    depth: usize,
    routine: Routine,
    unclosed: usize,
}

impl Scan<'_> {
    /// Advances past the statement that begins here.
    fn statement(&mut self) {
        (self.depth, self.routine) = (0, Routine::Unknown);
        while let Some(&byte) = self.bytes.get(self.at) {
            let rest = &self.bytes[self.at..];
            match byte {
                b';' if self.depth == 0 => {
                    self.at += 1;
                    return;
                }
                b'-' if rest.starts_with(b"--") => self.at = line_end(self.bytes, self.at),
                b'/' if rest.starts_with(b"/*") => self.at = after(self.bytes, self.at + 2, b"*/"),
                b'\'' | b'"' | b'`' => self.at = after(self.bytes, self.at + 1, &[byte]),
                b'$' => self.dollar(),
                byte if is_word(byte) => {
                    let len = rest.iter().position(|&byte| !is_word(byte)).unwrap_or(rest.len());
                    let word = &rest[..len];
                    self.at += len;
                    // In SQL Server, `GO` alone on a line ends a batch.
                    if word.eq_ignore_ascii_case(b"go") && self.alone(len) {
                        return;
                    }
                    self.word(word);
                }
                _ => self.at += 1,
            }
        }
    }

    fn word(&mut self, word: &[u8]) {
        let is = |other: &[u8]| word.eq_ignore_ascii_case(other);
        match self.routine {
            Routine::Unknown => {
                self.routine = if is(b"create") { Routine::Maybe } else { Routine::No };
            }
            Routine::Maybe => {
                if [&b"function"[..], b"procedure", b"proc", b"trigger", b"package"]
                    .iter()
                    .any(|word| is(word))
                {
                    self.routine = Routine::Yes;
                } else if [&b"table"[..], b"view", b"index", b"type"].iter().any(|word| is(word)) {
                    self.routine = Routine::No;
                }
            }
            Routine::Yes if is(b"begin") || is(b"case") => self.depth += 1,
            Routine::Yes if is(b"end") => {
                // `END IF` and similar close a block that was not counted.
                let next = self.bytes[self.at..].trim_ascii_start();
                let inner = [&b"if"[..], b"loop", b"while", b"repeat", b"for"].iter().any(|word| {
                    next.get(..word.len()).is_some_and(|next| next.eq_ignore_ascii_case(word))
                        && !next.get(word.len()).copied().is_some_and(is_word)
                });
                if !inner {
                    self.depth = self.depth.saturating_sub(1);
                    // Skip the `CASE` of `END CASE`.
                    if next.get(..4).is_some_and(|next| next.eq_ignore_ascii_case(b"case")) {
                        self.at = self.bytes.len() - next.len() + 4;
                    }
                }
            }
            Routine::Yes | Routine::No => {}
        }
    }

    /// True if the word of this length that ends here is alone on its line.
    fn alone(&self, len: usize) -> bool {
        let before = self.bytes[..self.at - len].iter().rev().find(|byte| !matches!(byte, b' ' | b'\t'));
        let behind = self.bytes[self.at..].iter().find(|byte| !matches!(byte, b' ' | b'\t'));
        matches!(before, None | Some(b'\n')) && matches!(behind, None | Some(b'\n'))
    }

    /// PostgreSQL's dollar quotes: `$$ … $$` and `$tag$ … $tag$`.
    fn dollar(&mut self) {
        let rest = &self.bytes[self.at..];
        let tag = rest[1..].iter().position(|&byte| !(byte.is_ascii_alphanumeric() || byte == b'_'));
        let Some(tag) = tag.filter(|&len| rest[1 + len] == b'$').map(|len| &rest[..len + 2]) else {
            self.at += 1;
            return;
        };
        let body = self.at + tag.len();
        self.at = body;
        if self.unclosed < UNCLOSED {
            match memchr::memmem::find(&self.bytes[body..], tag) {
                Some(len) => self.at = body + len + tag.len(),
                None => self.unclosed += 1,
            }
        }
    }
}

fn line_end(bytes: &[u8], from: usize) -> usize {
    memchr::memchr(b'\n', &bytes[from..]).map_or(bytes.len(), |len| from + len)
}

/// The offset after the next `close`, or the end of the text.
fn after(bytes: &[u8], from: usize, close: &[u8]) -> usize {
    let from = from.min(bytes.len());
    memchr::memmem::find(&bytes[from..], close).map_or(bytes.len(), |len| from + len + close.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<&str> {
        statements(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn statements_are_split_at_their_ends() {
        for (text, expected) in [
            ("SELECT 1; SELECT ';';\n-- c;\nx", &["SELECT 1;", "SELECT ';';", "-- c;\nx"][..]),
            ("/* ; */ A; \"b;c\" `d;` ;", &["/* ; */ A;", "\"b;c\" `d;` ;"]),
            ("DO $$ a; b; $$; c", &["DO $$ a; b; $$;", "c"]),
            ("DO $x$ a; $$ b; $x$; c;", &["DO $x$ a; $$ b; $x$;", "c;"]),
            ("a $1; b $$ c; d", &["a $1;", "b $$ c;", "d"]),
            (
                "CREATE TRIGGER t BEGIN IF a THEN b; END IF; c; END; d;",
                &["CREATE TRIGGER t BEGIN IF a THEN b; END IF; c; END;", "d;"],
            ),
            (
                "create proc p begin select case x when 1 then 2 end; end; d",
                &["create proc p begin select case x when 1 then 2 end; end;", "d"],
            ),
            ("BEGIN; a; END;", &["BEGIN;", "a;", "END;"]),
            ("a\nGO\nb go\n", &["a\nGO", "b go"]),
            ("'open; a", &["'open; a"]),
            ("/* open; a", &["/* open; a"]),
            ("", &[]),
        ] {
            let found: Vec<&str> = cut(text).into_iter().map(str::trim_end).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn definitions_have_kind_name_and_signature() {
        for (text, expected) in [
            ("-- doc\nCREATE TABLE shop.cart (\n id int);", ("table", "shop.cart", "CREATE TABLE shop.cart")),
            (
                "create table if not exists \"a b\" . `c`(x)",
                ("table", "a b.c", "create table if not exists \"a b\" . `c`(x)"),
            ),
            (
                "CREATE OR REPLACE FUNCTION add(a int) RETURNS int\nAS",
                ("function", "add", "CREATE OR REPLACE FUNCTION add(a int) RETURNS int"),
            ),
            (
                "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a);",
                ("index", "i", "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)"),
            ),
            ("CREATE INDEX ON t (a)", ("index", "", "CREATE INDEX ON t (a)")),
            (
                "CREATE DEFINER = `r`@`%` PROCEDURE p()",
                ("procedure", "p", "CREATE DEFINER = `r`@`%` PROCEDURE p()"),
            ),
            ("CREATE TABLE [dbo].[t]", ("table", "dbo.t", "CREATE TABLE [dbo].[t]")),
            ("create view größe as", ("view", "größe", "create view größe as")),
        ] {
            let symbol = definition(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((symbol.kind, symbol.name.as_str(), symbol.label.as_str()), expected, "{text}");
        }
        for text in ["SELECT 1", "create", "CREATE (", "-- create table x", "", "created table x"] {
            assert!(definition(text).is_none(), "{text}");
        }
    }
}
