//! One small realistic file for each rule, shown whole.

use std::fmt::Write as _;

use super::*;
use crate::model::Body;

/// Every chunk with what is known of it; the text abridged to its first and last line.
fn show(path: &str, text: &str, max: usize) -> String {
    let settings = CodeSettings { max_chunk_size: max, ..CodeSettings::default() };
    let chunker = CodeChunker::new("code", &settings, None).expect("valid settings");
    let document = Document { path, text, language: language_of(path) };
    let mut shown = String::new();
    for chunk in chunker.chunk(&document).expect("always") {
        let Body::Slice(range) = chunk.body else { panic!("generated text") };
        let body = &text[range];
        let label = [chunk.kind, chunk.name, chunk.context].map(|part| part.unwrap_or_else(|| "-".into()));
        writeln!(shown, "{}", label.join(" | ")).expect("a String takes everything");
        let lines: Vec<&str> = body.lines().collect();
        match lines.as_slice() {
            [only] => writeln!(shown, "    {only}"),
            [first, last] => writeln!(shown, "    {first}\n    {last}"),
            [first, .., last] => writeln!(shown, "    {first}\n    ..\n    {last}"),
            [] => Ok(()),
        }
        .expect("a String takes everything");
    }
    shown
}

#[test]
fn rust_has_a_chunk_for_each_definition() {
    let text = "//! A counter.\n\nuse std::fmt;\nuse std::mem;\n\nconst START: u32 = 1;\n\n/// Counts.\n#[derive(Debug)]\npub struct Counter {\n    count: u32,\n}\n\nimpl Counter {\n    /// Starts anew.\n    pub fn new() -> Self {\n        Self { count: START }\n    }\n\n    /// One more, and the sum so far.\n    pub fn next(\n        &mut self,\n    ) -> u32 {\n        self.count += 1;\n        self.count\n    }\n}\n\n/// Shows it.\nimpl fmt::Display for Counter {\n    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {\n        write!(f, \"{}\", self.count)\n    }\n}\n";
    insta::assert_snapshot!(show("a.rs", text, 300), @r#"
    constant | START | const START: u32 = 1;
        //! A counter.
        ..
        const START: u32 = 1;
    struct | Counter | pub struct Counter
        /// Counts.
        ..
        }
    method | new | impl Counter > pub fn new() -> Self
        impl Counter {
        ..
            }
    method | next | impl Counter > pub fn next( &mut self, ) -> u32
            /// One more, and the sum so far.
        ..
        }
    impl | Counter | impl fmt::Display for Counter
        /// Shows it.
        impl fmt::Display for Counter {
    method | fmt | impl fmt::Display for Counter > fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ..
        }
    "#);
}

#[test]
fn a_long_function_is_cut_between_statements() {
    let statement = "        total = total + self.rate(year) * months\n";
    let text = format!(
        "import math\n\nclass Loan(Base):\n    \"\"\"A loan.\"\"\"\n\n    @cached\n    def cost(self, year: int) -> float:  # slow\n        \"\"\"Sums it up.\"\"\"\n{}        return total\n\ndef main():\n    print(Loan().cost(1))\n",
        statement.repeat(12)
    );
    insta::assert_snapshot!(show("a.py", &text, 300), @r#"
    class | Loan | class Loan(Base)
        import math
        ..
            """A loan."""
    method | cost | class Loan(Base) > def cost(self, year: int) -> float
            @cached
        ..
                total = total + self.rate(year) * months
    method | cost | class Loan(Base) > def cost(self, year: int) -> float
                total = total + self.rate(year) * months
        ..
                total = total + self.rate(year) * months
    method | cost | class Loan(Base) > def cost(self, year: int) -> float
                total = total + self.rate(year) * months
        ..
                return total
    function | main | def main()
        def main():
            print(Loan().cost(1))
    "#);
}

#[test]
fn every_language_names_its_definitions() {
    let body = "  // one thing after another, so that it is worth a chunk\n".repeat(2);
    for (path, text, expected) in [
        (
            "a.py",
            "@app.get('/')\ndef index(request):\n    return 'x' * 100\n".to_owned(),
            "function | index | def index(request)",
        ),
        (
            "a.js",
            format!("export const add = (a, b) => {{\n{body}}};\n"),
            "function | add | const add = (a, b) =>",
        ),
        (
            "a.js",
            format!("module.exports.run = function (x) {{\n{body}}};\n"),
            "function | module.exports.run | module.exports.run = function (x)",
        ),
        (
            "a.ts",
            format!("export abstract class Shape {{\n{body}}}\n"),
            "class | Shape | abstract class Shape",
        ),
        ("a.ts", format!("namespace Geo {{\n{body}}}\n"), "namespace | Geo | namespace Geo"),
        (
            "a.tsx",
            format!("export default function App() {{\n{body}  return <div/>;\n}}\n"),
            "function | App | function App()",
        ),
        (
            "a.go",
            format!("func (s *Server) Start(port int) error {{\n{body}}}\n"),
            "method | Start | func (s *Server) Start(port int) error",
        ),
        ("a.go", format!("type Server struct {{\n{body}}}\n"), "struct | Server | type Server struct"),
        (
            "A.java",
            format!("@Deprecated\npublic class A extends B {{\n{body}}}\n"),
            "class | A | public class A extends B",
        ),
        (
            "a.c",
            format!("static int *find(const char *name)\n{{\n{body}}}\n"),
            "function | find | static int *find(const char *name)",
        ),
        (
            "a.cpp",
            format!("template <class T>\nvoid Stack<T>::push(T x) {{\n{body}}}\n"),
            "function | Stack<T>::push | void Stack<T>::push(T x)",
        ),
        ("a.h", format!("#pragma once\nnamespace geo {{\n{body}}}\n"), "namespace | geo | namespace geo"),
    ] {
        let shown = show(path, &text, 150);
        assert!(shown.lines().any(|line| line == expected), "{path}: {expected}\n{shown}");
    }
}

#[test]
fn other_languages_are_cut_at_blank_lines() {
    let paragraph = "server {\n    listen 80;\n    root /srv;\n}\n\n";
    insta::assert_snapshot!(show("site.conf", &paragraph.repeat(4), 100), @r#"
    - | - | -
        server {
        ..
        }
    - | - | -
        server {
        ..
        }
    "#);
}
