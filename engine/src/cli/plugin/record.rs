//! Records what a component was built from. The build tools of JavaScript and Python are not
//! reproducible, and with a new digest of the component every file would be chunked again. `plugin
//! build` therefore writes a digest of all build inputs into the component, and keeps a component
//! whose digest matches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wasmparser::{Parser, Payload};

use super::metadata::section;
use crate::chunk::component::WIT;

/// The custom section that contains the record as JSON.
const SECTION: &str = "reposync-build";

/// Increase when `plugin build` calls the tools differently.
const RECIPE: &str = "1";

/// Folders of a project that are not sources: documents of `plugin test`, and output of tools.
/// Hidden files and folders are not sources either.
const NOT_SOURCES: [&str; 5] = ["fixtures", "node_modules", "target", "venv", "__pycache__"];

/// The build inputs other than the sources.
pub(super) struct Inputs {
    pub(super) tools: Vec<String>,
    /// The installed libraries: names with versions, or contents of lock files. The order does not
    /// matter.
    pub(super) libraries: Vec<String>,
}

/// The record of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// SHA-256 of sources, contract, tools and libraries.
    pub(super) digest: String,
    /// Names and versions of the tools, for display.
    pub(super) tools: Vec<String>,
}

impl Record {
    /// The record for a build of the project in `dir`.
    pub(super) fn of(dir: &Path, inputs: &Inputs) -> anyhow::Result<Self> {
        let mut hasher = Sha256::new();
        let mut part = |name: &str, content: &[u8]| hash(&mut hasher, name, content);
        part("recipe", RECIPE.as_bytes());
        part("contract", WIT.as_bytes());
        for tool in &inputs.tools {
            part("tool", tool.as_bytes());
        }
        let mut libraries: Vec<_> = inputs.libraries.iter().collect();
        libraries.sort_unstable();
        for library in libraries {
            part("library", library.as_bytes());
        }
        for (path, file) in sources(dir)? {
            let content =
                std::fs::read(&file).with_context(|| format!("failed to read `{}`", file.display()))?;
            part(&path, &content);
        }
        Ok(Self { digest: hex::encode(hasher.finalize()), tools: inputs.tools.clone() })
    }

    /// Reads the record in a component; `None` if it has none.
    pub(super) fn read(component: &[u8]) -> Option<Self> {
        let sections = Parser::new(0).parse_all(component).map_while(Result::ok);
        let record = sections
            .filter_map(|payload| match payload {
                Payload::CustomSection(section) if section.name() == SECTION => Some(section.data()),
                _ => None,
            })
            .last()?;
        serde_json::from_slice(record).ok()
    }

    /// Appends the record to a component without one.
    pub(super) fn append(&self, component: &mut Vec<u8>) {
        section(component, SECTION, &serde_json::to_vec(self).expect("texts are JSON"));
    }

    /// An existing component that was built from the same inputs: `out`, or else one in the
    /// project's folder.
    pub(super) fn kept(&self, dir: &Path, out: Option<&Path>) -> Option<PathBuf> {
        let is_same = |file: &Path| {
            std::fs::read(file)
                .is_ok_and(|bytes| Self::read(&bytes).is_some_and(|record| record.digest == self.digest))
        };
        if let Some(out) = out {
            return is_same(out).then(|| out.to_owned());
        }
        let mut components: Vec<PathBuf> = std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
            .collect();
        components.sort();
        components.into_iter().find(|component| is_same(component))
    }
}

