//! The documentation holds together: links lead somewhere, the table of contents is complete, configurations are
//! valid, and messages are those of the program.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::support::page::{Page, root};
use crate::support::python::python;
use crate::support::world::World;

fn pages() -> Vec<Page> {
    let mut pages = Page::below("docs");
    for folder in ["examples", "plugins"] {
        pages.extend(Page::below(folder).into_iter().filter(|page| page.name.ends_with("README.md")));
    }
    let top = ["README.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md"];
    pages.extend(top.map(Page::read));
    pages
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => assert!(normal.pop(), "{}", path.display()),
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

#[test]
fn every_link_leads_somewhere() {
    let root = root();
    let mut broken = Vec::new();
    let mut checked = 0;
    for page in pages() {
        for link in page.links() {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            checked += 1;
            let (path, anchor) =
                link.split_once('#').map_or((&*link, None), |(path, anchor)| (path, Some(anchor)));
            let name = if path.is_empty() {
                PathBuf::from(&page.name)
            } else {
                normal(&Path::new(&page.name).parent().expect("a folder").join(path))
            };
            let name = name.to_str().expect("UTF-8").replace('\\', "/");
            if !root.join(&name).exists() {
                broken.push(format!("{}: {link}: there is no {name}", page.name));
            } else if let Some(anchor) = anchor
                && Path::new(&name).extension().is_some_and(|extension| extension == "md")
                && !Page::read(&name).anchors().iter().any(|known| known == anchor)
            {
                broken.push(format!("{}: {link}: {name} has no heading of this name", page.name));
            }
        }
    }
    assert!(checked > 100, "{checked}");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_table_of_contents_names_every_page() {
    let contents = Page::read("docs/SUMMARY.md");
    let named: BTreeSet<String> = contents.links().iter().map(|link| format!("docs/{link}")).collect();
    assert_eq!(named.len(), contents.links().len(), "a page is named twice");
    let present: BTreeSet<String> =
        Page::below("docs").into_iter().map(|page| page.name).filter(|name| *name != contents.name).collect();
    assert_eq!(named, present);
}

/// Stages and a project for examples that show a part of a file.
const REST: &str = r#"
[stages.zz-source]
kind = "git"
[stages.zz-text]
kind = "sentence"
[stages.zz-model]
kind = "local"
[stages.zz-index]
kind = "sqlite"
[projects.zz]
pipeline = ["zz-source", "zz-text", "zz-model", "zz-index"]
repositories = ["docs"]
"#;

/// Each example of the task pages is a whole file, or a part that fits into one.
#[test]
fn configurations_in_pages_are_valid() {
    let world = World::new();
    world.repo("docs").write("a.md", "A file.\n").commit("first");
    let mut checked = 0;
    for page in Page::below("docs/how-to").iter().chain(&Page::below("docs/tutorials")) {
        for block in page.blocks().iter().filter(|block| block.language == "toml") {
            let whole = block.code.contains("[projects.") && block.code.contains("[stages.");
            world.config(&if whole { block.code.clone() } else { format!("{}\n{REST}", block.code) });
            let ran = world.run(&["validate", "--no-env"]);
            assert_eq!(ran.code, Some(0), "{}:{}\n{}", page.name, block.lines.start, ran.stderr);
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked}");
}

/// The literals of the program, with continued lines joined.
fn source(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            source(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(&path).expect("a file"));
        }
    }
}

#[test]
fn the_messages_of_the_troubleshooting_page_are_those_of_the_program() {
    let mut text = String::new();
    source(&root().join("engine/src"), &mut text);
    let continued = regex::Regex::new(r"\\\n\s*").expect("an expression");
    let text = continued.replace_all(&text, "");
    let messages = Page::read("docs/troubleshooting.md").headings(3);
    assert!(messages.len() >= 30, "{}", messages.len());
    for message in &messages {
        let parts: Vec<&str> =
            message.split('…').filter(|part| part.trim_matches([' ', '`', '.']).len() > 3).collect();
        assert!(!parts.is_empty(), "{message}");
        for part in parts {
            assert!(text.contains(part), "no message of the program has {part:?}, which {message:?} shows");
        }
    }
    assert!(!text.contains("no program has this message"));
}

/// As an editor with Taplo checks a file: by the schema that its first line names.
#[test]
fn an_editor_accepts_the_examples_and_marks_mistakes() {
    let Some(python) = python("taplo", &["taplo==0.9.3"]) else { return };
    let world = World::new();
    world.ok(&["init"]);
    let starter = world.read("reposync.toml");
    let schema = format!("{}\n", starter.lines().next().expect("a line"));
    assert!(schema.starts_with("#:schema ./"), "{schema}");
    let lint = |text: &str| {
        world.config(text);
        let mut taplo = Command::new(python.with_file_name("taplo"));
        let output =
            taplo.args(["lint", "reposync.toml"]).current_dir(world.path(".")).output().expect("Taplo runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let mut files = vec![("the starter".to_owned(), starter.clone())];
    for entry in std::fs::read_dir(root().join("examples")).expect("examples") {
        let path = entry.expect("an entry").path().join("reposync.toml");
        if let Ok(text) = std::fs::read_to_string(&path) {
            files.push((path.display().to_string(), format!("{schema}{text}")));
        }
    }
    assert!(files.len() > 8, "{}", files.len());
    for (name, text) in &files {
        let (accepted, said) = lint(text);
        assert!(accepted, "{name}: {said}");
    }
    for (right, wrong) in [
        ("max_chunk_size = 1000", "max_chunk_sise = 1000"),
        ("max_chunk_size = 1000", "max_chunk_size = \"large\""),
        ("kind = \"sqlite\"", "kind = \"sqllite\""),
    ] {
        assert!(starter.contains(right), "{right}");
        let (accepted, said) = lint(&starter.replace(right, wrong));
        assert!(!accepted && said.contains("reposync.toml"), "{wrong}: {said}");
    }
}

/// The table of the metadata has every field that records have.
#[test]
fn the_fields_of_records_are_listed() {
    let page = Page::read("docs/consumers.md");
    let rows = page.text.lines().skip_while(|line| *line != "| field | type | meaning |").skip(2);
    let names = rows.take_while(|line| !line.is_empty()).map(|row| row.split('|').nth(1).expect("a cell"));
    let listed: BTreeSet<&str> = names.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let world = World::new();
    let repo = world.repo("docs");
    repo.write("README.md", "# Guide\n\n## Start\n\nBegin here.\n").write("a.rs", "fn begin() {}\n");
    repo.commit("first");
    world.ok(&["init"]);
    world.ok(&["apply"]);
    let found = world.ok(&["query", "where do I begin?", "--json"]).json();
    let records = found["matches"].as_array().expect("matches").iter();
    let fields: BTreeSet<&str> = records
        .flat_map(|found| found["metadata"].as_object().expect("fields").keys().map(String::as_str))
        .chain(["attr_NAME"])
        .collect();
    assert_eq!(listed, fields);
}

/// Routes, series and columns that the migration page maps to exist.
#[test]
fn the_migration_page_names_what_there_is() {
    let page = Page::read("docs/migration.md");
    let routes = Page::read("docs/reference/api.md").headings(3);
    let series = Page::read("docs/reference/metrics.md").text;
    let found = |expression: &str| -> Vec<String> {
        let expression = regex::Regex::new(expression).expect("an expression");
        expression.find_iter(&page.text).map(|found| found.as_str().to_owned()).collect()
    };
    let named = found(r"\b(GET|POST|DELETE) /[a-z/{}]+");
    assert!(named.len() >= 12, "{named:?}");
    for route in named {
        assert!(routes.contains(&format!("`{route}`")), "there is no route {route}");
    }
    let named = found(r"reposync_[a-z_]+_(seconds|total)");
    assert!(named.len() >= 4, "{named:?}");
    for name in named {
        assert!(series.contains(&format!("| `{name}` |")), "there is no series {name}");
    }
    let folder = root().join("engine/src/state/sqlite/migrations");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("migrations").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let sql: String = files.iter().map(|file| std::fs::read_to_string(file).expect("a file")).collect();
    for view in ["sync_metadata", "projects"] {
        let row = page.text.lines().find(|line| line.starts_with(&format!("| `{view}` ("))).expect("a row");
        let columns = row.split_once(") |").expect("a cell").0.split('`').skip(3).step_by(2);
        assert!(columns.clone().count() >= 7, "{row}");
        let definition = sql.rsplit_once(&format!("CREATE VIEW {view} AS")).expect("a view").1;
        let definition = definition.split_once(';').expect("an end").0;
        for column in columns {
            assert!(definition.contains(column), "the view {view} has no column {column}");
        }
    }
}
