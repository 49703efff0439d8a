//! Which repositories a project selects, as written in the file and resolved.

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::model::{PushSubject, RepoRef};

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
    /// These repositories: `owner/name` for GitHub; name and path for local Git; name and address for others.
    Named(Vec<RepoRef>),
}

impl Selection {
    /// True if it may select what a push is about. Ignores the keyword, which only the listing can
    /// evaluate.
    pub fn may_select(&self, subject: &PushSubject) -> bool {
        match (self, subject) {
            (Self::Owner { owner, .. }, PushSubject::Owner(pushed)) => owner.eq_ignore_ascii_case(pushed),
            (Self::Owner { owner, .. }, PushSubject::Repository(name)) => is_of_owner(name, owner),
            (Self::Named(repositories), PushSubject::Repository(name)) => {
                repositories.iter().any(|repo| repo.name.eq_ignore_ascii_case(name))
            }
            (Self::Named(repositories), PushSubject::Owner(owner)) => {
                repositories.iter().any(|repo| is_of_owner(&repo.name, owner))
            }
        }
    }
}

/// True if the name of a repository, a path of any depth, lies below the owner's.
fn is_of_owner(name: &str, owner: &str) -> bool {
    let above = name.get(..owner.len()).is_some_and(|above| above.eq_ignore_ascii_case(owner));
    above && name[owner.len()..].starts_with('/')
}

/// A repository.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(untagged, rename = "Repository")]
pub enum WrittenRepository {
    /// `owner/name` for kind `github`, a folder for kind `git`, a path on the server for kind `git-remote`.
    Plain(String),
    /// A repository with an explicit name, for kinds `git` and `git-remote`.
    Named(NamedRepository),
}

/// A repository with an explicit name.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedRepository {
    /// For kind `git`: its folder, relative to this file.
    #[serde(default)]
    pub path: Option<String>,
    /// For kind `git-remote`: its address, or its path below `base_url`.
    #[serde(default)]
    pub url: Option<String>,
    /// Its name. Default: that of the folder, or the path on the server, without `.git`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_concerns_what_lies_at_or_below_a_selection() {
        let owner = Selection::Owner { owner: "acme".into(), keyword: Some("docs".into()) };
        let named =
            ["acme/docs", "group/sub/app"].map(|name| RepoRef { name: name.into(), key: String::new() });
        let named = Selection::Named(named.into());
        for (subject, of_owner, of_named) in [
            (PushSubject::Repository("Acme/Docs".into()), true, true),
            (PushSubject::Repository("acme/a/b".into()), true, false),
            (PushSubject::Repository("acme2/docs".into()), false, false),
            (PushSubject::Repository("acme".into()), false, false),
            (PushSubject::Repository("group/sub/app".into()), false, true),
            (PushSubject::Owner("ACME".into()), true, true),
            (PushSubject::Owner("group".into()), false, true),
            (PushSubject::Owner("group/sub".into()), false, true),
            (PushSubject::Owner("acm\u{e9}".into()), false, false),
        ] {
            assert_eq!(owner.may_select(&subject), of_owner, "{subject:?}");
            assert_eq!(named.may_select(&subject), of_named, "{subject:?}");
        }
    }
}
