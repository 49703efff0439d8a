//! Signing browsers in to the console: sessions, and one-time links that begin one. They are kept in the state, so all
//! daemons on it know them, also after a restart.
//!
//! The browser has a random secret. The state has its digest, and a proof that was made of the secret and the token: a
//! session is valid while one of the tokens in force gives the same proof.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;

use super::handle::Handle;
use super::tokens::Grant;
use crate::config::{TokenDigest, token_digest};
use crate::model::{StageError, StageResult};
use crate::state::{SignIn, SignInKind};

/// How long a session lasts.
pub const SESSION_LIFE: Duration = Duration::from_secs(12 * 3600);
/// How long a link may be used.
pub const LINK_LIFE: Duration = Duration::from_secs(600);

/// A session.
#[derive(Debug)]
pub struct Session {
    /// What its token allows.
    pub grant: Arc<Grant>,
    /// What its forms carry, which no other page can know.
    pub csrf: String,
}

impl Handle {
    /// Begins a session for a token; returns the secret, the cookie's value.
    pub async fn begin_session(&self, token: TokenDigest) -> StageResult<String> {
        self.put_sign_in(SignInKind::Session, token, SESSION_LIFE).await
    }

    /// The session of a cookie; `None`: it has ended, or its token is not in force any more.
    pub async fn session(&self, secret: &str) -> StageResult<Option<Session>> {
        let found = self.shared.reader.sign_in(SignInKind::Session, &id(secret), Utc::now()).await?;
        let granted = found.and_then(|proof| self.granted(secret, &proof));
        Ok(granted.map(|(_, grant)| Session { grant, csrf: csrf(secret) }))
    }

    /// Ends a session, at all daemons.
    pub async fn end_session(&self, secret: &str) -> StageResult<()> {
        self.shared.state.take_sign_in(SignInKind::Session, &id(secret), Utc::now()).await.map(drop)
    }

    /// The code of a link that begins one session for a token.
    pub async fn make_link(&self, token: TokenDigest) -> StageResult<String> {
        self.put_sign_in(SignInKind::Link, token, LINK_LIFE).await
    }

    /// The token of a link's code, and what it allows. The code is used up by this.
    pub async fn use_link(&self, code: &str) -> StageResult<Option<(TokenDigest, Arc<Grant>)>> {
        let found = self.shared.state.take_sign_in(SignInKind::Link, &id(code), Utc::now()).await?;
        Ok(found.and_then(|proof| self.granted(code, &proof)))
    }

    async fn put_sign_in(&self, kind: SignInKind, token: TokenDigest, life: Duration) -> StageResult<String> {
        let (secret, now) = (random()?, Utc::now());
        let new = SignIn { kind, id: id(&secret), proof: proof(&secret, &token), expires_at: now + life };
        self.shared.state.put_sign_in(&new, now).await?;
        Ok(secret)
    }

    /// The token in force that a sign-in was made for.
    fn granted(&self, secret: &str, expected: &str) -> Option<(TokenDigest, Arc<Grant>)> {
        let view = self.view();
        view.tokens()
            .each()
            .find(|(token, _)| proof(secret, token) == expected)
            .map(|(token, grant)| (*token, Arc::clone(grant)))
    }
}

/// The digest by which the state knows a secret.
fn id(secret: &str) -> String {
    hex::encode(token_digest(secret.as_bytes()))
}

fn proof(secret: &str, token: &TokenDigest) -> String {
    let key = blake3::derive_key("reposync: the token of a sign-in", secret.as_bytes());
    blake3::keyed_hash(&key, token).to_hex().to_string()
}

fn csrf(secret: &str) -> String {
    hex::encode(blake3::derive_key("reposync: the forms of a session", secret.as_bytes()))
}

fn random() -> StageResult<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        StageError::local("api", "no random numbers").caused_by(std::io::Error::other(error.to_string()))
    })?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_state_keeps_gives_away_neither_secret_nor_token_nor_forms() {
        let (secret, token) = (random().expect("random"), [1; 32]);
        let made = [id(&secret), proof(&secret, &token), csrf(&secret), secret.clone(), hex::encode(token)];
        for (at, one) in made.iter().enumerate() {
            assert!(made[at + 1..].iter().all(|other| other != one), "{at}");
        }
        assert_eq!(proof(&secret, &token), proof(&secret, &token));
        assert_ne!(proof(&secret, &token), proof(&secret, &[2; 32]), "another token");
        assert_ne!(proof(&secret, &token), proof(&random().expect("random"), &token), "another session");
    }
}
