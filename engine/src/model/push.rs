//! What a host reports by a webhook.

/// A push, or another event of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// What changed.
    pub subject: PushSubject,
    /// The branch, and whether it is the default branch; `None`: all branches.
    pub branch: Option<(String, bool)>,
    /// The head before the push; `None` if the branch is new.
    pub before: Option<String>,
}

/// What a [`Push`] is about. Names are paths of any depth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushSubject {
    /// One repository, by its full name.
    Repository(String),
    /// Any repository of an owner.
    Owner(String),
}
