//! What `kind = "github"` declares: names of accounts and repositories, and how it is built.

use std::path::Path;
use std::sync::Arc;

use super::GithubSource;
use super::settings::GithubSettings;
use super::webhook::GithubWebhook;
use crate::model::{RepoRef, StageResult};
use crate::settings::Objection;
use crate::source::{Source, SourceConfig, SourceContext, Webhook, WrittenRepository};

impl SourceConfig for GithubSettings {
    fn build(&self, context: SourceContext) -> StageResult<Arc<dyn Source>> {
        let stage = context.stage;
        let source = GithubSource::new(stage.stage, self, stage.calls, stage.cancel, stage.events)?;
        let source = source.with_timeouts(stage.timeouts).with_runtime(stage.runtime);
        let source = source.with_allowances(stage.allowances.as_ref());
        Ok(Arc::new(source.with_limits(context.limits)))
    }

    fn webhook() -> Option<&'static dyn Webhook> {
        Some(&GithubWebhook)
    }

    fn check_owner(&self, owner: &str) -> Result<(), Objection> {
        if is_owner(owner) {
            return Ok(());
        }
        let hint = "the name alone, as in https://github.com/NAME";
        Err(Objection::new("not a name of an organization or a user", hint))
    }

    fn nothing_selected(&self) -> Objection {
        Objection::new(
            "`organization` or `repositories` is missing",
            "add organization = \"acme\" or repositories = [\"acme/handbook\"]",
        )
    }

    fn repository(&self, written: &WrittenRepository, _folder: &Path) -> Result<RepoRef, Objection> {
        let message = match written {
            WrittenRepository::Plain(name) if is_full_name(name) => {
                return Ok(RepoRef { name: name.clone(), key: String::new() });
            }
            WrittenRepository::Plain(_) => "not a repository's name",
            WrittenRepository::Named(_) => "a table is for kinds `git` and `git-remote`",
        };
        Err(Objection::new(message, "write it like \"acme/handbook\""))
    }

    /// Names on GitHub are case-insensitive.
    fn comparable(&self, name: &str) -> String {
        name.to_lowercase()
    }

    fn on_same_name(&self) -> &'static str {
        "leave one out"
    }
}

/// True for a name of a GitHub account: letters, digits and single dashes inside; `_` for managed
/// users.
fn is_owner(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// True for `owner/name` on GitHub.
fn is_full_name(text: &str) -> bool {
    text.split_once('/').is_some_and(|(owner, name)| {
        is_owner(owner)
            && (1..=100).contains(&name.len())
            && ![".", ".."].contains(&name)
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_repositories() {
        for good in ["acme/handbook", "A-b/c.d_e"] {
            assert!(is_full_name(good), "{good}");
        }
        for bad in ["", "acme", "a/b/c", "/b", "a/..", "a b/c"] {
            assert!(!is_full_name(bad), "{bad}");
        }
    }
}
