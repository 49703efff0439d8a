//! What an answer of GitHub's API means: done, refused, wait, or give up. Pure; the order of the
//! rules is GitHub's own.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::net;

/// One answer, read whole.
#[derive(Debug)]
pub(super) struct ApiAnswer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The body of GitHub's errors.
#[derive(serde::Deserialize)]
struct ErrorBody {
    message: String,
    documentation_url: Option<String>,
}

/// What to do about an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AnswerVerdict {
    /// For the caller to read: success, 304, a redirect, or a plain refusal (403, 404, 409, 422, 451).
    Final,
    /// The hourly budget is used up until then.
    PrimaryLimit(Duration),
    /// Too much at once; none: the server did not say for how long.
    SecondaryLimit(Option<Duration>),
    /// The credentials are not accepted.
    BadCredentials,
    /// The server's trouble, for now.
    Transient(Option<Duration>),
}

impl ApiAnswer {
    /// A header's text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The server's clock when it answered.
    pub(super) fn date(&self) -> Option<SystemTime> {
        httpdate::parse_http_date(self.header("date")?).ok()
    }

    /// Sorts the answer.
    pub(super) fn verdict(&self) -> AnswerVerdict {
        let limited = matches!(self.status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS);
        if limited {
            if let Some(wait) = net::retry_after(&self.headers) {
                return AnswerVerdict::SecondaryLimit(Some(wait));
            }
            if let Some(wait) = self.budget_used_up() {
                return AnswerVerdict::PrimaryLimit(wait);
            }
            if self.status == StatusCode::TOO_MANY_REQUESTS || self.tells_of_a_limit() {
                return AnswerVerdict::SecondaryLimit(None);
            }
            return AnswerVerdict::Final;
        }
        match self.status {
            StatusCode::UNAUTHORIZED => AnswerVerdict::BadCredentials,
            StatusCode::REQUEST_TIMEOUT => AnswerVerdict::Transient(net::retry_after(&self.headers)),
            status if status.is_server_error() => AnswerVerdict::Transient(net::retry_after(&self.headers)),
            _ => AnswerVerdict::Final,
        }
    }

    /// How long until requests are left again, where none is left now. Measured on the server's
    /// clock, and a second more, because both ends are cut to whole seconds.
    pub(super) fn budget_used_up(&self) -> Option<Duration> {
        if self.header("x-ratelimit-remaining")?.trim() != "0" {
            return None;
        }
        let reset: u64 = self.header("x-ratelimit-reset")?.trim().parse().ok()?;
        let reset = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(reset))?;
        let now = self.date().unwrap_or_else(SystemTime::now);
        Some(reset.duration_since(now).unwrap_or_default() + Duration::from_secs(1))
    }

    /// True for a 403 that is a secondary limit by its words or by the page it points to: older
    /// Enterprise Servers say "abuse detection", and send no header.
    fn tells_of_a_limit(&self) -> bool {
        let lower = |text: &str| text.to_ascii_lowercase();
        let message = lower(&self.message());
        let page =
            serde_json::from_slice::<ErrorBody>(&self.body).ok().and_then(|body| body.documentation_url);
        let page = lower(&page.unwrap_or_default());
        ["rate limit", "abuse detection"].iter().any(|words| message.contains(words))
            || ["rate-limit", "abuse"].iter().any(|words| page.contains(words))
    }

    /// True for a 403 because of the address that asks, not of the credentials: an organisation's or
    /// an App's IP allow list.
    pub(super) fn is_address_refused(&self) -> bool {
        let message = self.message().to_ascii_lowercase();
        message.contains("ip allow list") || message.contains("ip address is not permitted")
    }

    /// The error's message: GitHub's own, or the beginning of whatever came, on one line and
    /// without anything that looks like a token.
    pub(super) fn message(&self) -> String {
        let text = serde_json::from_slice::<ErrorBody>(&self.body).map_or_else(
            |_| {
                let start = String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]);
                start.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("").to_owned()
            },
            |body| body.message,
        );
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
        without_tokens(line.trim())
    }

    /// The message in brackets after the status, for errors.
    pub(super) fn summary(&self) -> String {
        let message = self.message();
        if message.is_empty() {
            self.status.as_u16().to_string()
        } else {
            format!("{}: {message}", self.status.as_u16())
        }
    }
}

