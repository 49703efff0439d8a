//! Metadata of a component in its file: name, version, description, licence and the digest of its sources,
//! in the custom sections that tools for components and registries read.

use std::path::Path;

use serde::Serialize;
use toml::Value;
use wasmparser::{KnownCustom, Parser, Payload};

use crate::chunk::component::ComponentInfo;

/// What the sections of a component's file say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    /// An SPDX expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) licenses: Option<String>,
    /// Digest of the sources: `sha256:…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<String>,
}

impl Metadata {
    /// The metadata of a component that was built from the sources with this digest.
    pub(super) fn of(info: &ComponentInfo, licenses: Option<String>, sources: Option<&str>) -> Self {
        Self {
            name: Some(info.name.clone()),
            version: Some(info.version.clone()),
            description: Some(info.summary.clone()),
            licenses,
            revision: sources.map(|digest| format!("sha256:{digest}")),
        }
    }

    /// Sections to append to a component.
    pub(super) fn sections(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(name) = &self.name {
            // Subsection 0 of the section `component-name` is the component's own name.
            let mut text = Vec::new();
            leb128(&mut text, name.len());
            text.extend_from_slice(name.as_bytes());
            let mut data = vec![0];
            leb128(&mut data, text.len());
            data.extend_from_slice(&text);
            section(&mut bytes, "component-name", &data);
        }
        for (name, text) in [
            ("version", &self.version),
            ("description", &self.description),
            ("licenses", &self.licenses),
            ("revision", &self.revision),
        ] {
            if let Some(text) = text {
                section(&mut bytes, name, text.as_bytes());
            }
        }
        bytes
    }

    /// Reads the sections of a component; those of the modules in it are not its own.
    pub(super) fn read(component: &[u8]) -> Self {
        let mut found = Self::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
            match payload {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::CustomSection(section) if depth == 0 => {
                    let text = || std::str::from_utf8(section.data()).ok().map(str::to_owned);
                    match section.name() {
                        "version" => found.version = text(),
                        "description" => found.description = text(),
                        "licenses" => found.licenses = text(),
                        "revision" => found.revision = text(),
                        _ => {}
                    }
                    if let KnownCustom::ComponentName(names) = section.as_known() {
                        found.name = names.into_iter().map_while(Result::ok).find_map(|name| match name {
                            wasmparser::ComponentName::Component { name, .. } => Some(name.to_owned()),
                            _ => None,
                        });
                    }
                }
                _ => {}
            }
        }
        found
    }
}

/// Appends a custom section to a component.
pub(super) fn section(component: &mut Vec<u8>, name: &str, data: &[u8]) {
    let mut section = Vec::new();
    leb128(&mut section, name.len());
    section.extend_from_slice(name.as_bytes());
    section.extend_from_slice(data);
    component.push(0);
    leb128(component, section.len());
    component.extend_from_slice(&section);
}

fn leb128(bytes: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = number.to_le_bytes()[0] & 0x7f;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// The licence that a project declares in `Cargo.toml` (its own or its workspace's), `package.json` or
/// `pyproject.toml`.
pub(super) fn license_of(dir: &Path) -> Option<String> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let toml = |path: &Path| read(path)?.parse::<toml::Table>().ok();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let manifest = toml(&dir.join("Cargo.toml"));
    if let Some(license) = manifest.as_ref().and_then(|manifest| manifest.get("package")?.get("license")) {
        return text(license).or_else(|| {
            let mut workspace = dir.ancestors().filter_map(|folder| toml(&folder.join("Cargo.toml")));
            workspace.find_map(|root| text(root.get("workspace")?.get("package")?.get("license")?))
        });
    }
    let package: Option<serde_json::Value> =
        read(&dir.join("package.json")).and_then(|text| serde_json::from_str(&text).ok());
    let license = package.and_then(|package| Some(package.get("license")?.as_str()?.to_owned()));
    license.or_else(|| {
        let project = toml(&dir.join("pyproject.toml"))?;
        let license = project.get("project")?.get("license")?;
        text(license).or_else(|| text(license.get("text")?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let metadata = Metadata {
            name: Some("notes".into()),
            version: Some("1.2.0".into()),
            description: Some("Cuts notes. ".repeat(20)),
            licenses: Some("MIT".into()),
            revision: Some("sha256:00".into()),
        };
        let inner = "(component (core module (@custom \"version\" \"9\")))";
        let mut component = wat::parse_str(inner).expect("good text");
        assert_eq!(Metadata::read(&component), Metadata::default());
        component.extend(metadata.sections());
        wasmparser::validate(&component).expect("still a component");
        assert_eq!(Metadata::read(&component), metadata);
        assert_eq!(Metadata::read(b"no component"), Metadata::default());
    }

    #[test]
    fn the_licence_is_that_of_the_projects_manifest() {
        let root = tempfile::tempdir().expect("a folder");
        let dir = root.path().join("chunker");
        std::fs::create_dir(&dir).expect("made");
        assert_eq!(license_of(&dir), None);
        for (file, text, license) in [
            ("pyproject.toml", "[project]\nlicense = { text = \"ISC\" }", "ISC"),
            ("pyproject.toml", "[project]\nlicense = \"MIT\"", "MIT"),
            ("package.json", "{\"license\": \"Apache-2.0\"}", "Apache-2.0"),
            ("../Cargo.toml", "[workspace.package]\nlicense = \"0BSD\"", "Apache-2.0"),
            ("Cargo.toml", "[package]\nlicense.workspace = true", "0BSD"),
            ("Cargo.toml", "[package]\nlicense = \"Zlib\"", "Zlib"),
        ] {
            std::fs::write(dir.join(file), text).expect("written");
            assert_eq!(license_of(&dir).as_deref(), Some(license), "{file}");
        }
    }
}
