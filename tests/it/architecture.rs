//! Module dependencies. Parses the sources and fails on a dependency that is not in the table, on a
//! crate named outside its module, on printing outside `cli`, and on files that are too long.

mod cycles;
mod kinds;
mod statics;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The modules that each module of the engine may use: the table of `docs/architecture.md`.
static MAY_USE: LazyLock<Vec<(String, Vec<String>)>> = LazyLock::new(|| {
    let page = fs::read_to_string(repository().join("docs/architecture.md")).expect("the page");
    table(&page).unwrap_or_else(|row| panic!("docs/architecture.md has a row that cannot be read: {row}"))
});

/// Reads the rows of the table: a module, then what it may use. The error is a row of another form.
fn table(page: &str) -> Result<Vec<(String, Vec<String>)>, String> {
    let section = page.split("## Which module may use which").nth(1).unwrap_or_default();
    let lines = section.lines().skip_while(|line| !line.starts_with("| --- ")).skip(1);
    let rows = lines.take_while(|line| line.starts_with('|'));
    let name = |cell: &str| {
        let name = cell.trim().strip_prefix('`')?.strip_suffix('`')?;
        name.chars().all(is_ident).then(|| name.to_owned())
    };
    let row = |line: &str| {
        let mut cells = line.trim_matches('|').split('|');
        let module = name(cells.next()?)?;
        let used = match cells.next()?.trim() {
            "nothing of ours" => Vec::new(),
            list => list.split(',').map(name).collect::<Option<_>>()?,
        };
        Some((module, used))
    };
    rows.map(|line| row(line).ok_or_else(|| line.to_owned())).collect()
}

/// Crates that only some places may name, so that replacing one stays a local change.
const CRATES: &[(&str, &[&str])] = &[
    ("annotate_snippets", &["config/"]),
    ("axum", &["api/"]),
    ("clap", &["cli/"]),
    ("clap_complete", &["cli/"]),
    ("clap_mangen", &["cli/"]),
    ("console", &["cli/"]),
    ("deadpool_postgres", &["postgres"]),
    ("gix", &["plan/attributes", "source/"]),
    ("gix_pack", &["source/git_remote/store"]),
    ("hyper", &["api/serve", "source/git_remote/ssh"]),
    ("hyper_util", &["api/serve", "net/proxy"]),
    ("indicatif", &["cli/"]),
    ("maud", &["api/console"]),
    ("octocrab", &["source/github"]),
    ("opentelemetry", &["cli/telemetry"]),
    ("opentelemetry_http", &["cli/telemetry"]),
    ("opentelemetry_otlp", &["cli/telemetry"]),
    ("opentelemetry_sdk", &["cli/telemetry"]),
    ("ring", &["source/github/app"]),
    ("rmcp", &["mcp/"]),
    ("rusqlite", &["state/sqlite/", "store/sqlite", "sqlite"]),
    ("tokio_postgres", &["postgres"]),
    ("tokio_postgres_rustls", &["postgres"]),
    (
        "toml",
        &[
            "config/",
            "settings/",
            "chunk/markdown/front_matter",
            "chunk/secrets/rules",
            "cli/plugin/metadata",
            "cli/plugin/template",
            "evaluate/questions",
        ],
    ),
    ("toml_edit", &["cli/plugin/edit"]),
    (
        "rustix",
        &[
            "api/serve",
            "chunk/component/cache",
            "cli/context",
            "config/find",
            "cpu_time",
            "private",
            "state_folder",
        ],
    ),
    ("tree_sitter", &["chunk/"]),
    ("wasmtime", &["chunk/component"]),
    ("wasmtime_wasi", &["chunk/component"]),
];

/// The files that may hold unsafe code, and how many times; the lint is `deny(unsafe_code)` elsewhere.
/// A new entry needs a safety argument at the code.
const UNSAFE: &[(&str, usize)] = &[
    // Compiled components are mapped from the cache; machine code cannot be validated.
    ("engine/src/chunk/component/cache/code.rs", 1),
    // Settings of the allocator: a variable that jemalloc reads, and parameters of the C library's, set before any thread
    // starts.
    ("engine/src/cli/allocator.rs", 2),
    // Hand-written exports of a Rust component: their names, and the one call.
    ("plugin-sdk/src/export.rs", 4),
    // The host passes raw memory to a Rust component.
    ("plugin-sdk/src/export/handed.rs", 9),
];

/// The places that may name an implementation of the state; all others see its traits. The tests of the
/// batcher need a cache.
const STATE_MAKERS: &[&str] = &["state/", "factory/state", "embed/batcher/tests"];

