//! Finds project names, also in invalid files, for shell completion.

use std::path::Path;

use toml::de::{DeTable, DeValue};

/// The project names in the order of the file; empty if it cannot be read.
pub fn project_names(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let (root, _) = DeTable::parse_recoverable(&text);
    let Some(projects) = root.get_ref().get("projects") else { return Vec::new() };
    let DeValue::Table(projects) = projects.get_ref() else { return Vec::new() };
    let mut names: Vec<_> = projects.keys().collect();
    names.sort_by_key(|name| name.span().start);
    names.into_iter().map(|name| name.get_ref().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_a_file_that_is_not_valid() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("reposync.toml");
        for (text, names) in [
            ("[projects.b]\nnonsense = 1\n[projects.\"a.c\"]\n", &["b", "a.c"][..]),
            ("[projects.b]\npipeline = [\n", &["b"]),
            ("projects = 3", &[]),
            ("", &[]),
        ] {
            std::fs::write(&path, text).expect("written");
            assert_eq!(project_names(&path), names, "{text}");
        }
        assert!(project_names(&folder.path().join("absent.toml")).is_empty());
    }
}
