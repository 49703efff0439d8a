//! What a service's error answer means: may it be tried again, is it one text, or is it the
//! configuration? Pure.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::model::{ErrorKind, StageError};
use crate::net::{CallError, CallFailure, one_line, retry_after};

/// Longest text of the service that an error repeats, in characters.
const EXCERPT: usize = 200;

/// What errors of a service are explained with.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) stage: String,
    /// Host and port.
    pub(super) host: String,
    /// What to check when the credentials are refused.
    pub(super) credentials_hint: &'static str,
    /// What to check when there is nothing at the address.
    pub(super) address_hint: &'static str,
}

/// What the client does differently from now on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Adjustment {
    None,
    /// Fewer texts in a call: the service takes no more texts, or bytes, at once. Holds the most that it
    /// takes, where it says so.
    SmallerBatches(Option<usize>),
    /// No `encoding_format`, which the service does not know.
    NoEncoding,
}

impl Endpoint {
    /// Reads an answer that is no success.
    pub(super) fn explain(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> (CallError, Adjustment) {
        let said = ErrorBody::read(body);
        let (kind, hint, adjustment) = self.judge(status, headers, &said);
        let mut error = StageError::new(&self.stage, kind, self.message(status, &said));
        error.hint = hint.map(str::to_owned);
        let failure = match (status.as_u16(), kind) {
            (429, ErrorKind::Transient { .. }) => CallFailure::RateLimit,
            (_, ErrorKind::Transient { .. }) => CallFailure::Server,
            (401 | 403 | 407, _) => CallFailure::Credentials,
            _ => CallFailure::Refused,
        };
        (CallError::new(failure, error), adjustment)
    }

    /// A success that cannot be read: truncated, a login page, an answer to something else.
    pub(super) fn garbage(&self, why: &str, body: &[u8]) -> CallError {
        // Cut far behind the excerpt: a secret that is cut in two is not masked.
        let excerpt = one_line(&String::from_utf8_lossy(&body[..body.len().min(64 << 10)]), EXCERPT);
        let message = format!("{} gave an unusable answer ({why}): {excerpt}", self.host);
        let error = StageError::transient(&self.stage, message);
        // A page with a good status is no passing fault: something else answers there.
        let is_page = body.trim_ascii_start().starts_with(b"<");
        let error = if is_page { error.hint(self.address_hint) } else { error };
        CallError::new(CallFailure::InvalidAnswer, error)
    }

    fn judge(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        said: &ErrorBody,
    ) -> (ErrorKind, Option<&'static str>, Adjustment) {
        use ErrorKind::{Misconfigured, Refused, Transient};
        let quota = said.is("insufficient_quota") || status == StatusCode::PAYMENT_REQUIRED;
        match status.as_u16() {
            _ if quota => {
                (Misconfigured, Some("check the account's plan, credit and billing"), Adjustment::None)
            }
            300..400 => (
                Misconfigured,
                Some(
                    "redirects are not followed, as credentials would travel along; write the final address",
                ),
                Adjustment::None,
            ),
            400 | 422 if said.mentions("encoding_format") => (Refused, None, Adjustment::NoEncoding),
            400 | 422 if said.blames("dimensions") => (
                Misconfigured,
                Some("leave `dimensions` out, or use a model that can shorten its vectors"),
                Adjustment::None,
            ),
            400 | 422 if said.blames("model") || said.is("model_not_found") => {
                (Misconfigured, Some(self.address_hint), Adjustment::None)
            }
            400 | 422 if said.is_about_batches() => {
                (Refused, None, Adjustment::SmallerBatches(said.last_number()))
            }
            400 | 422 => (Refused, None, Adjustment::None),
            413 => {
                // Another number than that of texts is one of bytes, or of a proxy's version.
                let most = said.last_number().filter(|_| said.is_about_batches());
                (Refused, None, Adjustment::SmallerBatches(most))
            }
            401 | 403 | 407 => (Misconfigured, Some(self.credentials_hint), Adjustment::None),
            429 => {
                let asked = retry_after(headers).filter(|wait| !wait.is_zero());
                (Transient { retry_after: asked.or_else(|| pause(headers, 1)) }, None, Adjustment::None)
            }
            408 | 409 | 423..=425 | 500.. => {
                let asked = retry_after(headers).filter(|wait| !wait.is_zero());
                (Transient { retry_after: asked }, None, Adjustment::None)
            }
            _ => (Misconfigured, Some(self.address_hint), Adjustment::None),
        }
    }

    fn message(&self, status: StatusCode, said: &ErrorBody) -> String {
        let code = said.codes.iter().find(|code| **code != status.as_str());
        let reason = status.canonical_reason().filter(|_| code.is_none() && said.text.is_empty());
        let mut message = format!("{} answered {}", self.host, status.as_u16());
        for (before, part, after) in [
            (" ", reason.map(str::to_owned), ""),
            (" (", code.map(|code| one_line(code, EXCERPT)), ")"),
            (": ", Some(one_line(&said.text, EXCERPT)).filter(|text| !text.is_empty()), ""),
        ] {
            if let Some(part) = part {
                message.extend([before, &part, after]);
            }
        }
        message
    }
}

/// What an error's body says, whatever its shape: nested (`{"error":{…}}`), flat, or plain text.
#[derive(Debug, Default, PartialEq)]
struct ErrorBody {
    text: String,
    /// Codes and types, the most telling first.
    codes: Vec<String>,
    param: Option<String>,
}

impl ErrorBody {
    fn read(body: &[u8]) -> Self {
        let Ok(Value::Object(outer)) = serde_json::from_slice::<Value>(body) else {
            let text = String::from_utf8_lossy(&body[..body.len().min(4 * EXCERPT)]);
            return Self { text: text.trim().to_owned(), ..Self::default() };
        };
        let nested = match outer.get("error") {
            Some(Value::Object(inner)) => inner,
            _ => &outer,
        };
        let word = |value: Option<&Value>| match value? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let inner_code = ["inner_error", "innererror"].iter().find_map(|name| nested.get(*name)?.get("code"));
        // A list of problems (FastAPI's way) repeats the input: only place and message are taken.
        let problem = nested.get("detail").and_then(|detail| detail.get(0));
        let place = problem.and_then(|problem| problem.get("loc")?.as_array()?.last());
        let text = ["message", "error", "detail"].iter().find_map(|name| word(nested.get(*name)));
        let text = text.or_else(|| word(problem?.get("msg")));
        Self {
            text: text.unwrap_or_default(),
            codes: [nested.get("code"), inner_code, nested.get("type"), nested.get("error_type")]
                .into_iter()
                .filter_map(word)
                .collect(),
            param: word(nested.get("param")).or_else(|| word(place)),
        }
    }