/// Macros that print.
const PRINTING: &[&str] = &["print!", "println!", "eprint!", "eprintln!", "dbg!"];

/// A file with more lines than this should be split.
const LINES: usize = 600;

/// Files that may be longer, each with its reason.
const LONG: &[(&str, &str)] = &[];

#[test]
fn every_dependency_is_in_the_table() {
    let found: Vec<_> =
        sources("engine/src").iter().flat_map(|(path, text)| violations(path, text)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_module_has_a_row() {
    let root = repository().join("engine/src");
    let mut modules: Vec<String> = fs::read_dir(root)
        .expect("the sources")
        .map(|entry| entry.expect("readable").file_name().to_str().expect("UTF-8").replace(".rs", ""))
        .filter(|name| name != "lib" && name != "main")
        .collect();
    modules.sort();
    let mut rows: Vec<_> = MAY_USE.iter().map(|(module, _)| module.clone()).collect();
    rows.sort_unstable();
    assert_eq!(modules, rows);
}

#[test]
fn every_arrow_is_used() {
    let mut used = BTreeSet::new();
    for (path, text) in sources("engine/src") {
        let module = path.split(['/', '.']).next().unwrap_or_default().to_owned();
        used.extend(
            modules_named(&path, &blank_out(&text)).into_iter().map(|(_, name)| (module.clone(), name)),
        );
    }
    let arrows =
        MAY_USE.iter().flat_map(|(module, row)| row.iter().map(|name| (module.clone(), name.clone())));
    let unused: Vec<_> = arrows.filter(|arrow| !used.contains(arrow)).collect();
    assert!(unused.is_empty(), "docs/architecture.md allows what is not used: {unused:?}");
}

#[test]
fn no_arrow_points_up() {
    assert_eq!(arrows_up(&MAY_USE), Vec::<String>::new());
}

/// The arrows to a module that does not stand above.
fn arrows_up(rows: &[(String, Vec<String>)]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, (module, used)) in rows.iter().enumerate() {
        let above = |name: &String| rows[..at].iter().any(|(above, _)| above == name);
        found.extend(used.iter().filter(|name| !above(name)).map(|name| format!("{module} -> {name}")));
    }
    found
}

#[test]
fn the_table_is_read_and_checked() {
    let page = |rows: &str| {
        format!("## Which module may use which\n\n| module | may use |\n| --- | --- |\n{rows}\n")
    };
    let rows =
        table(&page("| `a` | nothing of ours | x |\n| `b` | `a`, `c` | |\n| `c` | `c` | y |")).expect("rows");
    assert_eq!(rows.len(), 3);
    assert_eq!(arrows_up(&rows), ["b -> c", "c -> c"]);
    for bad in ["| a | nothing of ours | |", "| `a` | those of `b` | |", "| `a` | `b` `c` | |", "| `a` |"] {
        assert_eq!(table(&page(bad)), Err(bad.to_owned()));
    }
}

#[test]
fn unsafe_code_is_only_where_it_is_listed() {
    let mut found = Vec::new();
    for folder in ["engine", "plugin-sdk", "plugins", "tests", "benches", "fuzz"] {
        for (path, text) in sources(folder) {
            let times = words(&blank_out(&text), "unsafe").len();
            if times > 0 {
                found.push((format!("{folder}/{path}"), times));
            }
        }
    }
    let found: Vec<(&str, usize)> = found.iter().map(|(path, times)| (path.as_str(), *times)).collect();
    assert_eq!(found, UNSAFE);
    for manifest in
        ["Cargo.toml", "engine/Cargo.toml", "plugin-sdk/Cargo.toml", "plugins/changelog/Cargo.toml"]
    {
        let text = fs::read_to_string(repository().join(manifest)).expect("a manifest");
        let denied = text.contains("unsafe_code = \"deny\"") || text.contains("[lints]\nworkspace = true");
        assert!(denied, "{manifest} does not forbid unsafe code");
    }
}

#[test]
fn no_file_is_too_long() {
    let mut long = Vec::new();
    for folder in ["engine/src", "plugin-sdk/src", "tests", "benches", "plugins", "fuzz"] {
        for (path, text) in sources(folder) {
            let lines = text.lines().count();
            let path = format!("{folder}/{path}");
            if lines > LINES && !LONG.iter().any(|(listed, _)| *listed == path) {
                long.push(format!("{path} has {lines} lines"));
            }
        }
    }
    assert!(long.is_empty(), "split these, or list them with a reason:\n{}", long.join("\n"));
    for (path, _) in LONG {
        let text = fs::read_to_string(repository().join(path)).expect("a listed file exists");
        assert!(text.lines().count() > LINES, "{path} is short again: remove it from the list");
    }
}

/// Runs the checks on made-up sources, to show that each of them can fail.
#[test]
fn the_checks_can_fail() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("plan/diff.rs", "use crate::model::GitSha;", &[]),
        ("plan/diff.rs", "use crate::store::Query;", &["plan/diff.rs:1: `plan` may not use `store`"]),
        (
            "source/git.rs",
            "\nuse crate::{model::GitSha, net::{self, Retry}, state::State};",
            &["source/git.rs:2: `source` may not use `state`"],
        ),
        ("plan/diff.rs", "use crate::{model, state};", &["plan/diff.rs:1: `plan` may not use `state`"]),
        ("chunk/component/host.rs", "use super::super::{Chunker, settings};", &[]),
        (
            "chunk/component/host.rs",
            "use super::super::super::net::client;",
            &["chunk/component/host.rs:1: `chunk` may not use `net`"],
        ),
        ("chunk/mod.rs", "use super::model::Chunk;", &[]),
        ("chunk/mod.rs", "mod tests { use super::embed; }", &[]),
        (
            "chunk/mod.rs",
            "mod tests { fn f() { super::super::embed::x() } }",
            &["chunk/mod.rs:1: `chunk` may not use `embed`"],
        ),
        ("model/mod.rs", "// crate::net\nconst X: &str = \"crate::net { \\\" \"; /* crate::net */", &[]),
        ("model/mod.rs", "const X: &str = r#\"crate::net \" {\"#; const Y: char = '\"';", &[]),
        ("api/routes.rs", "use crate::sync::run;", &["api/routes.rs:1: `api` may not use `sync`"]),
        ("source/github/list.rs", "use octocrab::Octocrab;", &[]),
        (
            "source/git.rs",
            "fn f() -> octocrab::Octocrab {}",
            &["source/git.rs:1: `octocrab` may be named only in source/github"],
        ),
        (
            "chunk/sentence.rs",
            "use {std::io, wasmtime::Engine};",
            &["chunk/sentence.rs:1: `wasmtime` may be named only in chunk/component"],
        ),
        ("plan/diff.rs", "use crate::model::toml::X; let toml = 1;", &[]),
        ("factory/state.rs", "use crate::state::sqlite::SqliteState;", &[]),
        (
            "sync/run.rs",
            "use crate::state::sqlite::SqliteState;",
            &["sync/run.rs:1: the implementation of the state may be named only in factory/state"],
        ),
        ("sync/run.rs", "println!(\"x\");", &["sync/run.rs:1: `println!` belongs in cli"]),
        ("sync/run.rs", "std::eprint!(\"x\");", &["sync/run.rs:1: `eprint!` belongs in cli"]),
        ("cli/plan.rs", "println!(\"x\"); use clap::Args; use crate::factory::x;", &[]),
    ];
    for (path, source, expected) in cases {
        assert_eq!(violations(path, source), *expected, "{path}: {source}");
    }
}

