//! The recipe: everything that turns a file's bytes into vectors, as a fingerprint; and the words
//! for what differs between two of them.

use serde::{Deserialize, Serialize};

use crate::model::Fingerprint;

/// Version of the steps between source and store that no stage owns: cleaning, fitting to token limits (and
/// counting tokens), line numbers, metadata. Raised when the same settings produce different records.
const OWN_STEPS: u32 = 2;

/// What a recipe is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipeParts {
    /// Version of RepoSync's own steps.
    pub steps: u32,
    /// The chunkers that may take the file, in order.
    pub chunkers: Vec<RecipePart>,
    /// The embedder.
    pub embedder: RecipePart,
    /// What happens to secrets: `off`, `skip`, `redact`.
    pub secrets: String,
    /// What bounds a chunk besides the chunker: tokens of an input, bytes of metadata.
    pub limits: (usize, usize),
}

/// One stage in a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipePart {
    /// The stage's name.
    pub stage: String,
    /// Name and version, for people.
    pub label: String,
    /// Everything that matters.
    pub identity: String,
}

impl RecipeParts {
    /// Parts made by this version of RepoSync.
    pub fn new(
        chunkers: Vec<RecipePart>,
        embedder: RecipePart,
        secrets: &str,
        limits: (usize, usize),
    ) -> Self {
        Self { steps: OWN_STEPS, chunkers, embedder, secrets: secrets.to_owned(), limits }
    }

    /// The recipe. Names of stages and labels are for people and no part of it: renaming a stage
    /// changes nothing.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut parts = vec![
            self.steps.to_string(),
            self.secrets.clone(),
            format!("{}/{}", self.limits.0, self.limits.1),
            self.embedder.identity.clone(),
        ];
        parts.extend(self.chunkers.iter().map(|chunker| chunker.identity.clone()));
        Fingerprint::of(parts)
    }

    /// What differs from an older recipe, in a few words.
    pub fn difference(&self, old: &Self) -> String {
        let mut words = Vec::new();
        if old.embedder.identity != self.embedder.identity {
            words.push(format!("embedder {}", changed(&old.embedder, &self.embedder)));
        }
        for chunker in &self.chunkers {
            if old.chunkers.iter().any(|o| o.identity == chunker.identity) {
                continue;
            }
            let before = old.chunkers.iter().find(|o| o.stage == chunker.stage).or_else(|| {
                old.chunkers.first().filter(|_| old.chunkers.len() == 1 && self.chunkers.len() == 1)
            });
            words.push(match before {
                Some(before) => format!("chunker {}", changed(before, chunker)),
                None => format!("chunker {} added", chunker.label),
            });
        }
        for gone in &old.chunkers {
            let replaced = self.chunkers.iter().any(|c| c.identity == gone.identity || c.stage == gone.stage);
            if !replaced && self.chunkers.len() < old.chunkers.len() {
                words.push(format!("chunker {} left out", gone.label));
            }
        }
        if old.secrets != self.secrets {
            words.push(format!("secrets {} -> {}", old.secrets, self.secrets));
        }
        if old.limits != self.limits {
            words.push("the services' size limits".to_owned());
        }
        if old.steps != self.steps {
            words.push("a newer RepoSync".to_owned());
        }
        if words.is_empty() {
            words.push("order of chunkers".to_owned());
        }
        words.join(", ")
    }
}

fn changed(old: &RecipePart, new: &RecipePart) -> String {
    if old.label != new.label {
        return match old.label.split_once(' ').zip(new.label.split_once(' ')) {
            Some(((old_name, old_version), (new_name, new_version))) if old_name == new_name => {
                format!("{new_name} {old_version} -> {new_version}")
            }
            _ => format!("{} -> {}", old.label, new.label),
        };
    }
    let grammars = (grammars(old), grammars(new));
    if grammars.0 != grammars.1 {
        return format!("{}: {} -> {}", new.label, grammars.0, grammars.1);
    }
    if binary(old) != binary(new) {
        return format!("{} rebuilt", new.label);
    }
    format!("settings of `{}`", new.stage)
}

/// The grammars that an identity names: `rust 0.24.2`.
fn grammars(part: &RecipePart) -> String {
    let words = part.identity.split(' ').filter_map(|word| word.strip_prefix("tree-sitter-"));
    words.map(|word| word.replace('/', " ")).collect::<Vec<_>>().join(", ")
}

/// The digest of a component's file, which its identity names.
fn binary(part: &RecipePart) -> Option<&str> {
    part.identity.split(' ').find_map(|word| word.strip_prefix("sha256:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(stage: &str, label: &str, identity: &str) -> RecipePart {
        RecipePart { stage: stage.into(), label: label.into(), identity: identity.into() }
    }

    fn parts(chunkers: Vec<RecipePart>) -> RecipeParts {
        RecipeParts::new(chunkers, part("ada", "local m", "e1"), "off", (8191, 38_000))
    }

    #[test]
    fn names_do_not_matter_but_identities_do() {
        let a = parts(vec![part("prose", "sentence", "c1")]);
        let renamed = parts(vec![part("text", "sentence 2", "c1")]);
        let changed = parts(vec![part("prose", "sentence", "c2")]);
        assert_eq!(a.fingerprint(), renamed.fingerprint());
        assert_ne!(a.fingerprint(), changed.fingerprint());
    }

    #[test]
    fn differences_are_told_in_words() {
        let old = parts(vec![part("changelog", "changelog 0.2.0", "c1"), part("prose", "sentence", "p1")]);
        let newer = parts(vec![part("changelog", "changelog 0.3.0", "c2"), part("prose", "sentence", "p1")]);
        assert_eq!(newer.difference(&old), "chunker changelog 0.2.0 -> 0.3.0");
        let tuned = parts(vec![part("changelog", "changelog 0.2.0", "c1"), part("prose", "sentence", "p2")]);
        assert_eq!(tuned.difference(&old), "chunker settings of `prose`");
        let notes = |identity| parts(vec![part("notes", "notes 1.0.0", identity)]);
        let first = notes("notes 1.0.0 sha256:aa {}");
        assert_eq!(notes("notes 1.0.0 sha256:bb {}").difference(&first), "chunker notes 1.0.0 rebuilt");
        let tuned = notes(r#"notes 1.0.0 sha256:aa {"level":2}"#);
        assert_eq!(tuned.difference(&first), "chunker settings of `notes`");
        let code = |identity| parts(vec![part("code", "code 2", identity)]);
        let first = code("code/2 chars=1500 tree-sitter-rust/0.24.2");
        let newer = code("code/2 chars=1500 tree-sitter-rust/0.25.0");
        assert_eq!(newer.difference(&first), "chunker code 2: rust 0.24.2 -> rust 0.25.0");
        let tuned = code("code/2 chars=900 tree-sitter-rust/0.24.2");
        assert_eq!(tuned.difference(&first), "chunker settings of `code`");
        let fewer = parts(vec![part("prose", "sentence", "p1")]);
        assert_eq!(fewer.difference(&old), "chunker changelog 0.2.0 left out");
        assert_eq!(old.difference(&fewer), "chunker changelog 0.2.0 added");
        let mut other = old.clone();
        other.embedder = part("ada", "azure-openai large", "e2");
        assert_eq!(other.difference(&old), "embedder local m -> azure-openai large");
    }
}
