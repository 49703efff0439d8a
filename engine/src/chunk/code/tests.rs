//! One small, realistic file per rule; the snapshot shows all chunks.

mod names;

use std::fmt::Write as _;

use super::*;
use crate::chunk::language_in;
use crate::model::Body;

/// Renders each chunk with its metadata; the text is abridged to its first and last line.
fn show(path: &str, text: &str, max: usize) -> String {
    let settings = CodeSettings { max_chunk_size: max, ..CodeSettings::default() };
    let chunker = CodeChunker::new("code", &settings, None).expect("valid settings");
    let document = Document { path, text, language: language_of(path), ..Document::default() };
    let mut shown = String::new();
    for chunk in chunker.chunk(&document).expect("built-in chunkers accept any text") {
        let Body::Slice(range) = chunk.body else { panic!("expected a slice") };
        let body = &text[range];
        let label = [chunk.kind, chunk.name, chunk.context].map(|part| part.unwrap_or_else(|| "-".into()));
        writeln!(shown, "{}", label.join(" | ")).expect("writing to a String cannot fail");
        let lines: Vec<&str> = body.lines().collect();
        match lines.as_slice() {
            [only] => writeln!(shown, "    {only}"),
            [first, last] => writeln!(shown, "    {first}\n    {last}"),
            [first, .., last] => writeln!(shown, "    {first}\n    ..\n    {last}"),
            [] => Ok(()),
        }
        .expect("writing to a String cannot fail");
    }
    shown
}