    fn is(&self, code: &str) -> bool {
        self.codes.iter().any(|ours| ours.eq_ignore_ascii_case(code))
    }

    fn mentions(&self, name: &str) -> bool {
        self.text.contains(name) || self.param.as_deref() == Some(name)
    }

    /// True where a parameter is the culprit: as `param` names it, or, where `param` is not given,
    /// the text quotes it.
    fn blames(&self, name: &str) -> bool {
        match &self.param {
            Some(param) => param == name,
            None => ['\'', '`', '"'].iter().any(|q| self.text.contains(&format!("{q}{name}{q}"))),
        }
    }

    fn is_about_batches(&self) -> bool {
        ["batch size", "batch_size"].iter().any(|words| self.text.to_ascii_lowercase().contains(words))
    }

    fn last_number(&self) -> Option<usize> {
        self.text.split(|c: char| !c.is_ascii_digit()).rfind(|digits| !digits.is_empty())?.parse().ok()
    }
}

/// How long to hold all calls, by the `x-ratelimit-*` headers: until there is a request again, and
/// tokens for another call of this size.
pub(super) fn pause(headers: &HeaderMap, tokens: u64) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let until = |what: &str, needed: f64| {
        let remaining = number(&format!("x-ratelimit-remaining-{what}"))?;
        let reset = headers.get(format!("x-ratelimit-reset-{what}"))?.to_str().ok().and_then(span)?;
        if remaining >= needed {
            return None;
        }
        // At the reset the whole budget is available again. Budgets refill evenly, so if the limit is known, the
        // needed part is available sooner.
        let limit = number(&format!("x-ratelimit-limit-{what}")).filter(|limit| *limit > remaining);
        let share = limit.map_or(1.0, |limit| ((needed - remaining) / (limit - remaining)).clamp(0.0, 1.0));
        Some(reset.mul_f64(share)).filter(|wait| !wait.is_zero())
    };
    until("requests", 1.0).max(until("tokens", tokens as f64))
}