/// The violations in one file; `path` is relative to `engine/src`.
fn violations(path: &str, source: &str) -> Vec<String> {
    let code = blank_out(source);
    let module = path.split(['/', '.']).next().unwrap_or_default();
    let place = |at: usize| format!("{path}:{}", code[..at].matches('\n').count() + 1);
    let mut found = Vec::new();
    if let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| name == module) {
        for (at, used) in modules_named(path, &code) {
            let known = MAY_USE.iter().any(|(name, _)| *name == used);
            if known && used != module && !allowed.contains(&used) {
                found.push(format!("{}: `{module}` may not use `{used}`", place(at)));
            }
        }
    }
    for (name, places) in CRATES {
        if places.iter().any(|allowed| path.starts_with(allowed)) {
            continue;
        }
        for at in words(&code, name) {
            let is_path = code[at + name.len()..].starts_with("::");
            let is_inner = code[..at].trim_end().ends_with("::") || code[..at].ends_with('.');
            if is_path && !is_inner {
                found.push(format!("{}: `{name}` may be named only in {}", place(at), places.join(", ")));
            }
        }
    }
    if !STATE_MAKERS.iter().any(|allowed| path.starts_with(allowed)) {
        for (at, _) in code.match_indices("state::sqlite") {
            found.push(format!(
                "{}: the implementation of the state may be named only in factory/state",
                place(at)
            ));
        }
    }
    if module != "cli" {
        for name in PRINTING {
            for at in words(&code, name) {
                found.push(format!("{}: `{name}` belongs in cli", place(at)));
            }
        }
    }
    found
}

