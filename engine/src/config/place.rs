//! Finds the position of a key in the file, for problems that are found after values were resolved.

use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::problems::Problems;
use crate::settings::{Problem, quoted};

/// Turns problems that were found after parsing, each with the path of its key, into [`Problems`]
/// that point at the value, or at the nearest enclosing key in the file.
pub fn problems_at(file: &Path, text: &str, found: &[(Vec<String>, String)]) -> Problems {
    let root = DeTable::parse(text).ok();
    let list = found.iter().map(|(path, message)| {
        let key = path.iter().map(|key| quoted(key)).collect::<Vec<_>>().join(".");
        match root.as_ref().and_then(|root| span_of(root.get_ref(), path)) {
            Some(span) => Problem::at(key, span, message),
            None => Problem::new(key, message),
        }
    });
    Problems::new(file, text, list.collect())
}

fn span_of(root: &DeTable<'_>, path: &[String]) -> Option<Range<usize>> {
    let (first, rest) = path.split_first()?;
    let (name, value) = root.get_key_value(first.as_str())?;
    // For a table the key's position is used: the value's span may cover the rest of the file.
    let mut found = if value.get_ref().is_table() { name.span() } else { value.span() };
    let mut value = value.get_ref();
    for key in rest {
        let inner = match value {
            DeValue::Table(table) => table.get_key_value(key.as_str()),
            DeValue::Array(items) => {
                let Some(item) = key.parse().ok().and_then(|at: usize| items.get(at)) else { break };
                (found, value) = (item.span(), item.get_ref());
                continue;
            }
            _ => None,
        };
        let Some((name, next)) = inner else { break };
        found = if next.get_ref().is_table() { name.span() } else { next.span() };
        value = next.get_ref();
    }
    Some(found)
}

/// The component files that stages of kind `wasm` name, as written. For editors: the rest of the
/// file is not checked.
pub fn component_files(text: &str) -> Vec<String> {
    let Ok(root) = DeTable::parse(text) else { return Vec::new() };
    let Some(DeValue::Table(stages)) = root.get_ref().get("stages").map(toml::Spanned::get_ref) else {
        return Vec::new();
    };
    let mut files: Vec<String> = stages
        .iter()
        .filter_map(|(_, stage)| {
            let DeValue::Table(stage) = stage.get_ref() else { return None };
            let text = |key: &str| stage.get(key)?.get_ref().as_str();
            (text("kind")? == "wasm").then(|| text("component").map(str::to_owned))?
        })
        .collect();
    files.sort();
    files.dedup();
    files
}

/// The line (1-based) of the key at `path` or of the nearest enclosing key in the text; `None` if
/// the text is not TOML or contains no part of the path.
pub fn line_of<S: AsRef<str>>(text: &str, path: &[S]) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut found = None;
    for key in path {
        let Some((name, value)) = table.get_key_value(key.as_ref()) else { break };
        found = Some(name.span().start);
        let DeValue::Table(inner) = value.get_ref() else { break };
        table = inner;
    }
    let start = found?;
    Some(text.get(..start)?.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_show_the_value_or_the_nearest_key() {
        let text = "[stages.a]\nkind = \"wasm\"\nconfig = { deep = { level = 9, marks = [\"x\", \"y\"] } }\n";
        let found = |keys: &[&str], message: &str| {
            let keys = ["stages", "a", "config"].iter().chain(keys).map(|key| (*key).to_owned());
            (keys.collect::<Vec<_>>(), message.to_owned())
        };
        let problems = problems_at(
            Path::new("reposync.toml"),
            text,
            &[
                found(&["deep", "level"], "is too large"),
                found(&["deep", "marks", "1"], "is not a mark"),
                found(&["owner"], "is missing"),
            ],
        );
        insta::assert_snapshot!(problems.render(false, 100), @r#"
        error: `stages.a.config.owner`: is missing
         --> reposync.toml:3:1
          |
        3 | config = { deep = { level = 9, marks = ["x", "y"] } }
          | ^^^^^^

        error: `stages.a.config.deep.level`: is too large
         --> reposync.toml:3:29
          |
        3 | config = { deep = { level = 9, marks = ["x", "y"] } }
          |                             ^

        error: `stages.a.config.deep.marks.1`: is not a mark
         --> reposync.toml:3:46
          |
        3 | config = { deep = { level = 9, marks = ["x", "y"] } }
          |                                              ^^^

        3 problems in reposync.toml
        "#);
    }

    #[test]
    fn components_are_found_as_they_are_written() {
        let text = "[stages.a]\nkind = \"wasm\"\ncomponent = \"plugins/a.wasm\"\n[stages.b]\nkind = \"code\"\n\
                    component = \"no.wasm\"\n[stages.c]\nkind = \"wasm\"\n[stages.d]\nkind = \"wasm\"\n\
                    component = \"plugins/a.wasm\"\n";
        assert_eq!(component_files(text), ["plugins/a.wasm"]);
        assert_eq!(component_files("= no toml"), [""; 0]);
    }

    #[test]
    fn the_nearest_key_that_stands_there() {
        let text = "[stages.a]\nkind = \"wasm\"\nconfig = { deep = {\n  level = 9 } }\n";
        assert_eq!(line_of(text, &["stages", "a", "config", "deep", "level"]), Some(4));
        assert_eq!(line_of(text, &["stages", "a", "config", "other"]), Some(3));
        assert_eq!(line_of(text, &["nothing"]), None);
        assert_eq!(line_of("= no toml", &["stages"]), None);
    }
}
