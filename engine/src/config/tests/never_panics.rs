//! Any input gives a configuration or problems, never a panic.

use proptest::prelude::*;

use super::*;

/// Parses and renders: any input gives a value or problems, never a panic.
fn survives(text: &str) {
    if let Err(problems) = read(text) {
        assert!(!problems.list().is_empty());
        problems.render(true, 40);
        problems.one_line();
    }
}

/// Fragments that, randomly joined, often parse as TOML.
const PIECES: [&str; 36] = [
    "[stages.a]\n",
    "[projects.\"ä b\"]\n",
    "[engine]\n",
    "[api]\n",
    "[[stages.a]]\n",
    "kind = ",
    "pipeline = ",
    "repositories = ",
    "match = ",
    "token = ",
    "listen = ",
    "create = ",
    "config = ",
    "schedule = ",
    "max_chunk_size = ",
    "url = ",
    "x.y.z = ",
    "\"${",
    "\"${KEY}\"\n",
    "\"github\"\n",
    "\"wasm\"\n",
    "\"pinecone\"\n",
    "\"\"\n",
    "[\"a\", 1, { path = \"é\" }]\n",
    "{ a = 1, cloud = [] }\n",
    "-1\n",
    "1e999\n",
    "nan\n",
    "99999999999999999999\n",
    "2024-01-01\n",
    "true\n",
    "\"\"\"\n",
    "'''",
    "\u{feff}",
    "\r\n",
    "\t",
];

proptest! {
    #[test]
    fn on_any_text(text in ".{0,200}") {
        survives(&text);
    }

    #[test]
    fn on_texts_that_look_like_the_file(parts in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..30)) {
        survives(&parts.concat());
    }

    #[test]
    fn on_mutations_of_the_example(at in 0..20_000_usize, len in 0..40_usize, put in "[\\x00-\\x7fé\u{feff}]{0,6}") {
        let text = production();
        let floor = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let (start, end) = (floor(at % text.len()), floor(at % text.len() + len));
        survives(&format!("{}{put}{}", &text[..start], &text[end..]));
    }
}