/// Modules of the engine that are named by `crate::…` or by a chain of `super::` up to the root.
fn modules_named(path: &str, code: &str) -> Vec<(usize, String)> {
    let depth = path.trim_end_matches("/mod.rs").trim_end_matches(".rs").split('/').count();
    let mut named = Vec::new();
    for at in words(code, "crate") {
        if let Some(rest) = code[at + "crate".len()..].strip_prefix("::") {
            named.extend(first_segments(rest).into_iter().map(|name| (at, name)));
        }
    }
    for at in words(code, "super") {
        if code[..at].ends_with("super::") {
            continue; // in the middle of a chain
        }
        let mut rest = &code[at..];
        let mut ups = 0;
        while let Some(next) = rest.strip_prefix("super::") {
            ups += 1;
            rest = next;
        }
        if ups == depth + inline_modules(&code[..at]) {
            named.extend(first_segments(rest).into_iter().map(|name| (at, name)));
        }
    }
    named
}

/// The first segments of a path or of a group of paths: `a` of `a::b`, `a` and `b` of `{a::x, b::{y}}`.
fn first_segments(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else {
        return vec![rest.chars().take_while(|&c| is_ident(c)).collect()];
    };
    let mut names = Vec::new();
    let (mut level, mut expect) = (0, true);
    let mut name = String::new();
    for c in group.chars() {
        if !name.is_empty() && !is_ident(c) {
            names.push(std::mem::take(&mut name));
            expect = false;
        }
        match c {
            '{' => level += 1,
            '}' if level == 0 => break,
            '}' => level -= 1,
            ',' if level == 0 => expect = true,
            _ if level == 0 && expect && is_ident(c) => name.push(c),
            _ => {}
        }
    }
    names.extend(Some(name).filter(|name| !name.is_empty()));
    names
}

/// How many `mod name {` are open at the end of this code.
fn inline_modules(code: &str) -> usize {
    let mut open: Vec<bool> = Vec::new();
    for (at, c) in code.char_indices() {
        match c {
            '{' => {
                let mut before = code[..at].split_whitespace().rev();
                let named = before.next().is_some_and(|name| name.chars().all(is_ident));
                open.push(named && before.next() == Some("mod"));
            }
            '}' => drop(open.pop()),
            _ => {}
        }
    }
    open.into_iter().filter(|&is_module| is_module).count()
}

/// Positions where a word occurs as a whole word.
fn words(code: &str, word: &str) -> Vec<usize> {
    let alone = |at: usize| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_ident) && !after.is_some_and(|c| is_ident(c) && is_ident_end(word))
    };
    code.match_indices(word).map(|(at, _)| at).filter(|&at| alone(at)).collect()
}

fn is_ident(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_ident_end(word: &str) -> bool {
    word.chars().next_back().is_some_and(is_ident)
}

/// The code with comments, strings and characters replaced by blanks; line numbers are unchanged.
fn blank_out(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &source[at..];
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest).filter(|_| !code.ends_with(is_ident)) {
            length
        } else if rest.starts_with('"') {
            quoted(rest, '"')
        } else if rest.starts_with('\'') {
            character(rest)
        } else {
            0
        };
        if skipped == 0 {
            let c = rest.chars().next().expect("not at the end");
            code.push(c);
            at += c.len_utf8();
        } else {
            let blank = |c| if c == '\n' { '\n' } else { ' ' };
            code.extend(rest[..skipped].chars().map(blank));
            at += skipped;
        }
    }
    code
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut level, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            level += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            level -= 1;
            at += 2;
            if level == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r"].into_iter().find(|prefix| rest.starts_with(prefix))?;
    let hashes = rest[prefix.len()..].bytes().take_while(|&byte| byte == b'#').count();
    let open = prefix.len() + hashes;
    if !rest[open..].starts_with('"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    Some(rest[open + 1..].find(&end).map_or(rest.len(), |found| open + 1 + found + end.len()))
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `'x'` and `'\n'` are characters, `'a` is a lifetime.
fn character(rest: &str) -> usize {
    let mut inner = rest.chars().skip(1);
    match (inner.next(), inner.next()) {
        (Some('\\'), _) => quoted(rest, '\''),
        (Some(c), Some('\'')) => c.len_utf8() + 2,
        _ => 0,
    }
}

/// All Rust sources under a folder of the repository, by their path in it.
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = repository().join(folder);
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for entry in entries {
            let path = entry.expect("readable").path();
            if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("inside").to_str().expect("UTF-8");
                found.push((name.replace('\\', "/"), fs::read_to_string(&path).expect("UTF-8")));
            }
        }
    }
    found.sort();
    found
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
