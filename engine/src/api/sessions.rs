//! Sessions of the console: a cookie in place of a token, so that a browser keeps no token. A session begins with a token
//! or with a one-time link.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::daemon::{TokenDigest, token_digest};
use crate::model::{StageError, StageResult};

/// The cookie's name.
const COOKIE: &str = "reposync_session";
/// How long a session lasts.
const LIFE: Duration = Duration::from_secs(12 * 3600);
/// Maximum number of sessions; the oldest one ends for a new one.
const MOST: usize = 10_000;

/// How long a link that signs in may be used.
pub(super) const LINK_LIFE: Duration = Duration::from_secs(600);
/// Maximum number of links that wait to be used; the oldest one ends for a new one.
const MOST_LINKS: usize = 1000;

/// The sessions, and the links that begin one. They end with the process.
#[derive(Default)]
pub(super) struct Sessions {
    /// By the digest of their id.
    sessions: Mutex<HashMap<TokenDigest, Session>>,
    /// By the digest of their code: the digest of the token, and since when.
    links: Mutex<HashMap<TokenDigest, (TokenDigest, Instant)>>,
}

/// A session.
#[derive(Clone)]
pub(super) struct Session {
    /// The digest of the session's token.
    pub(super) token: TokenDigest,
    /// What its forms carry.
    pub(super) csrf: String,
    since: Instant,
}

impl Sessions {
    /// Begins a session for a token; returns its id, the cookie's value.
    pub(super) fn begin(&self, token: TokenDigest) -> StageResult<String> {
        let (id, csrf) = (random()?, random()?);
        let since = Instant::now();
        let mut sessions = self.sessions.lock();
        sessions.retain(|_, session| since.duration_since(session.since) < LIFE);
        if sessions.len() >= MOST
            && let Some(oldest) = sessions.iter().min_by_key(|(_, session)| session.since).map(|(id, _)| *id)
        {
            sessions.remove(&oldest);
        }
        sessions.insert(token_digest(id.as_bytes()), Session { token, csrf, since });
        Ok(id)
    }

    /// The code of a link that begins one session for a token.
    pub(super) fn offer(&self, token: TokenDigest) -> StageResult<String> {
        let code = random()?;
        let now = Instant::now();
        let mut links = self.links.lock();
        links.retain(|_, (_, since)| now.duration_since(*since) < LINK_LIFE);
        if links.len() >= MOST_LINKS
            && let Some(oldest) = links.iter().min_by_key(|(_, (_, since))| *since).map(|(code, _)| *code)
        {
            links.remove(&oldest);
        }
        links.insert(token_digest(code.as_bytes()), (token, now));
        Ok(code)
    }

    /// The digest of the token that a code stands for. A code is used up by this.
    pub(super) fn redeem(&self, code: &str) -> Option<TokenDigest> {
        let (token, since) = self.links.lock().remove(&token_digest(code.as_bytes()))?;
        (since.elapsed() < LINK_LIFE).then_some(token)
    }

    /// The session of a request.
    pub(super) fn of(&self, headers: &HeaderMap) -> Option<Session> {
        let id = cookie(headers)?;
        let session = self.sessions.lock().get(&token_digest(id.as_bytes())).cloned()?;
        (session.since.elapsed() < LIFE).then_some(session)
    }

    /// Ends the session of a request.
    pub(super) fn end(&self, headers: &HeaderMap) {
        if let Some(id) = cookie(headers) {
            self.sessions.lock().remove(&token_digest(id.as_bytes()));
        }
    }
}

fn random() -> StageResult<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        StageError::local("api", "no random numbers").caused_by(std::io::Error::other(error.to_string()))
    })?;
    Ok(hex::encode(bytes))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|value| value.split(';'))
        .find_map(|one| one.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// The value of `Set-Cookie`; an empty id removes the cookie.
pub(super) fn set_cookie(id: &str, is_secure: bool) -> String {
    let age = if id.is_empty() { 0 } else { LIFE.as_secs() };
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{COOKIE}={id}; Path=/console; Max-Age={age}; HttpOnly; SameSite=Lax{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, cookie.parse().expect("a value"))])
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_lasts_until_it_is_ended_or_old() {
        let sessions = Sessions::default();
        let id = sessions.begin([1; 32]).expect("random");
        let own = headers(&format!("other=1; {COOKIE}={id}"));
        assert_eq!(sessions.of(&own).map(|session| session.token), Some([1; 32]));
        for wrong in ["", "reposync_session=", "reposync_session=x", "xreposync_session=1", &id] {
            assert!(sessions.of(&headers(wrong)).is_none(), "{wrong}");
        }
        let other = sessions.begin([2; 32]).expect("random");
        assert_ne!(id, other);
        sessions.end(&own);
        assert!(sessions.of(&own).is_none());
        let other = headers(&format!("{COOKIE}={other}"));
        assert!(sessions.of(&other).is_some());
        tokio::time::advance(LIFE).await;
        assert!(sessions.of(&other).is_none());
        let code = sessions.offer([3; 32]).expect("random");
        assert_eq!(sessions.redeem("x"), None);
        assert_eq!((sessions.redeem(&code), sessions.redeem(&code)), (Some([3; 32]), None));
        let late = sessions.offer([3; 32]).expect("random");
        tokio::time::advance(LINK_LIFE).await;
        assert_eq!(sessions.redeem(&late), None);
        assert!(set_cookie("a", true).contains("HttpOnly; SameSite=Lax; Secure"));
        assert!(set_cookie("", false).contains("Max-Age=0"));
    }
}
