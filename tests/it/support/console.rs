//! A session of the console over plain HTTP: cookie, forms and their hidden fields.

use super::daemon::{Answer, Daemon};

/// A signed-in browser.
pub(crate) struct Session {
    cookie: String,
    origin: String,
}

impl Session {
    /// Signs in with a token.
    #[track_caller]
    pub(crate) fn of(daemon: &Daemon, token: &str) -> Self {
        let origin = format!("http://{}", daemon.address());
        let answer = sign_in(daemon, &origin, token).is(303);
        let cookie = answer.head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            let value = value.split(';').next()?;
            name.eq_ignore_ascii_case("set-cookie").then(|| value.to_owned())
        });
        Self { cookie: cookie.expect("a cookie"), origin }
    }

    /// A page.
    #[track_caller]
    pub(crate) fn get(&self, daemon: &Daemon, path: &str) -> Answer {
        daemon.request("GET", path, &[("Cookie", &self.cookie), ("Authorization", "none")], b"")
    }

    /// Sends a form of the page at `page` to `path`, with further fields.
    #[track_caller]
    pub(crate) fn post(&self, daemon: &Daemon, page: &str, path: &str, fields: &str) -> Answer {
        let text = self.get(daemon, page).is(200).body;
        let csrf = text.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        let origin = format!("http://{}", daemon.address());
        self.send(daemon, path, &origin, &format!("csrf={}&{fields}", csrf.expect("a form")))
    }

    /// Sends a form as it is.
    #[track_caller]
    pub(crate) fn send(&self, daemon: &Daemon, path: &str, origin: &str, form: &str) -> Answer {
        let headers = [
            ("Cookie", self.cookie.as_str()),
            ("Origin", origin),
            ("Authorization", "none"),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        daemon.request("POST", path, &headers, form.as_bytes())
    }

    /// The value of the cookie.
    pub(crate) fn secret(&self) -> &str {
        self.cookie.split_once('=').map_or("", |(_, value)| value)
    }

    /// The origin of the pages.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }
}

/// Sends the form for signing in.
#[track_caller]
pub(crate) fn sign_in(daemon: &Daemon, origin: &str, token: &str) -> Answer {
    let token = percent_encoding::utf8_percent_encode(token, percent_encoding::NON_ALPHANUMERIC);
    let headers = [
        ("Origin", origin),
        ("Authorization", "none"),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    daemon.request("POST", "/console/sign-in", &headers, format!("token={token}").as_bytes())
}

/// The value of a header.
pub(crate) fn header(answer: &Answer, name: &str) -> Option<String> {
    let lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    let mut found =
        lines.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned());
    found.next()
}
