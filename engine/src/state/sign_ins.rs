//! What signs a browser in to the console: sessions, and the one-time links that begin one.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::model::StageResult;

/// Maximum number of sign-ins of a kind; for a further one, the one that expires first is deleted.
pub(super) const KEPT_SIGN_INS: i64 = 10_000;

/// Sign-ins. The calls need no lease. A sign-in is known by a digest, so that whoever reads the state cannot use it.
#[async_trait]
pub trait SignIns {
    /// Keeps a sign-in. Deletes those that have expired, and of its kind those beyond the 10,000 that last longest.
    async fn put_sign_in(&self, new: &SignIn, now: DateTime<Utc>) -> StageResult<()>;

    /// The proof of a sign-in; `None`: there is none of this kind and id, or it has expired.
    async fn sign_in(&self, kind: SignInKind, id: &str, now: DateTime<Utc>) -> StageResult<Option<String>>;

    /// The same, and deletes it: of several callers at most one gets the proof. If the answer of a server is lost, none
    /// does.
    async fn take_sign_in(
        &self,
        kind: SignInKind,
        id: &str,
        now: DateTime<Utc>,
    ) -> StageResult<Option<String>>;
}

/// A session, or a link that begins one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// What it is.
    pub kind: SignInKind,
    /// The digest of the secret that the browser has.
    pub id: String,
    /// A digest of that secret and the API token, from which the state learns neither.
    pub proof: String,
    /// When it ends (UTC).
    pub expires_at: DateTime<Utc>,
}

/// What signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInKind {
    /// A session: a cookie, with each request.
    Session,
    /// A one-time link.
    Link,
}

impl SignInKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Link => "link",
        }
    }
}
