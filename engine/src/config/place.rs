//! Where a key stands in the file, for those who find fault with a value after it was resolved.

use toml::de::{DeTable, DeValue};

/// The line (1-based) of the key at `path`, or of the nearest one above it that stands in the
/// text; none where the text is no TOML, or nothing of the path stands in it.
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
    fn the_nearest_key_that_stands_there() {
        let text = "[stages.a]\nkind = \"wasm\"\nconfig = { deep = {\n  level = 9 } }\n";
        assert_eq!(line_of(text, &["stages", "a", "config", "deep", "level"]), Some(4));
        assert_eq!(line_of(text, &["stages", "a", "config", "other"]), Some(3));
        assert_eq!(line_of(text, &["nothing"]), None);
        assert_eq!(line_of("= no toml", &["stages"]), None);
    }
}
