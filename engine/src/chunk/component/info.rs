//! What a component says of itself.

use serde::{Deserialize, Serialize};

use super::bindings::exports::reposync::chunker::chunker::{OffsetUnit as Unit, PluginInfo};
use super::offsets::OffsetUnit;
use super::said::one_line;

/// A component's description, with what its file shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One sentence on what it does.
    pub summary: String,
    /// What its offsets count.
    pub offset_unit: OffsetUnit,
    /// Extensions it takes where the stage names no patterns; lower case, with the dot.
    pub extensions: Vec<String>,
    /// JSON Schema of its configuration; none: it takes no configuration.
    pub config_schema: Option<serde_json::Value>,
    /// The interfaces it imports.
    pub imports: Vec<String>,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// Size of the file.
    pub bytes: u64,
}

impl ComponentInfo {
    /// Name and version, as people know it: `changelog 0.2.0`.
    pub fn label(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// Checks a description; the error says what is wrong with it.
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
                Ok(_) => return Err("its config schema is no JSON object".to_owned()),
                Err(error) => return Err(format!("its config schema is no JSON: {error}")),
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

/// Names stand in plans, ids of recipes and logs: letters, digits and a few marks only.
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

fn checked_extension(extension: &str) -> Result<String, String> {
    let rest = extension.strip_prefix('.').unwrap_or_default();
    if rest.is_empty() || rest.len() > 32 || rest.chars().any(|c| c == '/' || c.is_control() || c == '*') {
        return Err(format!("its extension `{}` is none; write it like `.md`", one_line(extension)));
    }
    Ok(extension.to_lowercase())
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
    fn a_description_is_not_believed() {
        let info = ComponentInfo::checked(said(), Vec::new(), "00", 1).expect("good");
        assert_eq!((info.label().as_str(), info.extensions[0].as_str()), ("changelog 0.2.0", ".md"));
        assert_eq!(info.summary, "Cuts changelogs.");
        let spoil: [fn(&mut PluginInfo); 6] = [
            |said| said.name = String::new(),
            |said| said.name = "a b".into(),
            |said| said.version = "\u{1b}[2J".into(),
            |said| said.extensions = vec!["md".into()],
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
