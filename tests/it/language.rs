//! Comments, documentation and messages use plain technical English. Some phrases that used to be common here
//! have to be translated by every reader: these tests fail on them. The list holds phrases, not words, and only
//! those without a legitimate use.

use std::fs;
use std::path::Path;

/// Folders and files that are searched, relative to the root of the repository.
const SEARCHED: [&str; 8] =
    ["engine/src", "plugin-sdk", "plugins", "tests", "benches", "docs", "README.md", "SECURITY.md"];
/// This file, which has to contain the phrases.
const SELF: &str = "tests/it/language.rs";
/// Extensions of the files that are searched.
const EXTENSIONS: [&str; 12] = ["rs", "md", "toml", "py", "js", "ts", "c", "h", "wit", "wat", "sh", "snap"];
/// Folders that are not part of the repository's own text.
const FOREIGN: [&str; 4] = ["target", "node_modules", "venv", "models"];

/// Each phrase in lower case, and what to write instead.
const PHRASES: [(&str, &str); 50] = [
    ("so many are kept", "`at most N … are kept`"),
    ("so many at once", "`a concurrency limit`"),
    ("asks later than", "which request, and when"),
    ("who hears of it", "`the caller`"),
    ("nobody tells", "`there is no notification`"),
    ("askings", "`requests`"),
    ("whose time has not come", "`delayed`"),
    ("takes back what", "`clears`"),
    ("what was told", "`the request` or `the report`"),
    ("what it was told", "`its input`"),
    ("however it ended", "`on drop` or `in every case`"),
    ("told at once", "`reported at once`"),
    ("never speaks", "`is never sent`"),
    ("feed nobody", "`do not help`"),
    ("feeds nobody", "`does not help`"),
    ("begun anew", "`recreated` or `restarted`"),
    ("begins anew", "`restarts`"),
    ("built anew", "`rebuilt`"),
    ("builds it anew", "`rebuilds it`"),
    ("written anew", "`written again`"),
    ("planned anew", "`planned again`"),
    ("lays it beside", "`compares it with`"),
    ("laid beside", "`compared with`"),
    ("what stands in", "`the content of`"),
    ("what stands there", "`the content`"),
    ("ever later", "`with exponential back-off`"),
    ("holds nobody up", "`delays nothing`"),
    ("keeps nobody", "`delays nothing` or `blocks nothing`"),
    ("nobody watches", "`is not watched`"),
    ("a reader that has left", "`a closed pipe`"),
    ("gets problems must not", "`if problems were reported, the value must not be used`"),
    ("to be believed", "`trusted`"),
    ("cannot be believed", "`is not reliable`"),
    ("until it is mended", "`until it is fixed`"),
    ("is mended", "`is fixed`"),
    ("are mended", "`are fixed`"),
    ("goes by the running", "`uses the configuration of the running`"),
    ("so to speak", "the fact itself"),
    ("who may know whom", "`which module may use which`"),
    ("holds up nobody", "`delays nothing`"),
    ("says so last", "`does so last`"),
    ("who may ask", "`authorization`"),
    ("at the door", "`queued`"),
    ("nobody knows how", "`unknown`"),
    ("is told of", "`is called for` or `is reported`"),
    ("tells of", "`reports`"),
    ("made anew", "`made again`"),
    ("is believed without question", "`is trusted`"),
    ("files did not come", "`were missing from`"),
    ("has no direction", "`is a zero vector`"),
];

#[test]
fn no_text_needs_to_be_translated() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root");
    let mut found = Vec::new();
    for start in SEARCHED {
        search(root, &root.join(start), &mut found);
    }
    assert!(found.is_empty(), "say it in plain English:\n{}", found.join("\n"));
}

#[test]
fn each_phrase_is_found_wherever_a_line_ends() {
    for (phrase, _) in PHRASES {
        let (first, rest) = phrase.split_once(' ').unwrap_or((phrase, ""));
        for text in [
            format!("let a = 1;\n/// Is {phrase}, here.\n"),
            format!("# Title\n\nA {}\n", phrase.to_uppercase()),
            format!("    // It {first}\n    // {rest}\n"),
            format!("const MESSAGE: &str = \"it {first}\n    {rest}\";\n"),
        ] {
            let found = phrases("a.rs", &text);
            assert!(found.iter().any(|line| line.contains(&format!("`{phrase}`"))), "{text}{found:?}");
        }
    }
    assert_eq!(phrases("a.rs", "/// The\n/// so_many_are_kept flag.\n"), Vec::<String>::new());
    let found = phrases("a.md", "One line.\n\nAnother one.\n- Whoever is the one who\n  hears of it.\n");
    assert_eq!(found, ["a.md:4: `who hears of it`: write `the caller`"]);
}

/// Searches a file, or all files below a folder.
fn search(root: &Path, path: &Path, found: &mut Vec<String>) {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if path.is_dir() {
        if name.starts_with('.') || FOREIGN.contains(&name) {
            return;
        }
        let mut entries: Vec<_> =
            fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        entries.sort();
        for entry in entries {
            search(root, &entry, found);
        }
        return;
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let shown = path.strip_prefix(root).expect("below the root").display().to_string();
    if shown != SELF && EXTENSIONS.contains(&extension) {
        found.extend(phrases(&shown, &fs::read_to_string(path).expect("a text file")));
    }
}

/// The phrases in a text, with line numbers. A phrase may continue on the next line.
fn phrases(path: &str, text: &str) -> Vec<String> {
    let mut flat = String::new();
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        lines.push((flat.len(), index + 1));
        let line = line.trim_start().trim_start_matches(['/', '!', '#', ';', '*']);
        for word in line.split_whitespace().filter(|word| *word != "\\") {
            flat.push_str(&word.to_lowercase());
            flat.push(' ');
        }
    }
    let mut found = Vec::new();
    for (phrase, instead) in PHRASES {
        for (at, _) in flat.match_indices(phrase) {
            let is_letter = |next: Option<char>| next.is_some_and(char::is_alphabetic);
            let (before, after) = (flat[..at].chars().next_back(), flat[at + phrase.len()..].chars().next());
            if is_letter(before) || is_letter(after) {
                continue;
            }
            let line = lines.iter().rev().find(|(start, _)| *start <= at).map_or(1, |(_, line)| *line);
            found.push(format!("{path}:{line}: `{phrase}`: write {instead}"));
        }
    }
    found
}
