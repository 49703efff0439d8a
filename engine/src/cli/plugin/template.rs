//! The templates of `plugin new`, embedded in the program. No I/O: takes a name, returns files.

use super::args::Language;
use crate::chunk::component::WIT;

/// A file of a project: its path relative to the project, and its text.
pub(super) type File = (String, String);

/// The files of the Rust SDK. Projects contain a copy, so that they do not depend on a registry.
const SDK: &[(&str, &str)] = &[
    ("src/lib.rs", include_str!("../../../../plugin-sdk/src/lib.rs")),
    ("src/chunker.rs", include_str!("../../../../plugin-sdk/src/chunker.rs")),
    ("src/configure.rs", include_str!("../../../../plugin-sdk/src/configure.rs")),
    ("src/diagnostic.rs", include_str!("../../../../plugin-sdk/src/diagnostic.rs")),
    ("src/document.rs", include_str!("../../../../plugin-sdk/src/document.rs")),
    ("src/export.rs", include_str!("../../../../plugin-sdk/src/export.rs")),
    ("src/export/answer.rs", include_str!("../../../../plugin-sdk/src/export/answer.rs")),
    ("src/export/answer/tests.rs", include_str!("../../../../plugin-sdk/src/export/answer/tests.rs")),
    ("src/export/handed.rs", include_str!("../../../../plugin-sdk/src/export/handed.rs")),
    ("src/export/wasm.rs", include_str!("../../../../plugin-sdk/src/export/wasm.rs")),
    ("src/host.rs", include_str!("../../../../plugin-sdk/src/host.rs")),
    ("src/log.rs", include_str!("../../../../plugin-sdk/src/log.rs")),
    ("src/testing.rs", include_str!("../../../../plugin-sdk/src/testing.rs")),
];

const SDK_MANIFEST: &str = include_str!("../../../../plugin-sdk/Cargo.toml");

/// The C API for chunkers: a single header.
pub(super) const C_HEADER: &str = include_str!("../../../../plugin-sdk/c/reposync_chunker.h");

/// The files of a language's template, in addition to the common ones.
struct Template {
    /// Path and text.
    files: &'static [(&'static str, &'static str)],
    /// The location of the chunker, for the README.
    source: &'static str,
    /// Instructions to install its tools.
    tools: &'static str,
    /// The command that runs its unit tests without the component.
    unit_tests: &'static str,
}

fn template(language: Language) -> Template {
    match language {
        Language::Rust => Template {
            files: &[
                ("Cargo.toml", include_str!("templates/rust/Cargo.toml")),
                ("src/lib.rs", include_str!("templates/rust/lib.rs")),
            ],
            source: "`src/lib.rs`",
            tools: include_str!("templates/rust/tools.md"),
            unit_tests: "cargo test                   # the chunker as plain Rust\n",
        },
        Language::Js => Template {
            files: &[
                ("package.json", include_str!("templates/js/package.json")),
                ("chunker.js", include_str!("templates/js/chunker.js")),
            ],
            source: "`chunker.js`",
            tools: include_str!("templates/js/tools.md"),
            unit_tests: "",
        },
        Language::Python => Template {
            files: &[
                ("requirements.txt", include_str!("templates/python/requirements.txt")),
                ("chunker.py", include_str!("templates/python/chunker.py")),
                ("sections.py", include_str!("templates/python/sections.py")),
            ],
            source: "`sections.py` (and `chunker.py` around it)",
            tools: include_str!("templates/python/tools.md"),
            unit_tests: "python -m doctest sections.py   # the chunker as plain Python\n",
        },
        Language::C => Template {
            files: &[("chunker.c", include_str!("templates/c/chunker.c")), ("reposync_chunker.h", C_HEADER)],
            source: "`chunker.c`",
            tools: include_str!("templates/c/tools.md"),
            unit_tests: "",
        },
    }
}

