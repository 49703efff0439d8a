//! Which repositories a project selects, as written in the file and resolved.

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::model::RepoRef;

/// Which repositories a project wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All repositories of an organisation or a user, narrowed by a keyword in name, description
    /// or topics (ignoring case).
    Owner {
        /// The organisation or user.
        owner: String,
        /// The keyword.
        keyword: Option<String>,
    },
    /// These repositories: `owner/name` for GitHub; name and path for local Git.
    Named(Vec<RepoRef>),
}

/// A repository.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(untagged, rename = "Repository")]
pub enum WrittenRepository {
    /// `owner/name`, or a path for kind `git`.
    Plain(String),
    /// A path with an explicit name, for kind `git`.
    Named(NamedRepository),
}

/// A local repository with an explicit name.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedRepository {
    /// Its folder, relative to this file.
    pub path: String,
    /// Its name. Default: the folder's name without `.git`.
    #[serde(default)]
    pub name: Option<String>,
}

// Implemented manually rather than with `untagged`, so that errors keep their position.
impl<'de> Deserialize<'de> for WrittenRepository {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = WrittenRepository;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a repository such as \"owner/name\" or { path = \"…\", name = \"…\" }")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<WrittenRepository, E> {
                Ok(WrittenRepository::Plain(text.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WrittenRepository, A::Error> {
                NamedRepository::deserialize(MapAccessDeserializer::new(map)).map(WrittenRepository::Named)
            }
        }
        deserializer.deserialize_any(Either)
    }
}