/// Masks what looks like a token of GitHub's, of any length: a proxy may echo a request.
fn without_tokens(text: &str) -> String {
    const PREFIXES: [&str; 6] = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"];
    let mut rest = text;
    let mut clean = String::new();
    while let Some(at) = PREFIXES.iter().filter_map(|prefix| rest.find(prefix)).min() {
        clean.push_str(&rest[..at]);
        clean.push_str("***");
        let token = &rest[at..];
        let end = token
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')))
            .unwrap_or(token.len());
        rest = &token[end..];
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> ApiAnswer {
        ApiAnswer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: headers
                .iter()
                .map(|(name, value)| {
                    (http::HeaderName::from_static(name), value.parse().expect("a header value"))
                })
                .collect(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    #[test]
    fn the_rules_hold_in_their_order() {
        let seconds = Duration::from_secs;
        let date = ("date", "Thu, 01 Jan 2026 00:00:00 GMT");
        let reset = ("x-ratelimit-reset", "1767225630"); // 30 s after that date
        let none_left = ("x-ratelimit-remaining", "0");
        let some_left = ("x-ratelimit-remaining", "12");
        let secondary = r#"{"message":"You have exceeded a secondary rate limit."}"#;
        let abuse = r#"{"message":"You have triggered an abuse detection mechanism. Please wait a few minutes before you try again."}"#;
        let page_alone = r#"{"message":"Please wait.","documentation_url":"https://docs.github.com/rest/overview/resources-in-the-rest-api#secondary-rate-limits"}"#;
        let allow_list = ALLOW_LIST;
        let permission = r#"{"message":"Resource not accessible by integration"}"#;
        for (status, headers, body, expected) in [
            (200, vec![none_left, reset, date], "", AnswerVerdict::Final),
            (304, vec![], "", AnswerVerdict::Final),
            (301, vec![], "", AnswerVerdict::Final),
            (404, vec![none_left, reset, date], "", AnswerVerdict::Final),
            (451, vec![], "", AnswerVerdict::Final),
            (401, vec![], "", AnswerVerdict::BadCredentials),
            (403, vec![some_left], permission, AnswerVerdict::Final),
            (403, vec![none_left, reset, date], "", AnswerVerdict::PrimaryLimit(seconds(31))),
            (429, vec![none_left, reset, date], "", AnswerVerdict::PrimaryLimit(seconds(31))),
            (
                403,
                vec![("retry-after", "7"), none_left, reset, date],
                secondary,
                AnswerVerdict::SecondaryLimit(Some(seconds(7))),
            ),
            (403, vec![some_left], secondary, AnswerVerdict::SecondaryLimit(None)),
            (403, vec![], abuse, AnswerVerdict::SecondaryLimit(None)),
            (403, vec![some_left], page_alone, AnswerVerdict::SecondaryLimit(None)),
            (403, vec![], allow_list, AnswerVerdict::Final),
            (429, vec![], "", AnswerVerdict::SecondaryLimit(None)),
            (500, vec![], "", AnswerVerdict::Transient(None)),
            (503, vec![("retry-after", "3")], "", AnswerVerdict::Transient(Some(seconds(3)))),
            (408, vec![], "", AnswerVerdict::Transient(None)),
        ] {
            assert_eq!(answer(status, &headers, body).verdict(), expected, "{status} {headers:?}");
        }
    }

    const ALLOW_LIST: &str = r#"{"message":"Although you appear to have the correct authorization credentials, the `acme` organization has an IP allow list enabled, and your IP address is not permitted to access this resource.","documentation_url":"https://docs.github.com/rest/repos/repos#get-a-repository"}"#;

    #[test]
    fn an_allow_list_is_told_from_a_permission() {
        assert!(answer(403, &[], ALLOW_LIST).is_address_refused());
        let permission = r#"{"message":"Resource not accessible by integration"}"#;
        assert!(!answer(403, &[], permission).is_address_refused());
    }

    #[test]
    fn messages_are_short_and_hold_no_token() {
        let shown = |body: &str| answer(403, &[], body).summary();
        assert_eq!(shown(r#"{"message":"Bad credentials","documentation_url":"u"}"#), "403: Bad credentials");
        assert_eq!(shown("\n  <html>\n<body>"), "403: <html>");
        assert_eq!(shown(""), "403");
        assert_eq!(shown("a\u{1b}[31mb"), "403: a [31mb");
        assert_eq!(
            shown("Bearer ghs_12345_ab-c.d.e, github_pat_11A_x and ghp_Z"),
            "403: Bearer ***, *** and ***"
        );
        assert!(shown(&"x".repeat(5000)).len() < 250);
    }
}
