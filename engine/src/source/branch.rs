//! What `branch` of a project names: a branch or a tag by its short name, or any reference by its
//! full name. Pure.

use crate::model::{StageError, StageResult};

use super::Head;

/// How a name is looked up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NamedRef<'a> {
    /// A full reference: `refs/heads/main`, `refs/tags/v1`, `refs/remotes/origin/main`.
    Reference(&'a str),
    /// A branch of this name, or else a tag.
    BranchOrTag(&'a str),
}

/// Reads a name.
pub(super) fn wanted(name: &str) -> NamedRef<'_> {
    if name.starts_with("refs/") { NamedRef::Reference(name) } else { NamedRef::BranchOrTag(name) }
}

/// The outcome for a name under which nothing is found: an error where the name shows the mistake.
pub(super) fn not_found(stage: &str, name: &str) -> StageResult<Head> {
    let error = |what: &str| StageError::refused(stage, format!("`{name}` is {what}, not a branch or tag"));
    if name == "HEAD" {
        return Err(error("what is indexed without `branch`").hint("leave `branch` out"));
    }
    if (7..=40).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let hint = "give the commit a name with `git tag NAME COMMIT`, and write branch = \"NAME\"";
        return Err(error("the id of a commit, as it seems").hint(hint));
    }
    if let Some(short) = name.strip_prefix("origin/") {
        let hint = format!("leave the name of the remote out: branch = \"{short}\"");
        return Err(error("the name of a remote and a branch, as it seems").hint(hint));
    }
    if let Some(rest) = ["heads/", "tags/", "remotes/"].iter().find_map(|kind| name.strip_prefix(kind)) {
        let hint = format!("write branch = \"refs/{name}\", or the short name: branch = \"{rest}\"");
        return Err(error("half of a reference").hint(hint));
    }
    Ok(Head::NoBranch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_as_what_they_are() {
        assert_eq!(wanted("main"), NamedRef::BranchOrTag("main"));
        assert_eq!(wanted("feature/refs/x"), NamedRef::BranchOrTag("feature/refs/x"));
        assert_eq!(wanted("refs/tags/v1"), NamedRef::Reference("refs/tags/v1"));
    }

    #[test]
    fn a_mistake_that_the_name_shows_is_told_with_its_remedy() {
        for name in ["gone", "feature/origin", "deadbee-x", "abc123", "refs/heads/gone"] {
            assert_eq!(not_found("git", name).expect("no mistake"), Head::NoBranch, "{name}");
        }
        for (name, message, hint) in [
            ("HEAD", "`HEAD` is what is indexed without `branch`", "leave `branch` out"),
            ("origin/main", "`origin/main` is the name of a remote and a branch", "branch = \"main\""),
            ("0123456789abcdef0123456789abcdef01234567", "`0123456789abcdef", "git tag"),
            ("tags/v1", "`tags/v1` is half of a reference", "refs/tags/v1"),
        ] {
            let error = not_found("git", name).expect_err("a mistake");
            assert!(error.message.starts_with(message), "{}", error.message);
            assert!(error.hint.as_deref().unwrap_or_default().contains(hint), "{:?}", error.hint);
        }
    }
}