/// The files of a new project.
pub(super) fn files(name: &str, language: Language) -> Vec<File> {
    let template = template(language);
    let readme = include_str!("templates/README.md")
        .replace("{{source}}", template.source)
        .replace("{{tools}}", template.tools.trim_end())
        .replace("{{unit_tests}}\n", template.unit_tests);
    let common = [
        ("README.md", readme.as_str()),
        (".gitignore", include_str!("templates/gitignore")),
        ("fixtures/example.txt", include_str!("templates/example.txt")),
        ("fixtures/example.txt.chunks.json", include_str!("templates/example.txt.chunks.json")),
        ("wit/chunker.wit", WIT),
    ];
    let mut files: Vec<File> = common
        .iter()
        .chain(template.files)
        .map(|&(path, text)| (path.to_owned(), text.replace("{{name}}", name)))
        .collect();
    if language == Language::Rust {
        files.push(("sdk/Cargo.toml".to_owned(), standalone(SDK_MANIFEST)));
        files.extend(SDK.iter().map(|&(path, text)| (format!("sdk/{path}"), text.to_owned())));
    }
    files
}

/// Makes a manifest of our workspace independent by replacing inherited values.
fn standalone(manifest: &str) -> String {
    manifest
        .replace("[lints]\nworkspace = true\n\n", "")
        // Must precede the replacement of `version`, which is a suffix of this text.
        .replace(
            "rust-version.workspace = true",
            concat!("rust-version = \"", env!("CARGO_PKG_RUST_VERSION"), "\""),
        )
        .replace("version.workspace = true", concat!("version = \"", env!("CARGO_PKG_VERSION"), "\""))
        .replace("edition.workspace = true", "edition = \"2024\"")
        .replace("license.workspace = true", concat!("license = \"", env!("CARGO_PKG_LICENSE"), "\""))
        .replace("authors.workspace = true\n", "")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    const LANGUAGES: [Language; 4] = [Language::Rust, Language::Js, Language::Python, Language::C];

    #[test]
    fn no_placeholder_is_left() {
        for language in LANGUAGES {
            for (path, text) in files("recipes", language) {
                assert!(!text.contains("{{"), "{language:?}: {path}");
                assert!(!text.is_empty(), "{language:?}: {path}");
            }
        }
    }

    #[test]
    fn the_sdk_is_carried_along_whole() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-sdk/src");
        let mut present = BTreeSet::new();
        let mut folders = vec![source.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("the folder of the SDK") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let inside = path.strip_prefix(&source).expect("is inside");
                    present.insert(format!("src/{}", inside.display()).replace('\\', "/"));
                }
            }
        }
        let carried: BTreeSet<_> = SDK.iter().map(|&(path, _)| path.to_owned()).collect();
        assert_eq!(carried, present);
    }

    #[test]
    fn the_sdk_stands_alone() {
        let manifest: toml::Table = standalone(SDK_MANIFEST).parse().expect("a manifest");
        assert!(!manifest.contains_key("lints"));
        assert!(!standalone(SDK_MANIFEST).contains("workspace"));
        let package = |key: &str| manifest["package"][key].as_str();
        assert_eq!(package("edition"), Some("2024"));
        assert_eq!(package("version"), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!(package("rust-version"), Some(env!("CARGO_PKG_RUST_VERSION")));
    }

    #[test]
    fn a_project_of_every_language() {
        let own = LANGUAGES.map(|language| {
            let files = files("recipes", language);
            let mut names: Vec<_> = files.iter().map(|(path, _)| path.as_str()).collect();
            let common = names.drain(..5).collect::<Vec<_>>().join(" ");
            names.retain(|name| !name.starts_with("sdk/src/"));
            (common, names.join(" "))
        });
        insta::assert_snapshot!(own[0].0, @"README.md .gitignore fixtures/example.txt fixtures/example.txt.chunks.json wit/chunker.wit");
        assert!(own.iter().all(|(common, _)| *common == own[0].0));
        insta::assert_snapshot!(own[0].1, @"Cargo.toml src/lib.rs sdk/Cargo.toml");
        insta::assert_snapshot!(own[1].1, @"package.json chunker.js");
        insta::assert_snapshot!(own[2].1, @"requirements.txt chunker.py sections.py");
        insta::assert_snapshot!(own[3].1, @"chunker.c reposync_chunker.h");
    }
}