#[test]
fn rust_has_a_chunk_for_each_definition() {
    let text = "//! A counter.\n\nuse std::fmt;\nuse std::mem;\n\nconst START: u32 = 1;\n\n/// Counts.\n#[derive(Debug)]\npub struct Counter {\n    count: u32,\n}\n\nimpl Counter {\n    /// Starts anew.\n    pub fn new() -> Self {\n        Self { count: START }\n    }\n\n    /// Adds one and returns the sum.\n    pub fn next(\n        &mut self,\n    ) -> u32 {\n        self.count += 1;\n        self.count\n    }\n}\n\n/// Shows it.\nimpl fmt::Display for Counter {\n    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {\n        write!(f, \"{}\", self.count)\n    }\n}\n";
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
            /// Adds one and returns the sum.
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

fn chunker() -> CodeChunker {
    CodeChunker::new("code", &CodeSettings::default(), None).expect("valid settings")
}

#[test]
fn code_configuration_and_data_match_and_prose_does_not() {
    for (path, taken) in [
        ("a.rs", true),
        ("deploy.yaml", true),
        ("main.tf", true),
        ("run.sh", true),
        ("Makefile", true),
        ("a.csv", true),
        (".gitignore", true),
        ("icon.svg", true),
        ("README.md", false),
        ("guide.rst", false),
        ("guide.adoc", false),
        ("paper.tex", false),
        ("notes.txt", false),
        ("LICENSE", false),
    ] {
        assert_eq!(chunker().matches(path), taken, "{path}");
        assert!(!chunker().may_decline(path), "{path}");
    }
    // Only the text reveals whether these are scripts.
    for path in ["bin/tool", "weird.xyz"] {
        assert!(chunker().matches(path) && chunker().may_decline(path), "{path}");
        let chunks = |text| {
            let document = Document { path, text, language: language_in(path, text), ..Document::default() };
            chunker().chunk(&document)
        };
        assert!(matches!(chunks("some words\n"), Err(ChunkError::NotMine)), "{path}");
        let python = chunks("#!/usr/bin/env python3\ndef f():\n    return 1\n").expect("a script");
        assert_eq!(python[0].name.as_deref(), Some("f"), "{path}");
        assert!(chunks("#!/opt/made-up\nx\n").is_ok(), "{path}");
    }
    // Files selected by `match` are always chunked, whatever their content.
    let settings = CodeSettings { patterns: Some(vec!["bin/*".into()]), ..CodeSettings::default() };
    let named = CodeChunker::new("code", &settings, None).expect("valid settings");
    assert!(!named.matches("a.rs") && named.matches("bin/tool") && !named.may_decline("bin/tool"));
}

#[test]
fn a_grammar_is_part_of_the_identity_of_its_files_only() {
    let chunker = chunker();
    for (path, identity) in [
        ("a.rs", "code/2 chars=1500 tree-sitter-rust/0.24.2"),
        ("a.h", "code/2 chars=1500 tree-sitter-c/0.24.2 tree-sitter-cpp/0.23.4"),
        ("a.c", "code/2 chars=1500 tree-sitter-c/0.24.2"),
        ("a.sql", "code/2 chars=1500"),
        ("a.conf", "code/2 chars=1500"),
    ] {
        assert_eq!(chunker.identity_of(path), identity);
    }
    // The recipe of unchanged repositories depends on the identity, so it must list every grammar.
    for syntax in Syntax::ALL {
        assert!(chunker.identity().contains(syntax.version()), "{}", syntax.version());
    }
    assert!(OF_SCRIPTS.iter().all(|syntax| chunker.identity_of("bin/tool").contains(syntax.version())));
}

#[test]
fn indentation_is_kept() {
    let text = "spec:\n  containers:\n    - name: a\n      args:\n        - one\n\n\n  x:  1\n";
    for path in ["deploy.yaml", "a.unheard-of-conf.ini", "Makefile"] {
        let document = Document { path, text, language: language_of(path), ..Document::default() };
        let chunks = chunker().chunk(&document).expect("taken");
        let bodies: Vec<&str> = chunks.iter().map(|chunk| &text[range(chunk)]).collect();
        assert_eq!(bodies, [text.trim_end()], "{path}");
    }
}

fn range(chunk: &Chunk) -> std::ops::Range<usize> {
    let Body::Slice(range) = &chunk.body else { panic!("expected a slice") };
    range.clone()
}

/// A body long enough to give a definition its own chunk.
fn body(comment: &str) -> String {
    format!("  {comment} one thing after another, so that it is worth a chunk\n").repeat(2)
}

#[test]
fn every_other_language_names_its_definitions() {
    let (slashes, hash) = (body("//"), body("#"));
    for (path, text, expected) in [
        (
            "A.cs",
            format!("[Serializable]\npublic class A : B\n{{\n{slashes}}}\n"),
            "class | A | public class A : B",
        ),
        (
            "A.cs",
            format!("class A {{\n    public async Task<int> Add(Item x) {{\n{slashes}{slashes}    }}\n}}\n"),
            "method | Add | class A > public async Task<int> Add(Item x)",
        ),
        ("a.rb", format!("def self.build(x)\n{hash}end\n"), "function | build | def self.build(x)"),
        (
            "a.rb",
            format!("describe Cart do\n{hash}  it \"adds\" do\n{hash}{hash}  end\nend\n"),
            "block | adds | describe Cart > it \"adds\"",
        ),
        (
            "a.php",
            format!("<?php\n#[Attr]\nabstract class User extends Model {{\n{slashes}}}\n"),
            "class | User | abstract class User extends Model",
        ),
        (
            "a.kt",
            format!("@Anno\ndata class Cart(val a: Int) : Base() {{\n{slashes}}}\n"),
            "class | Cart | data class Cart(val a: Int) : Base()",
        ),
        (
            "a.kt",
            format!("fun <T> List<T>.second(): T {{\n{slashes}}}\n"),
            "function | second | fun <T> List<T>.second(): T",
        ),
        ("a.swift", format!("extension Cart: Q {{\n{slashes}}}\n"), "extension | Cart | extension Cart: Q"),
        (
            "a.swift",
            format!("@objc func add(_ item: Item) -> Int {{\n{slashes}}}\n"),
            "function | add | func add(_ item: Item) -> Int",
        ),
        (
            "a.scala",
            format!("case class Cart(a: Int) extends Base {{\n{slashes}}}\n"),
            "class | Cart | case class Cart(a: Int) extends Base",
        ),
        ("a.sh", format!("function deploy {{\n{hash}}}\n"), "function | deploy | function deploy"),
        ("a.sh", format!("build() {{\n{hash}}}\n"), "function | build | build()"),
        (
            "a.sql",
            "-- carts\nCREATE TABLE shop.cart (\n  id int,\n  name text\n);\n".to_owned(),
            "table | shop.cart | CREATE TABLE shop.cart",
        ),
        (
            "a.tf",
            format!("resource \"aws_instance\" \"web\" {{\n{hash}}}\n"),
            "resource | aws_instance.web | resource \"aws_instance\" \"web\"",
        ),
        ("a.tf", format!("locals {{\n{hash}}}\n"), "block | locals | locals"),
        ("a.html", format!("<section id=\"top\">\n{}</section>\n", body("<br>")), "element | top | top"),
        ("a.css", format!(".a, .b > p {{\n  /*\n{slashes}  */\n}}\n"), "rule | .a, .b > p | .a, .b > p"),
    ] {
        let shown = show(path, &text, 180);
        assert!(shown.lines().any(|line| line == expected), "{path}: {expected}\n{shown}");
    }
}

#[test]
fn data_is_whole_or_cut_between_keys() {
    let yaml = "kind: Pod\nspec:\n  containers:\n    - name: a\n      image: registry.example/a:1\n    - name: b\n      image: registry.example/b:1\n  volumes:\n    - name: data\n      path: /srv/data/of/a/and/b\nstatus: {}\n";
    assert_eq!(show("a.yaml", yaml, 300).lines().next(), Some("- | - | -"));
    insta::assert_snapshot!(show("a.yaml", yaml, 120), @r#"
    key | kind | kind
        kind: Pod
        spec:
    key | containers | spec > containers
          containers:
        ..
              image: registry.example/b:1
    key | volumes | spec > volumes
          volumes:
        ..
              path: /srv/data/of/a/and/b
    key | status | status
        status: {}
    "#);
    let json = "{\n  \"name\": \"x\",\n  \"scripts\": {\n    \"build\": \"tsc --project tsconfig.json\",\n    \"test\": \"node --test\"\n  },\n  \"dependencies\": {\n    \"left\": \"^1.0.0\",\n    \"right\": \"^2.0.0\"\n  }\n}\n";
    insta::assert_snapshot!(show("a.json", json, 100), @r#"
    key | name | name
        {
          "name": "x",
    key | scripts | scripts
          "scripts": {
        ..
          },
    key | dependencies | dependencies
          "dependencies": {
        ..
        }
    "#);
    let toml = "name = \"x\"\n\n[dependencies]\nleft = \"1\"\nright = { version = \"2\", features = [\"a\", \"b\"] }\n\n# Only here.\n[[bin]]\nname = \"tool\"\npath = \"src/tool.rs\"\n";
    insta::assert_snapshot!(show("a.toml", toml, 100), @r#"
    key | name | name
        name = "x"
    table | dependencies | dependencies
        [dependencies]
        ..
        # Only here.
    table | bin | bin
        [[bin]]
        ..
        path = "src/tool.rs"
    "#);
}