/// Adds a part to a digest. Lengths separate the parts.
fn hash(hasher: &mut Sha256, name: &str, content: &[u8]) {
    for bytes in [name.as_bytes(), content] {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
}

/// SHA-256 over the names and contents of a project's sources, in hex.
pub(super) fn digest_of_sources(dir: &Path) -> anyhow::Result<String> {
    let mut hasher = Sha256::new();
    for (path, file) in sources(dir)? {
        let content = std::fs::read(&file).with_context(|| format!("failed to read `{}`", file.display()))?;
        hash(&mut hasher, &path, &content);
    }
    Ok(hex::encode(hasher.finalize()))
}

/// The project's files that may be part of its component, by path with `/`.
pub(super) fn sources(dir: &Path) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![(String::new(), dir.to_owned())];
    while let Some((prefix, folder)) = folders.pop() {
        let shown = folder.display().to_string();
        let entries = std::fs::read_dir(&folder).with_context(|| format!("failed to read `{shown}`"))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("failed to read `{shown}`"))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if name.starts_with('.') || NOT_SOURCES.contains(&name.as_str()) || name == "README.md" {
                continue;
            }
            if path.is_dir() {
                // Not followed, since links to folders may form a cycle.
                if !path.is_symlink() {
                    folders.push((format!("{prefix}{name}/"), path));
                }
            } else if path.is_file() && path.extension().is_none_or(|extension| extension != "wasm") {
                files.insert(format!("{prefix}{name}"), path);
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs() -> Inputs {
        Inputs {
            tools: vec!["jco 1.35.0".into()],
            libraries: vec!["b-1.dist-info".into(), "a-2.dist-info".into()],
        }
    }

    fn digest(dir: &Path, inputs: &Inputs) -> String {
        Record::of(dir, inputs).expect("readable").digest
    }

    fn project() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("lib")).expect("made");
        for file in ["chunker.js", "lib/rules.js"] {
            std::fs::write(dir.path().join(file), file).expect("written");
        }
        dir
    }

    #[test]
    fn everything_that_goes_into_a_build_changes_its_digest() {
        let dir = project();
        let before = digest(dir.path(), &inputs());
        let newer = Inputs { tools: vec!["jco 1.36.0".into()], ..inputs() };
        assert_ne!(digest(dir.path(), &newer), before);
        let fewer = Inputs { libraries: vec!["a-2.dist-info".into()], ..inputs() };
        assert_ne!(digest(dir.path(), &fewer), before);
        std::fs::write(dir.path().join("lib/rules.js"), "other").expect("written");
        assert_ne!(digest(dir.path(), &inputs()), before);
    }

    #[test]
    fn what_no_component_holds_does_not_change_the_digest() {
        let dir = project();
        let before = digest(dir.path(), &inputs());
        let mut turned = inputs();
        turned.libraries.reverse();
        assert_eq!(digest(dir.path(), &turned), before);
        for folder in ["fixtures", "node_modules", "__pycache__", ".venv"] {
            std::fs::create_dir(dir.path().join(folder)).expect("made");
            std::fs::write(dir.path().join(folder).join("file"), "").expect("written");
        }
        for file in ["README.md", "notes.wasm", ".gitignore"] {
            std::fs::write(dir.path().join(file), "").expect("written");
        }
        assert_eq!(digest(dir.path(), &inputs()), before);
    }

    #[test]
    fn a_component_carries_its_record() {
        let record = Record { digest: "00ff".into(), tools: vec!["componentize-py 0.25.1".into(); 20] };
        let mut component = wat::parse_str("(component (core module))").expect("good text");
        assert_eq!(Record::read(&component), None);
        record.append(&mut component);
        assert_eq!(Record::read(&component), Some(record));
        wasmparser::validate(&component).expect("still a component");
        assert_eq!(Record::read(b"no component"), None);
    }

    #[test]
    fn the_component_of_an_unchanged_project_is_found() {
        let dir = project();
        let record = Record::of(dir.path(), &inputs()).expect("readable");
        let mut component = wat::parse_str("(component)").expect("good text");
        record.append(&mut component);
        let [own, other] = ["notes.wasm", "other.wasm"].map(|name| dir.path().join(name));
        std::fs::write(&other, wat::parse_str("(component)").expect("good text")).expect("written");
        assert_eq!(record.kept(dir.path(), None), None);
        std::fs::write(&own, &component).expect("written");
        assert_eq!(record.kept(dir.path(), None), Some(own.clone()));
        assert_eq!(record.kept(dir.path(), Some(&own)), Some(own));
        assert_eq!(record.kept(dir.path(), Some(&other)), None);
    }
}