/// A span as services write it: `10`, `1.5` (seconds), `20ms`, `6m0s`, `1h2m3s`.
fn span(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        seconds += number
            * match &rest[..end] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[end..];
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::register_secrets;

    fn endpoint() -> Endpoint {
        Endpoint {
            stage: "ada".into(),
            host: "name.example".into(),
            credentials_hint: "check the key",
            address_hint: "check the deployment",
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| ((*name).parse().expect("name"), value.parse().expect("value")))
            .collect()
    }

    fn explain(status: u16, body: &str) -> (CallError, Adjustment) {
        let status = StatusCode::from_u16(status).expect("status");
        endpoint().explain(status, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn answers_are_judged() {
        let transient = ErrorKind::Transient { retry_after: None };
        for (status, body, kind) in [
            (400, r#"{"error":{"message":"too long","code":null}}"#, ErrorKind::Refused),
            (
                400,
                r#"{"error":{"code":"content_filter","inner_error":{"code":"ResponsibleAIPolicyViolation"}}}"#,
                ErrorKind::Refused,
            ),
            (400, r#"{"error":{"message":"no","param":"dimensions"}}"#, ErrorKind::Misconfigured),
            (400, r#"{"error":{"message":"unknown 'model'"}}"#, ErrorKind::Misconfigured),
            (401, "Unauthorized", ErrorKind::Misconfigured),
            (402, "", ErrorKind::Misconfigured),
            (403, "", ErrorKind::Misconfigured),
            (
                404,
                r#"{"error":{"code":"DeploymentNotFound","message":"not there"}}"#,
                ErrorKind::Misconfigured,
            ),
            (307, "", ErrorKind::Misconfigured),
            (405, "", ErrorKind::Misconfigured),
            (
                413,
                r#"{"message":"batch size 64 > maximum allowed batch size 32","type":"Validation"}"#,
                ErrorKind::Refused,
            ),
            (
                422,
                r#"{"detail":[{"loc":["body","input"],"msg":"bad","input":"a 'model'"}]}"#,
                ErrorKind::Refused,
            ),
            (422, r#"{"detail":[{"loc":["body","dimensions"],"msg":"bad"}]}"#, ErrorKind::Misconfigured),
            (429, r#"{"error":{"code":"429","message":"slow down"}}"#, transient),
            (429, r#"{"error":{"code":"insufficient_quota","message":"pay"}}"#, ErrorKind::Misconfigured),
            (408, "", transient),
            (409, "", transient),
            (424, "", transient),
            (500, "<html>", transient),
            (503, "", transient),
        ] {
            assert_eq!(explain(status, body).0.error.kind, kind, "{status} {body}");
        }
    }

    #[test]
    fn the_client_adjusts() {
        let adjustment = |status, body| explain(status, body).1;
        assert_eq!(adjustment(413, "maximum allowed batch size 32"), Adjustment::SmallerBatches(Some(32)));
        assert_eq!(adjustment(413, ""), Adjustment::SmallerBatches(None));
        assert_eq!(adjustment(413, "<center>nginx/1.28.0</center>"), Adjustment::SmallerBatches(None));
        assert_eq!(
            adjustment(413, r#"{"message":"the body exceeds 2 MB"}"#),
            Adjustment::SmallerBatches(None)
        );
        let limit = r#"{"error":{"message":"batch size is invalid, it should not be larger than 10."}}"#;
        assert_eq!(adjustment(400, limit), Adjustment::SmallerBatches(Some(10)));
        assert_eq!(
            adjustment(400, r#"{"error":{"message":"unknown field encoding_format"}}"#),
            Adjustment::NoEncoding
        );
        assert_eq!(adjustment(500, ""), Adjustment::None);
    }

    #[test]
    fn messages_say_what_the_service_said() {
        register_secrets(["sk-of-the-embed-test".to_owned()]);
        let message = |status, body| explain(status, body).0.error.message;
        assert_eq!(
            message(404, r#"{"error":{"code":"DeploymentNotFound","message":"It does\nnot  exist."}}"#),
            "name.example answered 404 (DeploymentNotFound): It does not exist."
        );
        assert_eq!(
            message(429, r#"{"error":{"code":"429","message":"slow"}}"#),
            "name.example answered 429: slow"
        );
        assert_eq!(message(503, ""), "name.example answered 503 Service Unavailable");
        assert_eq!(
            message(401, "bad key sk-of-the-embed-test\u{1b}[31m given"),
            "name.example answered 401: bad key *** [31m given"
        );
        assert_eq!(
            message(422, r#"{"detail":[{"loc":["body"],"msg":"too short","input":"the text"}]}"#),
            "name.example answered 422: too short"
        );
        let long = message(500, &"x".repeat(5000));
        assert_eq!(long.chars().count(), "name.example answered 500: ".len() + EXCERPT + 1);
    }

    #[test]
    fn waits_are_read_from_the_headers() {
        let read = |pairs: &[_]| {
            let (failed, _) = endpoint().explain(StatusCode::TOO_MANY_REQUESTS, &headers(pairs), b"");
            assert_eq!(failed.failure, CallFailure::RateLimit);
            let ErrorKind::Transient { retry_after } = failed.error.kind else { panic!("transient") };
            retry_after
        };
        assert_eq!(read(&[("retry-after-ms", "250")]), Some(Duration::from_millis(250)));
        assert_eq!(read(&[("retry-after", "0")]), None);
        let reset = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "6m0s")];
        assert_eq!(read(&reset), Some(Duration::from_secs(360)));
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn the_pause_lasts_until_the_next_call_fits() {
        let tokens = |limit, remaining, reset| {
            headers(&[
                ("x-ratelimit-limit-tokens", limit),
                ("x-ratelimit-remaining-tokens", remaining),
                ("x-ratelimit-reset-tokens", reset),
            ])
        };
        assert_eq!(pause(&tokens("1000", "500", "30s"), 400), None);
        assert_eq!(pause(&tokens("1000", "500", "30s"), 750), Some(Duration::from_secs(15)));
        assert_eq!(pause(&tokens("?", "0", "10"), 750), Some(Duration::from_secs(10)));
        assert_eq!(pause(&tokens("1000", "0", "soon"), 1), None);
        assert_eq!(pause(&HeaderMap::new(), 1), None);
    }

    #[test]
    fn spans_are_read() {
        for (text, ms) in
            [("10", 10_000), ("1.5", 1500), ("20ms", 20), ("6m0s", 360_000), ("1h0m1.5s", 3_601_500)]
        {
            assert_eq!(span(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["soon", "-1", "1d", "s", "1e400"] {
            assert_eq!(span(bad), None, "{bad}");
        }
    }
}
