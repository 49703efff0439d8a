//! Property tests: what every built-in chunker guarantees, on adversarial texts.

use proptest::prelude::*;

use super::promises::{CODE_PATHS, check, chunkers, counter, patterns};

/// Words, syntax of several languages, unusual characters and line endings, in any order.
pub(super) fn soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z]{1,12}",
        2 => prop::sample::select(vec![" ", "  ", "\t", "\n", "\n\n", "\n\n\n", "\r\n", "\r", "    "]).prop_map(str::to_owned),
        2 => prop::sample::select(vec![
            "# ", "## ", "\n### x\n", "```\n", "~~~", "- ", "1. ", "> ", "| a | b |\n", "|---|---|\n", "===\n", "---\n",
            "<div>\n", "<!--", "-->", "\n***\n", "[a](b)", ". ", "! ", "? ", "。",
        ]).prop_map(str::to_owned),
        2 => prop::sample::select(vec![
            "fn f() {", "}", "impl X {", "struct S;", "def f(x):\n", "class C:\n    ", "class C {", "(", ")", "[", "]",
            "{", "/* ", " */", "// ", "# ", "\"", "'", "\\", "func ", "if x {", "else", "=>", "#[a]", "@d\n", "/// x\n",
            "fun f() = ", "object O {", "namespace N;\n", "<?php ", "?>", "module M\n", "do |x|\n", "end\n", "then\n", "fi\n",
            "<<EOF\n", "EOF\n", "$(", "esac\n", "CREATE TABLE t (", ";\n", "SELECT ", "resource \"a\" \"b\" {\n", "key: ",
            "- ", "  - x: |\n", "&a ", "*a ", "!!t ", "---\n", "[[t]]\n", "a.b = ", "\"k\": ", ",\n", "<p id=x>", "</p>", "<br/>",
            "<script>", "</script>", "@media x {", ".a, #b {", "color: red;", "\"\"\"", "%q(", "#{", "if let ", "else if (x) {\n",
            "#ifdef A\n", "#endif\n", "template <class T> ", "export ", "const a = ", "import x;", "`", "${", "r#\"",
        ]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["é", "漢字", "😀", "👩‍👩‍👧", "\u{301}", "\u{2028}", "\u{A0}", "©", "\u{85}", "\u{FEFF}"])
            .prop_map(str::to_owned),
        1 => ".{0,10}",
        1 => "[a-z0-9]{60,90}",
        1 => "[a-zA-Z0-9+/=]{195,260}",
    ];
    prop::collection::vec(piece, 0..120).prop_map(|pieces| pieces.concat())
}

fn path() -> impl Strategy<Value = &'static str> {
    prop_oneof![10 => prop::sample::select(CODE_PATHS.as_slice()), 1 => Just("a.md"), 1 => Just("a.txt"), 1 => Just("a.xml")]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn chunks_cover_in_order_and_fit(file in soup(), max in 1_usize..400, path in path()) {
        for chunker in chunkers(max, false).into_iter().chain(patterns(max, false)) {
            check(&*chunker, path, file.as_bytes(), &|body| body.chars().count() <= max);
        }
    }

    #[test]
    fn chunks_fit_in_tokens(file in soup(), max in 4_usize..200, path in path()) {
        let counter = counter();
        for chunker in chunkers(max, true).into_iter().chain(patterns(max, true)) {
            check(&*chunker, path, file.as_bytes(), &|body| counter(body) <= max);
        }
    }
}

#[test]
fn hostile_files_are_cut_in_bounded_time() {
    let long_line = "x".repeat(300_000);
    let nested = "(".repeat(200_000);
    let braces = "{".repeat(100_000) + &"}".repeat(100_000);
    let blanks = " \n".repeat(100_000) + "end";
    let quotes = "> ".repeat(100_000);
    let lists = "- ".repeat(100_000);
    let nested_code = (0..2000).map(|depth| " ".repeat(depth % 200) + "if x {\n").collect::<String>();
    let brackets = "a\"b'c{d(e[f/*g\n".repeat(2000);
    for file in [&brackets, &long_line, &nested, &braces, &blanks, &quotes, &lists, &nested_code] {
        for chunker in chunkers(1000, false) {
            for path in ["a.rs", "a.py", "a.c", "a.md"] {
                check(&*chunker, path, file.as_bytes(), &|body| body.chars().count() <= 1000);
            }
        }
        for chunker in patterns(1000, false) {
            check(&*chunker, "a.log", file.as_bytes(), &|body| body.chars().count() <= 1000);
        }
    }
}

/// Runs every grammar, including its scanner, on files that nest deeply, never close, or repeat.
#[test]
fn hostile_code_is_cut_in_bounded_time() {
    let pieces = [
        "(",
        "[",
        "{",
        "<a>",
        "</a>",
        "\"",
        "'",
        "`",
        "\"\"\"",
        "${",
        "\"${",
        "#{",
        "\"#{",
        "%q(",
        "%w[",
        "<<EOF\n",
        "<<~A, <<~B\n",
        "<<-'X' <<Y ",
        "/*",
        "<!--",
        "<script>",
        "<style>",
        "<?php ",
        "?>",
        "if x then\n",
        "case x in\n",
        "do |x| ",
        "begin\n",
        "$(",
        "$((",
        "[[ ",
        "- - ",
        "? ",
        "&a *a ",
        "a: {",
        "- |\n ",
        "\n  \n ",
        "---\n",
        "!",
        "#if X\n",
        "else if (x) {\n",
        "@a(",
        "a.b.",
        "x = y ? ",
        "=> ",
        "<T<",
        "R\"x(",
        "r##\"",
        "\\",
        "é",
        "\u{0}",
    ];
    let [.., code] = chunkers(1000, false);
    for path in CODE_PATHS {
        for piece in pieces {
            check(&*code, path, piece.repeat(1_000 / piece.len()).as_bytes(), &|body| {
                body.chars().count() <= 1000
            });
        }
    }
}

#[test]
fn a_line_of_a_mebibyte_is_cut_in_bounded_time() {
    let minified = "function a(b,c){return b+c*1};".repeat((1 << 20) / 30);
    let keys = "\"k\":[1,2,{\"a\":\"b\"}],".repeat((1 << 20) / 21);
    let [.., code] = chunkers(1000, false);
    for path in CODE_PATHS {
        for file in [&minified, &keys] {
            check(&*code, path, file.as_bytes(), &|body| body.chars().count() <= 1000);
        }
    }
}
