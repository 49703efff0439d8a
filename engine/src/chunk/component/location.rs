//! Where a component comes from: a file, a URL, or a registry of OCI artifacts.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use crate::settings::Objection;

/// The value of `component`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file of this machine.
    File(PathBuf),
    /// An address, as written in the file: `https://…` or `oci://…`.
    Remote(String),
}

/// An address that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Of a file on a web server.
    Web(Url),
    /// Of an artifact in a registry.
    Artifact(Artifact),
}

/// A component in a registry: `oci://HOST/NAME:TAG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Host, with its port if there is one.
    pub host: String,
    /// The repository in the registry, such as `acme/chunkers/notes`.
    pub name: String,
    /// The tag, or the digest of a manifest (`sha256:…`).
    pub reference: String,
}

impl Location {
    /// A path, or an address if the text has a scheme.
    pub fn of(text: &str) -> Self {
        if text.contains("://") { Self::Remote(text.to_owned()) } else { Self::File(text.into()) }
    }

    /// The file of a component that is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Remote(_) => None,
        }
    }

    /// True for an empty path.
    pub(super) fn is_empty(&self) -> bool {
        self.file().is_some_and(|path| path.as_os_str().is_empty())
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Remote(address) => f.write_str(address),
        }
    }
}

impl Address {
    /// Reads an address; the objection says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Objection> {
        let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
        match scheme {
            "oci" => Artifact::parse(&text["oci://".len()..]).map(Self::Artifact),
            "https" => web(text).map(Self::Web),
            "http" => Err(Objection::new("http is not encrypted", "use an https address")),
            _ => Err(Objection::new(
                format!("`{scheme}` is not a scheme that components come by"),
                "write a path, \"https://HOST/…\" or \"oci://HOST/NAME:TAG\"",
            )),
        }
    }

    /// The host that is asked first, with its port if there is one.
    pub fn host(&self) -> String {
        match self {
            Self::Web(url) => url[url::Position::BeforeHost..url::Position::AfterPort].to_owned(),
            Self::Artifact(artifact) => artifact.host.clone(),
        }
    }
}

fn web(text: &str) -> Result<Url, Objection> {
    let url = Url::parse(text).map_err(|error| {
        Objection::new(format!("not a URL: {error}"), "write it like \"https://HOST/name.wasm\"")
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        let hint = "leave `USER:PASSWORD@` out; for components behind a login use a registry (`oci://…`)";
        return Err(Objection::new("a URL must not carry credentials", hint));
    }
    Ok(url)
}

impl Artifact {
    fn parse(text: &str) -> Result<Self, Objection> {
        let wrong = |what: &str| {
            Objection::new(
                format!("not an address in a registry: {what}"),
                "write it like \"oci://HOST/NAME:TAG\"",
            )
        };
        let (host, rest) = text.split_once('/').ok_or_else(|| wrong("there is no name after the host"))?;
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        if host.is_empty() || !host.chars().all(is_host) || Url::parse(&format!("https://{host}/")).is_err() {
            return Err(wrong("the host is not valid"));
        }
        let (name, reference) = match rest.split_once('@') {
            Some((name, digest)) if is_digest(digest) => {
                (name.split_once(':').map_or(name, |(name, _)| name), digest)
            }
            Some(_) => return Err(wrong("after `@` comes a digest, `sha256:` and 64 hexadecimal digits")),
            None => rest.split_once(':').ok_or_else(|| wrong("it names no tag"))?,
        };
        let is_name = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c))
        };
        if !name.split('/').all(is_name) {
            return Err(wrong("names are made of lower-case letters, digits, `-`, `.`, `_` and `/`"));
        }
        let is_tag = |tag: &str| {
            tag.len() <= 128
                && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                && tag.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
        };
        if !is_digest(reference) && !is_tag(reference) {
            return Err(wrong("the tag is not valid"));
        }
        Ok(Self { host: host.to_owned(), name: name.to_owned(), reference: reference.to_owned() })
    }
}

/// True for `sha256:` and 64 hexadecimal digits in lower case.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

impl Serialize for Location {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::File(path) => serializer.collect_str(&path.to_string_lossy()),
            Self::Remote(address) => serializer.serialize_str(address),
        }
    }
}

impl<'de> Deserialize<'de> for Location {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Ok(Self::of(&text))
    }
}

impl JsonSchema for Location {
    fn schema_name() -> Cow<'static, str> {
        "Location".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(text: &str) -> Result<(String, String, String), String> {
        match Address::parse(text).map_err(|objection| objection.message)? {
            Address::Artifact(Artifact { host, name, reference }) => Ok((host, name, reference)),
            Address::Web(url) => panic!("{url}"),
        }
    }

    #[test]
    fn paths_and_addresses_are_told_apart() {
        for path in ["a.wasm", "/srv/plugins/a.wasm", "oci/a.wasm", "C:\\a.wasm"] {
            assert_eq!(Location::of(path), Location::File(path.into()));
        }
        for address in ["https://example.com/a.wasm", "oci://example.com/a:1", "ftp://x"] {
            assert_eq!(Location::of(address), Location::Remote(address.into()));
        }
    }

    #[test]
    fn addresses_of_registries_are_read() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (text, host, name, reference) in [
            ("oci://ghcr.io/acme/notes:1.2", "ghcr.io", "acme/notes", "1.2"),
            ("oci://localhost:5000/notes:latest", "localhost:5000", "notes", "latest"),
            (&format!("oci://h/a.b/c_d:x@{digest}"), "h", "a.b/c_d", &digest),
            (&format!("oci://[::1]:5000/a@{digest}"), "[::1]:5000", "a", &digest),
        ] {
            assert_eq!(
                artifact(text),
                Ok((host.to_owned(), name.to_owned(), reference.to_owned())),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (text, message) in [
            ("oci://host", "not an address in a registry: there is no name after the host"),
            ("oci:///a:1", "not an address in a registry: the host is not valid"),
            ("oci://user@host/a:1", "not an address in a registry: the host is not valid"),
            ("oci://host/a", "not an address in a registry: it names no tag"),
            (
                "oci://host/a@sha256:12",
                "not an address in a registry: after `@` comes a digest, `sha256:` and 64 hexadecimal digits",
            ),
            (
                "oci://host/A:1",
                "not an address in a registry: names are made of lower-case letters, digits, `-`, `.`, `_` and `/`",
            ),
            (
                "oci://host/../a:1",
                "not an address in a registry: names are made of lower-case letters, digits, `-`, `.`, `_` and `/`",
            ),
            ("oci://host/a:b/c", "not an address in a registry: the tag is not valid"),
            ("http://host/a.wasm", "http is not encrypted"),
            ("ftp://host/a.wasm", "`ftp` is not a scheme that components come by"),
            ("https://user:pw@host/a.wasm", "a URL must not carry credentials"),
            ("https://", "not a URL: empty host"),
        ] {
            assert_eq!(Address::parse(text).expect_err(text).message, message, "{text}");
        }
    }
}
