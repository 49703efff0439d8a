//! The cookie of the console's sessions, which a browser has in place of a token.

use axum::http::{HeaderMap, header};

use crate::daemon::SESSION_LIFE;

/// The cookie's name.
const NAME: &str = "reposync_session";

/// The value of a request's cookie.
pub(super) fn of(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|value| value.split(';'))
        .find_map(|one| one.trim().strip_prefix(NAME)?.strip_prefix('='))
        .filter(|value| !value.is_empty())
}

/// The value of `Set-Cookie`; an empty value removes the cookie.
pub(super) fn set(value: &str, is_secure: bool) -> String {
    let age = if value.is_empty() { 0 } else { SESSION_LIFE.as_secs() };
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{NAME}={value}; Path=/console; Max-Age={age}; HttpOnly; SameSite=Lax{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let found = |cookies: &str| {
            let headers = HeaderMap::from_iter([(header::COOKIE, cookies.parse().expect("a value"))]);
            of(&headers).map(str::to_owned)
        };
        assert_eq!(found("other=1; reposync_session=abc").as_deref(), Some("abc"));
        for none in ["", "reposync_session=", "xreposync_session=1", "reposync_sessions=1", "abc"] {
            assert_eq!(found(none), None, "{none}");
        }
        assert!(set("a", true).contains("HttpOnly; SameSite=Lax; Secure"));
        assert!(set("", false).contains("Max-Age=0"));
    }
}
