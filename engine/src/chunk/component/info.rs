//! The description that a component returns from `describe`.

use serde::{Deserialize, Serialize};

use super::bindings::exports::reposync::chunker::chunker::{OffsetUnit as Unit, PluginInfo};
use super::offsets::OffsetUnit;
use super::said::one_line;
use crate::chunk::language_of;
use crate::model::PathMatcher;

/// A component's description, plus what its file reveals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentInfo {
    /// Name, such as `changelog`.
    pub name: String,
    /// Version, such as `0.2.0`.
    pub version: String,
    /// One sentence that describes what the component does.
    pub summary: String,
    /// Unit of the component's offsets.
    pub offset_unit: OffsetUnit,
    /// The files it accepts if the stage sets no `match`, in lower case: extensions with the dot, names and
    /// globs.
    pub extensions: Vec<String>,
    /// JSON Schema of its configuration; `None` if the component declares none.
    pub config_schema: Option<serde_json::Value>,
    /// The interfaces it imports.
    pub imports: Vec<String>,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// Size of the file in bytes.
    pub bytes: u64,
}

impl ComponentInfo {
    /// Name and version for display: `changelog 0.2.0`.
    pub fn label(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// True if its result may depend on the embedder: it may ask for counts of tokens and their limit.
    pub fn asks_the_embedder(&self) -> bool {
        self.imports.iter().any(|import| import.starts_with("reposync:chunker/host@"))
    }

    /// Validates a description; the error is the first problem.
    pub(super) fn checked(
        said: PluginInfo,
        imports: Vec<String>,
        sha256: &str,
        bytes: u64,
    ) -> Result<Self, String> {
        plain("name", &said.name, "-_.")?;
        plain("version", &said.version, "-_.+")?;
        let extensions = said.extensions.iter().map(|extension| checked_extension(extension));
        let config_schema = match said.config_schema.trim() {
            "" => None,
            schema => match serde_json::from_str(schema) {
                Ok(schema @ serde_json::Value::Object(_)) => Some(schema),
                Ok(_) => return Err("its config schema is not a JSON object".to_owned()),
                Err(error) => return Err(format!("its config schema is not valid JSON: {error}")),
            },
        };
        Ok(Self {
            name: said.name,
            version: said.version,
            summary: one_line(&said.summary),
            offset_unit: match said.offset_unit {
                Unit::Utf8Bytes => OffsetUnit::Utf8Bytes,
                Unit::Utf16Units => OffsetUnit::Utf16Units,
                Unit::CodePoints => OffsetUnit::CodePoints,
            },
            extensions: extensions.collect::<Result<_, _>>()?,
            config_schema,
            imports,
            sha256: sha256.to_owned(),
            bytes,
        })
    }
}

/// Names appear in plans, recipe ids and logs, so they are limited to letters, digits and `marks`.
fn plain(what: &str, text: &str, marks: &str) -> Result<(), String> {
    const MAX: usize = 64;
    let fits = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
    if text.is_empty() || text.len() > MAX || !text.chars().all(fits) {
        return Err(format!(
            "its {what} is `{}`; it must be 1 to {MAX} letters, digits and `{marks}`",
            one_line(text)
        ));
    }
    Ok(())
}

/// Checks an extension (`.md`), a file name (`Makefile`) or a glob (`docs/**/*.txt`).
fn checked_extension(extension: &str) -> Result<String, String> {
    let bad = || {
        format!(
            "its extension `{}` is not valid; write extensions like `.md`, file names like `Makefile` and globs \
             like `docs/**/*.txt`",
            one_line(extension)
        )
    };
    let lower = extension.to_lowercase();
    let is_glob = extension.contains(['/', '*', '?', '[', '{']);
    let longest = if is_glob { 256 } else { 64 };
    if extension.is_empty()
        || extension == "."
        || extension.len() > longest
        || extension.contains(char::is_control)
    {
        return Err(bad());
    }
    if is_glob && PathMatcher::new(std::slice::from_ref(&lower)).is_err() {
        return Err(bad());
    }
    // A forgotten dot: `md` would be a file of that name.
    if language_of(&format!("a.{lower}")).is_some() && language_of(&lower).is_none() {
        return Err(bad());
    }
    Ok(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> PluginInfo {
        PluginInfo {
            name: "changelog".into(),
            version: "0.2.0".into(),
            summary: "Cuts\nchangelogs.".into(),
            offset_unit: Unit::CodePoints,
            extensions: vec![".MD".into()],
            config_schema: String::new(),
        }
    }

    #[test]
    fn an_invalid_description_is_rejected() {
        let info = ComponentInfo::checked(said(), Vec::new(), "00", 1).expect("good");
        assert_eq!((info.label().as_str(), info.extensions[0].as_str()), ("changelog 0.2.0", ".md"));
        assert_eq!(info.summary, "Cuts changelogs.");
        let several =
            |said: &mut PluginInfo| said.extensions = vec!["Makefile".into(), "Docs/**/*.TXT".into()];
        let mut matching = said();
        several(&mut matching);
        let info = ComponentInfo::checked(matching, Vec::new(), "00", 1).expect("good");
        assert_eq!(info.extensions, ["makefile", "docs/**/*.txt"]);
        let spoil: [fn(&mut PluginInfo); 7] = [
            |said| said.name = String::new(),
            |said| said.name = "a b".into(),
            |said| said.version = "\u{1b}[2J".into(),
            |said| said.extensions = vec!["md".into()],
            |said| said.extensions = vec!["a/{b".into()],
            |said| said.config_schema = "{".into(),
            |said| said.config_schema = "[]".into(),
        ];
        for spoil in spoil {
            let mut said = said();
            spoil(&mut said);
            assert!(ComponentInfo::checked(said, Vec::new(), "00", 1).is_err());
        }
    }
}
