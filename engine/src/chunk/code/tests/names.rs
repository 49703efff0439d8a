//! Names of chunks: never a keyword, and recognized inside macro calls.

use proptest::prelude::*;

use super::*;
use crate::chunk::code::item::reserved;
use crate::chunk::promises::CODE_PATHS;

/// The names of all chunks of a text, in order, without consecutive duplicates.
fn names(path: &str, text: &str, max: usize) -> Vec<String> {
    let settings = CodeSettings { max_chunk_size: max, ..CodeSettings::default() };
    let chunker = CodeChunker::new("code", &settings, None).expect("valid settings");
    let document = Document { path, text, language: language_of(path), ..Document::default() };
    let mut names: Vec<String> = chunker
        .chunk(&document)
        .expect("built-in chunkers accept any text")
        .into_iter()
        .filter_map(|chunk| chunk.name)
        .collect();
    names.dedup();
    names
}

#[test]
fn a_branch_after_a_preprocessor_line_is_no_function() {
    let calls: String =
        (0..40).map(|at| format!("\tcall_{at}(buffer, length, flags, {at});\n")).collect::<Vec<_>>().concat();
    let text = format!(
        "static int write_bytes(struct info *ip)\n{{\n    int flags = ip->flags;\n\n    if (flags & UTF8)\n    {{\n{calls}    }}\n# ifdef MSWIN\n    else if (flags & CODEPAGE)\n    {{\n{calls}    }}\n# endif\n    return 0;\n}}\n"
    );
    for path in ["a.c", "a.cpp"] {
        assert_eq!(names(path, &text, 1500), ["write_bytes"], "{path}");
    }
}

#[test]
fn macros_name_what_they_define() {
    let body = super::body("//").repeat(3);
    for (path, head, name) in [
        ("a.cpp", "TEST_F(StackTest, PushesOne) {", "StackTest.PushesOne"),
        ("a.cpp", "BENCHMARK_DEFINE_F(Fixture, Run)(benchmark::State& st) {", "Fixture.Run"),
        ("a.cpp", "BOOST_AUTO_TEST_CASE(my_test) {", "my_test"),
        ("a.cpp", "TEST_CASE(\"vectors can grow\", \"[vector]\") {", "vectors can grow"),
        ("a.cpp", "URL::URL(const String& text) {", "URL::URL"),
        ("a.cpp", "URL(const String& text) {", "URL"),
        ("a.c", "SYSCALL_DEFINE3(open, const char __user *, name, int, flags)\n{", "open"),
        ("a.c", "PHP_FUNCTION(array_map)\n{", "array_map"),
        ("a.c", "DEFUN (\"car\", Fcar, Scar, 1, 1, 0, doc: /* x */)\n  (Lisp_Object list)\n{", "car"),
        ("a.c", "DEFUN (\"if\", Fif, Sif, 2, UNEVALLED, 0, doc: /* x */)\n  (Lisp_Object args)\n{", "Fif"),
        ("a.c", "static PyObject *\nNAME(spam)(PyObject *self)\n{", "spam"),
        ("a.rs", "lazy_static! { static ref WORD: Regex = {", "WORD"),
        ("a.rs", "bitflags! { pub struct Flags: u32 {", "Flags"),
    ] {
        let close = if path == "a.rs" { "}}" } else { "}" };
        let text = format!("{head}\n{body}{close}\n");
        assert_eq!(names(path, &text, 1000), [name], "{head}");
    }
    // A loop macro is a statement like any other.
    let text = format!("int f(void)\n{{\n  LIST_FOREACH(x, list)\n  {{\n{body}  }}\n}}\n");
    assert_eq!(names("a.c", &text, 200), ["f"]);
    // A call with several definitions has no name.
    let text = format!("proptest! {{ fn a(x in 0..1) {{}}\n fn b(x in 0..1) {{\n{body}}} }}\n");
    assert_eq!(names("a.rs", &text, 1000), Vec::<String>::new());
}

#[test]
fn a_class_with_an_export_macro_is_a_class() {
    let member = "  int area() const { return width * height * factor; }\n".repeat(2);
    let text = format!("class EXPORT Shape : public Base {{\n{member}}};\n");
    let shown = show("a.cpp", &text, 180);
    assert!(shown.starts_with("class | Shape | class EXPORT Shape : public Base"), "{shown}");
}

/// Words of a language, in an order that forces its parser into error recovery.
fn broken() -> impl Strategy<Value = (&'static str, String)> {
    let paths = prop::sample::select(CODE_PATHS.as_slice());
    paths.prop_flat_map(|path| {
        let words = Syntax::of(language_of(path).expect("code"), path, "").map_or(&[][..], reserved::words);
        let word = if words.is_empty() { Just("x").boxed() } else { prop::sample::select(words).boxed() };
        let piece = prop_oneof![
            3 => word.prop_map(|word| format!("{word} ")),
            3 => prop::sample::select(vec![
                "(x) ", "() ", "{\n", "}\n", ";\n", "= ", ": ", ", ", "a ", "b(", ")", "#if X\n", "#endif\n", "class A {\n",
                "int f() {\n", "def g\n", "fun h() {\n", "end\n", "<T> ", ". ", "\"s\" ", "// c\n",
            ]).prop_map(str::to_owned),
        ];
        prop::collection::vec(piece, 1..60).prop_map(move |pieces| (path, pieces.concat()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_keyword_is_a_name((path, text) in broken(), max in 10_usize..80) {
        if let Some(syntax) = Syntax::of(language_of(path).expect("code"), path, &text) {
            for name in names(path, &text, max) {
                for name in name.split(", ") {
                    prop_assert!(!reserved::words(syntax).contains(&name), "{path}: {name} in {text:?}");
                }
            }
        }
    }
}
